package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// grid is how far apart the records of these tests are.
const grid = time.Minute

// followBench is a bench inside of a bubble of testing/synctest, where days pass in no time. The machine's boot clock and the vendor's
// can be moved beside it.
type followBench struct {
	*bench
	mu     sync.Mutex
	began  time.Time
	slept  time.Duration // what the boot clock went on while the machine slept
	vendor time.Duration // the vendor's clock against began + what passed
	down   error         // of the vendor's clock
	ledger *ledger.Ledger
	pipe   *Pipeline
	cancel context.CancelFunc
	drain  chan struct{}
	ended  chan struct{}
	sum    *Summary
	err    error
}

// noon is the vendor's clock at the start.
var noon = midnight.Add(12 * time.Hour)

// following runs a test in a bubble.
func following(t *testing.T, test func(t *testing.T, b *followBench)) {
	t.Helper()
	dir := fastDir(t)
	synctest.Test(t, func(t *testing.T) {
		alloc := memory.NewCheckedAllocator(memory.NewGoAllocator())
		defer alloc.AssertSize(t, 0)
		b := &followBench{began: time.Now(), bench: &bench{t: t, dir: dir}}
		b.source = &fakeSource{
			rng: rand.New(rand.NewPCG(1, 1)), alloc: alloc, maxCut: 1, whole: true, grid: grid.Milliseconds(), done: make(chan struct{}),
			now: b.vendorNow, crash: func(call string) error {
				b.mu.Lock()
				defer b.mu.Unlock()
				if call == "now" {
					return b.down
				}
				return nil
			},
		}
		b.sinks = []*fakeSink{{store: newFakeStore("sink0"), rng: rand.New(rand.NewPCG(1, 2))}}
		defer b.stop()
		test(t, b)
	})
}

func (b *followBench) vendorNow() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return noon.Add(time.Since(b.began) + b.slept + b.vendor)
}

