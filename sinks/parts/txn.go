package parts

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/target"
)

// txn is one slice's transaction. Append fills chunks in its caller's goroutine; writer, a goroutine that ends with the
// transaction, does the rest.
type txn struct {
	sink    *Sink
	slice   flow.Slice
	layout  Layout
	under   string
	values  target.Values
	logName int // the column that tells {log_name}; -1: no folder needs it
	enc     partfile.Encoder
	stage   Staging
	writer  *writer

	mu   sync.Mutex // a Close may abort while Append runs
	dead bool
	dir  bool           // the writer knows its folder
	fill partfile.Chunk // the chunk that is being filled, or nil

	todo chan work
	free chan partfile.Chunk
	done chan struct{} // closed when the writer has ended
}

// work is a chunk for the writer.
type work struct {
	chunk   partfile.Chunk
	written chan struct{} // if not nil, closed when the writer is through with it
}

func newTxn(k *Sink, s flow.Slice, st stream, v target.Values, schema *arrow.Schema, enc partfile.Encoder) *txn {
	n := k.format.Chunks()
	t := &txn{
		sink: k, slice: s, layout: st.layout, under: st.under, values: v, logName: -1, enc: enc,
		todo: make(chan work, n), free: make(chan partfile.Chunk, n), done: make(chan struct{}),
	}
	if st.layout.Uses(flow.ColLogName) {
		if all := schema.FieldIndices(flow.ColLogName); len(all) > 0 {
			t.logName = all[0]
		}
	}
	t.writer = &writer{txn: t}
	for range n {
		t.free <- nil // taken from the sink when it is needed
	}
	return t
}

// start starts the writer; stop waits for it.
func (t *txn) start() {
	go func() {
		defer close(t.done)
		for w := range t.todo {
			t.writer.write(w.chunk)
			if w.written != nil {
				close(w.written)
				t.free <- nil
				continue
			}
			w.chunk.Reset()
			t.free <- w.chunk
		}
	}()
}

// stop ends the writer after what it was given.
func (t *txn) stop() {
	close(t.todo)
	<-t.done
}

// release gives chunks and encoder back when the writer has ended.
func (t *txn) release() {
	var spare []partfile.Chunk
	if t.fill != nil && !t.fill.Large() {
		t.fill.Reset()
		spare = append(spare, t.fill)
	}
	for len(t.free) > 0 {
		if c := <-t.free; c != nil {
			spare = append(spare, c)
		}
	}
	t.fill = nil
	t.enc.Release(t.writer.broken || t.writer.failure() != nil)
	t.sink.ended(t, spare)
}

// Append implements sinks.Txn.
func (t *txn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return nil, sinks.ErrDead
	}
	defer t.cancelWith(ctx)() // a large record is waited for
	rejected, err := t.append(ctx, b)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, commitlog.Fault("append", t.sink.Location(), fmt.Errorf("slice %s: %w", t.slice, err))
	}
	return rejected, nil
}

func (t *txn) append(ctx context.Context, b flow.Batch) (rejected []sinks.Rejected, err error) {
	defer recoverTo(&err, "encode a batch")
	rows := int(b.Records.NumRows())
	if rows > 0 && !t.dir {
		if err := t.setDir(b.Records); err != nil {
			return nil, err
		}
	}
	for row := 0; row < rows; {
		if t.fill == nil {
			if err := t.next(ctx); err != nil {
				return nil, err
			}
		}
		next, bad, err := t.enc.Fill(t.fill, b.Records, row)
		rejected = append(rejected, bad...)
		if err != nil {
			return nil, err
		}
		row = next
		if !t.fill.Full() {
			continue
		}
		if err := t.flush(); err != nil {
			return nil, err
		}
	}
	return rejected, t.writer.failure()
}

// setDir tells the writer its folder, for which the name of the log may be needed, before it has anything to write.
func (t *txn) setDir(rec arrow.Record) error {
	if t.logName >= 0 && t.logName < int(rec.NumCols()) {
		if c, ok := rec.Column(t.logName).(*array.String); ok && c.IsValid(0) {
			t.values.LogName = string([]byte(c.Value(0))) // the batch's memory is used again
		}
	}
	dir, err := t.layout.Dir(t.values)
	t.writer.dir, t.dir = path.Join(t.under, dir), true
	return err
}

// next waits for a free chunk.
func (t *txn) next(ctx context.Context) error {
	select {
	case c := <-t.free:
		if c == nil {
			c = t.sink.chunk()
		}
		t.fill = c
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush hands the filled chunk to the writer. One that has grown beyond its bound, by a large record, is written before
// flush returns and not kept.
func (t *txn) flush() error {
	w := work{chunk: t.fill}
	t.fill = nil
	if w.chunk.Large() {
		w.written = make(chan struct{})
	}
	t.todo <- w // never waits: there are as many places as chunks
	if w.written != nil {
		<-w.written
	}
	return t.writer.failure()
}

// Commit implements sinks.Txn.
func (t *txn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return sinks.Receipt{}, sinks.ErrDead
	}
	t.dead = true
	stop := t.cancelWith(ctx)
	if t.fill != nil && t.fill.Rows() > 0 {
		_ = t.flush() // its failure is seen below
	}
	t.stop()
	defer t.release()
	err := t.writer.finish()
	stop() // the commit itself has ctx
	if err != nil {
		err = commitlog.Fault("commit", t.sink.Location(), fmt.Errorf("slice %s: %w", t.slice, err))
		return sinks.Receipt{}, errors.Join(err, t.stage.Abort())
	}
	return t.stage.Commit(ctx, t.writer.parts, a)
}

// cancelWith ends what waits for a server when ctx ends, until stop is called. The transaction can't be committed after that.
func (t *txn) cancelWith(ctx context.Context) (stop func()) {
	c, ok := t.stage.(canceler)
	if !ok {
		return func() {}
	}
	after := context.AfterFunc(ctx, c.Cancel)
	return func() { after() }
}

// Abort implements sinks.Txn.
func (t *txn) Abort() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return nil
	}
	t.dead = true
	if c, ok := t.stage.(canceler); ok {
		c.Cancel()
	}
	t.stop()
	defer t.release()
	return errors.Join(t.writer.giveUp(), t.stage.Abort())
}

// recoverTo turns a panic into an error of its slice: a batch that a validator took and an encoder can't must not end the
// process, in which other slices run.
func recoverTo(err *error, op string) {
	if p := recover(); p != nil {
		*err = fault.Errorf(fault.Bug, op, "panic: %v", p)
	}
}
