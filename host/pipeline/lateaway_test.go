package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// awayBench has two sinks, the second of which may be left behind, with a first read and a vendor that has more a day later.
func awayBench(t *testing.T, seed uint64) (*bench, *vendor, flow.Range) {
	t.Helper()
	asked := span(0, 60)
	b, v := newBench(t, seed, 2), newVendor(seed, asked)
	v.use(b)
	b.rechecks(func(c *Config) { c.Attempts = 3 }, 24*time.Hour)
	b.detachLast(endTime)
	v.now = asked.To.Add(2 * time.Minute)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	v.now = asked.To.Add(25 * time.Hour)
	return b, v, asked
}

// TestRecheckDetachedComesBack: what a sink that was left behind lacks is read again for it in the same run, and in none of the next.
func TestRecheckDetachedComesBack(t *testing.T) {
	for _, op := range []string{"audit", "begin", "append", "commit"} {
		t.Run(op, func(t *testing.T) {
			b, v, asked := awayBench(t, 21)
			var n atomic.Int64
			b.sinks[1].fail = func(o string, _ flow.Slice) error {
				if o == op && n.Add(1) <= 2 {
					return errDown
				}
				return nil
			}
			s, err := b.run(asked)
			if err != nil || s.Failed() || s.Sinks[1].Unchecked != 0 || s.Sinks[1].State != SinkUp {
				t.Fatalf("got %v, %+v", err, s)
			}
			for _, k := range b.sinks {
				v.wants(t, k.store, asked)
			}
			before := len(b.source.reads)
			if s, err = b.run(asked); err != nil || s.Late.Windows != 0 || len(b.source.reads) != before {
				t.Errorf("again: %v, %+v", err, s.Late)
			}
		})
	}
}

// TestRecheckDetachedStaysDown: the other has what was late, the run fails and says why, and the next run reads again for the one alone.
func TestRecheckDetachedStaysDown(t *testing.T) {
	b, v, asked := awayBench(t, 22)
	held := len(b.sinks[1].store.records())
	b.sinks[1].fail = func(string, flow.Slice) error { return errDown }
	s, err := b.run(asked)
	if err != nil || !s.Failed() || !s.Complete() || s.Sinks[1].Unchecked != 1 || s.Sinks[1].State != SinkGivenUp || s.Sinks[0].Unchecked != 0 {
		t.Fatalf("got %v, %+v", err, s)
	}
	v.wants(t, b.sinks[0].store, asked)
	if n := len(b.sinks[1].store.records()); n != held {
		t.Errorf("%d records are there, want %d", n, held)
	}
	b.sinks[1].fail = nil
	if s, err = b.run(asked); err != nil || s.Failed() || s.Late.Windows != 1 {
		t.Fatalf("got %v, %+v", err, s)
	}
	for _, k := range b.sinks {
		v.wants(t, k.store, asked)
	}
}

// TestRecheckOfSinkOpenedLate: a sink that couldn't be opened when that was looked for is looked at when it is; one that never is makes the
// run fail.
func TestRecheckOfSinkOpenedLate(t *testing.T) {
	for n := range 4 {
		opens, asks := n%2 == 0, n < 2
		t.Run(fmt.Sprintf("opens %v, asked %v", opens, asks), func(t *testing.T) {
			b, v, asked := awayBench(t, 23)
			tries := 0
			edit := b.edit
			b.edit = func(c *Config) {
				edit(c)
				c.Recheck.Asked = asks
				k := c.Sinks[1].Sink
				c.Sinks[1].Sink, c.Sinks[1].Known = nil, b.sinks[1].store.identity
				c.Sinks[1].Open = func(context.Context) (sinks.Sink, error) {
					if tries++; tries == 1 || !opens {
						return nil, errDown
					}
					return k, nil
				}
			}
			s, err := b.run(asked)
			if err != nil || s.Failed() == opens || !s.Complete() || s.Sinks[1].Unchecked > 0 == opens {
				t.Fatalf("got %v, %+v", err, s)
			}
			v.wants(t, b.sinks[0].store, asked)
			if opens {
				v.wants(t, b.sinks[1].store, asked)
			}
		})
	}
}

// doubtful commits, says that it doesn't know, and can't be asked at first.
type doubtful struct {
	*fakeSink
	silent int
}

func (k *doubtful) Begin(ctx context.Context, s flow.Slice, attempt uint32, schema *arrow.Schema) (sinks.Txn, error) {
	txn, err := k.fakeSink.Begin(ctx, s, attempt, schema)
	return doubtfulTxn{txn}, err
}