func (b *followBench) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// start begins a run that follows every 15 minutes from an hour before noon on.
func (b *followBench) start(edit func(*Config)) {
	b.t.Helper()
	l, err := ledger.Open(context.Background(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.ledger = l
	cfg := b.config(l, flow.Range{From: noon.Add(-time.Hour)})
	cfg.Lag, cfg.Follow, cfg.Attempts, cfg.MaxBackoff, cfg.Parallel = 5*time.Minute, 15*time.Minute, 8, 2*time.Minute, 2
	cfg.Log = slog.New(slog.DiscardHandler)
	if edit != nil {
		edit(&cfg)
	}
	observe := cfg.Observe
	cfg.Observe = func(e Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		observe(e)
	}
	b.pipe = New(cfg)
	b.pipe.run.clock.since = func() time.Duration {
		b.mu.Lock()
		defer b.mu.Unlock()
		return time.Since(b.began) + b.slept
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.drain, b.ended = cancel, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(b.ended)
		b.sum, b.err = b.pipe.Run(ctx, b.drain, 5*time.Second)
	}()
	synctest.Wait()
}

// kinds is the bench's, while a run goes on.
func (b *followBench) kinds(kind EventKind) []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bench.kinds(kind)
}

// pass lets time go by.
func (b *followBench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// stop ends a run as SIGTERM does. Idempotent.
func (b *followBench) stop() {
	if b.drain == nil {
		return
	}
	close(b.drain)
	<-b.ended
	b.cancel()
	b.drain = nil
	if err := b.ledger.Close(); err != nil {
		b.t.Error(err)
	}
}

// wantTo fails unless the sink holds each record from the begin to a time once, and none after.
func (b *followBench) wantTo(from, to time.Time) {
	b.t.Helper()
	st := b.sinks[0].store
	st.mu.Lock()
	defer st.mu.Unlock()
	n := 0
	for at := from.Truncate(grid); at.Before(to); at = at.Add(grid) {
		if at.Before(from) {
			continue
		}
		n++
		if got := st.bodies[fmt.Sprint(at.UnixMilli())]; got != 1 {
			b.t.Fatalf("the record of %s is there %d times", at.Format(time.RFC3339), got)
		}
	}
	if n != len(st.bodies) {
		b.t.Fatalf("%d records are there, want %d, up to %s", len(st.bodies), n, to.Format(time.RFC3339))
	}
}

// slices lists what was read, in its order.
func (b *followBench) slices() []flow.Slice {
	b.source.mu.Lock()
	defer b.source.mu.Unlock()
	return append([]flow.Slice(nil), b.source.reads...)
}

func (b *followBench) mustEnd(complete bool) {
	b.t.Helper()
	b.stop()
	if b.err != nil || b.sum.Failed() || b.sum.Complete() != complete {
		b.t.Fatalf("complete %v, want %v, failed %v: %+v, %v", b.sum.Complete(), complete, b.sum.Failed(), b.sum.Faults, b.err)
	}
}

// TestFollowReadsWhatHasClosed: at each tick what has closed since is read, to the millisecond, and never later than the vendor's clock
// minus lag.
func TestFollowReadsWhatHasClosed(t *testing.T) {
	t.Parallel()
	following(t, func(t *testing.T, b *followBench) {
		b.start(nil)
		closed := noon.Add(-5 * time.Minute)
		b.wantTo(noon.Add(-time.Hour), closed)
		b.pass(14 * time.Minute)
		b.wantTo(noon.Add(-time.Hour), closed)
		b.pass(2 * time.Minute)
		b.wantTo(noon.Add(-time.Hour), closed.Add(15*time.Minute))
		b.pass(48 * time.Hour)
		b.wantTo(noon.Add(-time.Hour), closed.Add(48*time.Hour+15*time.Minute))
		// A window that a midnight cuts is two.
		if got, want := len(b.slices()), 1+1+48*4+2; got != want {
			t.Errorf("%d slices were read, want %d", got, want)
		}
		windows := b.kinds(Window)
		if len(windows) != 1+48*4 || windows[5].Range.Duration() != 15*time.Minute || windows[5].Behind != 15*time.Minute {
			t.Errorf("%d windows, the 6th %+v", len(windows), windows[5])
		}
		b.mustEnd(true)
	})
}

// TestFollowThroughSleep: timers stand still while the machine sleeps, the boot clock doesn't. What closed meanwhile is one window.
func TestFollowThroughSleep(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		b.start(nil)
		b.pass(time.Minute)
		b.set(func() { b.slept = 8 * time.Hour })
		b.pass(2 * sleepCheck)
		if n := len(b.slices()); n != 2 {
			t.Errorf("%d slices were read, want 2", n)
		}
		horizon := noon.Add(8*time.Hour - 5*time.Minute + time.Minute)
		b.wantTo(noon.Add(-time.Hour), horizon.Add(sleepCheck)) // which is no whole minute
		b.mustEnd(true)
	})
}

// TestFollowWhenClocksStep: the vendor's clock decides. When it goes back nothing is read again and nothing ahead of it; this machine's
// wall clock plays no part.
func TestFollowWhenClocksStep(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		b.start(nil)
		wall := noon.AddDate(-3, 0, 0)
		b.pipe.run.clock.now = func() time.Time { return wall } // a wall clock that is years off, and steps
		from := noon.Add(-time.Hour)
		b.pass(16 * time.Minute)
		reached := noon.Add(10 * time.Minute)
		b.wantTo(from, reached)

		b.set(func() { b.vendor = -3 * time.Hour })
		wall = noon.AddDate(5, 0, 0)
		before := len(b.slices())
		b.pass(2*time.Hour + 45*time.Minute)
		b.wantTo(from, reached)
		if n := len(b.slices()); n != before {
			t.Errorf("while the vendor's clock was back %d slices were read", n-before)
		}
		said := false
		for _, e := range b.kinds(Window) {
			said = said || strings.Contains(e.Message, "went back by 2h45m0s")
		}
		if !said {
			t.Error("nothing was said of the clock")
		}
		b.pass(time.Hour)
		b.wantTo(from, noon.Add(55*time.Minute))

		b.set(func() { b.vendor = 5 * time.Hour }) // forwards
		b.pass(16 * time.Minute)
		b.wantTo(from, b.pipe.run.follow.first.Add(15*time.Minute+4*time.Hour+5*time.Hour))
		b.mustEnd(true)
	})
}

