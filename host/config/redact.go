package config

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// minRedacted is the length in bytes below which a secret isn't looked for: it would be found in ordinary words.
const minRedacted = 4

// Redactor replaces known secrets in text that leaves the process: the last line of defence, after code that doesn't put
// secrets there. It knows the forms in which they travel: as they are, escaped as in URLs, JSON and Go strings, in hex and in base64, also inside a
// longer base64 text. The zero Redactor is ready and knows none. Safe for concurrent use.
type Redactor struct {
	mu       sync.RWMutex
	known    map[string]bool
	forms    []string
	replacer *strings.Replacer
}

// Add makes the redactor look for more secrets. Those of less than 4 bytes are not looked for.
func (r *Redactor) Add(secrets Secrets) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.forms)
	for _, s := range secrets {
		value := s.Reveal()
		if len(value) < minRedacted || r.known[value] {
			continue
		}
		if r.known == nil {
			r.known = map[string]bool{}
		}
		r.known[value] = true
		r.forms = append(r.forms, formsOf(value)...)
	}
	if len(r.forms) == before {
		return
	}
	// Longer forms first: where two begin at the same place the longer one must win, or its rest would stay.
	slices.SortFunc(r.forms, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	r.forms = slices.Compact(r.forms)
	pairs := make([]string, 0, 2*len(r.forms))
	for _, f := range r.forms {
		pairs = append(pairs, f, hidden)
	}
	r.replacer = strings.NewReplacer(pairs...)
}

// Redact returns s with each known secret replaced by ***.
func (r *Redactor) Redact(s string) string {
	r.mu.RLock()
	replacer := r.replacer
	r.mu.RUnlock()
	if replacer == nil {
		return s
	}
	return replacer.Replace(s)
}

// ReplaceAttr redacts one attribute; it fits slog.HandlerOptions. Errors and other values become their text if that
// holds a secret.
func (r *Redactor) ReplaceAttr(_ []string, a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(r.Redact(v.String()))
	case slog.KindAny:
		var plain string
		switch x := v.Any().(type) {
		case error:
			plain = x.Error()
		case []byte:
			plain = string(x)
		case json.RawMessage:
			plain = string(x)
		default:
			plain = fmt.Sprintf("%+v", x)
		}
		if clean := r.Redact(plain); clean != plain {
			a.Value = slog.StringValue(clean)
		}
	}
	a.Key = r.Redact(a.Key)
	return a
}

func formsOf(s string) []string {
	forms := []string{
		s,
		url.QueryEscape(s), url.PathEscape(s), strings.ReplaceAll(url.QueryEscape(s), "+", "%20"),
		strings.TrimPrefix((&url.URL{Path: "/" + s}).EscapedPath(), "/"), strings.TrimPrefix(url.UserPassword("", s).String(), ":"),
		hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))),
	}
	quotedGo := strconv.Quote(s)
	forms = append(forms, quotedGo[1:len(quotedGo)-1])
	if quoted, err := json.Marshal(s); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	var plain bytes.Buffer
	writeString(&plain, s)
	forms = append(forms, strings.TrimSuffix(strings.TrimPrefix(plain.String(), `"`), `"`))
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, enc.EncodeToString([]byte(s)))
		// Inside a longer text (user:password) a secret begins at any of three offsets; only the characters that its own
		// bits fill are sure.
		for offset := range 3 {
			text := enc.EncodeToString(append(make([]byte, offset), s...))
			from, to := (offset*8+5)/6, (offset+len(s))*8/6
			if to-from >= 8 {
				forms = append(forms, text[from:to])
			}
		}
	}
	return slices.DeleteFunc(forms, func(f string) bool { return len(f) < minRedacted })
}
