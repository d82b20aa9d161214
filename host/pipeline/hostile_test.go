package pipeline

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
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
