package elsa

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
)

// TestStop has a quote, a backslash, both or neither at every place of texts of many lengths.
func TestStop(t *testing.T) {
	text := bytes.Repeat([]byte{'a', 0xa2, 0xdc, '!', '#', '[', ']'}, farPiece/2) // bytes beside those that count
	lengths := []int{farPiece - 1, farPiece, farPiece + near, farPiece + near + 1, 3 * farPiece}
	for n := range 150 {
		lengths = append(lengths, n+1)
	}
	for _, n := range lengths {
		for _, other := range []int{-1, n / 2, n - 1} {
			for at := -1; at < n; at += 1 + n/100 {
				p := bytes.Clone(text[:n])
				if other >= 0 {
					p[other] = '\\'
				}
				if at >= 0 {
					p[at] = '"'
				}
				for _, from := range []int{0, min(3, n), n} {
					want := len(p)
					if i := bytes.IndexAny(p[from:], `"\`); i >= 0 {
						want = from + i
					}
					if got := stop(p, from); got != want {
						t.Fatalf("%d bytes, quote at %d, backslash at %d: from %d it stops at %d, want %d", n, at, other, from, got, want)
					}
				}
			}
		}
	}
}

// TestRandomJSON holds what the scanner takes against encoding/json: whole texts, cut ones and spoilt ones.
func TestRandomJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pieces := []string{`\"`, `\\`, `\/`, `\b\f\n\r\t`, `\u00e9`, `\ud83d\ude00`, `\ud800`, "plain text ", "é", strings.Repeat("long ", 60), "{", "]", ","}
	var value func(depth int) string
	text := func() string {
		var b strings.Builder
		b.WriteByte('"')
		for range r.IntN(6) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		b.WriteByte('"')
		return b.String()
	}
	value = func(depth int) string {
		switch n := r.IntN(8); {
		case n < 3:
			return text()
		case n == 3:
			return []string{"0", "-1", "12.5e-10", "1E+2", strings.Repeat("9", 300), "true", "false", "null"}[r.IntN(8)]
		case depth > 4:
			return "[]"
		case n < 6:
			var all []string
			for range r.IntN(4) {
				all = append(all, value(depth+1))
			}
			return "[ " + strings.Join(all, " ,") + "]"
		}
		var all []string
		for range r.IntN(4) {
			all = append(all, text()+" : "+value(depth+1))
		}
		return "{" + strings.Join(all, ", ") + " }"
	}
	for range 3000 {
		whole := []byte(`{"a":` + value(0) + `,"b":` + value(0) + `}`)
		if !json.Valid(whole) {
			t.Fatalf("the test made %q", whole)
		}
		sameJSON(t, whole)
		cut := whole[:r.IntN(len(whole))]
		var s jsonScanner
		if len(cut) > 0 {
			if _, err := s.object(bytes.Clone(cut), func([]byte, scanned) {}); !errors.Is(err, errShort) {
				t.Fatalf("%q was cut and isn't short: %v", cut, err)
			}
		}
		whole[r.IntN(len(whole))] = "\"\\{}[],:x0\n"[r.IntN(11)]
		if whole[0] != '{' {
			continue
		}
		sameJSON(t, whole)
		if n, err := s.object(whole, func([]byte, scanned) {}); err == nil {
			taken := bytes.ReplaceAll(whole[:n], []byte{'\n'}, []byte{' '}) // which it takes in texts, too
			if !json.Valid(taken) {
				t.Fatalf("%q is no JSON and was taken", taken)
			}
		}
	}
}

// TestCSVFieldsAreBounded has a text of commas, which deflates to almost nothing and would take 32 bytes of memory for each.
func TestCSVFieldsAreBounded(t *testing.T) {
	var s csvScanner
	var syntax *syntaxError
	_, _, err := s.record(bytes.Repeat([]byte{','}, 1<<20), false)
	if !errors.As(err, &syntax) || cap(s.fields) > 2*maxCSVFields {
		t.Errorf("%v, with room for %d fields", err, cap(s.fields))
	}
	if fields, _, err := s.record(append(bytes.Repeat([]byte{','}, maxCSVFields-1), '\n'), false); err != nil || len(fields) != maxCSVFields {
		t.Errorf("%d fields: %v", len(fields), err)
	}
	if _, _, err := decodeArchive(t, pack(t, "a", "body"+strings.Repeat(",", 1<<20)), plainOptions()); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a header of commas: %v", err)
	}
}

type scanned = value // beside the test's own function
