package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/spool"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// openSpool gives a run the bench's spool; what it returns closes it.
func (b *bench) openSpool(cfg *Config) (done func()) {
	b.t.Helper()
	store, err := spool.Open(filepath.Join(b.dir, "spool"), b.spoolMax)
	if err != nil {
		b.t.Fatal(err)
	}
	cfg.Spool = &Spool{Store: store, Origin: spool.Origin{Source: "fake"}}
	return func() {
		if err := store.Close(); err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bench) spooled() []string {
	b.t.Helper()
	all, err := filepath.Glob(filepath.Join(b.dir, "spool", "*.spool"))
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// damageSpool changes a byte of each file.
func (b *bench) damageSpool(rng *rand.Rand) {
	b.t.Helper()
	for _, name := range b.spooled() {
		text, err := os.ReadFile(name)
		if err != nil {
			b.t.Fatal(err)
		}
		text[rng.IntN(len(text))] ^= 0x10
		if err := os.WriteFile(name, text, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// mustReadOnce requires that no slice was asked of the vendor twice.
func (b *bench) mustReadOnce() {
	b.t.Helper()
	seen := map[flow.SliceID]int{}
	for _, s := range b.source.reads {
		if seen[s.ID]++; seen[s.ID] > 1 {
			b.t.Errorf("%s was read %d times", s, seen[s.ID])
		}
	}
}

// failing makes an operation of a sink fail so many times.
func failing(op string, times int64) func(string, flow.Slice) error {
	var n atomic.Int64
	return func(o string, _ flow.Slice) error {
		if o == op && n.Add(1) <= times {
			return errDown
		}
		return nil
	}
}

// TestASinkThatFailsCostsNoSecondRead, wherever it fails; without a spool it does.
func TestASinkThatFailsCostsNoSecondRead(t *testing.T) {
	for _, op := range []string{"begin", "append", "commit"} {
		for _, kept := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%t", op, kept), func(t *testing.T) {
				b := newBench(t, 3, 1)
				if kept {
					b.spoolMax = 1 << 20
				}
				b.source.dead = func(ms int64) bool { return ms == at(7).UnixMilli() }
				b.sinks[0].fail = failing(op, 6)
				asked := span(-20, 30)
				s, err := b.run(asked)
				if err != nil || !s.Complete() || s.DeadLetters != 1 {
					t.Fatalf("got %v, %+v", err, s)
				}
				b.sinks[0].store.wantExactly(t, span(-20, 7), span(8, 30))
				if kept {
					b.mustReadOnce()
					if s.Counters[CounterSpooled] == 0 {
						t.Errorf("counters %v", s.Counters)
					}
				} else if len(b.source.reads) <= s.Slices {
					t.Errorf("%d reads of %d slices: the sink didn't fail", len(b.source.reads), s.Slices)
				}
				if left := b.spooled(); len(left) > 0 {
					t.Errorf("left in the spool: %v", left)
				}
			})
		}
	}
}

// TestTheNextRunReadsTheSpool: a slice that was whole when the process ended isn't asked for again; nor is one that is no longer
// lacked kept.
func TestTheNextRunReadsTheSpool(t *testing.T) {
	b := newBench(t, 3, 2)
	b.spoolMax, b.source.maxCut = 1<<20, 1000
	edit := func(c *Config) { c.Attempts = 2 }
	b.edit = edit
	b.sinks[1].fail = failing("append", 1000)
	asked := span(-20, 30)
	s, err := b.run(asked)
	if err != nil || s.Complete() {
		t.Fatalf("got %v, %+v", err, s)
	}
	reads := len(b.source.reads)
	if len(b.spooled()) != reads {
		t.Fatalf("%d slices are spooled of %d that were read", len(b.spooled()), reads)
	}
	b.mustReadOnce()
	b.sinks[1].fail = nil
	if s, err = b.run(asked); err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("got %v, %+v", err, s)
	}
	if len(b.source.reads) != reads {
		t.Errorf("%d reads more", len(b.source.reads)-reads)
	}
	b.sinks[0].store.wantExactly(t, asked)
	b.sinks[1].store.wantExactly(t, asked)
	if left := b.spooled(); len(left) > 0 {
		t.Errorf("left in the spool: %v", left)
	}
}

// TestASpoolOfNoUse isn't used: one that is damaged, of other settings, read when by today's lag it was too young, or withdrawn since.
func TestASpoolOfNoUse(t *testing.T) {
	for name, spoil := range map[string]func(b *bench){
		"damaged":    func(b *bench) { b.damageSpool(rand.New(rand.NewPCG(1, 1))) },
		"a new lag":  func(b *bench) { b.edit = func(c *Config) { c.Lag = 59 * time.Minute } },
		"full since": func(b *bench) { b.spoolMax = 1 },
		"withdrawn": func(b *bench) {
			b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
				for _, day := range []int64{-1, 1} {
					forget := b.sinks[0].store.receipts[0]
					forget.Slice, forget.Entry, forget.At = slice(day, day+1), 90, time.Now().Add(time.Minute)
					forget.Forgets = []uint64{80}
					if err := l.Record(ctx, "other", forget); err != nil {
						return err
					}
				}
				return nil
			})
		},
		"given up": func(b *bench) {
			b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
				for _, s := range b.source.reads {
					if err := l.GiveUp(ctx, []string{"sink1"}, s, "test"); err != nil {
						return err
					}
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 3, 2)
			b.spoolMax, b.source.maxCut = 1<<20, 1000
			b.edit = func(c *Config) {
				c.Attempts = 2
				if err := c.Ledger.RegisterSink(context.Background(), ledger.SinkInfo{Identity: "other", Name: "o", Type: "fake", Memory: true}, nil); err != nil {
					t.Fatal(err)
				}
			}
			b.source.vendor = func() time.Time { return at(30 * 60_000) }
			b.sinks[1].fail = failing("append", 1000)
			asked := span(-20, 30)
			if s, err := b.run(asked); err != nil || s.Complete() {
				t.Fatalf("got %v, %+v", err, s)
			}
			b.source.vendor = nil
			b.sinks[1].fail = nil
			reads := len(b.source.reads)
			spoil(b)
			s, err := b.run(asked)
			if err != nil || !s.Complete() || s.Failed() {
				t.Fatalf("got %v, %+v", err, s)
			}
			want := name != "full since" // what is there stays of use
			if got := len(b.source.reads) > reads; got != want {
				t.Errorf("the vendor was asked again: %t, want %t", got, want)
			}
			b.sinks[1].store.wantExactly(t, asked)
			if left := b.spooled(); len(left) > 0 {
				t.Errorf("left in the spool: %v", left)
			}
		})
	}
}

