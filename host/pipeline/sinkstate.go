package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// sinkState is how one sink of a run stands. It belongs to the loop; workMu guards what Snapshot sees.
type sinkState struct {
	identity string    // kept from when it was open
	ready    bool      // open, and the ledger has what it holds
	refused  bool      // for the credentials' sake, after they were read again
	opening  bool      // bringUp is under way
	reopen   bool      // its secrets are to be read again
	since    time.Time // down since; zero: up
	next     time.Time // of the next try while it is down
	vendor   time.Time // what it lacks can't be read before
	err      error     // of the last try
	fails    int       // tries that failed in a row
	last     int       // of them, since nothing else was left to do
	lost     bool      // not tried again in this run
	probing  *work     // the try that is under way
	hangs    time.Time // since when a call of it that doesn't come back is waited for
	failed   flow.Slice
	tries    map[flow.SliceID]int // failures of a slice while the sink took others
}

// tryAt notes when a sink that is down is tried again: not before what it lacks can be read.
func (st *sinkState) tryAt(at time.Time) { st.next = later(at, st.vendor) }

// SinkStatus is how a sink of a running pipeline stands.
type SinkStatus struct {
	Name    string
	State   string    // "up", "opening", "down", "given up": not tried again in this run
	Since   time.Time // down since; zero: up
	NextTry time.Time // zero: not waiting for one
	Error   string    // of the last try
	Left    time.Duration
}

// The states of a sink.
const (
	SinkUp      = "up"
	SinkOpening = "opening"
	SinkDown    = "down"
	SinkGivenUp = "given up"
)

// Text says a state in a few words: "down since 14:02:11, next try 14:04:11".
func (s SinkStatus) Text() string {
	text := s.State
	if !s.Since.IsZero() {
		text += " since " + s.Since.UTC().Format("15:04:05")
	}
	if s.State == SinkDown && !s.NextTry.IsZero() {
		text += ", next try " + s.NextTry.UTC().Format("15:04:05")
	}
	return text
}

func (r *run) sinkStatus(i int) SinkStatus {
	st := &r.sinks[i]
	s := SinkStatus{Name: r.cfg.Sinks[i].Name, State: SinkUp, Since: st.since}
	switch {
	case st.lost:
		s.State = SinkGivenUp
	case !st.since.IsZero():
		s.State, s.NextTry = SinkDown, st.next
	case st.opening || !st.ready:
		s.State = SinkOpening
	}
	if st.err != nil && s.State != SinkUp {
		s.Error = st.err.Error()
	}
	for _, p := range r.parts {
		s.Left += p.lacks()[i].Duration()
	}
	return s
}

// detaches reports whether the others go on without a sink.
func (r *run) detaches(i int) bool { return r.cfg.Sinks[i].Patience > 0 }

// away returns the sinks that nothing may start for but a try whether they are back.
func (r *run) away() sinkSet {
	var set sinkSet
	for i := range r.sinks {
		st := &r.sinks[i]
		if !st.ready || st.reopen || st.lost || r.detaches(i) && (!st.since.IsZero() || r.adrift.of(i) > 0) {
			set |= setOf(i)
		}
	}
	return set
}

// leaders returns the sinks whose work goes first: what only a detached sink lacks can wait.
func (r *run) leaders() sinkSet {
	var set sinkSet
	for i := range r.sinks {
		if !r.detaches(i) {
			set |= setOf(i)
		}
	}
	return set
}

