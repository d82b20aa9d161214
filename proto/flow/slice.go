package flow

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// SliceID names a slice: the first 16 bytes of a SHA-256 over exactly what makes the slice (FORMAT.md). It is printed
// as 32 lower-case hex digits.
type SliceID [16]byte

// String returns the ID as 32 lower-case hex digits.
func (id SliceID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id SliceID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it wants exactly 32 hex digits.
func (id *SliceID) UnmarshalText(text []byte) error {
	if err := unhex(id[:], text); err != nil {
		return fmt.Errorf("slice ID %q: %w", text, err)
	}
	return nil
}

// Partition is one part of a stream under one selection. Key is normalised by the source (UUIDs in lower case) and is
// empty for a stream without partitions.
type Partition struct {
	Selection SelectionID `json:"selection"`
	Stream    string      `json:"stream"`
	Key       string      `json:"partition"`
}

// String returns "stream/key", or the stream alone.
func (p Partition) String() string {
	if p.Key == "" {
		return p.Stream
	}
	return p.Stream + "/" + p.Key
}

// Slice is the bounded unit of work. Make one with NewSlice: the ID must fit the rest.
type Slice struct {
	ID SliceID `json:"id"`
	Partition
	From time.Time `json:"from"` // inclusive, whole UTC milliseconds
	To   time.Time `json:"to"`   // exclusive, at most the end of From's UTC day
	Rev  uint32    `json:"rev"`
}

// NewSlice returns the slice of a partition, range and revision with its ID. It doesn't validate: see Validate.
func NewSlice(p Partition, from, to time.Time, rev uint32) Slice {
	s := Slice{Partition: p, From: from.UTC(), To: to.UTC(), Rev: rev}
	s.ID = s.computeID()
	return s
}

func (s Slice) computeID() SliceID {
	h := sha256.New()
	h.Write([]byte("sluice-slice-v1\x00"))
	h.Write(s.Selection[:])
	writeField(h, s.Stream)
	writeField(h, s.Key)
	var b [20]byte
	binary.BigEndian.PutUint64(b[0:], uint64(s.From.UnixMilli()))
	binary.BigEndian.PutUint64(b[8:], uint64(s.To.UnixMilli()))
	binary.BigEndian.PutUint32(b[16:], s.Rev)
	h.Write(b[:])
	var id SliceID
	copy(id[:], h.Sum(nil))
	return id
}

// Range returns the slice's half-open range.
func (s Slice) Range() Range { return Range{From: s.From, To: s.To} }

// Day returns the UTC midnight at which the slice's day begins.
func (s Slice) Day() time.Time { return Day(s.From) }

// String returns the stream, partition, range and revision in a form for logs.
func (s Slice) String() string {
	r := s.Partition.String() + " " + s.Range().String()
	if s.Rev > 0 {
		r += fmt.Sprintf(" rev %d", s.Rev)
	}
	return r
}

// Validate reports all that makes the slice unfit: an empty range, parts of a millisecond, a range across a UTC day, an
// ID that doesn't fit, or a missing stream.
func (s Slice) Validate() error {
	var errs []error
	if s.Stream == "" {
		errs = append(errs, errors.New("no stream"))
	}
	if strings.ContainsRune(s.Stream, 0) || strings.ContainsRune(s.Key, 0) {
		errs = append(errs, errors.New("a NUL in the stream's or partition's name"))
	}
	switch {
	case !wholeMilli(s.From) || !wholeMilli(s.To):
		errs = append(errs, errors.New("bounds aren't whole milliseconds"))
	case !s.From.Before(s.To):
		errs = append(errs, errors.New("range is empty"))
	case s.To.After(Day(s.From).Add(24 * time.Hour)):
		errs = append(errs, errors.New("range crosses a UTC day"))
	}
	if s.ID != s.computeID() {
		errs = append(errs, errors.New("ID doesn't fit selection, stream, partition, range and revision"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("slice %s: %w", s, errors.Join(errs...))
	}
	return nil
}

// Hint is what an earlier slice of the partition weighed.
type Hint struct {
	From, To    time.Time
	Rows, Bytes uint64
	Truncated   bool // the read met the vendor's cap: Rows and Bytes are what was seen until then
}

// Gap is a range of a partition that was asked for and isn't covered. It may span many days.
type Gap struct {
	Partition
	From, To time.Time
	Hints    []Hint // most recent last; may be empty
}

// Range returns the gap's half-open range.
func (g Gap) Range() Range { return Range{From: g.From, To: g.To} }

// Day returns the UTC midnight at or before t.
func Day(t time.Time) time.Time {
	y, m, d := t.UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func wholeMilli(t time.Time) bool { return t.Nanosecond()%int(time.Millisecond) == 0 }

func unhex(dst, text []byte) error {
	if len(text) != 2*len(dst) {
		return fmt.Errorf("want %d hex digits, have %d characters", 2*len(dst), len(text))
	}
	_, err := hex.Decode(dst, text)
	return err
}
