package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// opened is what became of bringUp.
type opened struct {
	sink int
	open Sink
	err  error
}

// bringUp starts to open the sinks that are due for it, each in a goroutine of its own.
func (r *run) bringUp(ctx context.Context, now time.Time, sooner func(time.Duration)) {
	for i := range r.sinks {
		st := &r.sinks[i]
		if st.ready && !st.reopen || st.opening || st.lost {
			continue
		}
		if st.next.After(now) {
			sooner(st.next.Sub(now))
			continue
		}
		if r.isBusy(i) || r.adrift.of(i) > 0 {
			continue // what ends wakes the loop
		}
		r.workMu.Lock()
		st.opening = true
		r.workMu.Unlock()
		r.pending++
		sink, again, asked := r.cfg.Sinks[i], st.reopen || r.cfg.Sinks[i].Sink == nil, r.asked
		go func() { // the loop takes every result before it ends
			err := r.open(ctx, &sink, again, asked)
			r.opens <- opened{i, sink, err}
		}()
	}
}

// endOpening takes the outcomes that are under way when the run ends. One that hangs is left like a call: what opens it has a copy of the
// Sink, and opens has a place for it.
func (r *run) endOpening(ctx context.Context) {
	timer := time.NewTimer(leavesWithin)
	defer timer.Stop()
	for r.pending > 0 {
		select {
		case o := <-r.opens:
			r.settleOpen(context.WithoutCancel(ctx), o)
		case <-timer.C:
			var left sinkSet
			for i := range r.sinks {
				if r.sinks[i].opening {
					left |= setOf(i)
				}
			}
			r.cfg.Log.Warn("a sink doesn't open: leaving it", "sinks", r.names(left))
			return
		}
	}
}

// opensWithin is how long opening a sink may take before people are told what is waited for.
const opensWithin = 30 * time.Second

// open opens a sink, if it is to be, and brings the ledger up to what it holds. How long that takes depends on what it holds, so it has no
// bound; one that takes long is told, since the others may wait for it.
func (r *run) open(ctx context.Context, s *Sink, again bool, asked flow.Range) error {
	defer time.AfterFunc(opensWithin, func() {
		r.cfg.Log.Warn("a sink takes long to open or to say what it holds", "sink", s.Name, "after", opensWithin)
	}).Stop()
	if again {
		if s.Open == nil {
			return fault.Errorf(fault.Bug, "sink "+s.Name, "it can't be opened again")
		}
		fresh, err := s.Open(ctx)
		if err != nil {
			s.Sink = nil // the one before is closed
			return err
		}
		s.Sink = fresh
	}
	return r.healSink(ctx, s, asked)
}

func (r *run) isBusy(i int) bool {
	for w := range r.cancel {
		if w.sinks&setOf(i) != 0 {
			return true
		}
	}
	return false
}

// settleOpen takes the outcome of bringUp.
func (r *run) settleOpen(ctx context.Context, o opened) {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	r.pending--
	st := &r.sinks[o.sink]
	st.opening = false
	r.cfg.Sinks[o.sink].Sink = o.open.Sink
	err := o.err
	if err == nil && st.ready && st.identity != o.open.Identity() {
		err = fault.Errorf(fault.Config, "sink "+o.open.Name, "it was %s and is %s after it was opened again", st.identity, o.open.Identity())
	}
	if err == nil {
		err = r.adopt(ctx, o.sink)
	}
	if err == nil {
		first := !st.ready
		st.refused = st.reopen
		st.ready, st.reopen, st.identity = true, false, o.open.Identity()
		if !st.since.IsZero() {
			st.next = time.Now() // whether it takes anything shows with the next slice
		}
		if first {
			if err := r.lookForOpened(ctx, o.sink); err != nil {
				r.fatal = fault.New(fault.Config, "ledger", "check the state folder's disk", err)
			}
		}
		return
	}
	if r.ending {
		return
	}
	wait := max(fault.RetryAfterOf(err), r.cfg.backoff(st.fails+1))
	r.markDown(o.sink, err, wait)
	final := isFinal(err) || st.reopen && fault.KindOf(err) == fault.Auth
	switch {
	case r.detaches(o.sink):
		if final || r.exhausted(st) {
			r.giveUpSink(o.sink)
		}
	case final || st.fails >= r.cfg.Attempts && !r.follows():
		if r.fatal == nil {
			r.fatal = err
		}
	}
}

// adopt reads what the ledger knows of a sink that was opened while the run was going on.
func (r *run) adopt(ctx context.Context, i int) error {
	if err := r.mayBegin(ctx, i); err != nil {
		return err
	}
	for _, p := range r.parts {
		if p.takers&setOf(i) == 0 {
			continue
		}
		p.cuts = slices.DeleteFunc(p.cuts, func(c cut) bool { return c.sinks == setOf(i) })
		for n := range p.cuts {
			p.cuts[n].sinks &^= setOf(i)
		}
		if err := r.knowSink(ctx, p, i); err != nil {
			return err
		}
		if err := r.recordMissed(ctx, p); err != nil {
			return err
		}
		if err := r.giveUpCuts(ctx, p); err != nil {
			return err
		}
		if err := r.offerKept(ctx, p, i); err != nil {
			return err
		}
	}
	return r.sweepDead(ctx, setOf(i))
}

// openAll opens and heals the sinks before anything is planned. Those that the pipeline waits for are tried again like the vendor's
// first answer; the others are left to the loop.
func (r *run) openAll(ctx context.Context, drain <-chan struct{}) error {
	for i := range r.sinks {
		st := &r.sinks[i]
		for {
			s := &r.cfg.Sinks[i]
			err := r.open(ctx, s, s.Sink == nil, r.asked)
			if err == nil {
				r.workMu.Lock()
				st.ready, st.since, st.next, st.err, st.fails, st.identity = true, time.Time{}, time.Time{}, nil, 0, s.Identity()
				r.workMu.Unlock()
				break
			}
			if isFinal(err) || ctx.Err() != nil {
				return err
			}
			r.workMu.Lock()
			wait := max(fault.RetryAfterOf(err), r.cfg.backoff(st.fails+1))
			r.markDown(i, err, wait)
			over := st.fails >= r.cfg.Attempts && !r.follows()
			r.workMu.Unlock()
			if r.detaches(i) {
				break
			}
			if kind := fault.KindOf(err); over || kind != fault.Transient && kind != fault.Throttled {
				return err
			}
			if err := r.pause(ctx, drain, wait, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// isFinal reports whether an error of opening a sink is one that only a person can mend.
func isFinal(err error) bool {
	return fault.KindOf(err) == fault.Config || errors.Is(err, sinks.ErrOwned)
}

// pause waits before the next try; the error says that the run was told to stop.
func (r *run) pause(ctx context.Context, drain <-chan struct{}, wait time.Duration, why error) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case n := <-r.nudges:
		n.reply <- Retried{Waits: 1}
		return nil
	case <-drain:
		r.summary.Stopped = true
		return fault.New(fault.Canceled, "start", "", why)
	case <-ctx.Done():
		return fault.New(fault.Canceled, "start", "", ctx.Err())
	}
}
