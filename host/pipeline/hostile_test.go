package pipeline

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// inLedger writes into the ledger between two runs, as an earlier run would have.
func (b *bench) inLedger(f func(ctx context.Context, l *ledger.Ledger) error) {
	b.t.Helper()
	ctx := context.Background()
	l, err := ledger.Open(ctx, filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	for _, k := range b.sinks {
		if err := l.RegisterSink(ctx, ledger.SinkInfo{Identity: k.Identity(), Name: "s", Type: "fake", Memory: true}, nil); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := f(ctx, l); err != nil {
		b.t.Fatal(err)
	}
}

func slice(from, to int64) flow.Slice { return flow.NewSlice(logA.Partition, at(from), at(to), 0) }

func TestCutsOfTwoSinksThatMeetAreReadOnce(t *testing.T) {
	tests := []struct {
		name          string
		first, second []flow.Slice // durable cuts
	}{
		{"one is cut into the parts of the other", []flow.Slice{slice(0, 8)}, []flow.Slice{slice(0, 4), slice(4, 8)}},
		{"the other way round", []flow.Slice{slice(0, 4), slice(4, 8)}, []flow.Slice{slice(0, 8)}},
		{"they overlap", []flow.Slice{slice(0, 5)}, []flow.Slice{slice(3, 8)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 1, 2)
			b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
				if err := l.Plan(ctx, []string{"sink0"}, tt.first); err != nil {
					return err
				}
				return l.Plan(ctx, []string{"sink1"}, tt.second)
			})
			s, err := b.run(span(0, 8))
			if err != nil || !s.Complete() || s.Failed() {
				t.Fatalf("%+v, %v", s, err)
			}
			for _, k := range b.sinks {
				k.store.wantExactly(t, span(0, 8))
			}
			if given := b.kinds(GivenUp); len(given) > 0 {
				t.Errorf("%d slices were read and then refused as covered: %v", len(given), given)
			}
			var read time.Duration
			for _, r := range b.source.reads {
				read += r.Range().Duration()
			}
			if read > 16*time.Millisecond {
				t.Errorf("read %v for two sinks of 8ms", read)
			}
		})
	}
}

// A rival's entry between two of our own, of which the ledger knows only ours, is found by the number that is missing.
func TestAnEntryBelowTheLastKnownOneIsHealed(t *testing.T) {
	b := newBench(t, 1, 1)
	store := b.sinks[0].store
	for n, s := range []flow.Slice{slice(0, 4), slice(4, 8), slice(8, 12)} {
		var sum flow.Sum
		for x := s.From.UnixMilli(); x < s.To.UnixMilli(); x++ {
			body := time.UnixMilli(x).UTC().Format("x")
			sum.Add([]byte(body))
		}
		store.receipts = append(store.receipts, sinks.Receipt{Slice: s, Entry: uint64(n + 1), Delivered: sum, At: midnight})
	}
	b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
		return l.RecordAll(ctx, "sink0", []sinks.Receipt{store.receipts[0], store.receipts[2]})
	})
	s, err := b.run(span(0, 12))
	if err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("%+v, %v", s, err)
	}
	if len(b.source.reads) > 0 {
		t.Errorf("read %v, which the sink's log holds", b.source.reads)
	}
}

