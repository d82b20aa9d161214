package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// detachLast lets the others go on without the last sink.
func (b *bench) detachLast(patience time.Duration) {
	edit := b.edit
	b.edit = func(c *Config) {
		if edit != nil {
			edit(c)
		}
		c.Sinks[len(c.Sinks)-1].Patience, c.MaxBackoff = patience, 10*time.Millisecond
	}
}

var errDown = fault.New(fault.Transient, "", "start the server", errors.New("connection refused"))

// TestDetachedSinkThatStaysDown: the others have everything, the run says what is missing, and the next run brings it.
func TestDetachedSinkThatStaysDown(t *testing.T) {
	b := newBench(t, 5, 2)
	b.detachLast(endTime)
	edit := b.edit
	b.edit = func(c *Config) { edit(c); c.Attempts = 3 }
	b.sinks[1].fail = func(op string, _ flow.Slice) error {
		if op == "append" {
			return errDown
		}
		return nil
	}
	asked := span(-40, 60)
	s, err := b.run(asked)
	if err != nil || s.Complete() || !s.Failed() {
		t.Fatalf("got %v, %+v: something is missing", err, s)
	}
	b.sinks[0].store.wantExactly(t, asked)
	b.sinks[1].store.wantExactly(t)
	got := s.Sinks[1]
	if got.State != SinkGivenUp || got.Left != 100*time.Millisecond || got.Hint == "" || got.Error == "" || got.Since.IsZero() {
		t.Errorf("got %+v", got)
	}
	if s.Sinks[0].State != SinkUp || s.Sinks[0].Left != 0 {
		t.Errorf("got %+v", s.Sinks[0])
	}
	if len(b.kinds(SinkIsDown)) == 0 || len(b.kinds(SinkLost)) != 1 {
		t.Errorf("events: %v", b.events)
	}
	b.sinks[1].fail = nil
	if s, err = b.run(asked); err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.sinks[1].store.wantExactly(t, asked)
	b.sinks[0].store.wantExactly(t, asked)
}

// TestDetachedSinkComesBack: it catches up in the same run.
func TestDetachedSinkComesBack(t *testing.T) {
	for _, op := range []string{"begin", "append", "commit"} {
		for _, kind := range []fault.Kind{fault.Transient, fault.Throttled, fault.Bug} {
			t.Run(op+"/"+kind.String(), func(t *testing.T) {
				b := newBench(t, 8, 3)
				b.detachLast(endTime)
				var n atomic.Int64
				b.sinks[2].fail = func(o string, _ flow.Slice) error {
					if o == op && n.Add(1) <= 4 {
						return fault.Errorf(kind, "", "not now").After(time.Millisecond)
					}
					return nil
				}
				asked := span(-40, 60)
				s, err := b.run(asked)
				if err != nil || !s.Complete() || s.Failed() {
					t.Fatalf("got %v, %+v", err, s)
				}
				for _, k := range b.sinks {
					k.store.wantExactly(t, asked)
				}
				if len(b.kinds(SinkIsUp)) == 0 || s.Sinks[2].State != SinkUp {
					t.Errorf("it isn't told that the sink is back: %+v", s.Sinks)
				}
			})
		}
	}
}