func (k *doubtful) Lookup(ctx context.Context, s flow.Slice) (sinks.Receipt, error) {
	receipt, err := k.fakeSink.Lookup(ctx, s)
	if err == nil && k.silent > 0 {
		k.silent--
		return receipt, errDown
	}
	return receipt, err
}

type doubtfulTxn struct{ sinks.Txn }

func (x doubtfulTxn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	receipt, err := x.Txn.Commit(ctx, a)
	return receipt, errors.Join(err, sinks.ErrInDoubt)
}

// TestRecheckFoundAfterDoubt: a commit that was in doubt for a day holds what was read before it, so the range is due a day later all the
// same.
func TestRecheckFoundAfterDoubt(t *testing.T) {
	asked := span(0, 60)
	b, v := newBench(t, 24, 1), newVendor(24, asked)
	v.use(b)
	b.rechecks(nil, time.Hour, 24*time.Hour)
	v.now = asked.To.Add(2 * time.Minute)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	v.now = asked.To.Add(2 * time.Hour)
	l, err := ledger.Open(t.Context(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := b.config(l, asked)
	cfg.Parallel = 1
	cfg.Sinks[0].Sink = &doubtful{b.sinks[0], 1}
	r := newRun(cfg)
	if err := r.prepare(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w, err := r.lateWork(t.Context())
	if err != nil || w == nil {
		t.Fatalf("nothing is due: %v", err)
	}
	if out := r.carry(t.Context(), w); len(out.failed) != 1 {
		t.Fatalf("the commit isn't in doubt: %+v", out)
	}
	v.now = asked.To.Add(25 * time.Hour)
	r.clock.set(v.now)
	if out := r.carry(t.Context(), w); len(out.failed) != 0 || len(out.found) != 1 {
		t.Fatalf("%+v", out)
	}
	r.close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := b.run(asked)
	if err != nil || s.Late.Windows != 1 || s.Late.Rows == 0 {
		t.Fatalf("%v, %+v", err, s.Late)
	}
	v.wants(t, b.sinks[0].store, asked)
}

// TestRecheckHourly: ranges aren't joined for a sink that puts the records of one hour apart from those of another.
func TestRecheckHourly(t *testing.T) {
	for _, hourly := range []bool{false, true} {
		asked := span(0, 60)
		b, v := newBench(t, 25, 2), newVendor(25, asked)
		v.use(b)
		b.rechecks(func(c *Config) { c.Sinks[1].Hourly = hourly }, time.Hour)
		v.now = asked.To.Add(2 * time.Minute)
		if _, err := b.run(asked); err != nil {
			t.Fatal(err)
		}
		windows := len(b.sinks[0].store.receipts)
		v.now = asked.To.Add(25 * time.Hour)
		s, err := b.run(asked)
		if err != nil || s.Late.Windows == windows != hourly || windows < 2 {
			t.Errorf("hourly %v: %d windows read again as %d, %v", hourly, windows, s.Late.Windows, err)
		}
		for _, k := range b.sinks {
			v.wants(t, k.store, asked)
		}
	}
}

// TestRecheckFailedLongAgo: a recheck that failed doesn't stand as such for ever when its range is no longer asked for.
func TestRecheckFailedLongAgo(t *testing.T) {
	asked := span(0, 60)
	b, v := newBench(t, 26, 1), newVendor(26, asked)
	v.use(b)
	b.rechecks(func(c *Config) { c.Attempts = 1 }, time.Hour)
	v.now = asked.To.Add(2 * time.Minute)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	v.now = asked.To.Add(25 * time.Hour)
	b.sinks[0].fail = func(op string, s flow.Slice) error {
		if op == "commit" && s.Rev > 0 {
			return errDown
		}
		return nil
	}
	cuts := func() int {
		t.Helper()
		l, err := ledger.OpenReadOnly(t.Context(), filepath.Join(b.dir, "state"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all, err := l.Cuts(t.Context(), b.sinks[0].store.identity, logA.Partition)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if s, err := b.run(asked); err != nil || !s.Failed() || cuts() != 1 {
		t.Fatalf("%v, %+v, %d cuts", err, s, cuts())
	}
	if s, err := b.run(span(100, 120)); err != nil || s.Failed() || cuts() != 0 {
		t.Errorf("%v, %+v, %d cuts", err, s, cuts())
	}
	b.sinks[0].fail = nil
	if s, err := b.run(asked); err != nil || s.Failed() || s.Late.Rows == 0 {
		t.Errorf("%v, %+v", err, s)
	}
	v.wants(t, b.sinks[0].store, asked)
}
