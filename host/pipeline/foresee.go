package pipeline

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// foresight tells Config.Foresee what a run will carry, beside the run: it delays nothing, and no failure of it is one of the run.
type foresight struct {
	cancel context.CancelFunc // nil: nothing was begun
	done   chan struct{}
}

// foreseeGrace is how long the end of a run that has done all waits for its forecast: a short run may be over before.
const foreseeGrace = 2 * time.Second

// foresee begins to work out what the run will carry, from what is known when it begins.
func (r *run) foresee(ctx context.Context) {
	if r.cfg.Foresee == nil {
		return
	}
	r.srcMu.Lock()
	src := r.src
	r.srcMu.Unlock()
	if src == nil {
		return
	}
	shadow, out := r.shadow(), Forecast{VendorNow: r.clock.Now(), Range: r.asked}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	r.foresight = foresight{cancel, done}
	go func() { // endForesight waits for it
		defer close(done)
		for _, p := range shadow.parts {
			one, err := shadow.predict(ctx, p, src)
			if err != nil {
				if ctx.Err() == nil {
					r.cfg.Log.Debug("the run isn't foreseen", "error", err.Error())
				}
				return
			}
			out.Partitions = append(out.Partitions, one)
		}
		if ctx.Err() == nil {
			r.cfg.Foresee(ctx, out)
		}
	}()
}

// endForesight waits for what was begun: for a moment after a run that came to its end, not at all after one that was stopped.
func (r *run) endForesight(stopped bool) {
	f := &r.foresight
	if f.cancel == nil {
		return
	}
	if !stopped {
		timer := time.NewTimer(foreseeGrace)
		defer timer.Stop()
		select {
		case <-f.done:
		case <-timer.C:
		}
	}
	f.cancel()
	<-f.done
	f.cancel = nil
}

// shadow copies what predict works with, which it uses up.
func (r *run) shadow() *run {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	s := &run{cfg: r.cfg, clock: r.clock, asked: r.asked, sinks: slices.Clone(r.sinks)}
	s.cfg.Sinks = slices.Clone(r.cfg.Sinks)
	for _, p := range r.parts {
		c := &partition{
			Partition: p.Partition, asked: slices.Clone(p.asked), takers: p.takers, unavailable: slices.Clone(p.unavailable),
			cuts: slices.Clone(p.cuts), work: map[*work]struct{}{}, pace: p.pace, stopped: p.stopped,
		}
		for _, covered := range p.covered {
			c.covered = append(c.covered, slices.Clone(covered))
		}
		s.parts = append(s.parts, c)
	}
	return s
}

// Moved is what a run has carried so far, of what was left when it began.
type Moved struct {
	Rows, Bytes uint64        // committed, and of slices at work
	Slices      int           // committed
	Left, Begun time.Duration // of log time: what some sink lacks now, and lacked when the run began
}

// moved is what the run has carried; workMu is held.
func (r *run) moved() Moved {
	m := Moved{Rows: r.summary.Rows, Bytes: r.summary.Bytes, Slices: r.summary.Slices, Begun: r.lackedAtFirst}
	for _, p := range r.parts {
		m.Left += p.lacking().Duration()
		for w := range maps.Keys(p.work) {
			if w.running {
				w.state.mu.Lock()
				m.Rows, m.Bytes = m.Rows+w.state.rows, m.Bytes+w.state.bytes
				w.state.mu.Unlock()
			}
		}
	}
	return m
}

// lacking is what at least one sink lacks of a partition.
func (p *partition) lacking() flow.Ranges {
	var left flow.Ranges
	for _, gap := range p.lacks() {
		left = left.Union(gap)
	}
	return left
}