// sinkFailed notes that a sink failed a slice. It returns true if the sink is left behind: then the slice is none of the
// verdict's any more, and its range stays open for the sink.
func (r *run) sinkFailed(ctx context.Context, i int, w *work, err error, v verdict) (detached bool, fatal error) {
	st := &r.sinks[i]
	if fault.KindOf(err) == fault.Auth {
		if r.cfg.Sinks[i].Open != nil && !st.refused {
			st.reopen = true // a secret may have been rotated
			v.action = actRetry
		} else if r.detaches(i) {
			v.action = actStopPipeline
		}
	}
	switch v.action {
	case actRetry, actWait, actStopPipeline, actStopPartition, actDrop:
	case actQuarantine:
		if fault.KindOf(err) == fault.Oversize {
			return false, nil
		}
	default: // of the slice, not of the sink
		return false, nil
	}
	if !r.detaches(i) {
		return false, nil
	}
	if st.lost { // another slice was told before
		return true, r.failLeft(ctx, w, i, err)
	}
	if st.since.IsZero() {
		if st.tries == nil {
			st.tries = map[flow.SliceID]int{}
		}
		st.tries[w.slice.ID]++
		if st.tries[w.slice.ID] >= r.cfg.Attempts { // it takes others, and never this one
			return false, nil
		}
	}
	wait := max(fault.RetryAfterOf(err), r.cfg.backoff(st.fails+1))
	r.markDown(i, err, wait)
	st.failed = w.slice
	if v.action == actStopPipeline || v.action == actStopPartition || v.action == actDrop || r.exhausted(st) {
		r.giveUpSink(i)
	}
	return true, r.failLeft(ctx, w, i, err)
}

// putOff leaves a slice to the tries of the sinks that it was for, all of them down, and returns when the first of those is due. What kept it from
// being read, if it was a try itself, isn't the sinks' fault, but they wait for it, and it is one of their tries after everything else was done.
// workMu is held.
func (r *run) putOff(w *work, sinks sinkSet, now time.Time) (next time.Time) {
	for _, i := range sinks.each() {
		st := &r.sinks[i]
		if st.lost {
			continue
		}
		if w.lastErr != nil {
			st.fails, st.failed, st.vendor = st.fails+1, w.slice, w.next
			st.tryAt(later(st.next, now.Add(r.cfg.backoff(st.fails))))
			if r.exhausted(st) {
				st.err = w.lastErr
				r.giveUpSink(i)
				continue
			}
		}
		if next.IsZero() || st.next.Before(next) {
			next = st.next
		}
	}
	return next
}

// exhausted reports whether a sink that is down has had its tries after everything else was done.
func (r *run) exhausted(st *sinkState) bool {
	if !r.idle {
		return false
	}
	st.last++
	return st.last >= r.cfg.Attempts
}

func (r *run) giveUpSink(i int) {
	st := &r.sinks[i]
	if st.lost {
		return
	}
	st.lost, st.next = true, time.Time{}
	r.observe(Event{
		Kind: SinkLost, Sinks: []string{r.cfg.Sinks[i].Name}, Err: st.err, Message: st.err.Error(), Hint: fault.HintOf(st.err),
	})
}

// markDown notes that a sink doesn't take what it is given, and when it is tried again.
func (r *run) markDown(i int, err error, wait time.Duration) {
	st := &r.sinks[i]
	now := time.Now()
	if st.since.IsZero() {
		st.since = now
	}
	st.err = err
	st.tryAt(now.Add(wait))
	st.fails++
	if st.fails > 1 && !r.detaches(i) {
		return // the slices tell of their tries
	}
	r.observe(Event{
		Kind: SinkIsDown, Sinks: []string{r.cfg.Sinks[i].Name}, Until: st.next, Err: err, Message: err.Error(), Hint: fault.HintOf(err),
	})
}

// markUp notes that a sink took a slice.
func (r *run) markUp(i int) {
	st := &r.sinks[i]
	if st.since.IsZero() || st.lost { // lost for one slice's sake, and this one was under way
		return
	}
	st.refused = false
	down := time.Since(st.since).Round(time.Second)
	st.since, st.next, st.vendor, st.err, st.fails, st.last, st.failed = time.Time{}, time.Time{}, time.Time{}, nil, 0, 0, flow.Slice{}
	r.observe(Event{Kind: SinkIsUp, Sinks: []string{r.cfg.Sinks[i].Name}, Message: fmt.Sprintf("it was down for %s", down)})
}

// leaveBehind takes the sinks that are away out of a slice that is about to be tried again. It reports whether any is left.
func (r *run) leaveBehind(w *work, away sinkSet) bool {
	for _, i := range (w.sinks & away).each() {
		if r.detaches(i) {
			w.sinks &^= setOf(i)
			r.leaveOpen(w, i)
		}
	}
	return w.sinks != 0
}