// TestADetachedSinkIsGivenWhatWasKept: what it lacks is cut as it was read for the others, in this run and in the next.
func TestADetachedSinkIsGivenWhatWasKept(t *testing.T) {
	for _, later := range []bool{false, true} {
		t.Run(fmt.Sprint(later), func(t *testing.T) {
			b := newBench(t, 6, 2)
			b.spoolMax = 1 << 20
			b.detachLast(endTime)
			edit := b.edit
			b.edit = func(c *Config) { edit(c); c.Attempts = 4 }
			asked := span(-40, 60)
			lacks := atomic.Bool{}
			lacks.Store(true)
			b.sinks[1].fail = func(op string, _ flow.Slice) error {
				if lacks.Load() && op == "begin" {
					return errDown
				}
				return nil
			}
			if !later {
				b.during = func(Event) {
					b.sinks[0].store.mu.Lock()
					defer b.sinks[0].store.mu.Unlock()
					if len(b.sinks[0].store.bodies) == 100 {
						lacks.Store(false)
					}
				}
			}
			s, err := b.run(asked)
			if err != nil || s.Complete() == later {
				t.Fatalf("got %v, %+v", err, s)
			}
			lacks.Store(false)
			if later {
				if s, err = b.run(asked); err != nil || !s.Complete() || s.Failed() {
					t.Fatalf("got %v, %+v", err, s)
				}
			}
			b.mustReadOnce()
			b.sinks[0].store.wantExactly(t, asked)
			b.sinks[1].store.wantExactly(t, asked)
			if left := b.spooled(); len(left) > 0 {
				t.Errorf("left in the spool: %v", left)
			}
		})
	}
}

// TestAFullSpoolFailsNothing: what doesn't fit is read again.
func TestAFullSpoolFailsNothing(t *testing.T) {
	b := newBench(t, 3, 1)
	b.spoolMax = 100
	b.sinks[0].fail = failing("commit", 3)
	asked := span(-20, 30)
	s, err := b.run(asked)
	if err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("got %v, %+v", err, s)
	}
	if len(b.source.reads) != s.Slices+3 {
		t.Errorf("%d reads of %d slices, want 3 more", len(b.source.reads), s.Slices)
	}
	b.sinks[0].store.wantExactly(t, asked)
}

// TestASpoolThatFailsFailsNothing: its folder goes away in the middle of a run.
func TestASpoolThatFailsFailsNothing(t *testing.T) {
	b := newBench(t, 3, 1)
	b.spoolMax = 1 << 20
	b.source.opened = func(flow.Slice) {
		if err := os.RemoveAll(filepath.Join(b.dir, "spool")); err != nil {
			t.Error(err)
		}
	}
	b.sinks[0].fail = failing("commit", 3)
	asked := span(-20, 30)
	if s, err := b.run(asked); err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.sinks[0].store.wantExactly(t, asked)
}

// TestAReadThatNobodyWillTakeEnds: a sink that only a person can mend isn't worth a read to its end.
func TestAReadThatNobodyWillTakeEnds(t *testing.T) {
	b := newBench(t, 3, 1)
	b.spoolMax = 1 << 20
	b.source.maxCut = 1000
	b.sinks[0].fail = func(op string, _ flow.Slice) error {
		if op == "begin" {
			return fault.New(fault.Config, "", "mend it", errors.New("wrong"))
		}
		return nil
	}
	if _, err := b.run(span(-20, 30)); fault.KindOf(err) != fault.Config {
		t.Errorf("got %v", err)
	}
	if left := b.spooled(); len(left) > 0 {
		t.Errorf("spooled: %v", left)
	}
}
