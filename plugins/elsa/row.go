package elsa

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// The columns of text that a field of the vendor's fills, in the order of a packed row.
const (
	textSeverity = iota
	textProjectName
	textProjectVersion
	textHost
	textLogSource
	textLogType
	textColumns
)

// attribute is a field that has no column. A null value is nil.
type attribute struct {
	name, value []byte
}

// row is one record of the vendor's. Its bytes belong to the scanner until it is packed.
type row struct {
	timed, sent  bool
	time, send   int64 // nanoseconds since 1970
	body         []byte
	texts        [textColumns][]byte // nil: null
	attributes   []attribute
	seen         uint32 // documented fields that were met
	names        nameSet
	numbers      map[string]int // of names that were taken: the last number that was given
	replaced     uint64         // values with bytes that aren't UTF-8, beside the body
	untimed      bool           // logTime is there and isn't understood
	nestedErrors bool           // a member "error" holds an object
	members      int
	documented   int
}

// isRecord says whether a field was met that only records have: every record is asked for its time.
func (r *row) isRecord() bool { return r.seen&(1<<recordBody|1<<recordTime) != 0 }

func (r *row) reset() {
	attributes, names, numbers := r.attributes[:0], r.names, r.numbers
	names.reset()
	if len(numbers) > 0 {
		clear(numbers)
	}
	*r = row{attributes: attributes, names: names, numbers: numbers}
}

// Numbers of the fields that only records have.
const (
	recordBody = iota
	recordTime
)

// fieldOf returns the number of a documented field, from 0, and -1 for others.
func fieldOf(name []byte) int {
	switch string(name) {
	case fieldBody:
		return recordBody
	case fieldLogTime:
		return recordTime
	case fieldSendTime:
		return 2
	case fieldLogLevel:
		return 3 + textSeverity
	case fieldProjectName:
		return 3 + textProjectName
	case fieldProjectVersion:
		return 3 + textProjectVersion
	case fieldHost:
		return 3 + textHost
	case fieldLogSource:
		return 3 + textLogSource
	case fieldLogType:
		return 3 + textLogType
	}
	return -1
}

// maxMembers is how many fields a record may have: each costs many times its text while a batch is made.
const maxMembers = 10_000

// set takes one member of a record. The first of each name fills its column; what has no column, or doesn't fit it, is an
// attribute, so that nothing is dropped. A record of more than maxMembers is no row: its members beyond them aren't kept.
func (r *row) set(name []byte, v value) {
	if r.members++; r.members > maxMembers {
		return
	}
	field := fieldOf(name)
	if field < 0 || r.seen&(1<<field) != 0 {
		if field >= 0 {
			r.documented++
		}
		r.nestedErrors = r.nestedErrors || v.form == formNested && string(name) == "error"
		r.attribute(name, v, field >= 0)
		return
	}
	r.seen |= 1 << field
	r.documented++
	if v.form == formNull {
		return
	}
	switch field {
	case 0:
		r.body = v.text
	case 1, 2:
		at, exact, ok := parseTime(v)
		if ok && field == 1 {
			r.time, r.timed = at, true
		} else if ok {
			r.send, r.sent = at, true
		} else if field == 1 {
			r.untimed = true
		}
		if !exact {
			r.attribute(name, v, false)
		}
	default:
		r.texts[field-3] = r.clean(v.text)
		if r.texts[field-3] == nil {
			r.texts[field-3] = []byte{}
		}
	}
}

// attribute adds a field under its name, or under NAME#2 and so on if the name is taken: keys of a map are unique.
func (r *row) attribute(name []byte, v value, taken bool) {
	name = r.clean(name)
	if taken || r.has(name) {
		name = r.another(name)
	}
	a := attribute{name: name}
	if v.form != formNull {
		if a.value = r.clean(v.text); a.value == nil {
			a.value = []byte{}
		}
	}
	r.attributes = append(r.attributes, a)
}

// another returns NAME#2, or the next number that is free.
func (r *row) another(name []byte) []byte {
	if r.numbers == nil {
		r.numbers = map[string]int{}
	}
	for n := max(2, r.numbers[string(name)]+1); ; n++ {
		if other := strconv.AppendInt(append(bytes.Clone(name), '#'), int64(n), 10); !r.has(other) {
			r.numbers[string(name)] = n
			return other
		}
	}
}

const fewNames = 8 // up to so many names are compared one by one

func (r *row) has(name []byte) bool {
	if len(r.attributes) > fewNames {
		r.names.add(r.attributes)
		return r.names.has(r.attributes, name)
	}
	for _, a := range r.attributes {
		if bytes.Equal(a.name, name) {
			return true
		}
	}
	return false
}

// clean returns text with one U+FFFD for each byte that isn't UTF-8, and counts if there are any.
func (r *row) clean(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	r.replaced++
	return appendValid(nil, text)
}

// appendValid appends text with one U+FFFD for each byte that isn't UTF-8.
func appendValid(dst, text []byte) []byte {
	for len(text) > 0 {
		c, n := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, c)
		text = text[n:]
	}
	return dst
}

