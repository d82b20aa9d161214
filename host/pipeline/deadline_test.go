package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// hasty is a sink that ends transactions which are open for too long.
type hasty struct {
	*fakeSink
	deadline time.Duration
}

func (h hasty) Deadline() time.Duration { return h.deadline }

func TestPaceFits(t *testing.T) {
	const hour, minute = time.Hour, time.Minute
	slice := flow.NewSlice(logA.Partition, midnight, midnight.Add(8*hour), 0)
	for _, tt := range []struct {
		name           string
		pace           pace
		deadline, step time.Duration
		want           time.Duration
	}{
		{"not known", 0, 15 * minute, 0, 8 * hour},
		{"no deadline", 1, 0, 0, 8 * hour},
		{"in time", 1.0 / 96, 15 * minute, 0, 8 * hour}, // 8 h in 5 m
		{"a day without records, in a millisecond", 0.001 / 86400, 15 * minute, 0, 8 * hour},
		{"next to nothing, for a long time", 1e-300, 24 * hour, hour, 8 * hour},
		{"nothing that is a pace", -1, 15 * minute, 0, 8 * hour},
		{"twice too long", 1.0 / 48, 15 * minute, 0, 4 * hour},
		{"whole steps", 1.0 / 48, 14 * minute, hour, 3 * hour},
		{"one step at least", 1000, 15 * minute, hour, hour},
		{"a millisecond at least", 1e9, 15 * minute, 0, time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.pace.fit(slice, tt.deadline, tt.step)
			if !got.From.Equal(slice.From) || got.Range().Duration() != tt.want || got.Validate() != nil {
				t.Errorf("got %s (%s), want %s", got, got.Range().Duration(), tt.want)
			}
		})
	}
}

func TestPaceLearns(t *testing.T) {
	const deadline = 15 * time.Minute
	p := pace(0).learn(10*time.Minute, time.Hour, deadline)
	if p != 1.0/6 {
		t.Fatalf("got %v", p)
	}
	// A slice of a second that takes two is no reason to make slices smaller still.
	if got := p.learn(2*time.Second, time.Second, deadline); got != p {
		t.Errorf("got %v, want %v", got, p)
	}
	if got := p.learn(4*time.Minute, 10*time.Minute, deadline); got != 0.4 {
		t.Errorf("got %v: one that took long counts at once", got)
	}
	if got := p.learn(time.Minute, 2*time.Hour, deadline); got >= p || got < p/2 {
		t.Errorf("got %v: one that was quick counts in part", got)
	}
}

// TestDeadline: a slice whose transaction comes near its end is cut, for that sink alone, and the parts arrive.
func TestDeadline(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 2)
	const deadline = 500 * time.Millisecond
	b.edit = func(c *Config) {
		c.Sinks[1].Sink = hasty{b.sinks[1], deadline}
		c.Sinks[0].Streams = []string{"logs"}
		c.Partitions = []Partition{logA, logB}
	}
	b.source.stalls = func(s flow.Slice) bool { return s.Stream == "events" && s.Range().Duration() > 6*time.Millisecond }
	asked := span(-10, 20)
	s, err := b.run(asked)
	if err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("got %v, %+v", err, s)
	}
	if got := b.sinks[1].store.heldOf(logA.Partition); !got.Covers(asked) {
		t.Errorf("it holds %v", got)
	}
	splits := b.kinds(Split)
	if len(splits) == 0 {
		t.Fatal("nothing was cut")
	}
	for _, e := range splits {
		if !errors.Is(e.Err, errDeadline) || fault.HintOf(e.Err) == "" || !strings.Contains(e.Err.Error(), deadline.String()) {
			t.Errorf("cut for %v", e.Err)
		}
	}
}

// TestDeadlineOfOneMillisecond is said, and says what to do.
func TestDeadlineOfOneMillisecond(t *testing.T) {
	b := newBench(t, 2, 1)
	b.edit = func(c *Config) { c.Sinks[0].Sink = hasty{b.sinks[0], 50 * time.Millisecond} }
	b.source.stalls = func(s flow.Slice) bool { return true }
	b.source.maxCut = 1
	s, err := b.run(span(0, 1))
	if err != nil || !s.Failed() || len(s.Faults) != 1 || !strings.Contains(s.Faults[0].Message, "open for") || s.Faults[0].Hint == "" {
		t.Fatalf("got %v, %+v", err, s)
	}
}

// TestPaceIsPlannedBy: what was learnt in one run plans the next, and is forecast.
func TestPaceIsPlannedBy(t *testing.T) {
	b := newBench(t, 2, 1)
	const deadline = time.Hour
	b.edit = func(c *Config) { c.Sinks[0].Sink = hasty{b.sinks[0], deadline} }
	b.source.maxCut = 1000
	if _, err := b.run(span(0, 10)); err != nil {
		t.Fatal(err)
	}
	var f Forecast
	b.edit = func(c *Config) {
		c.Sinks[0].Sink = hasty{b.sinks[0], deadline}
		learnt, err := c.Ledger.Number(context.Background(), paceKey(logA.Partition))
		if err != nil || learnt <= 0 {
			t.Errorf("got %v, %v: nothing was learnt", learnt, err)
		}
		// As if a millisecond took four minutes: five fit into a third of an hour.
		if err := c.Ledger.SetNumber(context.Background(), paceKey(logA.Partition), 240_000); err != nil {
			t.Fatal(err)
		}
		if f, err = Predict(context.Background(), *c); err != nil {
			t.Fatal(err)
		}
	}
	before := len(b.source.reads)
	if s, err := b.run(span(10, 60)); err != nil || !s.Complete() {
		t.Fatalf("got %v, %+v", err, s)
	}
	if n := len(f.Partitions[0].Slices); n < 10 || f.Partitions[0].Within != 20*time.Minute {
		t.Errorf("%d slices are forecast, want 10 at least; within %s", n, f.Partitions[0].Within)
	}
	if first := b.source.reads[before]; first.Range().Duration() > 5*time.Millisecond {
		t.Errorf("the first slice is %s", first.Range())
	}
	b.sinks[0].store.wantExactly(t, span(0, 60))
}