// TestFollowThroughAnOutage: while the vendor fails for longer than a slice's attempts, windows grow instead of multiplying, and what
// was set aside is tried again by itself.
func TestFollowThroughAnOutage(t *testing.T) {
	t.Parallel()
	for _, clock := range []bool{true, false} {
		t.Run(fmt.Sprintf("clock %v", clock), func(t *testing.T) {
			following(t, func(t *testing.T, b *followBench) {
				down := true
				failure := fault.New(fault.Transient, "read", "", errors.New("HTTP 503"))
				b.source.fail = func(flow.Slice) error {
					b.mu.Lock()
					defer b.mu.Unlock()
					if down {
						return failure
					}
					return nil
				}
				b.start(nil)
				if !clock {
					b.set(func() { b.down = failure })
				}
				b.pass(48 * time.Hour)
				tried := b.slices()
				distinct := map[flow.SliceID]bool{}
				for _, s := range tried {
					distinct[s.ID] = true
				}
				if len(distinct) > 60 || len(tried) > 200 {
					t.Errorf("in two days %d slices were tried %d times", len(distinct), len(tried))
				}
				st := b.pipe.Snapshot()
				if st.Behind < 48*time.Hour || !clock && st.TickError == "" {
					t.Errorf("status: behind %s, tick's error %q", st.Behind, st.TickError)
				}
				b.set(func() { down, b.down = false, nil })
				b.pass(longestPause + 31*time.Minute)
				if n := len(b.slices()) - len(tried); n > len(distinct)+12 {
					t.Errorf("%d slices were read after the outage, of %d", n, len(distinct))
				}
				b.wantTo(noon.Add(-time.Hour), b.pipe.run.asked.To)
				if b.pipe.run.asked.To.Before(b.vendorNow().Add(-25 * time.Minute)) {
					t.Errorf("it is behind: %s", b.pipe.run.asked)
				}
				b.mustEnd(true)
			})
		})
	}
}

// TestFollowPassesABadSlice: a slice that never can be read doesn't hold back what comes after it; it is tried at pauses that grow, and
// makes the run's end a failure.
func TestFollowPassesABadSlice(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		bad := flow.Range{From: noon.Add(30 * time.Minute), To: noon.Add(31 * time.Minute)}
		tries := 0
		b.source.fail = func(s flow.Slice) error {
			if s.Range().Meets(bad) {
				tries++
				return fault.New(fault.Transient, "read", "", errors.New("HTTP 500"))
			}
			return nil
		}
		b.start(nil)
		b.pass(48 * time.Hour)
		if tries < 48 || tries > 60 {
			t.Errorf("the bad slice was tried %d times", tries)
		}
		if left := b.pipe.Snapshot().LeftTime; left != 15*time.Minute {
			t.Errorf("%s is missing, want the bad window", left)
		}
		b.stop()
		if !b.sum.Failed() || len(b.sum.Faults) != 1 || !b.sum.Faults[0].Quarantined {
			t.Errorf("faults: %+v", b.sum.Faults)
		}
	})
}

// TestFollowGrowsWindows: a slice that takes long is followed by one that holds all that closed meanwhile.
func TestFollowGrowsWindows(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		slow := make(chan struct{})
		b.source.takes = func(s flow.Slice) {
			if !s.To.After(noon) {
				<-slow
			}
		}
		b.start(func(c *Config) { c.Parallel = 3 })
		b.pass(6 * time.Hour)
		close(slow)
		b.pass(time.Minute)
		reads := b.slices()
		if len(reads) != 2 || !reads[1].From.Equal(reads[0].To) || reads[1].Range().Duration() != 6*time.Hour {
			t.Errorf("read %v", reads)
		}
		b.mustEnd(true)
	})
}

