package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-io/sluice/proto/credit"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/shm"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// emitter is the Emitter of one Read. Batch, Dead, Open and Waiting come from the source's goroutine, beat from the
// heartbeat's, finish from the stream's: mu orders what they send.
type emitter struct {
	slice  flow.Slice
	stream Stream
	limits Limits
	gate   *credit.Gate
	send   func(msg any) error
	shared *shm.Sender // nil: frames are sent; used while mu is held

	layout   *wire.Layout // nil until opened; used by the source's goroutine and, when that has ended, by finish
	seq      uint64
	dead     uint64
	sum      flow.Sum
	counters map[string]uint64
	failed   error // sticky: what failed once fails the read, even if the source goes on

	mu       sync.Mutex // held while sending
	closed   error      // nothing may be sent any more
	state    sync.Mutex // of what follows; never held while sending
	lastSent time.Time
	waiting  *v1.Waiting // what the source said last, nil once records move again
	blocked  bool        // without credit
}

// sharedFrom is the shortest frame in bytes that goes by shared memory: a shorter one costs no more in the socket, and its read needn't wait at
// its end for the host to have copied it.
const sharedFrom = 64 << 10

var (
	_ Emitter = (*emitter)(nil)
	_ Opener  = (*emitter)(nil)
	_ Counter = (*emitter)(nil)
)

func newEmitter(s flow.Slice, stream Stream, limits Limits, gate *credit.Gate, send func(any) error) *emitter {
	return &emitter{
		slice: s, stream: stream, limits: limits, gate: gate, send: send,
		counters: map[string]uint64{}, lastSent: time.Now(),
	}
}

// fail keeps the first error.
func (e *emitter) fail(err error) error {
	if e.failed == nil {
		e.failed = err
	}
	return err
}

// write sends one message unless the emitter is closed.
func (e *emitter) write(msg any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.writeLocked(msg)
}

func (e *emitter) writeLocked(msg any) error {
	if e.closed != nil {
		return e.closed
	}
	if err := e.send(msg); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	e.state.Lock()
	e.lastSent = time.Now()
	e.state.Unlock()
	return nil
}

// close ends sending for good: later calls of an abandoned source return err.
func (e *emitter) close(err error) {
	e.gate.Close(err)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed == nil {
		e.closed = err
	}
}

// Open implements Opener.
func (e *emitter) Open(_ context.Context, o Opening) error {
	if e.failed != nil {
		return e.failed
	}
	if e.layout != nil {
		return e.fail(fault.Errorf(fault.Bug, "open", "opened twice, or after the first batch"))
	}
	return e.open(o)
}

func (e *emitter) open(o Opening) error {
	schema := e.stream.Schema
	var constants []int
	if o.Constants != nil {
		for _, f := range o.Constants.Schema().Fields() {
			at := schema.FieldIndices(f.Name)
			if len(at) != 1 {
				return e.fail(fault.Errorf(fault.Bug, "open", "constant column %q isn't in the stream's schema", f.Name))
			}
			if e.stream.digested(f.Name) {
				return e.fail(fault.Errorf(fault.Bug, "open", "constant column %q is part of the digest", f.Name))
			}
			constants = append(constants, at[0])
		}
		if raw := o.Constants.Schema().FieldIndices(flow.ColBodyRaw); len(raw) == 1 && len(e.stream.DigestColumns) == 0 &&
			o.Constants.Column(raw[0]).IsValid(0) {
			return e.fail(fault.Errorf(fault.Bug, "open", "constant column %q isn't null: it is part of the digest", flow.ColBodyRaw))
		}
	}
	if !slices.IsSorted(constants) {
		return e.fail(fault.Errorf(fault.Bug, "open", "constant columns aren't in the schema's order"))
	}
	layout, err := wire.NewLayout(schema, constants)
	if err != nil {
		return e.fail(fault.New(fault.Bug, "open", "", err))
	}
	msg := &v1.Opened{VendorTime: wire.TimeToProto(o.VendorTime)}
	for _, c := range constants {
		msg.ConstantColumns = append(msg.ConstantColumns, uint32(c))
	}
	if msg.Schema, err = wire.EncodeSchema(schema); err != nil {
		return e.fail(fault.New(fault.Bug, "open", "", err))
	}
	if len(constants) > 0 {
		if msg.Constants, err = layout.EncodeConstants(o.Constants); err != nil {
			return e.fail(fault.New(fault.Bug, "open", "", err))
		}
	}
	response := &v1.ReadResponse{Message: &v1.ReadResponse_Opened{Opened: msg}}
	if size := proto.Size(response); size > wire.MaxFree {
		return e.fail(fault.Errorf(fault.Bug, "open", "schema and constants take %d bytes, want at most %d", size, wire.MaxFree))
	}
	if err := e.write(response); err != nil {
		return e.fail(err)
	}
	e.layout = layout
	return nil
}