// TestDetachedPoison: a slice that a detached sink never takes keeps neither the others of it nor other sinks.
func TestDetachedPoison(t *testing.T) {
	b := newBench(t, 8, 2)
	b.source.maxCut = 10
	b.detachLast(endTime)
	edit := b.edit
	b.edit = func(c *Config) { edit(c); c.Attempts = 3 }
	b.sinks[1].fail = func(op string, s flow.Slice) error {
		if op == "append" && s.Range().Contains(span(5, 6)) {
			return errDown
		}
		return nil
	}
	asked := span(-40, 60)
	s, err := b.run(asked)
	if err != nil || s.Complete() || !s.Failed() {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.sinks[0].store.wantExactly(t, asked)
	held := b.sinks[1].store.heldOf(logA.Partition)
	if missing := flow.NewRanges(asked).Minus(held); missing.Duration() > 10*time.Millisecond || !missing.Meets(span(5, 6)) {
		t.Errorf("it lacks %v", missing)
	}
}

// stuckSink hangs in one operation until it is let go, whatever its context says.
type stuckSink struct {
	*fakeSink
	op    string
	hold  chan struct{}
	stuck atomic.Int64
}

func (k *stuckSink) wait(op string) {
	if op == k.op && k.stuck.Add(1) == 1 {
		<-k.hold
	}
}

// TestDetachedSinkThatHangs: nobody waits for it, its call may use its batch until it comes back, and what it does late is found.
func TestDetachedSinkThatHangs(t *testing.T) {
	for _, op := range []string{"begin", "append", "commit", "in commit", "abort", "abort of a read that broke"} {
		t.Run(op, func(t *testing.T) {
			b := newBench(t, 8, 2)
			b.detachLast(20 * time.Millisecond)
			k := &stuckSink{op: op, hold: make(chan struct{})}
			var mu sync.Mutex
			aborts, again := map[flow.SliceID]bool{}, false // while one is under way its slice isn't begun again
			b.sinks[1].fail = func(o string, s flow.Slice) error {
				k.wait(o)
				mu.Lock()
				again = again || o == "begin" && aborts[s.ID]
				mu.Unlock()
				if o == "append" && op == "abort" && k.stuck.Load() == 0 { // as one that its context ended does
					return errDown
				}
				return nil
			}
			b.sinks[1].late = func() { k.wait("in commit") }
			b.sinks[1].abort = func(s flow.Slice) {
				mu.Lock()
				aborts[s.ID] = true
				mu.Unlock()
				if strings.HasPrefix(op, "abort") { // each of them
					k.stuck.Add(1)
					<-k.hold
				}
				mu.Lock()
				delete(aborts, s.ID)
				mu.Unlock()
			}
			if op == "abort of a read that broke" {
				b.source.failRate = 0.5
			}
			asked := span(-40, 60)
			free := sync.OnceFunc(func() { close(k.hold) })
			told := !strings.HasPrefix(op, "abort") // other calls may be back in time
			b.during = func(e Event) {
				told = told || e.Kind == SinkIsDown
				if told && b.sinks[0].store.heldOf(logA.Partition).Covers(asked) { // the others have it all, and the call still hangs
					free()
				}
			}
			defer free()
			defer time.AfterFunc(10*time.Second, func() {
				t.Error("the others wait for the call")
				free()
			}).Stop()
			s, err := b.run(asked)
			if err != nil || !s.Complete() || s.Failed() {
				t.Fatalf("got %v, %+v", err, s)
			}
			if k.stuck.Load() == 0 || again {
				t.Errorf("%d calls hung; begun again meanwhile: %v", k.stuck.Load(), again)
			}
			b.sinks[0].store.wantExactly(t, asked)
			b.sinks[1].store.wantExactly(t, asked)
		})
	}
}

// TestDetachedSinkAndTheVendor: a try for a sink alone whose read fails is made again, as often as any, and its end says what failed.
func TestDetachedSinkAndTheVendor(t *testing.T) {
	for _, failures := range []int{1, 3, 1 << 30} {
		t.Run(strconv.Itoa(failures), func(t *testing.T) {
			b := newBench(t, 8, 2)
			b.detachLast(endTime)
			edit := b.edit
			b.edit = func(c *Config) { edit(c); c.Attempts = 5 }
			asked := span(-40, 60)
			alone := func() bool { return b.sinks[0].store.heldOf(logA.Partition).Covers(asked) }
			var reads atomic.Int64
			b.sinks[1].fail = func(op string, _ flow.Slice) error {
				if op == "append" && reads.Load() == 0 { // also what it gets beside the other, at the moment when that has it all
					return errDown
				}
				return nil
			}
			b.source.fail = func(flow.Slice) error {
				if alone() && reads.Add(1) <= int64(failures) {
					return fault.New(fault.Transient, "read", "", errors.New("HTTP 503"))
				}
				return nil
			}
			s, err := b.run(asked)
			if err != nil {
				t.Fatal(err)
			}
			b.sinks[0].store.wantExactly(t, asked)
			if failures < 5 {
				b.sinks[1].store.wantExactly(t, asked)
				if !s.Complete() || s.Failed() {
					t.Errorf("%+v", s)
				}
				return
			}
			if got := s.Sinks[1]; got.State != SinkGivenUp || !strings.Contains(got.Error, "HTTP 503") || !s.Failed() {
				t.Errorf("a vendor that never answers again: %+v", got)
			}
			if n := reads.Load(); n < 3 || n > 200 { // without a pause there are thousands
				t.Errorf("%d reads", n)
			}
		})
	}
}

// TestTriesThatTakeLong: with more than one sink that is down, or a vendor that is slower to fail than a sink's tries are apart, the last round begins.
func TestTriesThatTakeLong(t *testing.T) {
	for _, slow := range []string{"vendor", "sinks", "sinks, one at a time"} {
		t.Run(slow, func(t *testing.T) {
			b := newBench(t, 8, 3)
			edit := b.edit
			b.edit = func(c *Config) {
				if edit != nil {
					edit(c)
				}
				c.Sinks[1].Patience, c.Sinks[2].Patience, c.MaxBackoff, c.Attempts = endTime, endTime, time.Millisecond, 3
				if slow == "sinks, one at a time" {
					c.Parallel = 1
				}
			}
			asked := span(-40, 60)
			alone := func() bool { return b.sinks[0].store.heldOf(logA.Partition).Covers(asked) }
			var reads atomic.Int64
			for i, k := range b.sinks[1:] {
				k.fail = func(op string, _ flow.Slice) error {
					if op != "append" {
						return nil
					}
					if alone() {
						time.Sleep(time.Duration(7+4*i) * time.Millisecond)
					}
					return errDown
				}
			}
			b.source.fail = func(flow.Slice) error {
				if !alone() {
					return nil
				}
				reads.Add(1)
				if slow != "vendor" {
					return nil
				}
				time.Sleep(7 * time.Millisecond)
				return fault.New(fault.Transient, "read", "", errors.New("HTTP 503"))
			}
			s, err := b.run(asked)
			if err != nil || !s.Failed() || s.Sinks[1].State != SinkGivenUp || s.Sinks[2].State != SinkGivenUp {
				t.Fatalf("got %v, %+v", err, s)
			}
			b.sinks[0].store.wantExactly(t, asked)
			if n := reads.Load(); n < 3 || n > 60 { // one that fails counts for both
				t.Errorf("%d reads", n)
			}
		})
	}
}

// TestLastRoundWaitsForTheVendor: that nothing else is left to do is no reason to ask a vendor sooner than it said.
func TestLastRoundWaitsForTheVendor(t *testing.T) {
	const pause = 100 * time.Millisecond
	b := newBench(t, 8, 2)
	b.detachLast(endTime)
	asked := span(-40, 60)
	refused := make(chan struct{})
	var mu sync.Mutex
	var throttled time.Time
	var again time.Duration
	b.sinks[0].fail = func(op string, s flow.Slice) error {
		if op == "commit" && s.To.Equal(asked.To) { // so that the last round begins after the vendor's answer
			<-refused
		}
		return nil
	}
	b.sinks[1].fail = func(op string, _ flow.Slice) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "append" && again == 0 { // what is under way beside the try doesn't bring it back
			return errDown
		}
		return nil
	}
	b.source.fail = func(s flow.Slice) error {
		try := b.sinks[0].store.heldOf(logA.Partition).Covers(s.Range())
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !try:
		case throttled.IsZero():
			throttled = time.Now()
			close(refused)
			return fault.New(fault.Throttled, "read", "", errors.New("HTTP 429")).After(pause)
		case again == 0:
			again = time.Since(throttled)
		}
		return nil
	}
	s, err := b.run(asked)
	if err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.sinks[1].store.wantExactly(t, asked)
	if throttled.IsZero() || again < pause {
		t.Errorf("the vendor was asked again after %s", again)
	}
}