// Counts of digits by which a number tells its unit: seconds have at most 10 until the year 2286.
const (
	digitsSeconds = 10
	digitsMillis  = 14
	digitsMicros  = 17
	digitsNanos   = 19
)

// parseTime reads a moment: a number of milliseconds since 1970, as the vendor sends it, or in another unit that its length
// tells, or RFC 3339. exact says that the moment alone can give the number of milliseconds back.
func parseTime(v value) (ns int64, exact, ok bool) {
	if v.form == formNested || len(v.text) == 0 {
		return 0, false, false
	}
	digits := 0
	for _, c := range v.text {
		if c < '0' || c > '9' {
			digits = -1
			break
		}
		digits++
	}
	if digits < 0 {
		t, err := time.Parse(time.RFC3339Nano, string(v.text))
		if err != nil || !nanosecondsFit(t) {
			return 0, false, false
		}
		return t.UnixNano(), false, true
	}
	n, err := strconv.ParseInt(string(v.text), 10, 64)
	if err != nil {
		return 0, false, false
	}
	unit := int64(1)
	switch {
	case digits <= digitsSeconds:
		unit = int64(time.Second)
	case digits <= digitsMillis:
		unit, exact = int64(time.Millisecond), v.form == formPlain && v.text[0] != '0'
	case digits <= digitsMicros:
		unit = int64(time.Microsecond)
	}
	if n > math.MaxInt64/unit {
		return 0, false, false
	}
	return n * unit, exact || v.form == formText && unit == int64(time.Millisecond) && v.text[0] != '0', true
}

// nanosecondsFit says whether a time can be a number of nanoseconds since 1970.
func nanosecondsFit(t time.Time) bool { return t.Year() > 1677 && t.Year() < 2262 }

// weight is what the row weighs in a batch, in bytes.
func (r *row) weight() int {
	n := len(r.body)
	if !utf8.Valid(r.body) {
		n += len(appendValid(nil, r.body))
	}
	for _, t := range r.texts {
		n += len(t)
	}
	n += len(r.texts[textProjectName]) // it is the log's name, too
	for _, a := range r.attributes {
		n += len(a.name) + len(a.value) + 8
	}
	return n
}

// Flags of a packed row; the texts' follow.
const (
	packedTimed = 1 << iota
	packedSent
	packedTexts
)

// pack appends the row to dst.
func (r *row) pack(dst []byte) []byte {
	var flags byte
	if r.timed {
		flags |= packedTimed
	}
	if r.sent {
		flags |= packedSent
	}
	for i, t := range r.texts {
		if t != nil {
			flags |= packedTexts << i
		}
	}
	dst = append(dst, flags)
	if r.timed {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.time))
	}
	if r.sent {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.send))
	}
	dst = appendBytes(dst, r.body)
	for _, t := range r.texts {
		if t != nil {
			dst = appendBytes(dst, t)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.attributes)))
	for _, a := range r.attributes {
		dst = appendBytes(dst, a.name)
		if a.value == nil {
			dst = binary.AppendUvarint(dst, 0)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(a.value))+1)
		dst = append(dst, a.value...)
	}
	return dst
}

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

var errPacked = errors.New("a spooled record can't be read back: is the spool folder's disk damaged?")

// unpack is the inverse of pack; the row's bytes are p's.
func (r *row) unpack(p []byte) error {
	r.reset()
	u := unpacker{p: p}
	flags := u.byte()
	if flags&packedTimed != 0 {
		r.timed, r.time = true, u.int64()
	}
	if flags&packedSent != 0 {
		r.sent, r.send = true, u.int64()
	}
	r.body = u.take(u.uvarint())
	for i := range r.texts {
		if flags&(packedTexts<<i) != 0 {
			r.texts[i] = u.take(u.uvarint())
		}
	}
	for range u.uvarint() {
		a := attribute{name: u.take(u.uvarint())}
		if n := u.uvarint(); n > 0 {
			a.value = u.take(n - 1)
		}
		if u.bad {
			break
		}
		r.attributes = append(r.attributes, a)
	}
	if u.bad || len(u.p) > 0 {
		return fmt.Errorf("%w (%d bytes)", errPacked, len(p))
	}
	return nil
}

// unpacker reads what pack wrote; bad is sticky.
type unpacker struct {
	p   []byte
	bad bool
}

func (u *unpacker) take(n uint64) []byte {
	if u.bad || n > uint64(len(u.p)) {
		u.bad = true
		return nil
	}
	out := u.p[:n:n]
	u.p = u.p[n:]
	return out
}

func (u *unpacker) byte() byte {
	if p := u.take(1); len(p) == 1 {
		return p[0]
	}
	return 0
}

func (u *unpacker) int64() int64 {
	if p := u.take(8); len(p) == 8 {
		return int64(binary.LittleEndian.Uint64(p))
	}
	return 0
}

func (u *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(u.p)
	if n <= 0 {
		u.bad = true
		return 0
	}
	u.p = u.p[n:]
	return v
}
