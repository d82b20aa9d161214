package logentries

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON in place: texts are unescaped inside the buffer, which never makes them longer, so that nothing is
// allocated for an event but its own place in a page. It takes what encoding/json takes and, in texts, bytes that aren't
// UTF-8 and raw control characters too: a log's line is not the vendor's to mend.
type scanner struct {
	b     []byte
	i     int
	depth int
}

const maxDepth = 1000

var errCutJSON = errors.New("the JSON ends too early")

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: "+format, append([]any{s.i}, args...)...)
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek returns the next byte that isn't white space, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i == len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) expect(c byte) error {
	switch got := s.peek(); {
	case s.i == len(s.b):
		return errCutJSON
	case got != c:
		return s.errorf("%q where %q was expected", got, c)
	}
	s.i++
	return nil
}

// object calls field for each key of an object, which must read the value. The key is valid until then.
func (s *scanner) object(field func(key []byte) error) error {
	return s.sequence('{', '}', func() error {
		key, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		return field(key)
	})
}

// array calls element for each element of an array, which must read it. Null is an empty array.
func (s *scanner) array(element func() error) error {
	if s.peek() == 'n' {
		return s.skip()
	}
	return s.sequence('[', ']', element)
}

func (s *scanner) sequence(begin, end byte, one func() error) error {
	if err := s.expect(begin); err != nil {
		return err
	}
	if s.depth++; s.depth > maxDepth {
		return s.errorf("nested deeper than %d", maxDepth)
	}
	defer func() { s.depth-- }()
	if s.peek() == end {
		s.i++
		return nil
	}
	for {
		if err := one(); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.i++
			continue
		}
		return s.expect(end)
	}
}

// text reads a text and returns its bytes, unescaped where they lay.
func (s *scanner) text() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.i
	quote := bytes.IndexByte(s.b[s.i:], '"')
	if quote < 0 {
		s.i = len(s.b)
		return nil, errCutJSON
	}
	if escape := bytes.IndexByte(s.b[s.i:s.i+quote], '\\'); escape >= 0 {
		s.i += escape
		return s.unescape(start)
	}
	s.i += quote + 1
	return s.b[start : s.i-1], nil
}

// unescape goes on with a text from its first escape on.
func (s *scanner) unescape(start int) ([]byte, error) {
	b, in, out := s.b, s.i, s.i
	for in < len(b) {
		switch c := b[in]; {
		case c == '"':
			s.i = in + 1
			return b[start:out], nil
		case c != '\\':
			end := stop(b, in)
			out += copy(b[out:], b[in:end])
			in = end
		case in+1 == len(b):
			return nil, errCutJSON
		case b[in+1] == 'u':
			r, n, err := unicodeEscape(b[in:])
			if err != nil {
				s.i = in
				return nil, s.errorf("%w", err)
			}
			out += putRune(b[out:], r)
			in += n
		default:
			plain := unescaped[b[in+1]]
			if plain == 0 {
				s.i = in
				return nil, s.errorf("escape \\%c", b[in+1])
			}
			b[out] = plain
			in, out = in+2, out+1
		}
	}
	s.i = len(b)
	return nil, errCutJSON
}

var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicodeEscape reads \uXXXX, or two of them that make one character, and returns how long it was.
func unicodeEscape(p []byte) (r rune, n int, err error) {
	hi, ok := hex4(p)
	if !ok {
		return 0, 0, errors.New("\\u without four hex digits")
	}
	if utf16.IsSurrogate(hi) {
		if lo, ok := hex4(p[6:]); ok {
			if both := utf16.DecodeRune(hi, lo); both != utf8.RuneError {
				return both, 12, nil
			}
		}
	}
	return hi, 6, nil
}

func hex4(p []byte) (rune, bool) {
	if len(p) < 6 || p[0] != '\\' || p[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range p[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// putRune writes a character as UTF-8; half a surrogate pair as the three bytes that it would have, which aren't UTF-8: so
// it stays what it was.
func putRune(p []byte, r rune) int {
	if utf16.IsSurrogate(r) {
		p[0], p[1], p[2] = 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f
		return 3
	}
	return utf8.EncodeRune(p, r)
}

// raw reads any value and returns its text as it stands.
func (s *scanner) raw() ([]byte, error) {
	s.space()
	start := s.i
	if err := s.skip(); err != nil {
		return nil, err
	}
	return s.b[start:s.i], nil
}

// skip reads any value without changing it.
func (s *scanner) skip() error {
	switch c := s.peek(); {
	case s.i == len(s.b):
		return errCutJSON
	case c == '"':
		return s.skipText()
	case c == '{' || c == '[':
		return s.skipNested(c)
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	_, err := s.number()
	return err
}

// skipNested reads the object or array at the scanner's place, which begins with c.
func (s *scanner) skipNested(c byte) error {
	if s.depth++; s.depth > maxDepth {
		s.i++
		return s.errorf("nested deeper than %d", maxDepth)
	}
	s.i++
	end := c + 2 // '}' or ']'
	if s.peek() == end {
		s.i++
		s.depth--
		return nil
	}
	for {
		if c == '{' {
			if s.peek() != '"' {
				return s.errorf("a key that is no text")
			}
			if err := s.skipText(); err != nil {
				return err
			}
			if err := s.expect(':'); err != nil {
				return err
			}
		}
		if err := s.skip(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case end:
			s.i++
			s.depth--
			return nil
		default:
			return s.expect(end)
		}
	}
}

func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.b[s.i:], []byte(w)) {
		return s.errorf("no JSON value")
	}
	s.i += len(w)
	return nil
}

func (s *scanner) skipText() error {
	for i := s.i + 1; ; i += 2 {
		if i = stop(s.b, i); i >= len(s.b) {
			s.i = len(s.b)
			return errCutJSON
		}
		if s.b[i] == '"' {
			s.i = i + 1
			return nil
		}
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stop returns where the first quote or backslash is from p[i] on, len(p) if there is none.
func stop(p []byte, i int) int {
	for ; i <= len(p)-8; i += 8 {
		w := binary.LittleEndian.Uint64(p[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// The lowest high bit that is set is of the first such byte.
		if hit := ((quote-ones) & ^quote | (slash-ones) & ^slash) & highs; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(p); i++ {
		if p[i] == '"' || p[i] == '\\' {
			return i
		}
	}
	return len(p)
}

// number reads a number and returns its text.
func (s *scanner) number() ([]byte, error) {
	s.space()
	start := s.i
	digits := func() bool {
		from := s.i
		for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
			s.i++
		}
		return s.i > from
	}
	at := func(c, or byte) bool {
		if s.i < len(s.b) && (s.b[s.i] == c || s.b[s.i] == or) {
			s.i++
			return true
		}
		return false
	}
	at('-', '-')
	if !at('0', '0') && !digits() {
		s.i = start
		return nil, s.errorf("no JSON value")
	}
	if at('.', '.') && !digits() {
		return nil, s.errorf("a number that ends in a point")
	}
	if at('e', 'E') {
		at('+', '-')
		if !digits() {
			return nil, s.errorf("a number without an exponent")
		}
	}
	return s.b[start:s.i], nil
}
