package elsa

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/sluice-io/sluice/proto/fault"
)

// long sends the record at the feed's beginning, which is too long to be held, to the dead letters.
func (e *entryDecoder) long(ctx context.Context, end ender) error {
	e.rows++
	record := &longRecord{feed: &e.feed, end: end}
	err := e.dead(ctx, fmt.Sprintf("longer than %d bytes", e.record), record, 0)
	e.bytes += record.size
	switch {
	case record.err != nil && record.err != io.EOF:
		return record.err
	case err != nil:
		return err
	case record.err == nil:
		return fault.Errorf(fault.Bug, "send a dead letter", "the emitter left bytes of the record unread")
	}
	if err := end.check(record.whole); err != nil {
		return e.broken(err)
	}
	return nil
}

// ender finds a record's last byte. check says what is wrong with the record when that has come, or when the text is at its end.
type ender interface {
	next(c byte) (done bool)
	check(whole bool) error
}

// longRecord reads the record at a feed's beginning to its end.
type longRecord struct {
	feed  *feed
	end   ender
	size  uint64
	whole bool // its last byte has come
	err   error
}

func (l *longRecord) Read(p []byte) (int, error) {
	for l.err == nil && len(l.feed.data()) == 0 {
		if l.whole {
			break
		}
		l.err = l.feed.more()
	}
	if l.whole && l.err == nil {
		l.err = io.EOF
	}
	if l.err != nil || len(p) == 0 {
		return 0, l.err
	}
	from := l.feed.data()
	n := 0
	for n < min(len(p), len(from)) && !l.whole {
		l.whole = l.end.next(from[n])
		n++
	}
	copy(p, from[:n])
	l.feed.pass(n)
	l.size += uint64(n)
	return n, nil
}

// feed is a window on a text: it holds what has been read and not passed, and grows when asked for more of the same.
type feed struct {
	r      io.Reader
	buf    []byte
	begin  int
	ended  bool
	err    error
	passed int64
}

func (f *feed) data() []byte { return f.buf[f.begin:] }

func (f *feed) pass(n int) {
	f.begin += n
	f.passed += int64(n)
}

// more reads on until the window is full; it returns io.EOF when there is nothing more. Slices of data become invalid.
func (f *feed) more() error {
	if f.ended {
		return io.EOF
	}
	if f.err != nil {
		return f.err
	}
	if f.begin > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.begin:])]
		f.begin = 0
	}
	if free := cap(f.buf) - len(f.buf); free < feedBlock/2 {
		f.buf = slices.Grow(f.buf, max(feedBlock, cap(f.buf)))
	}
	n, err := io.ReadFull(f.r, f.buf[len(f.buf):cap(f.buf)])
	f.buf = f.buf[:len(f.buf)+n]
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		f.ended = true
		if n == 0 {
			return io.EOF
		}
	case err != nil:
		f.err = err
		return err
	}
	return nil
}

// token passes white space and returns the byte behind it without passing that; io.EOF at the end.
func (f *feed) token() (byte, error) {
	for {
		p := f.data()
		i := skipSpace(p, 0)
		f.pass(i)
		if i < len(p) {
			return p[i], nil
		}
		if err := f.more(); err != nil {
			return 0, err
		}
	}
}
