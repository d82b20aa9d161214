// Package stdout is the sink that prints records, for pipes: `sluice run ... | jq`. It is at least once: what was printed
// can't be taken back, so a slice that fails half way is printed again from its beginning, and nothing is remembered beyond
// the run. Whole batches are written at a time, so lines of slices that run side by side don't mix.
package stdout

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/encode"
)

// ErrReaderGone says that whoever read standard output has ended, as head does: a reason to stop, not a failure. Its kind
// is fault.Canceled. (A Go process gets it only if it ignores SIGPIPE; else the signal ends it.)
var ErrReaderGone = errors.New("the reader of standard output has ended")

// Definition is the stdout sink's.
var Definition = sinks.Definition{
	Type:    "stdout",
	Promise: "at least once; remembered for one run",
	Config:  []byte(schema),
	Open: func(_ context.Context, c sinks.Config) (sinks.Sink, error) {
		return Open(c)
	},
	Check: func(_ context.Context, c sinks.Config) error {
		_, err := parse(c)
		return err
	},
	Buffer: func(sinks.Config) (int64, error) { return buffer, nil },
	OneRun: true,
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "stdout sink",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "format": {
      "type": "string", "enum": ["raw", "ndjson", "csv"], "default": "ndjson",
      "description": "raw: the exact bytes of each line; ndjson: one JSON object a line; csv: RFC 4180 with a header at the beginning, for one stream."
    }
  }
}`

type settings struct {
	Format encode.Format `json:"format"`
}

// blockSize is how much is encoded before it is written.
const blockSize = 256 << 10

// buffer is the most that a transaction holds.
const buffer = 2 * blockSize

// Sink prints.
type Sink struct {
	format encode.Format
	id     string
	out    io.Writer

	mu     sync.Mutex // held while a batch is printed
	block  []byte
	headed bool
	broken error // the first failed write; what was printed after half a line would be read as its rest
	closed bool
}

var (
	_ sinks.Sink  = (*Sink)(nil)
	_ sinks.Sizer = (*Sink)(nil)
)

func parse(c sinks.Config) (settings, error) {
	const op = "read the stdout sink's settings"
	s := settings{Format: encode.NDJSON}
	if len(bytes.TrimSpace(c.Settings)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(c.Settings))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil {
			return s, fault.New(fault.Config, op, "", err)
		}
	}
	if !slices.Contains(encode.Formats(), s.Format) {
		return s, fault.Errorf(fault.Config, op, "format: %q isn't one of raw, ndjson, csv", s.Format)
	}
	if s.Format == encode.CSV && len(c.Streams) > 1 {
		return s, fault.Errorf(fault.Config, op, "format csv takes one stream, whose columns the header names: there are %d", len(c.Streams)).
			WithHint("use ndjson, or name one stream")
	}
	for _, st := range c.Streams {
		if _, err := encode.New(s.Format, st.Schema); err != nil {
			return s, fmt.Errorf("stream %s: %w", st.Name, err)
		}
	}
	return s, nil
}

// Open returns a sink that prints to c.Stdout. Two of them on one output would mix their lines: a pipeline has one.
func Open(c sinks.Config) (*Sink, error) {
	s, err := parse(c)
	if err != nil {
		return nil, err
	}
	if c.Stdout == nil {
		return nil, fault.Errorf(fault.Config, "open the stdout sink", "this command doesn't print records").WithHint("use another sink, or `sluice run`")
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	return &Sink{format: s.Format, id: hex.EncodeToString(id[:]), out: c.Stdout}, nil
}

// Identity implements sinks.Sink. It lasts for one run, and so does what the ledger knows under it.
func (k *Sink) Identity() string { return k.id }

// Buffer implements sinks.Sizer; all transactions share one block, each counts it.
func (k *Sink) Buffer() int64 { return buffer }

// Close implements sinks.Sink. It doesn't close the output, which is the process's.
func (k *Sink) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	return nil
}

// Begin implements sinks.Sink.
func (k *Sink) Begin(_ context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	enc, err := encode.New(k.format, schema)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, fault.Errorf(fault.Bug, "begin a slice", "the sink is closed")
	}
	if k.broken != nil {
		return nil, k.broken
	}
	return &txn{sink: k, slice: s, enc: enc}, nil
}

type txn struct {
	sink  *Sink
	slice flow.Slice
	enc   encode.Encoder
	rows  uint64
	dead  bool
}

// Append implements sinks.Txn: the batch is printed when it returns.
func (t *txn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	if t.dead {
		return nil, sinks.ErrDead
	}
	k := t.sink
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, sinks.ErrDead
	case k.broken != nil:
		return nil, k.broken
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	rows := int(b.Records.NumRows())
	if !k.headed && rows > 0 {
		k.block = append(k.block[:0], t.enc.Header()...)
		k.headed = true
	} else {
		k.block = k.block[:0]
	}
	for row := 0; row < rows; {
		var err error
		if k.block, row, err = t.enc.Append(k.block, b.Records, row, blockSize); err != nil {
			return nil, fmt.Errorf("slice %s: %w", t.slice, err)
		}
		if err := k.print(); err != nil {
			return nil, err
		}
	}
	if cap(k.block) > 2*blockSize {
		k.block = nil // one large record must not be remembered by its buffer
	}
	t.rows += uint64(rows)
	return nil, nil
}

// print writes the block. k.mu is held.
func (k *Sink) print() error {
	n, err := k.out.Write(k.block)
	if err == nil && n < len(k.block) {
		err = io.ErrShortWrite
	}
	k.block = k.block[:0]
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		k.broken = fault.New(fault.Canceled, "print records", "", fmt.Errorf("%w: %w", ErrReaderGone, err))
	default:
		k.broken = fault.New(fault.Config, "print records", "standard output can't be written: is its disk full?", err)
	}
	return k.broken
}

// Commit implements sinks.Txn. The records are printed already; a receipt without parts says how many.
func (t *txn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	if t.dead {
		return sinks.Receipt{}, sinks.ErrDead
	}
	t.dead = true
	if err := ctx.Err(); err != nil {
		return sinks.Receipt{}, err
	}
	if !a.Balanced() || a.Delivered.Rows != t.rows {
		return sinks.Receipt{}, fault.Errorf(fault.Bug, "commit", "slice %s: %d rows were printed, delivered are %d of %d", t.slice, t.rows, a.Delivered.Rows, a.Read.Rows)
	}
	return sinks.Receipt{
		Slice: t.slice, Delivered: a.Delivered, Dead: a.Dead, DeadLetters: a.DeadLetters, At: time.Now().UTC().Truncate(time.Millisecond),
	}, nil
}

// Abort implements sinks.Txn. What was printed stays printed.
func (t *txn) Abort() error {
	t.dead = true
	return nil
}