// TestDetachedSinkWrongly: what only a person can mend isn't tried again in this run, and the others go on.
func TestDetachedSinkWrongly(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Config, fault.Auth, fault.NotFound, fault.Canceled} {
		t.Run(kind.String(), func(t *testing.T) {
			b := newBench(t, 8, 2)
			b.detachLast(endTime)
			b.sinks[1].fail = func(string, flow.Slice) error { return fault.Errorf(kind, "", "no such topic") }
			asked := span(-40, 60)
			s, err := b.run(asked)
			if err != nil || !s.Failed() || s.Sinks[1].State != SinkGivenUp || len(b.kinds(SinkIsDown)) != 1 {
				t.Fatalf("got %v, %+v", err, s)
			}
			b.sinks[0].store.wantExactly(t, asked)
		})
	}
}

// reopened is a sink that refuses its credentials until it is opened anew.
func (b *bench) reopens(i int, opens *int, open func(n int) error) {
	edit := b.edit
	b.edit = func(c *Config) {
		if edit != nil {
			edit(c)
		}
		s := &c.Sinks[i]
		sink := s.Sink
		s.Open = func(context.Context) (sinks.Sink, error) {
			*opens++
			if err := open(*opens); err != nil {
				return nil, err
			}
			return sink, nil
		}
	}
}

