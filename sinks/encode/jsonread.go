package encode

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// What is read back is what this package wrote, so its JSON is read without regard to white space: other JSON is an error.

var (
	errCut      = errors.New("the JSON ends too early")
	errNoString = errors.New("it isn't a JSON string")
)

func unexpected(b []byte, i int) error {
	if i >= len(b) {
		return errCut
	}
	return fmt.Errorf("unexpected %q at byte %d of the JSON", b[i], i)
}

// eachMember calls each with the key, in quotes, and the value of every member of the object that begins at b[i], and returns the
// place behind it.
func eachMember(b []byte, i int, each func(key, value []byte) error) (int, error) {
	if i >= len(b) || b[i] != '{' {
		return i, unexpected(b, i)
	}
	i++
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		end, err := skipString(b, i)
		if err != nil {
			return i, err
		}
		if end >= len(b) || b[end] != ':' {
			return i, unexpected(b, end)
		}
		key, start := b[i:end], end+1
		if i, err = skipValue(b, start); err != nil {
			return i, err
		}
		if err := each(key, b[start:i]); err != nil {
			return i, err
		}
		switch {
		case i >= len(b):
			return i, errCut
		case b[i] == '}':
			return i + 1, nil
		case b[i] != ',':
			return i, unexpected(b, i)
		}
		i++
	}
}

// eachElement is eachMember of an array.
func eachElement(b []byte, each func(value []byte) error) error {
	if len(b) < 2 || b[0] != '[' {
		return unexpected(b, 0)
	}
	if b[1] == ']' {
		return nil
	}
	for i := 1; ; i++ {
		end, err := skipValue(b, i)
		if err != nil {
			return err
		}
		if err := each(b[i:end]); err != nil {
			return err
		}
		i = end
		switch {
		case i >= len(b):
			return errCut
		case b[i] == ']':
			return nil
		case b[i] != ',':
			return unexpected(b, i)
		}
	}
}

// skipString returns the place behind the string that begins at b[i].
func skipString(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return i, unexpected(b, i)
	}
	for at := i + 1; ; {
		n := bytes.IndexByte(b[at:], '"')
		if n < 0 {
			return len(b), errCut
		}
		at += n
		slashes := 0
		for b[at-1-slashes] == '\\' { // ends at the string's first quote
			slashes++
		}
		at++
		if slashes%2 == 0 {
			return at, nil
		}
	}
}

// skipValue returns the place behind the value that begins at b[i].
func skipValue(b []byte, i int) (int, error) {
	if i >= len(b) {
		return i, errCut
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				end, err := skipString(b, i)
				if err != nil {
					return i, err
				}
				i = end
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1, nil
				}
			}
			i++
		}
		return i, errCut
	}
	start := i
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' {
		i++
	}
	if i == start {
		return i, unexpected(b, i)
	}
	return i, nil
}

// unquote returns the text of a JSON string, in its own memory: no escape is shorter than what it stands for.
func unquote(s []byte) ([]byte, error) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return nil, errNoString
	}
	s = s[1 : len(s)-1]
	first := bytes.IndexByte(s, '\\')
	if first < 0 {
		return s, nil
	}
	out := s[:first]
	for i := first; i < len(s); {
		if s[i] != '\\' {
			n := bytes.IndexByte(s[i:], '\\')
			if n < 0 {
				n = len(s) - i
			}
			out = append(out, s[i:i+n]...)
			i += n
			continue
		}
		if i+1 >= len(s) {
			return nil, errCut
		}
		c := s[i+1]
		i += 2
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, n := escaped(s[i:])
			if n == 0 {
				return nil, fmt.Errorf("a bad escape at byte %d of a JSON string", i-2)
			}
			out = utf8.AppendRune(out, r)
			i += n
		default:
			return nil, fmt.Errorf("unknown escape \\%c in a JSON string", c)
		}
	}
	return out, nil
}

// escaped reads what follows \u, with the second half of a pair, and returns how many bytes it took; 0 for nonsense.
func escaped(s []byte) (r rune, n int) {
	r, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if len(s) < 10 || s[4] != '\\' || s[5] != 'u' {
		return 0, 0
	}
	low, ok := hex4(s[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 10
}

func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for _, c := range s[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