// A vendor's clock that was wrong once, far ahead, neither covers the future nor makes the run wait for it.
func TestAClockThatWasAheadOnce(t *testing.T) {
	for _, last := range []time.Duration{0, 100 * time.Millisecond} {
		b := newBench(t, 1, 1)
		b.source.maxCut = 200_000_000
		start, asked := time.Now(), 0
		b.source.now = func() time.Time {
			right := at(100).Add(time.Minute).Add(time.Since(start)) // lag is a minute
			if asked++; asked == 1 {
				return right.Add(50 * time.Hour)
			}
			return right
		}
		from := at(0)
		if last > 0 {
			from = time.Time{}
		}
		b.edit = func(c *Config) { c.Last = last }
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s, err := b.runWith(ctx, flow.Range{From: from}, nil)
		if err != nil || !s.Complete() || s.Failed() || ctx.Err() != nil {
			t.Fatalf("last %v: %+v, %v", last, s, err)
		}
		if to := s.Range.To.Sub(at(100)); to < 0 || to > time.Minute {
			t.Errorf("last %v: asked %s, want up to the corrected clock", last, s.Range)
		}
		for _, r := range b.sinks[0].store.receipts {
			if r.Slice.To.After(s.Range.To) {
				t.Errorf("last %v: %s is covered, after the vendor's now minus lag", last, r.Slice)
			}
		}
		b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
			cuts, err := l.Cuts(ctx, "sink0", logA.Partition)
			if len(cuts) > 0 {
				t.Errorf("last %v: %v is left to be waited for", last, cuts)
			}
			return err
		})
	}
}

// The same, met by a later run: a cut that ends in the future was made under a wrong clock.
func TestACutOfTheFutureIsGivenUp(t *testing.T) {
	b := newBench(t, 1, 1)
	first := sync.OnceValue(time.Now) // asked: what a slow machine takes to come so far doesn't count
	b.source.now = func() time.Time { start := first(); return at(1000).Add(time.Minute).Add(time.Since(start)) }
	b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
		return l.Plan(ctx, []string{"sink0"}, []flow.Slice{slice(0, 80_000_000)})
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := b.runWith(ctx, flow.Range{From: at(0)}, nil)
	if err != nil || !s.Complete() || s.Failed() || ctx.Err() != nil {
		t.Fatalf("%+v, %v", s, err)
	}
	if to := s.Range.To.Sub(at(1000)); to < 0 || to > time.Minute {
		t.Errorf("asked %s, want up to the clock", s.Range)
	}
	b.sinks[0].store.wantExactly(t, s.Range)
}

