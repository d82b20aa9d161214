package kafka

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// The broker is killed and comes back in the middle of a slice: between batches and while the transaction ends; with
// SLUICE_CHAOS_ROUNDS set, at each other moment too. Whatever the sink says, the readers see what Lookup says, and in the end everything once.
func TestBrokerRestarts(t *testing.T) {
	b := broker(t)
	r := newRig(b.Address)
	var want [][]string
	hour := 0
	moments := []string{"append", "end transaction"}
	all := os.Getenv("SLUICE_CHAOS_ROUNDS") != ""
	if all {
		moments = []string{"begin", "append", "flush", "write marker", "end transaction", "after"}
	}
	for _, moment := range moments {
		for _, during := range []bool{false, true} {
			if during != (moment == "end transaction") && !all || during && moment != "end transaction" {
				continue
			}
			armed := false
			back := make(chan struct{})
			crash := func() {
				armed = false
				b.Kill()
				go func() {
					defer close(back)
					if err := shared.broker.Again(shared.life); err != nil {
						t.Error(err)
					}
				}()
			}
			k, err := open(begun(t), r.config(nil), func(name string, do func() error) error {
				if !armed || name != moment {
					return do()
				}
				if !during {
					crash()
					return do()
				}
				done := make(chan error, 1)
				go func() { done <- do() }()
				crash()
				return <-done
			})
			if err != nil {
				t.Fatalf("%s: %v", moment, err)
			}
			s := sinktest.Hours("one", hour, hour+1)
			hour++
			bodies := sinktest.Bodies(s, 60)
			armed = true
			if moment == "begin" {
				crash()
			}
			committed := false
			ctx := begun(t)
			for try := 0; !committed && ctx.Err() == nil; try++ {
				committed = writeSlice(t, k, s, bodies, func() {
					if armed && moment == "append" {
						crash()
					}
				})
				if armed && moment == "after" {
					crash()
				}
				err := settled(ctx, k, s)
				if committed && err != nil || err != nil && !errors.Is(err, sinks.ErrNotCommitted) {
					t.Errorf("%s: lookup after try %d (committed: %v): %v", moment, try, committed, err)
					break
				}
				committed = err == nil
			}
			<-back
			if !committed {
				t.Fatalf("%s: it was never committed", moment)
			}
			want = append(want, bodies)
			if err := k.Close(); err != nil {
				t.Error(err)
			}
			r.wantBodies(t, want...)
		}
	}
}

// settled asks Lookup as a pipeline does: again, while the broker is away.
func settled(ctx context.Context, k sinks.Sink, s flow.Slice) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := k.(*Sink).Lookup(ctx, s)
		if err == nil || errors.Is(err, sinks.ErrNotCommitted) || fault.KindOf(err) != fault.Transient || ctx.Err() != nil {
			return err
		}
		<-tick.C
	}
}

// writeSlice tries a slice once; between is called between its batches.
func writeSlice(t *testing.T, k sinks.Sink, s flow.Slice, bodies []string, between func()) (committed bool) {
	t.Helper()
	tx, err := k.Begin(begun(t), s, 0, sinktest.Schema)
	if err != nil {
		t.Logf("begin: %v", err)
		return false
	}
	half := len(bodies) / 2
	err = sinktest.Append(begun(t), tx, s, bodies[:half])
	between()
	if err == nil {
		err = sinktest.Append(begun(t), tx, s, bodies[half:])
	}
	if err == nil {
		_, err = tx.Commit(begun(t), sinktest.Account(bodies))
	}
	if err != nil {
		t.Logf("%s: %v", s, err)
		if err := tx.Abort(); err != nil {
			t.Error(err)
		}
	}
	return err == nil
}

// A sink that lost its transaction to the broker's own timeout says so, and the next try works.
func TestTransactionTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(broker(t).Address)
	k := opened(t, r.config(nil)).(*Sink)
	if k.Deadline() != 15*time.Minute {
		t.Errorf("deadline %s, the broker's maximum is 15m", k.Deadline())
	}
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 20)
	tx, err := k.Begin(begun(t), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := sinktest.Append(begun(t), tx, s, bodies); err != nil {
		t.Fatal(err)
	}
	if err := tx.(*txn).writer.flush(begun(t)); err != nil {
		t.Fatal(err)
	}
	// What the broker does after the timeout: it raises the epoch and aborts.
	other, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.TransactionalID(k.transactionalID(s.Partition)), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := fenceWith(begun(t), other); err != nil {
		t.Fatal(err)
	}
	tx.(*txn).began = time.Now().Add(-time.Hour)
	_, err = tx.Commit(begun(t), sinktest.Account(bodies))
	contains(t, err, "the brokers allow 15m0s")
	if fault.KindOf(err) != fault.Transient {
		t.Errorf("%v is of kind %s", err, fault.KindOf(err))
	}
	if _, err := k.Lookup(begun(t), s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Fatal(err)
	}
	r.wantBodies(t)
	if _, err := sinktest.Write(begun(t), k, s, bodies); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t, bodies)
}
