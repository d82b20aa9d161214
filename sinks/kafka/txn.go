package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// txn is one slice's transaction.
type txn struct {
	sink   *Sink
	lane   *lane
	writer *writer
	began  time.Time
	id     int64 // the producer that began it
	epoch  int16

	mu   sync.Mutex // a Close may abort while Append runs
	dead bool
}

// begin begins a transaction of the client, of which the cluster learns with the first message.
func (t *txn) begin(ctx context.Context) error {
	if err := t.writer.client.BeginTransaction(); err != nil {
		return err
	}
	t.began = time.Now()
	var err error
	t.id, t.epoch, err = t.writer.client.ProducerID(ctx)
	return err
}

// fit puts a producer in place whose batches are as large as the topic takes. Nothing is written yet, so nothing is lost.
func (t *txn) fit(ctx context.Context, limit int64) (*kgo.Client, error) {
	l := t.lane
	if err := l.lock(ctx); err != nil {
		return t.writer.client, err
	}
	defer l.unlock()
	if l.limit == limit {
		return t.writer.client, nil
	}
	t.sink.drop(l)
	l.limit = limit
	if err := t.sink.own(ctx, l); err != nil {
		return t.writer.client, err
	}
	t.writer.client = l.client
	return l.client, explain("begin a transaction", t.begin(ctx))
}

// Append implements sinks.Txn.
func (t *txn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return nil, sinks.ErrDead
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rejected, err := t.writer.append(ctx, b.Records)
	return rejected, t.tooLong(err)
}

// tooLong names the reason if an error comes from a transaction that the broker has ended because of its age.
func (t *txn) tooLong(err error) error {
	if age := time.Since(t.began); err != nil && age > t.sink.timeout {
		return fault.New(fault.Transient, "write a slice", "make slices smaller (flow.slice), or raise the brokers' transaction.max.timeout.ms",
			fmt.Errorf("the transaction was open for %s, the brokers allow %s: %w", age.Round(time.Second), t.sink.timeout, err))
	}
	return err
}

// Commit implements sinks.Txn.
func (t *txn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return sinks.Receipt{}, sinks.ErrDead
	}
	t.dead = true
	k, s := t.sink, t.writer.slice
	defer k.rest()
	// Begin waits for nobody while it holds the turn, so neither does this.
	t.lane.turn <- struct{}{}
	defer t.lane.unlock()
	defer t.ended()
	c, err := t.prepare(ctx, a)
	if err != nil {
		return sinks.Receipt{}, errors.Join(t.tooLong(err), t.giveUp())
	}
	err = k.step("end transaction", func() error { return finish(ctx, t.writer.client, kgo.TryCommit) })
	if err != nil {
		// Whatever the client says, the broker may have done it: only a fence and the markers tell.
		k.drop(t.lane)
		return sinks.Receipt{}, fault.New(fault.InDoubt, "commit", "", fmt.Errorf("slice %s: %w: %w", s, sinks.ErrInDoubt, explain("end the transaction", err)))
	}
	if err := k.covered.apply(c); err != nil {
		k.drop(t.lane)
		return sinks.Receipt{}, fault.New(fault.InDoubt, "commit", "", fmt.Errorf("slice %s: %w: %w", s, sinks.ErrInDoubt, err))
	}
	if c.Messages > 0 {
		k.mu.Lock()
		k.known[c.Schema] = true
		k.mu.Unlock()
	}
	r, _ := k.covered.lookup(s)
	return r, nil
}

