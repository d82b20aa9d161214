package elsa

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// errShort says that a text ends before what is being read does: more of it may complete it.
var errShort = errors.New("the text ends too early")

// syntaxError is a text that isn't what it should be, at an offset from where reading it began.
type syntaxError struct {
	at   int
	what string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s (%d bytes in)", e.what, e.at) }

// maxDepth is how deep values may be nested, as encoding/json has it.
const maxDepth = 10_000

// form is what a value was written as.
type form uint8

const (
	formText   form = iota + 1 // a string, without its quotes and escapes
	formPlain                  // a number, true or false, as it was written
	formNested                 // an array or object, as it was written
	formNull
)

// value is one value. The bytes belong to the scanner and are valid until the next record.
type value struct {
	form form
	text []byte
}

// jsonScanner takes objects out of a text without building what it doesn't need. It takes what encoding/json takes, and
// beside it control characters in strings. What isn't UTF-8 stays as it is; an escaped half of a surrogate pair becomes the three bytes
// that UTF-8's pattern gives it, which aren't UTF-8 either, so that nothing is lost.
type jsonScanner struct {
	scratch []byte // of strings with escapes; older ones stay valid when it grows

	// Of a text that was too short: the member whose value it ends in. openAt is where that begins, 0 if it ends in none.
	open   []byte
	openAt int
}

func skipSpace(p []byte, i int) int {
	for i < len(p) && (p[i] == ' ' || p[i] == '\n' || p[i] == '\t' || p[i] == '\r') {
		i++
	}
	return i
}

// object reads one object at the beginning of p, which begins with '{', calls member for each of its members and returns
// its length. It fails with errShort or a *syntaxError; member may have been called by then.
func (j *jsonScanner) object(p []byte, member func(name []byte, v value)) (int, error) {
	j.scratch, j.open, j.openAt = j.scratch[:0], nil, 0
	i := skipSpace(p, 1)
	if i == len(p) {
		return 0, errShort
	}
	if p[i] == '}' {
		return i + 1, nil
	}
	for {
		if p[i] != '"' {
			return 0, &syntaxError{i, "a member's name isn't a string"}
		}
		name, next, err := j.text(p, i)
		if err != nil {
			return 0, err
		}
		if i = skipSpace(p, next); i == len(p) {
			return 0, errShort
		}
		if p[i] != ':' {
			return 0, &syntaxError{i, "no colon behind a member's name"}
		}
		if i = skipSpace(p, i+1); i == len(p) {
			return 0, errShort
		}
		j.open, j.openAt = name, i
		v, next, err := j.value(p, i)
		if err != nil {
			return 0, err
		}
		j.open, j.openAt = nil, 0
		member(name, v)
		if i = skipSpace(p, next); i == len(p) {
			return 0, errShort
		}
		switch p[i] {
		case '}':
			return i + 1, nil
		case ',':
			if i = skipSpace(p, i+1); i == len(p) {
				return 0, errShort
			}
		default:
			return 0, &syntaxError{i, "neither a comma nor a closing brace behind a value"}
		}
	}
}

// value reads the value at p[i] and returns where it ends.
func (j *jsonScanner) value(p []byte, i int) (value, int, error) {
	switch p[i] {
	case '"':
		text, next, err := j.text(p, i)
		return value{formText, text}, next, err
	case '{', '[':
		next, err := skipValue(p, i, maxDepth)
		if err != nil {
			return value{}, 0, err
		}
		return value{formNested, p[i:next]}, next, nil
	}
	next, err := skipValue(p, i, maxDepth)
	if err != nil {
		return value{}, 0, err
	}
	if p[i] == 'n' {
		return value{form: formNull}, next, nil
	}
	return value{formPlain, p[i:next]}, next, nil
}

// text reads the string at p[i], which is its quote.
func (j *jsonScanner) text(p []byte, i int) ([]byte, int, error) {
	i++
	end := stop(p, i)
	if end == len(p) {
		return nil, 0, errShort
	}
	if p[end] == '"' {
		return p[i:end:end], end + 1, nil
	}
	from := len(j.scratch)
	for {
		j.scratch = append(j.scratch, p[i:end]...)
		i = end
		for i < len(p) && p[i] == '\\' { // escapes often come together
			n, err := j.unescape(p, i)
			if err != nil {
				return nil, 0, err
			}
			i += n
		}
		if end = stop(p, i); end == len(p) {
			return nil, 0, errShort
		}
		if p[end] == '"' {
			j.scratch = append(j.scratch, p[i:end]...)
			return j.scratch[from:len(j.scratch):len(j.scratch)], end + 1, nil
		}
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	near  = 64 // bytes in which most strings end or have an escape
)

// stop returns where the first quote or backslash is from p[i] on, len(p) if there is none.
func stop(p []byte, i int) int {
	for close := min(len(p)-8, i+near); i <= close; i += 8 {
		w := binary.LittleEndian.Uint64(p[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// The lowest high bit that is set is of the first such byte.
		if hit := ((quote-ones) & ^quote | (slash-ones) & ^slash) & highs; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	if i >= len(p) {
		return len(p)
	}
	end := len(p)
	for from := i; from < len(p); { // a long text is looked through in pieces, so that what is behind it is looked at once
		piece := p[from:min(len(p), from+farPiece)]
		n := bytes.IndexByte(piece, '"')
		if n >= 0 {
			piece, end = piece[:n], from+n
		}
		if slash := bytes.IndexByte(piece, '\\'); slash >= 0 {
			return from + slash
		}
		if n >= 0 {
			return end
		}
		from += len(piece)
	}
	return end
}

const farPiece = 1 << 10

// unescape reads the escape at p[i], which is its backslash, and returns its length.
func (j *jsonScanner) unescape(p []byte, i int) (int, error) {
	if i+1 >= len(p) {
		return 0, errShort
	}
	c := p[i+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return j.unescapeUnit(p, i)
	default:
		return 0, &syntaxError{i, "an unknown escape in a string"}
	}
	j.scratch = append(j.scratch, c)
	return 2, nil
}

const (
	surrogateHigh = 0xD800 // first half of a pair
	surrogateLow  = 0xDC00 // second half
	surrogateEnd  = 0xE000
)

// unescapeUnit reads \uXXXX, or two of them that make one character.
func (j *jsonScanner) unescapeUnit(p []byte, i int) (int, error) {
	r, err := unit(p, i)
	if err != nil {
		return 0, err
	}
	n := 6
	if r >= surrogateHigh && r < surrogateLow {
		rest := p[i+6:]
		switch {
		case len(rest) == 0, len(rest) == 1 && rest[0] == '\\':
			return 0, errShort
		case rest[0] == '\\' && rest[1] == 'u':
			low, err := unit(p, i+6)
			if err != nil {
				return 0, err
			}
			if low >= surrogateLow && low < surrogateEnd {
				r = (r-surrogateHigh)<<10 | (low - surrogateLow) + 0x10000
				n = 12
			}
		}
	}
	if r >= surrogateHigh && r < surrogateEnd {
		j.scratch = append(j.scratch, 0xE0|byte(r>>12), 0x80|byte(r>>6&0x3F), 0x80|byte(r&0x3F))
		return n, nil
	}
	j.scratch = utf8.AppendRune(j.scratch, r)
	return n, nil
}

// unit reads the four hex digits of the \uXXXX at p[i].
func unit(p []byte, i int) (rune, error) {
	var r rune
	for k := i + 2; k < i+6; k++ {
		if k >= len(p) {
			return 0, errShort
		}
		switch c := p[k]; {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, &syntaxError{k, "a \\u escape without four hex digits"}
		}
	}
	return r, nil
}

// skipValue checks the value at p[i] and returns where it ends. A number ends where something else begins.
func skipValue(p []byte, i, depth int) (int, error) {
	if i >= len(p) {
		return 0, errShort
	}
	switch c := p[i]; {
	case c == '"':
		return skipText(p, i)
	case c == '{' || c == '[':
		return skipNested(p, i, depth)
	case c == 't':
		return skipWord(p, i, "true")
	case c == 'f':
		return skipWord(p, i, "false")
	case c == 'n':
		return skipWord(p, i, "null")
	case c == '-' || c >= '0' && c <= '9':
		return skipNumber(p, i)
	}
	return 0, &syntaxError{i, "no JSON value"}
}

func skipNested(p []byte, i, depth int) (int, error) {
	if depth == 0 {
		return 0, &syntaxError{i, fmt.Sprintf("nested deeper than %d", maxDepth)}
	}
	object, closing := p[i] == '{', byte(']')
	if object {
		closing = '}'
	}
	for first := true; ; first = false {
		if i = skipSpace(p, i+1); i == len(p) {
			return 0, errShort
		}
		if first && p[i] == closing {
			return i + 1, nil
		}
		var err error
		if object {
			if p[i] != '"' {
				return 0, &syntaxError{i, "a member's name isn't a string"}
			}
			if i, err = skipText(p, i); err != nil {
				return 0, err
			}
			if i = skipSpace(p, i); i == len(p) {
				return 0, errShort
			}
			if p[i] != ':' {
				return 0, &syntaxError{i, "no colon behind a member's name"}
			}
			i = skipSpace(p, i+1)
		}
		if i, err = skipValue(p, i, depth-1); err != nil {
			return 0, err
		}
		if i = skipSpace(p, i); i == len(p) {
			return 0, errShort
		}
		if p[i] == closing {
			return i + 1, nil
		}
		if p[i] != ',' {
			return 0, &syntaxError{i, "neither a comma nor a closing bracket behind a value"}
		}
	}
}

// skipText checks the string at p[i].
func skipText(p []byte, i int) (int, error) {
	for i++; ; {
		if i = stop(p, i); i == len(p) {
			return 0, errShort
		}
		if p[i] == '"' {
			return i + 1, nil
		}
		if i+1 == len(p) {
			return 0, errShort
		}
		switch p[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if _, err := unit(p, i); err != nil {
				return 0, err
			}
			i += 6
		default:
			return 0, &syntaxError{i, "an unknown escape in a string"}
		}
	}
}

func skipWord(p []byte, i int, word string) (int, error) {
	n := min(len(word), len(p)-i)
	if string(p[i:i+n]) != word[:n] {
		return 0, &syntaxError{i, "no JSON value"}
	}
	if n < len(word) {
		return 0, errShort
	}
	return i + n, nil
}

func skipNumber(p []byte, i int) (int, error) {
	start := i
	digits := func() bool {
		from := i
		for i < len(p) && p[i] >= '0' && p[i] <= '9' {
			i++
		}
		return i > from
	}
	wrong := func() (int, error) {
		if i == len(p) {
			return 0, errShort
		}
		return 0, &syntaxError{start, "a malformed number"}
	}
	if p[i] == '-' {
		i++
	}
	switch {
	case i < len(p) && p[i] == '0':
		i++
	case !digits():
		return wrong()
	}
	if i < len(p) && p[i] == '.' {
		i++
		if !digits() {
			return wrong()
		}
	}
	if i < len(p) && (p[i] == 'e' || p[i] == 'E') {
		i++
		if i < len(p) && (p[i] == '+' || p[i] == '-') {
			i++
		}
		if !digits() {
			return wrong()
		}
	}
	if i == len(p) {
		return 0, errShort // the rest of the number may follow
	}
	return i, nil
}

// jsonEnd finds the end of an object that is too long to be held, byte by byte and without judging what is inside.
type jsonEnd struct {
	depth             int
	inString, escaped bool
}

func (e *jsonEnd) next(c byte) (done bool) {
	switch {
	case e.escaped:
		e.escaped = false
	case e.inString:
		e.escaped = c == '\\'
		e.inString = c != '"'
	case c == '"':
		e.inString = true
	case c == '{' || c == '[':
		e.depth++
	case c == '}' || c == ']':
		e.depth--
		return e.depth == 0
	}
	return false
}

func (e *jsonEnd) check(whole bool) error {
	if !whole {
		return errShort
	}
	return nil
}
