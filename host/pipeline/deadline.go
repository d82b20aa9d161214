package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// SliceTime is how long a slice may be planned to take when a sink ends transactions that are open for longer than deadline: what
// is expected of a read is only an estimate.
func SliceTime(deadline time.Duration) time.Duration { return deadline / 3 }

// errDeadline says that a transaction came near the time after which its sink ends it.
var errDeadline = errors.New("the transaction came near its deadline")

// deadlineOf is how long a transaction of a sink may stay open, 0 without a limit.
func deadlineOf(s sinks.Sink) time.Duration {
	if d, ok := s.(sinks.Deadliner); ok {
		return d.Deadline()
	}
	return 0
}

// shortest is the least deadline of some sinks, 0 without any.
func (r *run) shortest(set sinkSet) time.Duration {
	least := time.Duration(0)
	for _, i := range set.each() {
		if i >= len(r.cfg.Sinks) {
			break
		}
		if s := r.cfg.Sinks[i].Sink; s != nil {
			if d := deadlineOf(s); d > 0 && (least == 0 || d < least) {
				least = d
			}
		}
	}
	return least
}

// pace is how long a transaction of a partition is open, for each second of its log time. The zero pace isn't known.
type pace float64

// learn takes up how long a slice took. A slice that was quick says nothing against longer ones: most of what it took may have been
// spent once, on opening and committing.
func (p pace) learn(took, logTime, deadline time.Duration) pace {
	seen := pace(took.Seconds() / logTime.Seconds())
	switch {
	case p == 0 || took > deadline/10 && seen > p:
		return seen
	case seen < p:
		return (3*p + seen) / 4
	}
	return p
}

// fit cuts the begin of a slice off that is expected to end in time, in whole steps of the stream.
func (p pace) fit(s flow.Slice, deadline, step time.Duration) flow.Slice {
	if p <= 0 || deadline == 0 {
		return s
	}
	step = max(step, time.Millisecond)
	seconds := SliceTime(deadline).Seconds() / float64(p) // centuries, if a day without records took a millisecond
	if seconds >= s.Range().Duration().Seconds() {
		return s
	}
	longest := time.Duration(seconds * float64(time.Second))
	if s.Range().Duration() <= step {
		return s
	}
	to := floor(s.From.Add(longest), step)
	if !to.After(s.From) {
		to = floor(s.From, step).Add(step)
	}
	if !to.Before(s.To) {
		return s
	}
	return flow.NewSlice(s.Partition, s.From, to, s.Rev)
}

// late is the error of a leg whose transaction comes near its deadline: it is cut like one that met the vendor's cap.
func (l *leg) late(w *work) error {
	w.state.mu.Lock()
	cut := &flow.Truncated{Slice: w.slice, Rows: w.state.rows, Bytes: w.state.bytes}
	w.state.mu.Unlock()
	return fault.New(fault.Truncated, "sink "+l.sink.Name, "raise how long the sink lets a transaction stay open, or set flow.slice to less",
		&lateError{cut, l.deadline, time.Since(l.opened)})
}

type lateError struct {
	*flow.Truncated
	deadline, open time.Duration
}

func (e *lateError) Error() string {
	return fmt.Sprintf("slice %s: its transaction is open for %s, and the sink ends it after %s", e.Slice, e.open.Round(time.Millisecond), e.deadline)
}

func (e *lateError) Unwrap() []error { return []error{errDeadline, e.Truncated} }

// until is when a leg's transaction must be committed or given up, the zero time for one without a deadline.
func (l *leg) until() time.Time {
	if l.deadline == 0 {
		return time.Time{}
	}
	return l.opened.Add(l.deadline - l.deadline/10)
}

// dropLate gives up the legs whose time is over.
func dropLate(w *work, legs []*leg) {
	for _, l := range legs {
		if t := l.until(); l.err == nil && !t.IsZero() && time.Now().After(t) {
			l.err = l.late(w)
		}
	}
}

// withDeadline ends a wait for the source when every leg's time is over; the source's own end is then no error of the read.
func withDeadline(ctx context.Context, legs []*leg) (context.Context, context.CancelFunc) {
	var last time.Time
	if len(legs) == 0 {
		return ctx, func() {}
	}
	for _, l := range legs {
		t := l.until()
		if t.IsZero() {
			return ctx, func() {}
		}
		if t.After(last) {
			last = t
		}
	}
	return context.WithDeadline(ctx, last)
}

// paceKey names a partition's pace in the ledger.
func paceKey(p flow.Partition) string {
	return "pace:" + p.Selection.String() + "/" + p.Stream + "/" + p.Key
}

// knowPace reads how long slices of a partition took in earlier runs.
func (r *run) knowPace(ctx context.Context, p *partition) error {
	if r.shortest(p.takers) == 0 {
		return nil
	}
	n, err := r.cfg.Ledger.Number(ctx, paceKey(p.Partition.Partition))
	p.pace = pace(n)
	return err
}

// learnPace takes up how long a slice took that is committed in a sink with a deadline.
func (r *run) learnPace(ctx context.Context, w *work, committed sinkSet, took time.Duration) {
	deadline := r.shortest(committed)
	if deadline == 0 || took <= 0 || w.slice.Range().Duration() <= 0 {
		return
	}
	before := w.part.pace
	if w.part.pace = before.learn(took, w.slice.Range().Duration(), deadline); w.part.pace == before {
		return
	}
	if err := r.cfg.Ledger.SetNumber(ctx, paceKey(w.slice.Partition), float64(w.part.pace)); err != nil {
		r.cfg.Log.Warn("how long slices take isn't written down", "error", err.Error())
	}
}
