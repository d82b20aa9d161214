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
