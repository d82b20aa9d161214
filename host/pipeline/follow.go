package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// follow is how a run keeps going: at each tick the vendor's clock is asked again, and what has closed since is asked for. It belongs to
// the loop.
type follow struct {
	ticks  chan tick
	asking bool          // a tick is under way
	next   time.Duration // of the next tick, by the clock that never steps
	fails  int           // ticks in a row that failed
	err    error         // of the last tick
	first  time.Time     // the horizon when the run began: what lies before it is no follow work
}

// tick is what became of asking the vendor's clock.
type tick struct {
	src Source
	err error
}

// sleepCheck is the longest that a run that follows sleeps: timers stand still while the machine does, and the next tick may be due
// long before one ends.
const sleepCheck = 30 * time.Second

// follows reports whether new time will be asked for: without end, or until a `to` that is still ahead.
func (r *run) follows() bool {
	return r.cfg.Follow > 0 && (r.cfg.To.IsZero() || r.asked.To.Before(r.cfg.To))
}

// beginFollow fixes what the first ranges are. The ledger has what the sinks hold.
func (r *run) beginFollow() {
	if r.cfg.Follow == 0 {
		return
	}
	r.follow.first = r.asked.To
	r.follow.next = r.clock.since() + r.cfg.Follow
	for _, p := range r.parts {
		p.tail = r.tailOf(p)
	}
}

// resume moves the begin of a range that counts back from now to where an earlier run stopped, if that is earlier: a host that stood
// still for longer leaves no hole.
func (r *run) resume(ctx context.Context) error {
	if r.cfg.Follow == 0 || r.cfg.Last == 0 {
		return nil
	}
	begin := r.asked.From
	for _, p := range r.parts {
		p.from = begin
		for _, i := range p.takers.each() {
			identity := r.identity(i)
			if identity == "" {
				identity = r.cfg.Sinks[i].Known
			}
			covered, err := r.cfg.Ledger.Coverage(ctx, identity, p.Partition.Partition)
			if err != nil {
				return err
			}
			if n := len(covered); n > 0 && covered[n-1].To.Before(p.from) {
				p.from = covered[n-1].To
			}
		}
		if p.from.Before(r.asked.From) {
			r.asked.From = p.from // of all of them: the sinks are asked what they hold from there on
		}
	}
	return nil
}

// followOn asks for new time when that is due. It returns when to look again, wake at the latest.
func (r *run) followOn(ctx context.Context, wake time.Duration) time.Duration {
	if !r.follows() || r.allStopped() {
		return wake
	}
	if !r.follow.asking && r.clock.since() >= r.follow.next {
		r.follow.asking = true
		host := r.cfg.HostClock
		go func() { // the loop takes the result before it ends
			src, err := r.source(ctx)
			if err == nil {
				err = r.clock.ask(ctx, src, host)
			}
			r.follow.ticks <- tick{src, err}
		}()
	}
	left := sleepCheck
	if !r.follow.asking {
		left = min(left, max(r.follow.next-r.clock.since(), 0))
	}
	if wake < 0 || left < wake {
		return left
	}
	return wake
}

// allStopped reports whether nothing of any partition starts any more: there is nothing to go on for.
func (r *run) allStopped() bool {
	for _, p := range r.parts {
		if p.stopped == nil {
			return false
		}
	}
	return true
}

// settleTick takes the outcome of a tick. While the vendor's clock isn't told nothing new is asked for: one question instead of slices
// that would all fail.
func (r *run) settleTick(ctx context.Context, t tick) {
	f := &r.follow
	f.asking = false
	r.setTick(t.err, r.cfg.Follow)
	if t.err == nil {
		f.fails = 0
		if err := r.advance(ctx); err != nil {
			r.fatal = fault.New(fault.Config, "ledger", "check the state folder's disk", err)
		}
		return
	}
	if r.ending || ctx.Err() != nil {
		return
	}
	err := unasked(ctx, t.err)
	f.fails++
	v := r.cfg.decide(err, r.patient(err, f.fails))
	if v.action == actStopPipeline {
		r.fatal = err
		return
	}
	if v.fresh {
		r.retire(t.src)
	}
	wait := max(v.wait, min(r.cfg.backoff(f.fails), r.cfg.Follow))
	r.setTick(err, wait)
	r.observe(Event{Kind: Retry, Err: err, Message: err.Error(), Hint: fault.HintOf(err), Until: time.Now().Add(wait)})
}

// setTick writes down what Snapshot sees of a tick.
func (r *run) setTick(err error, wait time.Duration) {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	r.follow.err, r.follow.next = err, r.clock.since()+wait
}

