package encode

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// plainEscape is what appendEscaped must write, byte by byte.
func plainEscape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func plainCSV(s string) string {
	if s != "" && !strings.ContainsAny(s, ",\"\r\n") {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

// checkEscapes writes s in every way behind something, into memory that is full of something else.
func checkEscapes(t *testing.T, s string, room int) {
	t.Helper()
	before := func() []byte {
		dst := bytes.Repeat([]byte{'#'}, 3+room)
		return dst[:3]
	}
	for _, w := range []struct {
		name string
		got  []byte
		want string
	}{
		{"JSON", appendJSONString(before(), s), `"` + plainEscape(s) + `"`},
		{"narrow JSON", escapeNarrow(before(), s), plainEscape(s)},
		{"CSV", appendCSVString(before(), s), plainCSV(s)},
	} {
		if string(w.got) != "###"+w.want {
			t.Fatalf("%s of %q is %q, want %q", w.name, s, w.got, w.want)
		}
	}
	out := make([]byte, 2*len(s)+wideSlack)
	n, special := doubleNarrow(out, s)
	if want := strings.ReplaceAll(s, `"`, `""`); string(out[:n]) != want || special != strings.ContainsAny(s, ",\"\r\n") {
		t.Fatalf("narrow CSV of %q is %q, %t, want %q", s, out[:n], special, want)
	}
}

// TestEscapes has every byte at every place of a register, alone and among others.
func TestEscapes(t *testing.T) {
	t.Logf("wide: %t", wide)
	for c := range 256 {
		for length := range 70 {
			for _, at := range []int{0, length / 2, length - 1} {
				if at < 0 || at >= length {
					continue
				}
				b := bytes.Repeat([]byte{'a'}, length)
				b[at] = byte(c)
				checkEscapes(t, string(b), 0)
			}
		}
		checkEscapes(t, strings.Repeat(string([]byte{byte(c)}), 67), c)
	}
	r := rand.New(rand.NewPCG(1, 2))
	alphabets := []string{"ab\"\\", "abcdefgh\t\r\n\"", "a\x00\x1f \x7f\x80\xff", "äöü€", ",;\n x", "\x01"}
	for range 20_000 {
		b := make([]byte, r.IntN(200))
		alphabet := alphabets[r.IntN(len(alphabets))]
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		checkEscapes(t, string(b), r.IntN(300))
	}
	for _, piece := range []string{"x", `"`, "\x01", "a\x1b[0m", "ab\tc"} { // longer than a piece
		checkEscapes(t, strings.Repeat(piece, 3*escapePiece/len(piece)+5), 0)
	}
}

func FuzzEscapes(f *testing.F) {
	f.Add("a\"b\\c\x00\x1f\x7f\t\r\n\u2028 \xff,", 7)
	f.Add(strings.Repeat("x", 33)+"\x1b[31m"+strings.Repeat("\"", 40), 0)
	f.Fuzz(func(t *testing.T, s string, room int) { checkEscapes(t, s, min(max(room, 0), 1<<16)) })
}