// prepare writes everything, the marker last. Nothing of it is visible yet.
func (t *txn) prepare(ctx context.Context, a sinks.Account) (commit, error) {
	k, w := t.sink, t.writer
	if err := ctx.Err(); err != nil {
		return commit{}, err
	}
	if err := k.covered.conflict(w.slice); err != nil {
		return commit{}, err
	}
	if !a.Balanced() || a.Delivered.Rows != w.rows {
		return commit{}, fault.Errorf(fault.Bug, "commit", "slice %s: %d rows were written, delivered are %d of %d", w.slice, w.rows, a.Delivered.Rows, a.Read.Rows)
	}
	if err := k.step("flush", func() error { return w.flush(ctx) }); err != nil {
		return commit{}, err
	}
	c := commit{
		V: commitVersion, Kind: kindCommit, Entry: k.covered.next(w.slice), Slice: w.slice, Topic: w.topic, Messages: w.messages.Load(), Schema: w.values.fingerprint(),
		Read: a.Read, Delivered: a.Delivered, Dead: a.Dead, Filtered: a.Filtered, DeadLetters: a.DeadLetters,
		Source: program{Name: a.Source.Name, Version: a.Source.Version}, Sluice: k.conf.Sluice, At: time.Now().UTC().Truncate(time.Millisecond),
	}
	if a.Source.Sluice != "" {
		c.Sluice = a.Source.Sluice
	}
	if c.Messages > 0 {
		c.Producer, c.Spans = t.id, w.spans()
	}
	if err := k.step("write marker", func() error { return t.mark(ctx, c) }); err != nil {
		return commit{}, explain("write the marker", err)
	}
	// A producer that lost its ID and got another has lost the first part of the transaction with it.
	id, epoch, err := w.client.ProducerID(ctx)
	if err != nil || id != t.id || epoch != t.epoch {
		return commit{}, explain("commit", errors.Join(fmt.Errorf("slice %s: the producer was replaced within the transaction", w.slice), err))
	}
	return c, w.failed()
}

// mark writes the marker, and the schema that readers of the messages need if this process hasn't yet.
func (t *txn) mark(ctx context.Context, c commit) error {
	k := t.sink
	ctx, cancel := context.WithTimeout(ctx, 2*askWithin)
	defer cancel()
	key, err := encodeJSON(commitKey(k.id, c.Slice, c.Entry))
	if err != nil {
		return err
	}
	value, err := encodeJSON(c)
	if err != nil {
		return err
	}
	all := []*kgo.Record{{Topic: k.set.MarkerTopic, Partition: k.markerPartition(c.Slice.Partition), Key: key, Value: value}}
	if r, err := k.schemaRecord(t.writer.values); err != nil {
		return err
	} else if r != nil && c.Messages > 0 && !k.knows(c.Schema) {
		all = append(all, r)
	}
	return t.writer.client.ProduceSync(ctx, all...).FirstErr()
}

// schemaRecord is the message that tells readers the schema of others; nil if they need none.
func (k *core) schemaRecord(v values) (*kgo.Record, error) {
	document := v.document()
	if document == nil {
		return nil, nil
	}
	key, err := encodeJSON(markerKey{Kind: kindSchema, Schema: v.fingerprint()})
	if err != nil {
		return nil, err
	}
	value, err := encodeJSON(avroSchema{V: version, Kind: kindSchema, Schema: document})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: k.set.MarkerTopic, Partition: ownerPartition, Key: key, Value: value}, nil
}

func (k *Sink) knows(schema string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[schema]
}

// ended says that the lane is free. The lane is locked.
func (t *txn) ended() {
	k := t.sink
	k.mu.Lock()
	defer k.mu.Unlock()
	t.lane.busy = false
	delete(k.open, t)
}

// giveUp takes the transaction back. If that fails the producer is dropped, and the next one ends it. The lane is locked.
func (t *txn) giveUp() error {
	k, client := t.sink, t.writer.client
	err := k.step("abort", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), endGrace)
		defer cancel()
		if err := client.AbortBufferedRecords(ctx); err != nil {
			return err
		}
		return client.EndTransaction(ctx, kgo.TryAbort)
	})
	if err != nil || t.writer.failed() != nil {
		k.drop(t.lane)
	}
	return nil
}

// Abort implements sinks.Txn. What was written becomes visible to nobody who reads committed messages. It returns nil even if the
// cluster can't be told: then the next producer of the partition, or the transaction's timeout, ends it.
func (t *txn) Abort() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return nil
	}
	t.dead = true
	t.lane.turn <- struct{}{}
	defer t.lane.unlock()
	defer t.ended()
	return t.giveUp()
}
