package supervisor

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// collector judges the messages of one Read, in their order, and sums up what they hold. Used by the receive loop alone.
type collector struct {
	read   *Read
	layout *wire.Layout // nil before Opened
	seq    uint64       // of the next batch
	sum    flow.Sum

	dead    uint64       // of the next dead record
	hasher  *flow.Hasher // of the dead record whose pieces come, nil without
	written int64        // its bytes so far

	end error // io.EOF after Done, *flow.Truncated after Truncated
}

// take judges one message. The item, if it makes one, holds all that has to be freed; q.in is set if that is the message.
func (c *collector) take(in *wire.InMessage) (q queued, err error) {
	p := c.read.plugin
	if c.end != nil {
		return q, p.violation("a message after the last one of a read")
	}
	if in.Batch != nil || in.Dead != nil {
		if c.layout == nil {
			return q, p.violation("data before Opened")
		}
		if err := c.read.window.Receive(int64(in.Size)); err != nil {
			return q, p.violation("data without credit: %v", err)
		}
	}
	switch {
	case in.Batch != nil:
		return c.batch(in)
	case in.Dead != nil:
		return c.piece(in)
	}
	switch m := in.Response.GetMessage().(type) {
	case *v1.ReadResponse_Waiting:
		return q, c.waiting(m.Waiting)
	case *v1.ReadResponse_Opened:
		return q, c.open(m.Opened)
	case *v1.ReadResponse_Done:
		return q, c.done(m.Done)
	case *v1.ReadResponse_Truncated:
		return q, c.truncated(m.Truncated)
	}
	return q, p.violation("an empty or unknown message in a read")
}

func (c *collector) waiting(m *v1.Waiting) error {
	until, err := wire.TimeFromProto(m.GetUntil())
	if err != nil {
		return c.read.plugin.violation("waits until a time that isn't one: %v", err)
	}
	if c.read.wait != nil {
		c.read.wait(until, c.read.plugin.redact.shown(m.GetWhy(), maxShownLine))
	}
	return nil
}

func (c *collector) open(m *v1.Opened) error {
	p, r := c.read.plugin, c.read
	if c.layout != nil {
		return p.violation("Opened twice")
	}
	schema, err := wire.DecodeSchema(m.GetSchema())
	if err != nil {
		return p.violation("the schema of the stream %s can't be read: %v", r.slice.Stream, err)
	}
	if !schema.Equal(r.declared.Schema) {
		return p.violation("wrong schema: the stream %s was declared as %s and opened as %s", r.slice.Stream, columns(r.declared.Schema.Fields()), columns(schema.Fields()))
	}
	constants := make([]int, len(m.GetConstantColumns()))
	for i, n := range m.GetConstantColumns() {
		constants[i] = int(n)
	}
	layout, err := wire.NewLayout(r.declared.Schema, constants)
	if err == nil {
		if err = layout.SetConstants(m.GetConstants()); err != nil {
			layout.Release()
		}
	}
	if err != nil {
		return p.violation("wrong constants: %v", err)
	}
	c.layout = layout
	vendorTime, err := wire.TimeFromProto(m.GetVendorTime())
	if err != nil {
		return p.violation("the vendor's time isn't one: %v", err)
	}
	r.vendorTime, r.constants, r.oneRow = vendorTime, constants, m.GetConstants()
	close(r.opened)
	return nil
}

func (c *collector) batch(in *wire.InMessage) (q queued, err error) {
	p, b := c.read.plugin, in.Batch
	if b.Seq != c.seq {
		return q, p.violation("batch %d came where %d was due", b.Seq, c.seq)
	}
	c.seq++
	limits := wire.Limits{MaxBytes: c.read.longest}
	if b.Rows == 1 {
		limits.MaxBytes = c.read.longestOne
	}
	rec, err := c.layout.Decode(b, limits)
	if err != nil {
		return q, p.violation("wrong frame in batch %d: %v", b.Seq, err)
	}
	sum, err := c.read.declared.sum(rec)
	if err != nil {
		rec.Release()
		return q, p.violation("batch %d: %v", b.Seq, err)
	}
	c.sum = c.sum.Plus(sum)
	batch := &flow.Batch{Slice: c.read.slice.ID, Seq: b.Seq, Records: rec, Bytes: int64(in.Size), Sum: sum}
	return queued{item: flow.Item{Batch: batch}, size: int64(in.Size)}, nil
}

