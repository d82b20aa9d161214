package rapid7

import (
	"regexp"
	"strings"
)

// MatchAll is sent when the user gives no query: the documented default of downloads keeps only errors.
const MatchAll = "where(/.*/)"

// MaxURL is how many characters the vendor takes as a request's URL.
const MaxURL = 8192

// leqlLiteral matches what LEQL takes as text: regular expressions and strings.
var leqlLiteral = regexp.MustCompile(`(?s)/(?:[^/\\]|\\.)*/|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`)

var leqlCalculation = regexp.MustCompile(`(?i)\b(calculate|groupby)\s*\(`)

// Calculation returns the first calculation of a query in lower case, "" without one. Literals may hold the words.
func Calculation(query string) string {
	m := leqlCalculation.FindStringSubmatch(leqlLiteral.ReplaceAllString(query, " "))
	if m == nil {
		return ""
	}
	return strings.ToLower(m[1])
}
