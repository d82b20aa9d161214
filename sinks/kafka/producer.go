package kafka

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// maxIdle is how many producers are kept between slices. One that is used again after that fences and reads anew.
const maxIdle = 8

// endGrace is how long the end of a transaction is waited for after the caller has given up: whether it took place is better known
// than asked for.
const endGrace = 5 * time.Second

// lane is a partition of a stream: its slices have one transactional ID and go one at a time.
type lane struct {
	flow.Partition
	turn chan struct{} // holds one token while someone changes the fields below

	client *kgo.Client // nil: not fenced, and the markers may have grown since they were read
	limit  int64       // how large the client's batches may get: as large as a message of the topic
	busy   bool        // a transaction is open
	used   uint64
}

func (l *lane) lock(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *lane) unlock() { <-l.turn }

// lane returns the state of a partition.
func (k *Sink) lane(p flow.Partition) *lane {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.lanes[p]
	if l == nil {
		l = &lane{Partition: p, turn: make(chan struct{}, 1), limit: min(defaultRecord, int64(k.set.BufferSize))}
		k.lanes[p] = l
	}
	k.clock++
	l.used = k.clock
	return l
}

// transactionalID names the producer of a partition. It is the same in every process that opens the sink, so the next fences the last.
func (k *Sink) transactionalID(p flow.Partition) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s", p.Selection, p.Stream, p.Key))
	return fmt.Sprintf("%s-%s-%s", k.set.IDPrefix, k.id, hex.EncodeToString(h[:8]))
}

// fence makes this process the only one that may write as id: a transaction that another has open is ended when it returns, one way or
// the other.
func (k *Sink) fence(ctx context.Context, id string, maxRecord int64) (*kgo.Client, error) {
	var client *kgo.Client
	err := k.step("fence", func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*askWithin)
		defer cancel()
		opts := append(append([]kgo.Opt{}, k.base...), k.set.producerOptions(maxRecord)...)
		opts = append(opts, kgo.TransactionalID(id), kgo.TransactionTimeout(k.timeout))
		c, err := kgo.NewClient(opts...)
		if err != nil {
			return fault.New(fault.Config, "open a producer", "", err)
		}
		client = c
		return fenceWith(ctx, c)
	})
	if err != nil && client != nil {
		client.Close()
	}
	if err != nil {
		return nil, explain("fence transactional ID "+id, err)
	}
	return client, nil
}

// fenceWith asks for the producer ID until there is one: a broker that has just started has no coordinator yet.
func fenceWith(ctx context.Context, c *kgo.Client) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		_, _, err := c.ProducerID(ctx)
		if err == nil || !retriable(err) || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func retriable(err error) bool {
	return kerr.IsRetriable(err) || errors.Is(err, kerr.ConcurrentTransactions)
}

// own fences a lane and reads its markers, unless this process has done so and has not lost it since. l is locked.
func (k *Sink) own(ctx context.Context, l *lane) error {
	if err := k.checkOpen(); err != nil {
		return err
	}
	if l.client != nil {
		return nil
	}
	client, err := k.fence(ctx, k.transactionalID(l.Partition), l.limit)
	if err != nil {
		return err
	}
	// Only now can the markers not change under what is read.
	if err := k.readMarkers(ctx, k.markerPartition(l.Partition)); err != nil {
		client.Close()
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		client.Close()
		return errClosed()
	}
	l.client = client
	return nil
}

// drop gives a lane's producer up: what it may have left open ends when the next one fences it. l is locked.
func (k *Sink) drop(l *lane) {
	k.mu.Lock()
	client := l.client
	l.client = nil
	k.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// rest closes the producers that were not used for longest, so that a thousand partitions don't have a thousand of them.
func (k *Sink) rest() {
	k.mu.Lock()
	var idle []*lane
	for _, l := range k.lanes {
		if l.client != nil {
			idle = append(idle, l)
		}
	}
	k.mu.Unlock()
	for len(idle) > maxIdle {
		oldest := 0
		k.mu.Lock()
		for i, l := range idle {
			if l.used < idle[oldest].used {
				oldest = i
			}
		}
		k.mu.Unlock()
		l := idle[oldest]
		idle[oldest] = idle[len(idle)-1]
		idle = idle[:len(idle)-1]
		select {
		case l.turn <- struct{}{}:
			if !l.busy {
				k.drop(l)
			}
			l.unlock()
		default: // someone is at it
		}
	}
}

// finish ends the transaction of a lane's producer. The caller's end shortens it, but doesn't cut it off. l is locked.
func finish(ctx context.Context, client *kgo.Client, how kgo.TransactionEndTry) error {
	long, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*askWithin)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(endGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-long.Done():
		}
	})
	defer stop()
	return client.EndTransaction(long, how)
}