// TestSecretsAreReadAgain: a sink that refuses its credentials is opened again, once.
func TestSecretsAreReadAgain(t *testing.T) {
	for _, patience := range []time.Duration{0, endTime} {
		for _, rotated := range []bool{true, false} {
			t.Run(fmt.Sprintf("patience %s, rotated %v", patience, rotated), func(t *testing.T) {
				b := newBench(t, 8, 2)
				opens := 0
				b.reopens(1, &opens, func(int) error { return nil })
				b.detachLast(patience)
				b.sinks[1].fail = func(op string, s flow.Slice) error {
					if op == "begin" && s.To.After(midnight) && (opens == 0 || !rotated) {
						return fault.Errorf(fault.Auth, "", "wrong password")
					}
					return nil
				}
				asked := span(-40, 60)
				s, err := b.run(asked)
				if opens != 1 {
					t.Errorf("it was opened %d times, want 1", opens)
				}
				if b.starts != 1 {
					t.Errorf("%d processes of the source were started for a sink's sake", b.starts)
				}
				if !rotated {
					if !s.Failed() || (err == nil) != (patience > 0) {
						t.Errorf("got %v, %+v", err, s)
					}
					return
				}
				if err != nil || !s.Complete() || s.Failed() {
					t.Fatalf("got %v, %+v", err, s)
				}
				b.sinks[1].store.wantExactly(t, asked)
			})
		}
	}
}

// TestSinkThatOpensLater: a pipeline waits for a sink that can't be opened yet, or goes on without it.
func TestSinkThatOpensLater(t *testing.T) {
	for _, patience := range []time.Duration{0, endTime} {
		t.Run(patience.String(), func(t *testing.T) {
			b := newBench(t, 8, 2)
			opens := 0
			b.reopens(1, &opens, func(n int) error {
				if n < 4 {
					return errDown
				}
				return nil
			})
			b.detachLast(patience)
			edit := b.edit
			b.edit = func(c *Config) { edit(c); c.Sinks[1].Sink = nil; c.Sinks[1].Known = "sink1" }
			asked := span(-40, 60)
			s, err := b.run(asked)
			if err != nil || !s.Complete() || s.Failed() {
				t.Fatalf("got %v, %+v", err, s)
			}
			for _, k := range b.sinks {
				k.store.wantExactly(t, asked)
			}
		})
	}
}

