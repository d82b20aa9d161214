package file

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/encode"
)

const (
	// blockSize is how much is encoded, hashed and written at a time: large enough that a system call costs nothing beside
	// its copy, small enough that a block is still in the processor's cache when it is hashed and written.
	blockSize = 256 << 10
	// blocks is how many a transaction has: one is encoded, one written, the others level out.
	blocks = 4
)

// txn is one slice's transaction. Append encodes in its caller's goroutine; writer, a goroutine that ends with the
// transaction, does the rest.
type txn struct {
	sink   *Sink
	slice  flow.Slice
	enc    encode.Encoder
	stage  *commitlog.Staging
	writer *writer

	mu   sync.Mutex // a Close may abort while Append runs
	dead bool
	fill block // the block that is being filled; its bytes are nil if there is none
	size int   // a block is full at this length

	todo chan block
	free chan []byte
	done chan struct{} // closed when the writer has ended
}

// block is whole records.
type block struct {
	bytes   []byte
	rows    uint64
	written chan struct{} // if not nil, closed when the writer is through with it
}

func newTxn(k *Sink, s flow.Slice, dir string, enc encode.Encoder, st *commitlog.Staging) *txn {
	t := &txn{
		sink: k, slice: s, enc: enc, stage: st, size: int(min(blockSize, int64(k.set.PartSize))),
		todo: make(chan block, blocks), free: make(chan []byte, blocks), done: make(chan struct{}),
	}
	t.writer = &writer{sink: k, stage: st, header: enc.Header(), name: func(i int) string {
		name := partName(s, i, k.set.Format, k.set.Compression)
		if dir != "" {
			name = dir + "/" + name
		}
		return name
	}}
	for range blocks {
		t.free <- nil // taken from the sink when it is needed
	}
	return t
}

// start starts the writer; stop waits for it.
func (t *txn) start() {
	go func() {
		defer close(t.done)
		for b := range t.todo {
			t.writer.write(b)
			if b.written != nil {
				close(b.written)
				t.free <- nil
				continue
			}
			t.free <- b.bytes
		}
	}()
}

// stop ends the writer after what it was given.
func (t *txn) stop() {
	close(t.todo)
	<-t.done
}

// release gives blocks and compressor back when the writer has ended.
func (t *txn) release() {
	var spare [][]byte
	if t.fill.bytes != nil {
		spare = append(spare, t.fill.bytes)
	}
	for len(t.free) > 0 {
		if b := <-t.free; b != nil {
			spare = append(spare, b)
		}
	}
	t.fill = block{}
	t.sink.ended(t, spare, t.writer.takeCompressor())
}

// Append implements sinks.Txn. The file formats reject nothing.
func (t *txn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return nil, sinks.ErrDead
	}
	if err := t.append(ctx, b); err != nil {
		return nil, commitlog.Fault("append", t.sink.Location(), fmt.Errorf("slice %s: %w", t.slice, err))
	}
	return nil, nil
}

func (t *txn) append(ctx context.Context, b flow.Batch) (err error) {
	defer recoverTo(&err, "encode a batch")
	rows := int(b.Records.NumRows())
	for row := 0; row < rows; {
		if t.fill.bytes == nil {
			if err := t.next(ctx); err != nil {
				return err
			}
		}
		bytes, next, err := t.enc.Append(t.fill.bytes, b.Records, row, t.size)
		t.fill.bytes = bytes
		if err != nil {
			return err
		}
		t.fill.rows += uint64(next - row)
		row = next
		if len(t.fill.bytes) < t.size {
			continue
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return t.writer.failure()
}

// next waits for a free block.
func (t *txn) next(ctx context.Context) error {
	select {
	case b := <-t.free:
		if b == nil {
			b = t.sink.block()
		}
		t.fill = block{bytes: b[:0]}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush hands the filled block to the writer. One that has grown beyond its bound, by a large record, is written before
// flush returns and not kept.
func (t *txn) flush() error {
	b := t.fill
	t.fill = block{}
	if cap(b.bytes) > 2*blockSize {
		b.written = make(chan struct{})
	}
	t.todo <- b // never waits: there are as many places as blocks
	if b.written != nil {
		<-b.written
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
	if len(t.fill.bytes) > 0 {
		_ = t.flush() // its failure is seen below
	}
	t.stop()
	defer t.release()
	if err := t.writer.finish(); err != nil {
		err = commitlog.Fault("commit", t.sink.Location(), fmt.Errorf("slice %s: %w", t.slice, err))
		return sinks.Receipt{}, errors.Join(err, t.stage.Abort())
	}
	return t.stage.Commit(ctx, t.writer.parts, a)
}

// Abort implements sinks.Txn.
func (t *txn) Abort() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return nil
	}
	t.dead = true
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
