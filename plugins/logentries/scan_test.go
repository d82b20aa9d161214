package logentries

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestStop has a quote or a backslash at every place of short texts.
func TestStop(t *testing.T) {
	for n := range 40 {
		for at := -1; at < n; at++ {
			for _, c := range []byte{'"', '\\'} {
				p := bytes.Repeat([]byte{'a', 0xa2, 0xdc, '!', '#', '[', ']'}, 6)[:n]
				if at >= 0 {
					p[at] = c
				}
				for from := range n + 3 {
					want := n
					if at >= from {
						want = at
					}
					if got := stop(p, from); got != want {
						t.Fatalf("%q from %d: %d, want %d", p, from, got, want)
					}
				}
			}
		}
	}
}

// TestSkip holds what is passed over against encoding/json: whole values, cut ones and spoilt ones.
func TestSkip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	words := []string{`""`, `"a\"b"`, `"\\"`, `"` + strings.Repeat("x", 40) + `\n"`, "0", "-1.5e+10", "1E2", strings.Repeat("7", 50), "true", "false", "null"}
	var value func(depth int) string
	value = func(depth int) string {
		n := r.IntN(3)
		if depth > 5 || n == 0 {
			return words[r.IntN(len(words))]
		}
		var all []string
		for range r.IntN(4) {
			v := value(depth + 1)
			if n == 1 {
				v = words[r.IntN(4)] + " : " + v
			}
			all = append(all, v)
		}
		if n == 1 {
			return "{ " + strings.Join(all, " ,") + "}"
		}
		return "[" + strings.Join(all, ", ") + " ]"
	}
	passed := func(text string) bool {
		s := &scanner{b: []byte(text)}
		err := s.skip()
		if err == nil && s.depth != 0 {
			t.Fatalf("%q leaves a depth of %d", text, s.depth)
		}
		return err == nil && s.peek() == 0 && s.i == len(text)
	}
	for range 5000 {
		text := value(0)
		if !json.Valid([]byte(text)) || !passed(text) {
			t.Fatalf("%q isn't passed over", text)
		}
		if cut := text[:r.IntN(len(text))]; passed(cut) && !json.Valid([]byte(cut)) {
			t.Fatalf("%q was cut and is passed over", cut)
		}
		spoilt := []byte(text)
		spoilt[r.IntN(len(spoilt))] = "\"{}[],:x0"[r.IntN(9)]
		// Escapes that it doesn't keep are looked at no further.
		if json.Valid(spoilt) != passed(string(spoilt)) && !bytes.Contains(spoilt, []byte{'\\'}) {
			t.Fatalf("%q: encoding/json says %t", spoilt, json.Valid(spoilt))
		}
	}
}