// opened opens without constants if the source hasn't opened.
func (e *emitter) opened() error {
	if e.layout != nil {
		return nil
	}
	return e.open(Opening{})
}

// Batch implements Emitter.
func (e *emitter) Batch(ctx context.Context, r arrow.Record) error {
	if e.failed != nil {
		return e.failed
	}
	if err := e.opened(); err != nil {
		return err
	}
	if err := e.checkRecord(r); err != nil {
		return e.fail(fault.New(fault.Bug, "emit batch", "", err))
	}
	sum, err := e.stream.sum(r)
	if err != nil {
		return e.fail(fault.New(fault.Bug, "emit batch", "", err))
	}
	rows := int(r.NumRows())
	for from := 0; from < rows; {
		to := nextCut(r, from, e.limits.FrameMax, e.layout.MostRows())
		if err := e.frame(ctx, r, from, to); err != nil {
			return e.fail(err)
		}
		from = to
	}
	e.sum = e.sum.Plus(sum)
	return nil
}

func (e *emitter) checkRecord(r arrow.Record) error {
	want := e.layout.Partial()
	if int(r.NumCols()) != want.NumFields() {
		return fmt.Errorf("%d columns, want %d: those that aren't constant", r.NumCols(), want.NumFields())
	}
	for i, f := range want.Fields() {
		if got := r.Schema().Field(i); got.Name != f.Name || !arrow.TypeEqual(got.Type, f.Type) {
			return fmt.Errorf("column %d is %q of type %s, want %q of type %s", i, got.Name, got.Type, f.Name, f.Type)
		}
		if col := r.Column(i); !f.Nullable && col.NullN() > 0 {
			return fmt.Errorf("column %q holds %d nulls where none may be", f.Name, col.NullN())
		}
	}
	return nil
}

// frame sends the rows [from, to) as one frame when there is credit.
func (e *emitter) frame(ctx context.Context, r arrow.Record, from, to int) error {
	part := r.NewSlice(int64(from), int64(to))
	defer part.Release()
	f, err := e.layout.Encode(part)
	if err != nil {
		return fault.New(fault.Bug, "emit batch", "", err)
	}
	defer f.Release()
	out := &wire.OutBatch{Seq: e.seq, Frame: f}
	if size := out.Size(); size > wire.MaxMessage {
		return fault.Errorf(fault.Oversize, "emit batch", "one record takes %d bytes, want at most %d", size, wire.MaxMessage).
			WithHint("the source should send records beyond its limit to the dead letters")
	}
	if err := e.waitForCredit(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shared != nil && e.closed == nil && f.Len() >= sharedFrom {
		out.Shared, _ = e.shared.Put(f.Len(), f.CopyTo)
	}
	e.gate.Spend(int64(out.Size()))
	if err := e.writeLocked(out); err != nil {
		return err
	}
	e.seq++
	return nil
}

// pass waits for credit, then sends a message that costs size bytes of it.
func (e *emitter) pass(ctx context.Context, size int, msg any) error {
	if err := e.waitForCredit(ctx); err != nil {
		return err
	}
	e.gate.Spend(int64(size))
	return e.write(msg)
}

func (e *emitter) waitForCredit(ctx context.Context) error {
	e.setBlocked(true)
	defer e.setBlocked(false)
	return e.gate.Wait(ctx)
}

func (e *emitter) setBlocked(blocked bool) {
	e.state.Lock()
	e.blocked = blocked
	if !blocked {
		e.waiting = nil
	}
	e.state.Unlock()
}

// Dead implements Emitter.
func (e *emitter) Dead(ctx context.Context, reason string, r io.Reader) error {
	if e.failed != nil {
		return e.failed
	}
	if err := e.opened(); err != nil {
		return err
	}
	hasher := flow.NewHasher()
	piece := make([]byte, wire.MaxDeadPiece)
	var offset uint64
	for last := false; !last; {
		n, err := io.ReadFull(r, piece)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			last = true
		case err != nil:
			return e.fail(fmt.Errorf("dead letter %d: read: %w", e.dead, err))
		}
		_, _ = hasher.Write(piece[:n]) // never fails
		msg := &v1.DeadLetterPiece{Record: e.dead, Offset: offset, Last: last, Data: piece[:n]}
		if last {
			msg.Reason = clip(reason, maxReason)
		}
		response := &v1.ReadResponse{Message: &v1.ReadResponse_Dead{Dead: msg}}
		if err := e.pass(ctx, proto.Size(response), response); err != nil {
			return e.fail(err)
		}
		offset += uint64(n)
	}
	e.dead++
	e.sum = e.sum.Plus(hasher.Sum())
	return nil
}

