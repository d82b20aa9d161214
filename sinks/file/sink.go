// Package file is the sink that writes lines, NDJSON and CSV to files, exactly once for each slice. What a slice becomes
// visible by, and what survives a crash, is package commitlog's; formats are package encode's.
//
// A transaction is a pipeline of two: Append encodes into blocks, and one goroutine compresses, hashes and writes them. The
// blocks are few, of fixed size and used again.
package file

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/encode"
)

// Definition is the file sink's.
var Definition = sinks.Definition{
	Type:    "file",
	Promise: "exactly once per slice",
	Config:  []byte(schema),
	Open: func(ctx context.Context, c sinks.Config) (sinks.Sink, error) {
		return Open(ctx, c, commitlog.OS{})
	},
	Check: func(_ context.Context, c sinks.Config) error {
		s, err := parse(c)
		if err != nil {
			return err
		}
		return commitlog.CheckRoot(commitlog.OS{}, s.Path, s.owner(c))
	},
	Buffer: func(c sinks.Config) (int64, error) {
		s, err := parse(c)
		return s.buffer(), err
	},
}

// Sink writes to one root.
type Sink struct {
	set     settings
	log     *commitlog.Log
	layouts map[string]layout // by stream

	mu     sync.Mutex
	open   map[*txn]struct{}
	spare  [][]byte     // blocks that no transaction has
	idle   []compressor // likewise
	closed bool
}

var (
	_ sinks.Sink    = (*Sink)(nil)
	_ sinks.Memory  = (*Sink)(nil)
	_ sinks.Sizer   = (*Sink)(nil)
	_ sinks.Lister  = (*Sink)(nil)
	_ sinks.Locator = (*Sink)(nil)
)

// Open opens a file sink on a file system; Definition.Open does so on the machine's own.
func Open(ctx context.Context, c sinks.Config, fsys commitlog.FS) (*Sink, error) {
	s, err := parse(c)
	if err != nil {
		return nil, err
	}
	l, err := parseLayout(s.Layout)
	if err != nil {
		return nil, err
	}
	log, err := commitlog.Open(ctx, commitlog.Options{FS: fsys, Root: s.Path, Owner: s.owner(c), Sluice: c.Sluice, Now: time.Now, Log: c.Log})
	if err != nil {
		return nil, err
	}
	k := &Sink{set: s, log: log, layouts: map[string]layout{}, open: map[*txn]struct{}{}}
	for _, st := range c.Streams {
		k.layouts[st.Name] = l.of(st)
	}
	return k, nil
}

// Identity implements sinks.Sink: the ID in owner.json, which stays with the folder when it moves.
func (k *Sink) Identity() string { return k.log.Identity() }

// Location implements sinks.Locator.
func (k *Sink) Location() string { return k.log.Location() }

// Buffer implements sinks.Sizer. A record larger than a block isn't in it: there is one at most, until Append returns.
func (k *Sink) Buffer() int64 { return k.set.buffer() }

func (s settings) buffer() int64 {
	n := int64(blocks) * 2 * blockSize
	if s.Compression != plain {
		n += blockSize + s.Compression.memory()
	}
	return n
}

// Begin implements sinks.Sink.
func (k *Sink) Begin(ctx context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	enc, err := encode.New(k.set.Format, schema)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	l, ok := k.layouts[s.Stream]
	if !ok {
		return nil, fault.Errorf(fault.Bug, "begin a slice", "the sink wasn't opened for stream %q", s.Stream)
	}
	st, err := k.log.Begin(ctx, s)
	if err != nil {
		return nil, err
	}
	t := newTxn(k, s, l.dir(s), enc, st)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errors.Join(fault.Errorf(fault.Bug, "begin a slice", "the sink is closed"), st.Abort())
	}
	k.open[t] = struct{}{}
	t.start()
	return t, nil
}

// Committed implements sinks.Memory.
func (k *Sink) Committed(ctx context.Context, g flow.Gap, after func(time.Time) uint64) iter.Seq2[sinks.Receipt, error] {
	return k.log.Committed(ctx, g, after)
}

// Lookup implements sinks.Memory.
func (k *Sink) Lookup(ctx context.Context, s flow.Slice) (sinks.Receipt, error) {
	return k.log.Lookup(ctx, s)
}

// Partitions implements sinks.Lister.
func (k *Sink) Partitions(ctx context.Context) ([]flow.Partition, error) {
	return k.log.Partitions(ctx)
}

// Strays implements sinks.Lister.
func (k *Sink) Strays(ctx context.Context) iter.Seq2[string, error] { return k.log.Strays(ctx) }

// Forget withdraws commits: see commitlog.Log.Forget.
func (k *Sink) Forget(ctx context.Context, p flow.Partition, day time.Time, entries []uint64) (sinks.Receipt, error) {
	return k.log.Forget(ctx, p, day, entries)
}

// Close implements sinks.Sink.
func (k *Sink) Close() error {
	k.mu.Lock()
	k.closed = true
	open := make([]*txn, 0, len(k.open))
	for t := range k.open {
		open = append(open, t)
	}
	k.mu.Unlock()
	var errs []error
	for _, t := range open {
		errs = append(errs, t.Abort())
	}
	return errors.Join(append(errs, k.log.Close())...)
}

// block returns an empty block.
func (k *Sink) block() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.spare); n > 0 {
		b := k.spare[n-1]
		k.spare = k.spare[:n-1]
		return b[:0]
	}
	return make([]byte, 0, blockSize+blockSize/4) // most records end within it, so it hardly ever grows
}

func (k *Sink) compressor() (compressor, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.idle); n > 0 {
		c := k.idle[n-1]
		k.idle = k.idle[:n-1]
		return c, nil
	}
	return k.set.Compression.newCompressor()
}

// ended takes back what a transaction had.
func (k *Sink) ended(t *txn, spare [][]byte, c compressor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.open, t)
	k.spare = append(k.spare, spare...)
	if c != nil {
		k.idle = append(k.idle, c)
	}
}
