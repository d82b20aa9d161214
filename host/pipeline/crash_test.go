package pipeline

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
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
				c.Attempts, c.Parallel, c.Window = 1, 4, 64<<20
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

// TestNothingStartsBesideASuspect: neither while one is at work, nor while one that is due waits for the others' end.
func TestNothingStartsBesideASuspect(t *testing.T) {
	b := newBench(t, 1, 1)
	b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
		r := newRun(b.config(l, span(0, 60)))
		defer r.close()
		if err := r.prepare(ctx, nil); err != nil {
			return err
		}
		at := func(from int64, running, suspect bool) *work {
			w := &work{slice: slice(from, from+1), part: r.parts[0], sinks: setOf(0), running: running, suspect: suspect}
			r.parts[0].work[w] = struct{}{}
			if running {
				r.cancel[w], r.running = func() {}, r.running+1
			}
			return w
		}
		first := at(0, true, true)
		if r.start(ctx, ctx); r.running != 1 {
			t.Errorf("%d at work beside a suspect", r.running-1)
		}
		first.suspect = false
		at(1, false, true)
		if r.start(ctx, ctx); r.running != 1 {
			t.Errorf("%d started while a suspect waits to be alone", r.running-1)
		}
		return nil
	})
}