// TestSinkThatNeverOpens says so at the end, after the others are done.
func TestSinkThatNeverOpens(t *testing.T) {
	b := newBench(t, 8, 2)
	opens := 0
	b.reopens(1, &opens, func(int) error { return errDown })
	b.detachLast(endTime)
	edit := b.edit
	b.edit = func(c *Config) { edit(c); c.Sinks[1].Sink = nil; c.Attempts = 3 }
	asked := span(-40, 60)
	s, err := b.run(asked)
	if err != nil || !s.Failed() || s.Sinks[1].State != SinkGivenUp || s.Sinks[1].Left != 100*time.Millisecond {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.sinks[0].store.wantExactly(t, asked)
	b.sinks[1].store.wantExactly(t)
}

// TestDrainLeavesASinkThatHangsInOpen: whatever its context says, the run ends, and the others have what they were given.
func TestDrainLeavesASinkThatHangsInOpen(t *testing.T) {
	t.Parallel()
	b := newBench(t, 8, 2)
	hold, hangs, covered, drain := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer close(hold)
	opens := 0
	b.reopens(1, &opens, func(n int) error {
		if n > 1 {
			close(hangs)
			<-hold
		}
		return errDown
	})
	b.detachLast(endTime)
	edit := b.edit
	b.edit = func(c *Config) { edit(c); c.Sinks[1].Sink = nil }
	asked := span(-40, 60)
	done := sync.OnceFunc(func() { close(covered) })
	b.during = func(Event) {
		if b.sinks[0].store.heldOf(logA.Partition).Covers(asked) {
			done()
		}
	}
	go func() {
		<-covered
		<-hangs
		close(drain)
	}()
	s, err := b.runWith(t.Context(), asked, drain)
	if err != nil || !s.Stopped || s.Sinks[1].State == SinkUp {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.sinks[0].store.wantExactly(t, asked)
}

// TestProbe: while a sink can't be reached the vendor isn't asked for it.
func TestProbe(t *testing.T) {
	b := newBench(t, 8, 2)
	b.detachLast(endTime)
	var probes atomic.Int64
	edit := b.edit
	b.edit = func(c *Config) {
		edit(c)
		c.Sinks[1].Probe = func(context.Context) error {
			if probes.Add(1) <= 3 {
				return errDown
			}
			return nil
		}
	}
	b.sinks[1].fail = func(op string, _ flow.Slice) error {
		if op == "append" && probes.Load() <= 3 {
			return errDown
		}
		return nil
	}
	asked := span(-40, 60)
	s, err := b.run(asked)
	if err != nil || !s.Complete() || s.Failed() || probes.Load() < 4 {
		t.Fatalf("got %v, %+v after %d probes", err, s, probes.Load())
	}
	b.sinks[1].store.wantExactly(t, asked)
	// Every read served a commit, but for those of the slices that were open when the sink went down.
	if got, most := len(b.source.reads), s.Slices+3; got > most {
		t.Errorf("%d reads for %d committed slices", got, s.Slices)
	}
}

// noMemory is a sink that can't say what it holds.
type noMemory struct{ sinks.Sink }

// serial takes slices of a partition one at a time, and fails its test when it is given two.
type serial struct {
	*fakeSink
	t    *testing.T
	open *atomic.Int64
}

func (serial) Serial() bool { return true }

func (k serial) Begin(ctx context.Context, s flow.Slice, attempt uint32, schema *arrow.Schema) (sinks.Txn, error) {
	txn, err := k.fakeSink.Begin(ctx, s, attempt, schema)
	if err != nil {
		return nil, err
	}
	if k.open.Add(1) > 1 {
		k.t.Error("two slices of a partition are open at once")
	}
	return &serialTxn{Txn: txn, end: sync.OnceFunc(func() { k.open.Add(-1) })}, nil
}

type serialTxn struct {
	sinks.Txn
	end func()
}

func (x *serialTxn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	defer x.end()
	return x.Txn.Commit(ctx, a)
}

func (x *serialTxn) Abort() error {
	x.end()
	return x.Txn.Abort()
}

// TestMixedSinks runs sinks with and without Memory, serial and not, detached and not, that fail at random, through runs that end
// anywhere: with Memory each millisecond is there once, without at least once.
func TestMixedSinks(t *testing.T) {
	t.Parallel()
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			b := newBench(t, seed, 3)
			b.source.failRate = 0.1
			var open atomic.Int64
			b.edit = func(c *Config) {
				c.Sinks[0].Sink = serial{b.sinks[0], t, &open}
				b.sinks[1].takesTwice = true
				c.Sinks[1].Sink = noMemory{b.sinks[1]}
				c.Sinks[1].Patience = endTime
				if seed%3 > 0 {
					c.Sinks[2].Patience = endTime
				}
				if seed%3 == 2 {
					c.Sinks[0].Patience = endTime
				}
				c.FirstRun = true
			}
			var asked flow.Ranges
			for n := range 4 {
				from := rng.Int64N(80) - 40
				r := span(from, from+1+rng.Int64N(60))
				ctx, cancel := context.WithCancel(context.Background())
				for _, k := range b.sinks {
					k.failRate = 0.15
				}
				if n < 3 && rng.IntN(2) == 0 {
					left := rng.IntN(10)
					b.during = func(Event) {
						if left--; left == 0 {
							cancel()
						}
					}
				}
				_, err := b.runWith(ctx, r, nil)
				if err != nil && fault.KindOf(err) != fault.Canceled {
					t.Fatal(err)
				}
				b.during = nil
				cancel()
				asked = asked.Add(r)
			}
			for _, k := range b.sinks {
				k.failRate = 0
			}
			b.source.failRate = 0
			for _, r := range asked {
				if s, err := b.run(r); err != nil || !s.Complete() || s.Failed() {
					t.Fatalf("got %v, %+v", err, s)
				}
			}
			b.sinks[0].store.wantExactly(t, asked...)
			b.sinks[2].store.wantExactly(t, asked...)
			st := b.sinks[1].store
			for _, r := range asked {
				for x := r.From.UnixMilli(); x < r.To.UnixMilli(); x++ {
					if st.bodies[fmt.Sprint(x)] == 0 {
						t.Fatalf("the sink without a memory lacks %d", x)
					}
				}
			}
		})
	}
}
