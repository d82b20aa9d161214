package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// start fills the free places. It returns when to look again, negative if there is nothing to wait for but running slices.
func (r *run) start(ctx, opening context.Context) time.Duration {
	wake := time.Duration(-1)
	sooner := func(d time.Duration) {
		if d = max(d, 0); wake < 0 || d < wake {
			wake = d
		}
	}
	now := time.Now()
	bySinks := time.Duration(-1) // when to look again for the sake of a sink that is down
	back := func(d time.Duration) {
		if d = max(d, 0); bySinks < 0 || d < bySinks {
			bySinks = d
		}
	}
	r.bringUp(opening, now, back)
	if err := r.lookFirst(ctx); err != nil {
		r.fatal = err
		return -1
	}
	r.revive(now, sooner)
	r.leaveWaiting(now, back)
	nothing := false // to start, but tries whether sinks are back
	for r.running < r.cfg.Parallel && r.fatal == nil && !r.isAlone() {
		if w := r.due(now, sooner, true); w != nil {
			if r.running > 0 {
				break // what is at work ends first
			}
			r.launch(ctx, w)
			break
		}
		var w *work
		var err error
		try := false
		if !r.tried { // else it is the others' turn
			w, err = r.tries(ctx, now, back)
			try = w != nil
		}
		if w == nil && err == nil {
			w, err = r.others(ctx, now, sooner)
			nothing = w == nil
		}
		if w == nil && err == nil && r.tried {
			w, err = r.tries(ctx, now, back)
			try = w != nil
		}
		r.tried = try
		if err != nil {
			r.fatal = err
			return -1
		}
		if w == nil {
			break
		}
		if w.sinks&r.leaders() != 0 {
			r.idle = false
		}
		r.launch(ctx, w)
	}
	last := nothing && wake < 0 && r.pending == 0 && !r.follows() && r.onlyTries() && r.lastRound()
	switch {
	case r.running == r.cfg.Parallel:
		return -1 // nothing can start before a result anyway
	case last:
		return 0
	}
	if wake < 0 || bySinks >= 0 && bySinks < wake {
		return bySinks
	}
	return wake
}

// others takes up what is no try of a sink that is down: what waited comes before what is new, and that before what is read again.
func (r *run) others(ctx context.Context, now time.Time, sooner func(time.Duration)) (*work, error) {
	if w := r.due(now, sooner, false); w != nil {
		return w, nil
	}
	if w, err := r.fresh(ctx, sooner); w != nil || err != nil {
		return w, err
	}
	return r.lateWork(ctx)
}

// isAlone reports whether a slice is at work that nothing may start beside.
func (r *run) isAlone() bool {
	for w := range r.cancel {
		if w.suspect {
			return true
		}
	}
	return false
}

// due returns the slice that has waited longest past its next try, of those that run alone or of the others.
func (r *run) due(now time.Time, sooner func(time.Duration), alone bool) *work {
	var first *work
	away := r.away()
	for _, p := range r.parts {
		for w := range p.work {
			if !w.waits() || w.suspect != alone || w.sinks&away != 0 {
				continue
			}
			if w.recheck != nil && (r.isRechecking(w) || r.meetsSerial(p, w.sinks, w)) {
				continue // what ends wakes the loop
			}
			if w.next.After(now) {
				sooner(w.next.Sub(now))
				continue
			}
			if first == nil || w.next.Before(first.next) {
				first = w
			}
		}
	}
	return first
}

// leaveWaiting lets slices that wait for their next try go on without the sinks that are away and may be left behind. One without any other is
// dropped, and comes again as a try of its sinks. That is before any of those starts: its failure is what the next one waits for.
func (r *run) leaveWaiting(now time.Time, back func(time.Duration)) {
	away := r.away()
	r.workMu.Lock()
	defer r.workMu.Unlock()
	for _, p := range r.parts {
		for w := range p.work {
			if left := w.sinks; w.waits() && left&away != 0 && !r.leaveBehind(w, away) {
				r.drop(w)
				back(r.putOff(w, left, now).Sub(now))
			}
		}
	}
}

// fresh takes up the next slice of the partitions in turn: before what only sinks lack that were left behind comes the rest.
func (r *run) fresh(ctx context.Context, sooner func(time.Duration)) (*work, error) {
	away, leaders := r.away(), r.leaders()
	if away&leaders != 0 {
		return nil, nil // the pipeline waits for it: what started now would be read a second time for it
	}
	if leaders != 0 {
		if r.cfg.Tail && r.follows() {
			if w, err := r.freshTail(ctx, away, leaders, sooner); w != nil || err != nil {
				return w, err
			}
		}
		if w, err := r.freshFor(ctx, away, leaders, nothing, sooner); w != nil || err != nil {
			return w, err
		}
	}
	return r.freshFor(ctx, away, all, nothing, sooner)
}

