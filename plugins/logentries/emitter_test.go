package logentries

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// row is an event as it arrived.
type row struct {
	At       int64
	Sequence uint64
	Line     string
}

// collector is an Emitter, Opener and Counter that keeps what it is given and checks what the contract asks of a source.
type collector struct {
	tb testing.TB

	mu       sync.Mutex
	busy     bool // a method runs: a second one at once is an error
	opened   int
	opening  plugins.Opening
	rows     []row
	lines    []string // exact bytes, in order, dead ones included
	bodies   []string
	more     []map[string]string // attributes, nil for none
	batches  []string            // as JSON
	dead     []string
	waits    []string
	counters map[string]uint64
	onBatch  func()
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
	if o.Constants != nil {
		o.Constants.Retain()
	}
	c.opening = o
	return nil
}

func (c *collector) Batch(ctx context.Context, r arrow.Record) error {
	defer c.enter()()
	if err := ctx.Err(); err != nil {
		return err
	}
	bodyIndex, rawIndex, ok := flow.BodyColumns(r.Schema())
	if ok {
		if r.NumCols() != 6 {
			return fmt.Errorf("a batch has the columns %v", r.Schema())
		}
		times := r.Column(0).(*array.Timestamp)
		sequences := r.Column(r.Schema().FieldIndices(colSequence)[0]).(*array.Uint64)
		body, raw := r.Column(bodyIndex).(*array.String), r.Column(rawIndex).(*array.Binary)
		for i := range int(r.NumRows()) {
			line := string(flow.RowBody(body, raw, i))
			c.lines = append(c.lines, line)
			c.bodies = append(c.bodies, string([]byte(body.Value(i)))) // the record's memory goes
			c.more = append(c.more, c.attributes(r, i))
			c.rows = append(c.rows, row{int64(times.Value(i)) / int64(time.Millisecond), sequences.Value(i), line})
		}
	}
	if len(c.bodies) == 0 || len(c.bodies[0]) < 1<<20 { // golden batches are small
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		c.batches = append(c.batches, string(text))
	}
	if c.onBatch != nil {
		c.onBatch()
	}
	return nil
}

// attributes returns those of a row.
func (c *collector) attributes(r arrow.Record, i int) map[string]string {
	m := r.Column(r.Schema().FieldIndices(flow.ColAttributes)[0]).(*array.Map)
	if m.IsNull(i) {
		return nil
	}
	from, to := m.ValueOffsets(i)
	keys, items := m.Keys().(*array.String), m.Items().(*array.String)
	out := map[string]string{}
	for j := int(from); j < int(to); j++ {
		out[string([]byte(keys.Value(j)))] = string([]byte(items.Value(j)))
	}
	if len(out) != int(to-from) {
		c.tb.Errorf("two attributes of one name: %v", out)
	}
	return out
}

func (c *collector) Dead(_ context.Context, reason string, r io.Reader) error {
	defer c.enter()()
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.lines = append(c.lines, string(text))
	c.dead = append(c.dead, reason)
	return nil
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
