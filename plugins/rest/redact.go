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
	forms    []string // of secrets, the longest first
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
	return redactor{replacer: strings.NewReplacer(pairs...), forms: forms}
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
	s = strings.Join(strings.Fields(s), " ")
	const more = "…"
	if goesOn {
		s = r.whole(s) + more
	}
	s = r.text(s)
	if len(s) <= size {
		return s
	}
	cut := size - len(more)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}

// whole takes away an end that is the beginning of a secret.
func (r redactor) whole(s string) string {
	cut := len(s)
	for _, form := range r.forms {
		for n := min(len(form)-1, len(s)); n > len(s)-cut; n-- {
			if strings.HasSuffix(s, form[:n]) {
				cut = len(s) - n
			}
		}
	}
	return s[:cut]
}

// err hides secrets in an error's text; its chain stays.
func (r redactor) err(err error) error { return redacted{text: r.text(err.Error()), err: err} }

type redacted struct {
	text string
	err  error
}

func (e redacted) Error() string { return e.text }
func (e redacted) Unwrap() error { return e.err }
