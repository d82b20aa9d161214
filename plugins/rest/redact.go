package rest

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const mask = "***"

// redactor takes secrets out of texts that others wrote.
type redactor struct {
	replacer *strings.Replacer
	longest  int // bytes of the longest form of a secret
}

func newRedactor(secrets []string) redactor {
	var forms []string
	for _, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s))} {
			if form != "" && !slices.Contains(forms, form) {
				forms = append(forms, form)
			}
		}
	}
	// The longest first: a secret may be part of another.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, mask)
	}
	r := redactor{replacer: strings.NewReplacer(pairs...)}
	if len(forms) > 0 {
		r.longest = len(forms[0])
	}
	return r
}

func (r redactor) text(s string) string { return r.replacer.Replace(s) }

// excerpt makes a vendor's text fit for a line: printable, one line, without secrets, at most size bytes. A text that goes on behind what was
// read of it may end with a part of a secret.
func (r redactor) excerpt(text []byte, size int, goesOn bool) string {
	s := strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, string(text))
	s = r.text(strings.Join(strings.Fields(s), " "))
	const more = "…"
	if goesOn {
		s = s[:max(0, len(s)-r.longest)]
		s = strings.TrimRightFunc(s, func(c rune) bool { return c == utf8.RuneError }) + more
	}
	if len(s) <= size {
		return s
	}
	cut := size - len(more)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}

// err hides secrets in an error's text; its chain stays.
func (r redactor) err(err error) error { return redacted{text: r.text(err.Error()), err: err} }

type redacted struct {
	text string
	err  error
}

func (e redacted) Error() string { return e.text }
func (e redacted) Unwrap() error { return e.err }