func (c *collector) piece(in *wire.InMessage) (q queued, err error) {
	p, d := c.read.plugin, in.Dead
	switch {
	case d.Record != c.dead:
		return q, p.violation("a piece of the dead record %d came where one of %d was due", d.Record, c.dead)
	case d.Offset != uint64(c.written):
		return q, p.violation("a piece at %d of the dead record %d came where %d was due", d.Offset, d.Record, c.written)
	case len(d.Data) == 0 && !d.Last:
		return q, p.violation("an empty piece of the dead record %d", d.Record)
	}
	if c.hasher == nil {
		c.hasher = flow.NewHasher()
	}
	_, _ = c.hasher.Write(d.Data) // never fails
	c.written += int64(len(d.Data))
	piece := &flow.DeadPiece{Record: d.Record, Offset: int64(d.Offset), Bytes: d.Data, Last: d.Last}
	if d.Last {
		piece.Reason = p.redact.shown(d.Reason, maxLogAttr)
		c.sum = c.sum.Plus(c.hasher.Sum())
		c.hasher, c.written = nil, 0
		c.dead++
	}
	return queued{item: flow.Item{Dead: piece}, size: int64(in.Size), in: in}, nil
}

func (c *collector) done(m *v1.Done) error {
	p, r := c.read.plugin, c.read
	sum, err := wire.SumFromProto(m.GetSum())
	switch {
	case c.layout == nil:
		return p.violation("Done before Opened")
	case c.hasher != nil:
		return p.violation("Done within the dead record %d", c.dead)
	case err != nil:
		return p.violation("wrong manifest: %v", err)
	case sum != c.sum:
		return p.violation("wrong manifest: it says %s, what arrived is %s", describeSum(sum), describeSum(c.sum))
	case len(m.GetCounters()) > maxCounters:
		return p.violation("%d counters, at most %d are taken", len(m.GetCounters()), maxCounters)
	}
	counters := make(map[string]uint64, len(m.GetCounters()))
	for name, n := range m.GetCounters() {
		counters[p.redact.shown(name, maxShownLine)] += n
	}
	r.mu.Lock()
	r.manifest = flow.Manifest{Slice: r.slice, Sum: sum}
	r.counters = counters
	r.mu.Unlock()
	c.end = io.EOF
	return nil
}

func (c *collector) truncated(m *v1.Truncated) error {
	parts, err := wire.SlicesFromProto(m.GetParts())
	if err == nil {
		err = covers(c.read.slice, parts)
	}
	if err != nil {
		return c.read.plugin.violation("the parts of a truncated read don't cover %s exactly: %v", c.read.slice, err)
	}
	c.end = &flow.Truncated{Slice: c.read.slice, Into: parts, Rows: m.GetRows(), Bytes: m.GetBytes()}
	return nil
}

// covers checks that no parts or at least two cover a slice exactly, in order.
func covers(s flow.Slice, parts []flow.Slice) error {
	if len(parts) == 0 {
		return nil
	}
	if len(parts) == 1 {
		return errors.New("one part is no cut")
	}
	at := s.From
	for _, part := range parts {
		switch {
		case part.Partition != s.Partition || part.Rev != s.Rev:
			return fmt.Errorf("%s is of another partition, selection or revision", part)
		case !part.From.Equal(at):
			return fmt.Errorf("%s doesn't begin at %s", part, at.Format(flow.Layout))
		}
		at = part.To
	}
	if !at.Equal(s.To) {
		return fmt.Errorf("they end at %s", at.Format(flow.Layout))
	}
	return nil
}

func describeSum(s flow.Sum) string {
	return fmt.Sprintf("%d rows, %d bytes, digest %s", s.Rows, s.Bytes, s.Digest)
}

// columns shows a schema shortly.
func columns[F fmt.Stringer](fields []F) string {
	words := make([]string, len(fields))
	for i, f := range fields {
		words[i] = clean([]byte(f.String()), 60)
	}
	return clean([]byte("("+strings.Join(words, ", ")+")"), 400)
}
