package pipeline

import (
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// A run that follows has no end at which what was set aside is tried again, so it tries by itself: a quarantined slice and a stopped
// partition after pauses that grow. When slice after slice of a partition fails it is the vendor, or a sink, and not the slices: then no
// more are begun, but for one at each pause, and the first that succeeds brings back all the others.

// longestPause is the most between two tries of what was set aside.
const longestPause = time.Hour

// dryAfter is how many slices in a row must be quarantined before a partition begins no more.
const dryAfter = 2

// restFor is how long the nth try of what was set aside is waited for.
func (r *run) restFor(n int) time.Duration {
	first := max(2*r.cfg.MaxBackoff, firstBackoff)
	return min(first<<min(max(n-1, 0), 16), max(longestPause, r.cfg.MaxBackoff))
}

// setAside notes of a slice that was quarantined, or of the partition that it stopped, when it is tried again. It returns the zero time
// if that is not in this run.
func (r *run) setAside(w *work, err error) time.Time {
	if !r.follows() {
		return time.Time{}
	}
	now := time.Now()
	w.pauses++
	w.next = now.Add(r.restFor(w.pauses))
	switch fault.KindOf(err) {
	case fault.Corrupt, fault.Oversize, fault.Truncated, fault.NotFound: // of the slice
	default:
		if w.pauses == 1 {
			w.part.dry++
		}
		w.outage = true
		w.part.dryUntil = now.Add(r.restFor(w.part.dry - dryAfter + 1))
	}
	return w.next
}

// isDry reports whether a partition begins nothing new for now.
func (r *run) isDry(p *partition, now time.Time, sooner func(time.Duration)) bool {
	if p.dry < dryAfter || !r.follows() {
		return false
	}
	if left := p.dryUntil.Sub(now); left > 0 {
		sooner(left)
		return true
	}
	return false
}

// begins notes that a slice starts in a partition that is dry: it alone, and once.
func (r *run) begins(w *work, now time.Time) {
	if p := w.part; p.dry >= dryAfter && r.follows() {
		p.dryUntil = now.Add(r.restFor(p.dry - dryAfter + 1))
		w.failures = r.cfg.Attempts - 1
	}
}

// revive tries again what was set aside and whose pause is over.
func (r *run) revive(now time.Time, sooner func(time.Duration)) {
	if !r.follows() || r.allStopped() {
		return
	}
	for _, p := range r.parts {
		var first *work // of those that wait for the end of an outage only the oldest is tried
		for w := range p.work {
			switch {
			case !w.parked || w.running:
			case w.outage && p.dry >= dryAfter:
				if first == nil || w.slice.From.Before(first.slice.From) {
					first = w
				}
			case w.next.After(now):
				sooner(w.next.Sub(now))
			default:
				r.unpark(w, now)
			}
		}
		if first == nil {
			continue
		}
		if first.next.After(now) {
			sooner(first.next.Sub(now))
			continue
		}
		r.unpark(first, now)
	}
}

// unpark lets a slice that was set aside be tried once more.
func (r *run) unpark(w *work, now time.Time) {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	w.parked, w.part.stopped = false, nil
	w.next, w.failures, w.refused = now, r.cfg.Attempts-1, 0
}

// worked notes that a slice was committed: what waits for the end of an outage is tried at once, and a slice that had failed has not.
// workMu is held.
func (r *run) worked(w *work, committed sinkSet) {
	for _, i := range committed.each() {
		delete(r.sinks[i].tries, w.slice.ID)
	}
	if !r.follows() {
		return
	}
	for _, p := range r.parts {
		if p.dry >= dryAfter {
			for x := range p.work {
				if x.parked && x.outage {
					x.next = time.Time{}
				}
			}
		}
		p.dry = 0
	}
}

// mended takes a slice that is settled out of what the run couldn't carry, unless other sinks lack it still.
func (r *run) mended(w *work) {
	for x := range w.part.work {
		if x != w && x.slice.ID == w.slice.ID {
			return
		}
	}
	r.summary.Faults = dropFault(r.summary.Faults, w.slice.ID)
}

func dropFault(all []Fault, id flow.SliceID) []Fault {
	kept := all[:0]
	for _, f := range all {
		if f.Slice.ID != id {
			kept = append(kept, f)
		}
	}
	return kept
}