// Waiting implements Emitter.
func (e *emitter) Waiting(until time.Time, why string) error {
	if e.failed != nil {
		return e.failed
	}
	w := &v1.Waiting{Until: wire.TimeToProto(until), Why: clip(why, maxReason)}
	e.state.Lock()
	e.waiting = w
	e.state.Unlock()
	if err := e.write(&v1.ReadResponse{Message: &v1.ReadResponse_Waiting{Waiting: w}}); err != nil {
		return e.fail(err)
	}
	return nil
}

// Count implements Counter.
func (e *emitter) Count(name string, n uint64) { e.counters[clip(name, maxReason)] += n }

// finish sends the read's last message. The source's goroutine has ended.
func (e *emitter) finish(err error) error {
	var cut *flow.Truncated
	isCut := errors.As(err, &cut)
	switch {
	case e.failed != nil && (err == nil || isCut):
		err = fmt.Errorf("the read went on after it had failed: %w", e.failed)
		return err
	case err != nil && !isCut:
		return err
	}
	if err := e.opened(); err != nil {
		return err
	}
	defer e.layout.Release()
	if !isCut {
		return e.write(&v1.ReadResponse{Message: &v1.ReadResponse_Done{Done: &v1.Done{
			Sum: wire.SumToProto(e.sum), Counters: e.counters,
		}}})
	}
	if err := checkParts(e.slice, cut.Into); err != nil {
		return fault.New(fault.Bug, "truncated read", "", err)
	}
	msg := &v1.ReadResponse{Message: &v1.ReadResponse_Truncated{Truncated: &v1.Truncated{
		Parts: wire.SlicesToProto(cut.Into), Rows: cut.Rows, Bytes: cut.Bytes,
	}}}
	if size := proto.Size(msg); size > wire.MaxFree {
		return fault.Errorf(fault.Bug, "truncated read", "%d parts take %d bytes, want at most %d", len(cut.Into), size, wire.MaxFree)
	}
	return e.write(msg)
}

// checkParts checks that the parts of a truncated slice cover it exactly; none means that the host cuts.
func checkParts(s flow.Slice, parts []flow.Slice) error {
	if len(parts) == 0 {
		return nil
	}
	if len(parts) == 1 {
		return fmt.Errorf("slice %s cut into itself", s)
	}
	at := s.From
	for _, p := range parts {
		switch err := p.Validate(); {
		case err != nil:
			return err
		case p.Partition != s.Partition || p.Rev != s.Rev:
			return fmt.Errorf("part %s isn't of slice %s", p, s)
		case !p.From.Equal(at):
			return fmt.Errorf("part %s doesn't begin where the one before it ends, at %s", p, at.UTC().Format(flow.Layout))
		}
		at = p.To
	}
	if !at.Equal(s.To) {
		return fmt.Errorf("the parts of slice %s end at %s", s, at.UTC().Format(flow.Layout))
	}
	return nil
}
