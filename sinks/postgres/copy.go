package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

// The frame of a binary COPY.
var (
	copyHeader = append([]byte("PGCOPY\n\xff\r\n\x00"), make([]byte, 8)...)
	copyEnd    = []byte{0xff, 0xff}
)

const (
	blockSize = 64 << 10 // encoded before it is sent
	maxRow    = 1 << 29  // of a row in a COPY; the server holds less than 1 GB of one, some of it twice
)

// buffer is what a transaction holds beyond the batch in Append: a block here and one in the driver, each at most about doubled by growing.
const buffer = 4 * blockSize

// copier is the reader of a batch in the form of COPY ... (FORMAT binary). Rows that the table can't hold are left out. The driver reads it
// in a goroutine of its own, which outlives CopyFrom when the connection is lost.
type copier struct {
	columns []column

	mu    sync.Mutex // of what follows while the driver reads
	bound []boundColumn
	row   int
	rows  int
	block []byte // encoded
	sent  int    // of it
	ended bool
	out   []sinks.Rejected
	err   error
	limit int
}

type boundColumn struct {
	null  func(row int) bool // nil: all are
	value appender
}

// reset takes a batch. The copier keeps nothing of it after release.
func (c *copier) reset(rec arrow.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(rec.NumCols()) != len(c.columns) {
		return fault.Errorf(fault.Bug, "copy a batch", "it has %d columns, its slice %d", rec.NumCols(), len(c.columns))
	}
	c.bound = c.bound[:0]
	for i := range c.columns {
		a := rec.Column(i)
		if !arrow.TypeEqual(a.DataType(), c.columns[i].arrow) {
			return fault.Errorf(fault.Bug, "copy a batch", "column %q is %s, in its slice %s", c.columns[i].name, a.DataType(), c.columns[i].arrow)
		}
		value, err := c.columns[i].bind(a)
		if err != nil {
			return err
		}
		b := boundColumn{value: value}
		if a.NullN() < a.Len() && a.DataType().ID() != arrow.NULL {
			b.null = a.IsNull
		}
		c.bound = append(c.bound, b)
	}
	c.keepBody(rec)
	c.row, c.rows, c.sent, c.ended, c.out, c.err = 0, int(rec.NumRows()), 0, false, nil, nil
	c.block = append(c.block[:0], copyHeader...)
	return nil
}

// errReleased is for a driver that reads on.
var errReleased = errors.New("the batch was given back")

// release lets go of the batch: nothing of it is read when it has returned.
func (c *copier) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errReleased
	clear(c.bound)
	if cap(c.block) > 2*blockSize {
		c.block = nil // one large record must not be remembered by its buffer
	}
}

// failure is why the batch couldn't be encoded; nil: it could, as far as it was read.
func (c *copier) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// keepBody treats a NUL in a line as the sources treat bytes that aren't UTF-8: body has U+FFFD in its place, and body_raw the
// exact bytes.
func (c *copier) keepBody(rec arrow.Record) {
	raw := -1
	for i := range c.columns {
		if c.columns[i].bodyRaw {
			raw = i
		}
	}
	if raw < 0 {
		return
	}
	at := rec.Schema().FieldIndices("body")[0] // columnsOf has found both
	body, exact := rec.Column(at).(*array.String), rec.Column(raw).(*array.Binary)
	if bytes.IndexByte(body.ValueBytes(), 0) < 0 {
		return
	}
	c.bound[at].value = func(dst []byte, row int) ([]byte, error) {
		for rest := stringBytes(body, row); ; {
			before, after, found := bytes.Cut(rest, []byte{0})
			dst = append(dst, before...)
			if !found {
				return dst, nil
			}
			dst, rest = append(dst, "\uFFFD"...), after
		}
	}
	c.bound[raw] = boundColumn{
		null: func(row int) bool {
			return exact.IsNull(row) && (body.IsNull(row) || bytes.IndexByte(stringBytes(body, row), 0) < 0)
		},
		value: func(dst []byte, row int) ([]byte, error) {
			if exact.IsValid(row) {
				return append(dst, exact.Value(row)...), nil
			}
			return append(dst, stringBytes(body, row)...), nil
		},
	}
}

// Read implements io.Reader.
func (c *copier) Read(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if p := recover(); p != nil { // in the driver's goroutine it would end the process
			c.err = fault.Errorf(fault.Bug, "encode a batch", "panic: %v", p)
			n, err = 0, c.err
		}
	}()
	if c.err != nil {
		return 0, c.err
	}
	if c.sent == len(c.block) {
		if c.ended {
			return 0, io.EOF
		}
		c.sent, c.block = 0, c.block[:0]
		c.fill()
		if c.err != nil {
			return 0, c.err
		}
	}
	n = copy(p, c.block[c.sent:])
	c.sent += n
	return n, nil
}

func (c *copier) fill() {
	for len(c.block) < blockSize && c.row < c.rows {
		start := len(c.block)
		var reason *unfitError
		switch err := c.appendRow(); {
		case errors.As(err, &reason):
			c.block = c.block[:start]
			c.out = append(c.out, sinks.Rejected{Row: c.row, Reason: "postgres: " + err.Error()})
		case err != nil:
			c.err = err
			return
		}
		c.row++
	}
	if c.row == c.rows && len(c.block) < blockSize {
		c.block = append(c.block, copyEnd...)
		c.ended = true
	}
}

func (c *copier) appendRow() error {
	start := len(c.block)
	c.block = binary.BigEndian.AppendUint16(c.block, uint16(len(c.bound)))
	for i := range c.bound {
		b := &c.bound[i]
		if b.null == nil || b.null(c.row) {
			c.block = append(c.block, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		at := len(c.block)
		var err error
		if c.block, err = b.value(append(c.block, 0, 0, 0, 0), c.row); err != nil {
			return fmt.Errorf("column %s: %w", c.columns[i].name, err)
		}
		if len(c.block)-start > c.limit {
			return unfit("the record has more than %d bytes as a row, too many for PostgreSQL", c.limit)
		}
		binary.BigEndian.PutUint32(c.block[at:], uint32(len(c.block)-at-4))
	}
	return nil
}
