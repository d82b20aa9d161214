package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Stream is the sink with delivery idempotent: no message is there twice because of a lost answer, but a slice that is begun again is
// written again, and nothing is remembered.
type Stream struct {
	*core

	mu     sync.Mutex
	fits   map[int64]*kgo.Client // by how large their batches may get
	known  map[string]bool       // schemas that were written, by fingerprint
	closed bool
}

var (
	_ sinks.Sink  = (*Stream)(nil)
	_ sinks.Sizer = (*Stream)(nil)
)

func openStream(k *core) (*Stream, error) {
	s := &Stream{core: k, fits: map[int64]*kgo.Client{}, known: map[string]bool{}}
	_, err := s.fit(context.Background(), defaultRecord)
	return s, err
}

// fit returns the client whose batches are as large as a topic takes.
func (k *Stream) fit(_ context.Context, limit int64) (*kgo.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed()
	}
	if client := k.fits[limit]; client != nil {
		return client, nil
	}
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, k.base...), k.set.producerOptions(limit)...)...)
	if err != nil {
		return nil, fault.New(fault.Config, "open a producer", "", err)
	}
	k.fits[limit] = client
	return client, nil
}

// Begin implements sinks.Sink.
func (k *Stream) Begin(ctx context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	if err := errors.Join(s.Validate(), k.checkStream(s), ctx.Err()); err != nil {
		return nil, err
	}
	v, err := newValues(k.set, schema, k.partitionBy(s.Stream))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed()
	}
	t := &streamTxn{sink: k, writer: newWriter(k.core, s, v)}
	t.writer.fit = k.fit
	return t, nil
}

// Close implements sinks.Sink.
func (k *Stream) Close() error {
	k.mu.Lock()
	closed := k.closed
	k.closed = true
	k.mu.Unlock()
	if !closed {
		for _, client := range k.fits {
			client.Close()
		}
		k.cluster.Close()
	}
	return nil
}

// streamTxn is one slice's writing.
type streamTxn struct {
	sink   *Stream
	writer *writer

	mu   sync.Mutex
	dead bool
}

// Append implements sinks.Txn. What is written is visible at once.
func (t *streamTxn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return nil, sinks.ErrDead
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.writer.append(ctx, b.Records)
}

// Commit implements sinks.Txn: it returns when every message is acknowledged.
func (t *streamTxn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return sinks.Receipt{}, sinks.ErrDead
	}
	t.dead = true
	w := t.writer
	if err := ctx.Err(); err != nil {
		return sinks.Receipt{}, err
	}
	if !a.Balanced() || a.Delivered.Rows != w.rows {
		return sinks.Receipt{}, fault.Errorf(fault.Bug, "commit", "slice %s: %d rows were written, delivered are %d of %d", w.slice, w.rows, a.Delivered.Rows, a.Read.Rows)
	}
	if err := t.sink.step("flush", func() error { return w.flush(ctx) }); err != nil {
		return sinks.Receipt{}, err
	}
	if err := t.writeSchema(ctx); err != nil {
		return sinks.Receipt{}, explain("write the schema", err)
	}
	return sinks.Receipt{
		Slice: w.slice, Delivered: a.Delivered, Dead: a.Dead, DeadLetters: a.DeadLetters, At: time.Now().UTC().Truncate(time.Millisecond),
	}, nil
}

// writeSchema tells readers of Avro the schema once a process.
func (t *streamTxn) writeSchema(ctx context.Context) error {
	k, v := t.sink, t.writer.values
	r, err := k.schemaRecord(v)
	if err != nil || r == nil || t.writer.rows == 0 {
		return err
	}
	k.mu.Lock()
	known := k.known[v.fingerprint()]
	k.mu.Unlock()
	if known {
		return nil
	}
	if _, err := k.findTopic(ctx, k.set.MarkerTopic, true); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*askWithin)
	defer cancel()
	if err := t.writer.client.ProduceSync(ctx, r).FirstErr(); err != nil {
		return err
	}
	k.mu.Lock()
	k.known[v.fingerprint()] = true
	k.mu.Unlock()
	return nil
}

// Abort implements sinks.Txn. What was written stays.
func (t *streamTxn) Abort() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dead = true
	return nil
}