// TestFollowTail: with priority tail what is newest is read before older gaps, and so are the windows that come while those are read.
func TestFollowTail(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		from := noon.AddDate(0, 0, -5)
		b.source.takes = func(flow.Slice) { time.Sleep(10 * time.Minute) }
		b.start(func(c *Config) { c.From, c.Tail, c.Parallel = from, true, 1 })
		b.pass(4*time.Hour + 12*time.Minute)
		b.wantTo(from, b.pipe.run.asked.To)
		reads := b.slices()
		horizon := noon.Add(-5 * time.Minute)
		if want := (flow.Range{From: horizon.Add(-15 * time.Minute), To: horizon}); reads[0].Range() != want {
			t.Errorf("first is %s, want %s", reads[0].Range(), want)
		}
		newer := 0
		for i := 1; !reads[i].To.Equal(flow.Day(noon)); i++ {
			if reads[i].From.Before(horizon) {
				newer++
			}
		}
		if newer >= len(reads)-1 || reads[2].From.Before(horizon) {
			t.Errorf("older gaps came first: %v", reads)
		}
		b.mustEnd(true)
	})
}

// TestFollowTailAfterAnOutage: a tail of days is an older gap but for its newest window.
func TestFollowTailAfterAnOutage(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		b.start(func(c *Config) { c.Tail, c.Parallel = true, 1 })
		b.set(func() { b.down = fault.New(fault.Transient, "ask", "", errors.New("HTTP 503")) })
		b.pass(72 * time.Hour)
		before := len(b.slices())
		b.set(func() { b.down = nil })
		b.pass(20 * time.Minute)
		end := b.pipe.run.asked.To
		reads := b.slices()[before:]
		if len(reads) < 5 || reads[0].Range().Duration() != 15*time.Minute || reads[0].From.Before(noon.Add(71*time.Hour)) || !reads[1].From.Before(noon) {
			t.Errorf("read %v", reads)
		}
		b.wantTo(noon.Add(-time.Hour), end)
		b.mustEnd(true)
	})
}

// TestFollowOldestFirst: without it the order is that of time.
func TestFollowOldestFirst(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		from := noon.AddDate(0, 0, -5)
		b.source.takes = func(flow.Slice) { time.Sleep(10 * time.Minute) }
		b.start(func(c *Config) { c.From, c.Parallel = from, 1 })
		b.pass(4*time.Hour + 12*time.Minute)
		b.wantTo(from, b.pipe.run.asked.To)
		at := from
		for _, s := range b.slices() {
			if !s.From.Equal(at) {
				t.Fatalf("%s came at %s", s.Range(), at)
			}
			at = s.To
		}
		b.mustEnd(true)
	})
}

// TestFollowLast: a range that counts back from now stays where it began, and begins where the run before it stopped.
func TestFollowLast(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		last := func(c *Config) { c.From, c.Last = time.Time{}, time.Hour }
		b.start(last)
		from := noon.Add(-65 * time.Minute)
		b.pass(3 * time.Hour)
		b.mustEnd(true)
		b.pass(72 * time.Hour)
		b.start(last)
		b.pass(time.Minute)
		b.wantTo(from, b.pipe.run.asked.To)
		if want := noon.Add(75*time.Hour - 5*time.Minute); !b.pipe.run.asked.To.Equal(want) {
			t.Errorf("asked %s, want up to %s", b.pipe.run.asked, want)
		}
		b.mustEnd(true)
	})
}

// TestFollowEndsWithTo: a `to` that is ahead is followed up to, and then the run ends.
func TestFollowEndsWithTo(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		to := noon.Add(40 * time.Minute)
		b.start(func(c *Config) { c.To = to })
		b.pass(2 * time.Hour)
		select {
		case <-b.ended:
		default:
			t.Error("it follows still")
		}
		b.wantTo(noon.Add(-time.Hour), to)
		b.mustEnd(true)
	})
}