func TestAnAuthErrorAfterAnotherFailureGetsItsFreshProcess(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	errs := []error{fault.Errorf(fault.Transient, "read", "reset"), fault.Errorf(fault.Auth, "read", "401")}
	b.source.fail = func(flow.Slice) error {
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
	if s, err := b.run(span(0, 100)); err != nil || !s.Complete() || s.Failed() || b.starts != 2 {
		t.Errorf("%+v, %v, %d processes; want a secret that was rotated read again", s, err, b.starts)
	}
}

// A source that says canceled though nobody asked it to stop must not be asked again without end.
func TestCanceledWithoutAStopIsAFailure(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	b.edit = func(c *Config) { c.Attempts = 3 }
	b.source.fail = func(flow.Slice) error { return context.Canceled }
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := b.runWith(ctx, span(0, 10), nil)
	if err != nil || !s.Failed() || s.Complete() {
		t.Errorf("%+v, %v", s, err)
	}
	if len(b.source.reads) != 3 {
		t.Errorf("%d reads, want as many as a slice has tries: 3", len(b.source.reads))
	}
}

// A sink whose reader has gone, as stdout's does under head, ends the run early; that is no failure.
func TestASinkThatCancelsStopsThePipeline(t *testing.T) {
	b := newBench(t, 1, 1)
	gone := fault.Errorf(fault.Canceled, "print records", "the reader has ended")
	b.sinks[0].fail = func(op string, _ flow.Slice) error { return gone }
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, _ := b.runWith(ctx, span(-50, 50), nil)
	if s.Failed() || s.Complete() || !s.Stopped || ctx.Err() != nil {
		t.Errorf("%+v; want a run that was stopped early", s)
	}
	if len(b.source.reads) > 3 {
		t.Errorf("%d reads for a sink that takes nothing", len(b.source.reads))
	}
}

func TestARunThatIsEndedBeforeItBeginsHasNotFailed(t *testing.T) {
	b := newBench(t, 1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	b.source.crash = func(call string) error {
		if call == "now" {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	s, _ := b.runWith(ctx, span(0, 10), nil)
	if s.Failed() || s.Complete() || !s.Stopped {
		t.Errorf("%+v; want stopped, neither failed nor complete", s)
	}
}

// process is one plugin process whose reads a test directs.
type process struct {
	*fakeSource
	number int
	closed chan struct{}
	once   sync.Once
	read   func(p *process, s flow.Slice) error
}

func (p *process) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *process) Done() <-chan struct{} { return p.closed }

func (p *process) Measure(context.Context, flow.Partition, flow.Range) ([]flow.Measure, error) {
	return nil, nil
}

func (p *process) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	to := g.From.Add(10 * time.Millisecond)
	if to.After(g.To) {
		to = g.To
	}
	return []flow.Slice{flow.NewSlice(g.Partition, g.From, to, 0)}, nil
}

func (p *process) Read(ctx context.Context, s flow.Slice, share int64, waiting func(time.Time, string)) (Reader, error) {
	if err := p.read(p, s); err != nil {
		return nil, err
	}
	return p.fakeSource.Read(ctx, s, share, waiting)
}

// Two slices run in a process that ends. The end of the second, told late, must not end the process that was started
// after the first: its slices would end it for those that follow, and so on.
func TestALateEndOfAProcessLeavesTheNextOneAlone(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	crash := fault.Errorf(fault.Crash, "plugin", "ended unexpectedly")
	secondRuns, thirdRuns, secondEnded := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var processes []*process
	read := func(p *process, s flow.Slice) error {
		switch {
		case p.number > 1 && s.From.Equal(at(20)):
			select {
			case <-thirdRuns:
			default:
				close(thirdRuns)
			}
			<-secondEnded
			select {
			case <-p.closed:
				return crash
			case <-time.After(50 * time.Millisecond):
				return nil
			}
		case p.number > 1:
			return nil
		case s.From.Equal(at(0)):
			<-secondRuns
			return crash
		default:
			close(secondRuns)
			<-thirdRuns
			return crash
		}
	}
	b.edit = func(c *Config) {
		c.Parallel, c.MaxBackoff = 2, 200*time.Millisecond
		c.Start = func(context.Context) (Source, error) {
			p := &process{fakeSource: b.source, number: len(processes) + 1, closed: make(chan struct{}), read: read}
			processes = append(processes, p)
			return p, nil
		}
	}
	b.during = func(e Event) {
		if e.Kind == Retry && e.Slice.From.Equal(at(10)) {
			close(secondEnded)
		}
	}
	s, err := b.run(span(0, 50))
	if err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("%+v, %v", s, err)
	}
	if len(processes) != 2 {
		t.Errorf("%d processes were started for one crash, want 2", len(processes))
	}
	if late := slices.DeleteFunc(b.kinds(Retry), func(e Event) bool { return e.Slice.From.Before(at(20)) }); len(late) > 0 {
		t.Errorf("charged for a process they weren't in: %v", late)
	}
}

// A run that ended between a commit and its record told nobody of the dead letters: the run that finds the commit does.
func TestDeadLettersOfAFoundCommitCount(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
		return l.Plan(ctx, []string{"sink0"}, []flow.Slice{slice(0, 10)})
	})
	b.sinks[0].reject = func(string) bool { return true }
	doubted := false
	b.sinks[0].fail = func(op string, _ flow.Slice) error {
		if op == "begin" && !doubted { // committed by someone who ended before it could record
			doubted = true
			b.sinks[0].store.receipts = append(b.sinks[0].store.receipts, sinks.Receipt{
				Slice: slice(0, 10), Entry: 1, Dead: flow.Sum{Rows: 10}, At: midnight,
			})
			return errTest
		}
		return nil
	}
	s, err := b.run(span(0, 10))
	if err != nil || !s.Complete() || s.DeadLetters != 10 || !s.Failed() {
		t.Errorf("%+v, %v; want 10 dead letters, which fail the run", s, err)
	}
}
