package elsa

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

// collector is an Emitter, Opener and Counter that keeps what it is given and checks what the contract asks of a source.
type collector struct {
	tb testing.TB

	mu       sync.Mutex
	busy     bool // a method runs: a second one at once is an error
	opened   int
	opening  plugins.Opening
	rows     []map[string]any // by column; nulls left out
	bodies   []string         // exact bytes, dead ones included
	batches  []int
	dead     []string
	reasons  []string
	waits    []string
	counters map[string]uint64
	sum      flow.Sum
	onBatch  func(r arrow.Record)
	quiet    bool // keep nothing
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
	if c.opened != 1 {
		return fmt.Errorf("a batch after %d openings", c.opened)
	}
	sum, err := flow.SumRecord(r)
	if err != nil {
		return err
	}
	c.sum = c.sum.Plus(sum)
	c.batches = append(c.batches, int(r.NumRows()))
	if c.onBatch != nil {
		c.onBatch(r)
	}
	if c.quiet {
		return nil
	}
	bodyAt, rawAt, _ := flow.BodyColumns(r.Schema())
	body, raw := r.Column(bodyAt).(*array.String), r.Column(rawAt).(*array.Binary)
	for i := range int(r.NumRows()) {
		row := map[string]any{}
		for at, f := range r.Schema().Fields() {
			if column := r.Column(at); column.IsValid(i) {
				row[f.Name] = valueOf(column, i)
			}
		}
		c.rows = append(c.rows, row)
		c.bodies = append(c.bodies, string(flow.RowBody(body, raw, i)))
	}
	return nil
}

func valueOf(a arrow.Array, i int) any {
	switch a := a.(type) {
	case *array.String:
		return string([]byte(a.Value(i)))
	case *array.Binary:
		return string(a.Value(i))
	case *array.Int32:
		return int(a.Value(i))
	case *array.Timestamp:
		return a.Value(i).ToTime(arrow.Nanosecond).UTC().Format(time.RFC3339Nano)
	case *array.Map:
		from, to := a.ValueOffsets(i)
		keys, items := a.Keys().(*array.String), a.Items().(*array.String)
		out := map[string]any{}
		for j := int(from); j < int(to); j++ {
			out[string([]byte(keys.Value(j)))] = nil
			if items.IsValid(j) {
				out[string([]byte(keys.Value(j)))] = string([]byte(items.Value(j)))
			}
		}
		if len(out) != int(to-from) {
			return "two attributes of one name"
		}
		return out
	}
	return fmt.Sprintf("a %T", a)
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
	c.bodies = append(c.bodies, string(text))
	c.dead = append(c.dead, string(text))
	c.reasons = append(c.reasons, reason)
	return nil
}

func (c *collector) Waiting(_ time.Time, why string) error {
	defer c.enter()()
	c.waits = append(c.waits, why)
	return nil
}

func (c *collector) Count(name string, n uint64) { c.counters[name] += n }

func (c *collector) release() {
	if c.opening.Constants != nil {
		c.opening.Constants.Release()
	}
}

// lines are the rows as JSON, one a line.
func (c *collector) lines() (out []string) {
	for _, r := range c.rows {
		text, err := json.Marshal(r)
		if err != nil {
			c.tb.Fatal(err)
		}
		out = append(out, string(text))
	}
	return out
}

// timestamps returns the values of a batch's first column.
func timestamps(r arrow.Record) (out []int64) {
	column := r.Column(0).(*array.Timestamp)
	for i := range column.Len() {
		out = append(out, int64(column.Value(i)))
	}
	return out
}
