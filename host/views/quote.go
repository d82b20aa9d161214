package views

import (
	"fmt"
	"strings"
)

// doubled quotes a text or a name by doubling the mark in it, as standard SQL does.
func doubled(mark, text string) string {
	return mark + strings.ReplaceAll(text, mark, mark+mark) + mark
}

// backslashed quotes a text in which a backslash escapes, as Spark, Hive and ClickHouse have it.
func backslashed(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// bracketed makes what is special in a pattern literal by putting it into brackets.
func bracketed(text string) (string, error) {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(text), nil
}

// noPattern refuses what is special in patterns that have no way to make it literal.
func noPattern(text string) (string, error) {
	if i := strings.IndexAny(text, "*?{}"); i >= 0 {
		return "", fmt.Errorf("%q holds %q, which stands for other characters in the engine's patterns: choose another path", text, text[i])
	}
	return text, nil
}
