package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ways are settings of every source that decide how the vendor is reached and paid, never what it answers.
var ways = []string{"base_url", "budget", "http"}

// SettingsHash returns 32 hex digits that change with what a source's settings say about the records: those that aren't secret, and
// not how the vendor is reached. Placeholders stand for themselves: nothing is resolved, so that no secret can get in.
func (s Settings) SettingsHash(schema []byte) (string, error) {
	compiled, err := compileSchema(schema)
	if err != nil {
		return "", fmt.Errorf("config schema: %w", err)
	}
	var lines []string
	if err := compiled.shown(nil, s.JSON, &lines); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:16]), nil
}

// shown appends a line for each value that isn't secret, in the order of their paths.
func (s *settingsSchema) shown(location []string, raw json.RawMessage, lines *[]string) error {
	if len(location) == 1 && slices.Contains(ways, location[0]) || s.isSecret(location) {
		return nil
	}
	var object map[string]json.RawMessage
	if len(location) <= maxDepth && json.Unmarshal(raw, &object) == nil && object != nil {
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if err := s.shown(append(slices.Clone(location), name), object[name], lines); err != nil {
				return err
			}
		}
		return nil
	}
	if !s.mayShow(location) {
		return nil
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return fmt.Errorf("settings: %s isn't JSON", strings.Join(location, "."))
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	*lines = append(*lines, strings.Join(location, ".")+"="+string(text))
	return nil
}