// TestFollowStopsWithWorkLeft: what came while the run followed is never done, and no reason for a failure; what was asked before is.
func TestFollowStopsWithWorkLeft(t *testing.T) {
	for _, backlog := range []bool{false, true} {
		t.Run(fmt.Sprintf("backlog %v", backlog), func(t *testing.T) {
			following(t, func(t *testing.T, b *followBench) {
				b.source.fail = func(s flow.Slice) error {
					if backlog || s.To.After(noon) {
						return fault.New(fault.Throttled, "read", "", errors.New("HTTP 429")).After(time.Minute)
					}
					return nil
				}
				b.start(nil)
				b.pass(time.Hour)
				b.mustEnd(!backlog)
				if b.sum.Missing == 0 {
					t.Error("nothing is missing")
				}
			})
		})
	}
}

// TestFollowSnapshots: a snapshot is taken as soon as its day has begun, and a day that the machine slept through is gone.
func TestFollowSnapshots(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		b.source.grid, b.source.whole, b.source.maxCut = 1, false, 1
		b.start(func(c *Config) {
			c.Streams = map[string]Stream{"events": {Snapshot: true}}
		})
		b.pass(37 * time.Hour)
		b.set(func() { b.slept = 72 * time.Hour })
		b.pass(time.Hour)
		var days []string
		for _, s := range b.slices() {
			days = append(days, s.From.Format("02"))
		}
		if got := strings.Join(days, " "); got != "02 03 04 07" {
			t.Errorf("snapshots of the days %s", got)
		}
		b.stop()
		if !b.sum.Complete() || b.sum.Unavailable != 2*time.Millisecond {
			t.Errorf("unavailable %s, missing %s", b.sum.Unavailable, b.sum.Missing)
		}
	})
}

// TestFollowKeepsNothing: what a run keeps doesn't grow with its windows.
func TestFollowKeepsNothing(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		n := 0
		b.source.fail = func(s flow.Slice) error {
			if n++; n%7 == 0 {
				return fault.New(fault.Transient, "read", "", errors.New("HTTP 503"))
			}
			return nil
		}
		b.start(nil)
		b.pass(2 * 24 * time.Hour)
		r := b.pipe.run
		p := r.parts[0]
		if len(p.work)+len(p.cuts)+len(p.covered[0])+len(p.asked)+len(r.cancel)+len(r.summary.Faults)+len(r.sinks[0].tries) > 3 {
			t.Errorf("kept: %d work, %d cuts, %d covered, %d asked, %d cancel, %d faults, %d tries", len(p.work), len(p.cuts),
				len(p.covered[0]), len(p.asked), len(r.cancel), len(r.summary.Faults), len(r.sinks[0].tries))
		}
		b.mustEnd(true)
	})
}

// TestRetryNow: what was set aside is tried at once when it is asked for, a stopped partition and a waiting slice, too.
func TestRetryNow(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Transient, fault.NotFound, fault.Oversize} {
		t.Run(kind.String(), func(t *testing.T) {
			following(t, func(t *testing.T, b *followBench) {
				down := true
				b.source.fail = func(s flow.Slice) error {
					b.mu.Lock()
					defer b.mu.Unlock()
					if down && s.Key == "a" {
						return fault.New(kind, "read", "", errors.New("not now"))
					}
					return nil
				}
				b.start(func(c *Config) {
					c.Partitions = append(c.Partitions, Partition{Partition: flow.Partition{Stream: "events", Key: "b"}})
				})
				b.pass(11 * time.Minute)
				b.set(func() { down = false })
				got, err := b.pipe.Retry(context.Background())
				if want := (Retried{Quarantined: 1}); err != nil || got.Quarantined != want.Quarantined || (got.Partitions == 1) != (kind == fault.NotFound) {
					t.Errorf("ended %+v, %v", got, err)
				}
				synctest.Wait()
				if left := b.pipe.Snapshot().LeftTime; left != 0 {
					t.Errorf("%s is missing", left)
				}
				b.mustEnd(true)
				if _, err := b.pipe.Retry(context.Background()); !errors.Is(err, ErrEnded) {
					t.Errorf("after the end: %v", err)
				}
			})
		})
	}
}

