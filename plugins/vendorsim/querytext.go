package vendorsim

import (
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// quote returns a text of our own as JSON.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(b)
}

// appendText writes a line as a JSON string: bytes that aren't UTF-8 as they are, so that no byte is lost; with escape all
// that may be escaped, in the form that JSON has for it.
func appendText(dst, line []byte, escape bool) []byte {
	dst = append(dst, '"')
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch c := line[0]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '/' && escape:
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = appendControl(dst, c, escape)
		case n == 1 || !escape:
			dst = append(dst, line[:n]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04X\u%04x`, hi, lo)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		line = line[n:]
	}
	return append(dst, '"')
}

func appendControl(dst []byte, c byte, short bool) []byte {
	if short {
		switch c {
		case '\b':
			return append(dst, `\b`...)
		case '\f':
			return append(dst, `\f`...)
		case '\n':
			return append(dst, `\n`...)
		case '\r':
			return append(dst, `\r`...)
		case '\t':
			return append(dst, `\t`...)
		}
	}
	return fmt.Appendf(dst, `\u%04x`, c)
}
