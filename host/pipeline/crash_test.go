package pipeline

import (
	"context"
	"math/rand/v2"

	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// crashy is a source whose process ends when it reads one slice, and with it all reads that are open in it.
type crashy struct {
	*fakeSource
	poison flow.Range
	end    fault.Kind // how the others' reads end

	joined  chan struct{}
	crashed chan struct{}
	armed   chan struct{} // closed while the poison is being read
}

func (b *bench) crashy(poison flow.Range, end fault.Kind) func(context.Context) (Source, error) {
	return func(context.Context) (Source, error) {
		own := &fakeSource{rng: rand.New(rand.NewPCG(b.source.rng.Uint64(), 1)), alloc: b.source.alloc, maxCut: b.source.maxCut, now: b.source.now, done: make(chan struct{})}
		return &crashy{fakeSource: own, poison: poison, end: end, joined: make(chan struct{}, 100), crashed: own.done, armed: make(chan struct{})}, nil
	}
}

func (c *crashy) Read(ctx context.Context, s flow.Slice, share int64, waiting func(time.Time, string)) (Reader, error) {
	r, err := c.fakeSource.Read(ctx, s, share, waiting)
	if err != nil {
		return nil, err
	}
	if !s.Range().Meets(c.poison) {
		c.joined <- struct{}{}
		return &victim{Reader: r, of: c}, nil
	}
	close(c.armed)
	select { // it takes another one with it, if there is one
	case <-c.joined:
	case <-time.After(20 * time.Millisecond):
	}
	close(c.crashed)
	return nil, fault.Errorf(fault.Crash, "plugin", "panic: deep in a decoder")
}

// victim is a read beside which the poison may be read.
type victim struct {
	Reader
	of *crashy
}

func (v *victim) Next(ctx context.Context) (flow.Item, error) {
	select {
	case <-v.of.armed:
		<-v.of.crashed
		return flow.Item{}, fault.Errorf(v.of.end, "plugin", "ended")
	case <-time.After(time.Millisecond):
	}
	return v.Reader.Next(ctx)
}

// TestOnlyTheSliceThatCrashesAloneIsCharged: a slice that crashes its process each time is quarantined, and those that ran beside it are
// carried, however often they were hit.
func TestOnlyTheSliceThatCrashesAloneIsCharged(t *testing.T) {
	for _, end := range []fault.Kind{fault.Crash, fault.Canceled} {
		for seed := range uint64(4) {
			b := newBench(t, seed, 1)
			b.source.maxCut = 10
			poison := span(25, 26)
			b.edit = func(c *Config) {
				c.Attempts, c.Parallel, c.Window = 2, 4, 64<<20
				c.Start = b.crashy(poison, end)
			}
			s, err := b.run(span(0, 60))
			if err != nil || len(s.Faults) != 1 || !s.Faults[0].Quarantined || !s.Faults[0].Slice.Range().Meets(poison) {
				t.Fatalf("%s, %d: got %v, %+v", end, seed, err, s)
			}
			b.sinks[0].store.wantExactly(t, flow.NewRanges(span(0, 60)).Minus(flow.NewRanges(s.Faults[0].Slice.Range()))...)
		}
	}
}