// tries takes up a slice for a sink that is down and due for a try, for it alone: the others don't wait for how it goes.
func (r *run) tries(ctx context.Context, now time.Time, sooner func(time.Duration)) (*work, error) {
	for i := range r.sinks {
		st := &r.sinks[i]
		if !r.detaches(i) || st.lost || !st.ready || st.reopen || st.probing != nil || !r.isLacking(i) && r.late.owes(i) == 0 {
			continue
		}
		if r.adrift.of(i) > 0 {
			r.awaitCall(i, now, sooner)
			continue
		}
		if st.hangs = (time.Time{}); st.since.IsZero() {
			continue
		}
		if st.next.After(now) {
			sooner(st.next.Sub(now))
			continue
		}
		others := ^setOf(i)
		w, err := r.freshFor(ctx, others, setOf(i), func(*partition) flow.Range { return st.avoid() }, sooner)
		if w == nil && err == nil {
			w, err = r.freshFor(ctx, others, setOf(i), nothing, sooner)
		}
		if w == nil && err == nil {
			w = r.lateFor(i)
		}
		if w != nil {
			r.workMu.Lock()
			st.probing = w
			r.workMu.Unlock()
		}
		if w != nil || err != nil {
			return w, err
		}
	}
	return nil, nil
}

// awaitCall waits for a call of a sink that was left adrift. When nothing else is left to do it is waited for once more as long as any
// call. The sink is down until then, whatever became of the slice: an Abort hangs after errors that aren't the sink's, too.
func (r *run) awaitCall(i int, now time.Time, sooner func(time.Duration)) {
	st, patience := &r.sinks[i], r.cfg.Sinks[i].Patience
	if st.since.IsZero() {
		r.workMu.Lock()
		err := fault.New(fault.Transient, "sink "+r.cfg.Sinks[i].Name, "", errTookTooLong("a call", patience, errNotBack))
		r.markDown(i, err, r.cfg.backoff(st.fails+1))
		r.workMu.Unlock()
	}
	if st.hangs.IsZero() || !r.idle {
		st.hangs = now
	}
	left := patience - now.Sub(st.hangs)
	if left > 0 {
		sooner(left)
		return
	}
	r.workMu.Lock()
	defer r.workMu.Unlock()
	r.giveUpSink(i)
}

// avoid is a slice that every other try leaves out, so that one which the sink never takes doesn't make it seem to be down.
func (st *sinkState) avoid() flow.Range {
	if st.fails%2 == 0 {
		return st.failed.Range()
	}
	return flow.Range{}
}

func (r *run) isLacking(i int) bool {
	return slices.ContainsFunc(r.parts, func(p *partition) bool { return p.stopped == nil && len(p.lacks()[i]) > 0 })
}

// onlyTries reports whether nothing is at work but tries of sinks that are down. With more than one such sink one of them may always be.
func (r *run) onlyTries() bool {
	for w := range r.cancel {
		for _, i := range w.sinks.each() {
			if r.sinks[i].probing != w {
				return false
			}
		}
	}
	return true
}

// lastRound begins when nothing is left but what sinks lack that are down: each is tried at once, unless the vendor is to be left alone until
// later, and then as often as a slice is. It reports whether there is anything to wait for.
func (r *run) lastRound() bool {
	if r.idle {
		return false
	}
	r.workMu.Lock()
	defer r.workMu.Unlock()
	r.idle = true
	waits := false
	for i := range r.sinks {
		st := &r.sinks[i]
		if r.detaches(i) && !st.lost && !st.since.IsZero() && !st.opening {
			st.fails, st.last, waits = 0, 0, true
			st.tryAt(time.Now())
		}
		waits = waits || r.adrift.of(i) > 0
	}
	return waits
}

// identity is what the ledger knows a sink by, also while it is being opened again. Empty: it was never open.
func (r *run) identity(i int) string {
	if s := r.cfg.Sinks[i].Sink; s != nil {
		return s.Identity()
	}
	return r.sinks[i].identity
}