// TestRetryNowLeavesTheVendorsWord: what the vendor itself said to come back for later isn't asked for earlier because somebody is impatient.
func TestRetryNowLeavesTheVendorsWord(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		tries := 0
		b.source.fail = func(flow.Slice) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if tries++; tries == 1 {
				return fault.New(fault.NotYet, "read", "", errors.New("it is being written")).After(10 * time.Minute)
			}
			return nil
		}
		b.start(nil)
		b.pass(time.Minute)
		if got, err := b.pipe.Retry(context.Background()); err != nil || got.Waits != 0 || got.Quarantined != 0 {
			t.Errorf("%+v, %v", got, err)
		}
		b.pass(time.Minute)
		if left := b.pipe.Snapshot().LeftTime; left == 0 {
			t.Error("it was asked for again at once")
		}
		b.pass(10 * time.Minute)
		if left := b.pipe.Snapshot().LeftTime; left != 0 {
			t.Errorf("%s is missing", left)
		}
		b.mustEnd(true)
	})
}

// TestAfterAnOutageAllIsTried: the first slice that is committed after an outage brings back all that waited for its end, of other partitions, too,
// whose own pauses would go on for most of an hour.
func TestAfterAnOutageAllIsTried(t *testing.T) {
	following(t, func(t *testing.T, b *followBench) {
		down := true
		b.source.fail = func(s flow.Slice) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if down && (s.Key == "a" || s.To.After(noon.Add(50*time.Minute))) {
				return fault.New(fault.Transient, "read", "", errors.New("HTTP 503"))
			}
			return nil
		}
		b.start(func(c *Config) {
			c.Partitions = append(c.Partitions, Partition{Partition: flow.Partition{Stream: "events", Key: "b"}})
		})
		b.pass(12 * time.Hour)
		b.set(func() { down = false })
		for n := len(b.slices()); len(b.slices()) == n; { // until one is tried again
			b.pass(time.Second)
		}
		b.pass(10 * time.Second)
		if left := b.pipe.Snapshot().LeftTime; left != 0 {
			t.Errorf("%s is missing though the vendor is back", left)
		}
		b.mustEnd(true)
	})
}

// TestStatusSaysWhatIsWaitedFor: what a slice waits for is said in the words of the documents, once, and what failed stands beside it.
func TestStatusSaysWhatIsWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   func(b *followBench, c *Config)
		waits string
		err   string
	}{
		{"lag", func(_ *followBench, c *Config) { c.To = noon.Add(-time.Minute) }, "lag until 12:04", ""},
		{"the vendor's word", func(b *followBench, _ *Config) {
			b.source.fail = func(flow.Slice) error {
				return fault.New(fault.Throttled, "read", "", errors.New("HTTP 429")).After(10 * time.Minute)
			}
		}, "vendor until 00:10:00", "HTTP 429"},
		{"a sink's", func(b *followBench, _ *Config) {
			b.sinks[0].fail = func(string, flow.Slice) error {
				return fault.New(fault.Throttled, "begin", "", errors.New("slow down")).After(10 * time.Minute)
			}
		}, "sink s0 until 00:10:00", "slow down"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			following(t, func(t *testing.T, b *followBench) {
				b.start(func(c *Config) { tt.set(b, c) })
				b.pass(time.Second)
				all := b.pipe.Snapshot().Slices
				if len(all) != 1 || all[0].WaitsFor != tt.waits || !strings.Contains(all[0].Error, tt.err) || all[0].State != "waiting" || all[0].NextTry.IsZero() {
					t.Errorf("got %+v, want one slice that waits for %q", all, tt.waits)
				}
			})
		})
	}
}

// TestStatusRepeatsNoTime: a plugin says in its own words until when it waits.
func TestStatusRepeatsNoTime(t *testing.T) {
	w := &work{part: &partition{}, running: true}
	at := time.Date(2026, 11, 1, 14, 15, 0, 0, time.UTC)
	for why, want := range map[string]string{
		"budget until 14:15": "budget until 14:15", "vendor": "vendor until 14:15:00", "": "",
	} {
		w.state.wait(why, at)
		if got := w.status(nil).WaitsFor; got != want {
			t.Errorf("%q: %q, want %q", why, got, want)
		}
	}
}