// patient is how many failures of the vendor count in a run that follows: what passes by itself is waited for, however long it takes.
func (r *run) patient(err error, failures int) int {
	if r.cfg.Follow == 0 {
		return failures
	}
	switch fault.KindOf(err) {
	case fault.Transient, fault.Throttled, fault.NotYet, fault.InDoubt:
		return min(failures, r.cfg.Attempts-1)
	}
	return failures
}

// advance asks for what has closed since the last tick. A clock that went back asks for nothing: what is covered stays so.
func (r *run) advance(ctx context.Context) error {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	before := r.asked.To
	r.ask()
	back := r.asked.To.Before(before)
	for _, p := range r.parts {
		p.asked = r.asks(p)
		if err := r.recordMissed(ctx, p); err != nil {
			return err
		}
		if !back {
			continue
		}
		if err := r.giveUpCuts(ctx, p); err != nil {
			return err
		}
	}
	e := Event{Kind: Window, Range: flow.Range{From: before, To: r.asked.To}, Behind: r.behind()}
	if back {
		e.Range = flow.Range{From: r.asked.To, To: r.asked.To}
		e.Message = fmt.Sprintf("the vendor's clock went back by %s: nothing is asked for until it is past %s",
			before.Sub(r.clock.horizon(r.cfg.Lag)).Round(time.Second), before.Add(r.cfg.Lag).Format(time.RFC3339))
	}
	r.observe(e)
	return nil
}

// asks is what is asked of a partition.
func (r *run) asks(p *partition) flow.Ranges {
	asked := r.asked
	if !p.from.IsZero() {
		asked.From = p.from
	}
	return r.stream(p.Partition.Partition).Asks(asked, r.clock.horizon(r.cfg.Lag))
}

// behind is how far the earliest gap begins before what may be asked for now, 0 without one. workMu is held.
func (r *run) behind() time.Duration {
	var first time.Time
	for _, p := range r.parts {
		for _, gap := range p.lacks() {
			if len(gap) > 0 && (first.IsZero() || gap[0].From.Before(first)) {
				first = gap[0].From
			}
		}
	}
	if first.IsZero() {
		return 0
	}
	return max(r.clock.horizon(r.cfg.Lag).Sub(first), 0)
}

// endOf is where what is asked of a partition ends, the zero time if nothing is.
func (p *partition) endOf() time.Time {
	if len(p.asked) == 0 {
		return time.Time{}
	}
	return p.asked[len(p.asked)-1].To
}

// grows reports whether a slice is the last of what is asked and its partition has others in hand: then it waits for them, and is larger
// when its turn comes. However short the budget is, there is one window at a time, and no queue of small ones.
func (r *run) grows(p *partition, s flow.Slice, set sinkSet) bool {
	if !r.follows() || !s.To.Equal(p.endOf()) {
		return false
	}
	for w := range p.work {
		if w.parked || w.sinks&set == 0 {
			continue
		}
		if !r.cfg.Tail || w.slice.To.After(p.tail) {
			return true
		}
	}
	return false
}

// tailOf is where a partition's tail begins: where its coverage ends, or a window before the end without any.
func (r *run) tailOf(p *partition) time.Time {
	end := p.endOf()
	var covered time.Time
	for _, i := range p.takers.each() {
		c := p.covered[i].Intersect(p.asked)
		if n := len(c); n > 0 && (covered.IsZero() || c[n-1].To.Before(covered)) {
			covered = c[n-1].To
		}
	}
	if covered.IsZero() {
		return end.Add(-r.cfg.Follow)
	}
	return covered
}

// fellBehind moves the tail on if its first slice doesn't reach its end: what is left is older gaps, cut as such. The midnight before the
// end is reached by two slices. It reports whether the tail moved.
func (r *run) fellBehind(p *partition, s flow.Slice) bool {
	end := p.endOf()
	if !s.To.Before(end) || s.To.Equal(flow.Day(end)) {
		return false
	}
	tail := end.Add(-r.cfg.Follow)
	if !tail.After(p.tail) {
		return false
	}
	p.tail = tail
	return true
}

// beforeTail is what is left out when only the tail is wanted.
func (p *partition) beforeTail() flow.Range {
	if len(p.asked) == 0 || !p.tail.After(p.asked[0].From) {
		return flow.Range{}
	}
	return flow.Range{From: p.asked[0].From, To: p.tail}
}

// freshTail takes up the next slice of the partitions' tails.
func (r *run) freshTail(ctx context.Context, away, leaders sinkSet, sooner func(time.Duration)) (*work, error) {
	return r.freshFor(ctx, away, leaders, (*partition).beforeTail, sooner)
}

// followWork is what came while the run followed.
func (r *run) followWork() flow.Ranges {
	if r.cfg.Follow == 0 || r.follow.first.IsZero() || !r.follow.first.Before(r.asked.To) {
		return nil
	}
	return flow.NewRanges(flow.Range{From: r.follow.first, To: r.asked.To})
}