// nothing is left out of what may start.
func nothing(*partition) flow.Range { return flow.Range{} }

// freshFor takes up the next slice that partition.next gives; what meets avoid of its partition is left out.
func (r *run) freshFor(
	ctx context.Context, away, wanted sinkSet, avoid func(*partition) flow.Range, sooner func(time.Duration),
) (*work, error) {
	vendor, horizon, now := r.clock.Now(), r.clock.horizon(r.cfg.Lag), time.Now()
	for n := range r.parts {
		p := r.parts[(r.turn+n)%len(r.parts)]
		c, ok := p.next(away, wanted, avoid(p))
		if !ok || r.mustWait(p, c) || r.isDry(p, now, sooner) {
			continue
		}
		src, err := r.source(ctx)
		if err != nil {
			return nil, r.startFailed(ctx, nil, err, sooner)
		}
		cuts := slices.Clone(p.cuts)
		s, set, err := r.takeUp(ctx, p, c, src)
		if err != nil {
			return nil, r.startFailed(ctx, src, err, sooner)
		}
		r.starts = 0
		if s.To.After(vendor) { // another slice's answer has set the clock back since the range was fixed
			p.cuts = cuts
			r.workMu.Lock()
			err := r.narrow(ctx)
			r.workMu.Unlock()
			if err != nil {
				return nil, err
			}
			sooner(0)
			continue
		}
		if c.cut == nil && r.fellBehind(p, s) {
			return r.freshFor(ctx, away, wanted, avoid, sooner)
		}
		if r.grows(p, s, set) {
			p.cuts = cuts
			continue
		}
		if s.To.After(horizon) { // a `to` that has passed by less than lag
			p.cuts = cuts
			if p.lag == nil || p.lag.slice.ID != s.ID { // told once, however often other slices wake the loop
				l := &lagging{s, set, "lag until " + s.To.Add(r.cfg.Lag).Format("15:04"), time.Now().Add(s.To.Sub(horizon))}
				r.workMu.Lock()
				p.lag = l
				r.workMu.Unlock()
				r.observe(Event{Kind: Waiting, Slice: s, Name: p.Name, Until: l.until, Message: l.why})
			}
			sooner(s.To.Sub(horizon))
			continue
		}
		r.turn = (r.turn + n + 1) % len(r.parts)
		w := &work{slice: s, part: p, sinks: set}
		r.begins(w, now)
		r.workMu.Lock()
		p.work[w] = struct{}{}
		if p.lag != nil && p.lag.slice.ID == s.ID {
			p.lag = nil
		}
		r.workMu.Unlock()
		return w, nil
	}
	return nil, nil
}

// startFailed lets a plugin that didn't start, or didn't plan, be tried again; after as many tries as a slice has the
// pipeline stops.
func (r *run) startFailed(ctx context.Context, src Source, err error, sooner func(time.Duration)) error {
	r.starts++
	err = unasked(ctx, err)
	v := r.cfg.decide(err, r.patient(err, r.starts))
	if v.action != actRetry {
		return err
	}
	if v.fresh {
		r.retire(src)
	}
	wait := r.cfg.backoff(r.starts)
	r.observe(Event{Kind: Retry, Err: err, Message: err.Error(), Hint: fault.HintOf(err), Until: time.Now().Add(wait)})
	sooner(wait)
	return nil
}

// mustWait holds a slice back for a sink that takes a partition's slices one at a time.
func (r *run) mustWait(p *partition, c candidate) bool {
	var set sinkSet
	if c.cut != nil {
		set = c.cut.sinks
	} else {
		set = c.fresh.sinks
	}
	return r.meetsSerial(p, set, nil)
}

func (r *run) launch(ctx context.Context, w *work) {
	ctx, cancel := context.WithCancel(ctx)
	r.workMu.Lock()
	w.running, w.src, w.probe = true, nil, 0
	for _, i := range w.sinks.each() {
		if !r.sinks[i].since.IsZero() && r.cfg.Sinks[i].Probe != nil {
			w.probe |= setOf(i)
		}
	}
	w.since = time.Now()
	w.state.reset()
	w.company = len(r.cancel) > 0
	for other := range r.cancel {
		other.company = true
	}
	r.cancel[w] = cancel
	r.workMu.Unlock()
	r.running++
	if w.recheck != nil {
		r.late.busy = w
	}
	r.observe(Event{Kind: Planned, Slice: w.slice, Name: w.part.Name, Sinks: r.names(w.sinks), Attempt: w.attempt})
	go func() { // the loop takes every result before it ends
		out := r.carry(ctx, w)
		if ctx.Err() != nil {
			for i, err := range out.failed { // whatever it looks like, it was ended by us
				out.failed[i] = fault.New(fault.Canceled, "", "", err)
			}
		}
		r.results <- out
	}()
}
