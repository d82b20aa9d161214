package vendorsim

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// filter says whether a line is served; nil serves all.
type filter func(line []byte) bool

var (
	quoted      = regexp.MustCompile(`/(?:[^/\\]|\\.)*/i?|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`)
	calculation = regexp.MustCompile(`(?i)\b(?:calculate|groupby)\s*\(`)
	whereClause = regexp.MustCompile(`(?is)^where\s*\((.*)\)$`)
	bareWord    = regexp.MustCompile(`^[^\s()/"']+$`)
)

// parseLEQL understands what a download may ask: nothing or where() for all lines, where(word) and where("text")
// for lines that contain it in any case, where(/regex/) and where(/regex/i). The errors are the vendor's text.
func parseLEQL(query string) (filter, error) {
	query = strings.TrimSpace(query)
	if query == "" {
		return nil, nil
	}
	// A literal such as where(/calculate(/) is legal.
	if calculation.MatchString(quoted.ReplaceAllString(query, "")) {
		return nil, fmt.Errorf("invalid LEQL query: calculations are not supported for log download: %s", query)
	}
	m := whereClause.FindStringSubmatch(query)
	if m == nil {
		return nil, fmt.Errorf("invalid LEQL query: %s", query)
	}
	arg := strings.TrimSpace(m[1])
	switch {
	case arg == "":
		return nil, nil
	case quoted.FindString(arg) == arg && arg[0] == '/':
		pattern := strings.TrimSuffix(arg, "i")
		pattern = pattern[1 : len(pattern)-1]
		if pattern == ".*" {
			return nil, nil
		}
		if strings.HasSuffix(arg, "i") {
			pattern = "(?i)" + pattern
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("invalid LEQL query: %w", err)
		}
		return re.Match, nil
	case quoted.FindString(arg) == arg:
		return contains(arg[1 : len(arg)-1]), nil
	case bareWord.MatchString(arg):
		return contains(arg), nil
	}
	return nil, fmt.Errorf("invalid LEQL query: %s", query)
}

// contains matches ASCII letters in either case.
func contains(word string) filter {
	lower := bytes.ToLower([]byte(word))
	if len(lower) == 0 {
		return nil
	}
	upper := bytes.ToUpper(lower)[0]
	return func(line []byte) bool {
		for len(line) >= len(lower) {
			i := bytes.IndexByte(line, lower[0])
			if upper != lower[0] {
				if j := bytes.IndexByte(line, upper); j >= 0 && (i < 0 || j < i) {
					i = j
				}
			}
			if i < 0 || len(line)-i < len(lower) {
				return false
			}
			if equalFoldASCII(line[i:i+len(lower)], lower) {
				return true
			}
			line = line[i+1:]
		}
		return false
	}
}

func equalFoldASCII(b, lower []byte) bool {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
