package pipeline

import (
	"context"
	"errors"
	"time"
)

// ErrEnded says that a pipeline's run has ended: only another run tries anything again.
var ErrEnded = errors.New("its run has ended")

// Retried is what Retry ended.
type Retried struct {
	Quarantined int // slices
	Waits       int // slices and starts that waited for their next try
	Partitions  int // that were stopped
	Sinks       int // that were down or given up
}

// nudge asks the loop to retry now.
type nudge struct{ reply chan<- Retried }

// Retry ends quarantine and backoff now: what waits for them is tried at once, and has all its attempts again. Waits that the vendor, the
// budget or the lag asked for go on. ErrEnded if the run has ended. Safe for concurrent use with Run.
func (p *Pipeline) Retry(ctx context.Context) (Retried, error) {
	reply := make(chan Retried, 1)
	select {
	case p.run.nudges <- nudge{reply}:
	case <-p.run.over:
		return Retried{}, ErrEnded
	case <-ctx.Done():
		return Retried{}, ctx.Err()
	}
	return <-reply, nil
}

func (r *run) retryNow() (out Retried) {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	now := time.Now()
	for _, p := range r.parts {
		if p.stopped != nil {
			p.stopped = nil
			out.Partitions++
		}
		p.dry = 0
		for w := range p.work {
			switch {
			case w.running:
				continue
			case w.parked:
				out.Quarantined++
			case w.told: // the vendor's own word
				continue
			case w.next.After(now):
				out.Waits++
			}
			w.parked, w.pauses, w.failures, w.refused, w.next = false, 0, 0, 0, now
		}
	}
	for i := range r.sinks {
		st := &r.sinks[i]
		if st.since.IsZero() && !st.lost {
			continue
		}
		st.lost, st.refused, st.fails, st.last, st.next = false, false, 0, 0, now
		out.Sinks++
	}
	r.starts, r.follow.fails = 0, 0
	if r.cfg.Follow > 0 {
		r.follow.next = r.clock.since()
	}
	return out
}
