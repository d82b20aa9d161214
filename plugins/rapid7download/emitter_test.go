package rapid7download

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// collector is an Emitter, Opener and Counter that keeps what it is given and checks what the contract asks of a source.
type collector struct {
	tb testing.TB

	mu       sync.Mutex
	busy     bool // a method runs: a second one at once is an error
	opened   int
	opening  plugins.Opening
	lines    []string // exact bytes, in order, dead ones included
	bodies   []string
	batches  []int   // rows
	weights  []int   // bytes of body and body_raw
	times    []int64 // nanoseconds, -1 for null; empty without the column
	dead     []string
	reasons  []string
	waits    []string
	counters map[string]uint64
	sum      flow.Sum
	onBatch  func(rows int)
	deadErr  error
}

func newCollector(tb testing.TB) *collector {
	return &collector{tb: tb, counters: map[string]uint64{}}
}

func (c *collector) enter() func() {
	c.mu.Lock()
	if c.busy {
		c.tb.Error("two of the emitter's methods run at once")
	}
	c.busy = true
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		c.busy = false
		c.mu.Unlock()
	}
}

func (c *collector) Open(_ context.Context, o plugins.Opening) error {
	defer c.enter()()
	c.opened++
	o.Constants.Retain()
	c.opening = o
	return nil
}

func (c *collector) Batch(ctx context.Context, r arrow.Record) error {
	defer c.enter()()
	if err := ctx.Err(); err != nil {
		return err
	}
	sum, err := flow.SumRecord(r)
	if err != nil {
		return err
	}
	c.sum = c.sum.Plus(sum)
	bodyIndex, rawIndex, ok := flow.BodyColumns(r.Schema())
	timed := r.Schema().HasField(flow.ColTimestamp)
	if !ok || rawIndex < 0 || timed && r.NumCols() != 3 || !timed && r.NumCols() != 2 {
		return fmt.Errorf("a batch has the columns %v", r.Schema())
	}
	if timed {
		column := r.Column(0).(*array.Timestamp)
		for i := range column.Len() {
			if column.IsNull(i) {
				c.times = append(c.times, -1)
			} else {
				c.times = append(c.times, int64(column.Value(i)))
			}
		}
	}
	body, raw := r.Column(bodyIndex).(*array.String), r.Column(rawIndex).(*array.Binary)
	weight := len(body.ValueBytes())
	for i := range int(r.NumRows()) {
		c.lines = append(c.lines, string(flow.RowBody(body, raw, i)))
		c.bodies = append(c.bodies, strings.Clone(body.Value(i))) // the record's memory goes
		if raw.IsValid(i) {
			weight += len(raw.Value(i))
		}
	}
	c.batches = append(c.batches, int(r.NumRows()))
	c.weights = append(c.weights, weight)
	if c.onBatch != nil {
		c.onBatch(int(r.NumRows()))
	}
	return nil
}

func (c *collector) Dead(_ context.Context, reason string, r io.Reader) error {
	defer c.enter()()
	h := flow.NewHasher()
	var text []byte
	buf := make([]byte, 777) // an odd size, so that pieces meet everywhere
	for {
		n, err := r.Read(buf)
		text = append(text, buf[:n]...)
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	c.sum = c.sum.Plus(h.Sum())
	c.lines = append(c.lines, string(text))
	c.dead = append(c.dead, string(text))
	c.reasons = append(c.reasons, reason)
	return c.deadErr
}

func (c *collector) Waiting(_ time.Time, why string) error {
	defer c.enter()()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = append(c.waits, why)
	return nil
}

func (c *collector) Count(name string, n uint64) { c.counters[name] += n }

func (c *collector) release() {
	if c.opening.Constants != nil {
		c.opening.Constants.Release()
	}
}

// roughAllocator gives memory that is longer than asked for and full of rubbish, and spoils what it gets back: who uses
// a batch after its last release sees it.
type roughAllocator struct{ memory.Allocator }

func spoil(b []byte) []byte {
	for i := range b {
		b[i] = 0xa5
	}
	return b
}

func (a roughAllocator) Allocate(n int) []byte { return spoil(a.Allocator.Allocate(n + 256))[:n] }

func (a roughAllocator) Reallocate(n int, b []byte) []byte {
	out := a.Allocate(n)
	copy(out, b)
	a.Free(b)
	return out
}

func (a roughAllocator) Free(b []byte) {
	if cap(b) > 0 {
		a.Allocator.Free(spoil(b[: len(b)+256 : len(b)+256]))
	}
}
