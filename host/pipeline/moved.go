package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// The vendor's own figures spare reads: a range whose figure is what it was before it was read last has nothing new. Only a figure that
// proves this spares one; where there is none, or none of before, the range is read.

// How long a figure is waited for, and how long one that was asked for before a first read serves for other ranges that it is of.
const (
	measureWithin = time.Minute
	measureAge    = 15 * time.Minute
	// measureApart is how far apart two figures must have been asked for at least to be compared: a source may tell one twice that it
	// was told a moment ago.
	measureApart = 2 * time.Minute
)

// meter is what a run knows of a partition's figures. mu guards it: slices of a partition ask side by side.
type meter struct {
	none  bool // the vendor tells none
	exact bool // they are of the very range that is asked for: what is held can be compared with them
	asked []asked
}

// asked is a figure that was asked for in this run.
type asked struct {
	flow.Range
	at time.Time
}

// measureBefore notes when a slice is read, and asks for the vendor's figure before if a later recheck will want to compare it.
func (r *run) measureBefore(ctx context.Context, src Source, w *work) {
	defer func() { w.readAt = r.clock.Now() }()
	if len(r.cfg.Recheck.After) == 0 || r.cfg.Recheck.Always || !r.stream(w.slice.Partition).Rechecks() {
		return
	}
	now := r.clock.Now()
	r.meterMu.Lock()
	m := &w.part.meter
	known := m.none || m.exact
	for _, a := range m.asked {
		known = known || a.Contains(w.slice.Range()) && now.Sub(a.at) < measureAge
	}
	r.meterMu.Unlock()
	if known {
		return
	}
	if _, err := r.measure(ctx, src, w.part, w.slice.Range()); err != nil && ctx.Err() == nil {
		r.cfg.Log.Debug("the vendor's figure before the read isn't known", "slice", w.slice.String(), "error", err.Error())
	}
}

// measure asks for the vendor's figures of a range and keeps them in the ledger.
func (r *run) measure(ctx context.Context, src Source, p *partition, of flow.Range) ([]flow.Measure, error) {
	ctx, cancel := context.WithTimeout(ctx, measureWithin)
	defer cancel()
	at := r.clock.Now()
	measures, err := src.Measure(ctx, p.Partition.Partition, of)
	if err != nil {
		return nil, err
	}
	r.meterMu.Lock()
	m := &p.meter
	m.none = len(measures) == 0
	m.exact = !m.none && counts(measures, of)
	m.asked = slices.DeleteFunc(m.asked, func(a asked) bool { return at.Sub(a.at) >= measureAge }) // or a run that follows would keep all
	for _, x := range measures {
		m.asked = append(m.asked, asked{x.Range, at})
	}
	r.meterMu.Unlock()
	return measures, r.cfg.Ledger.RecordMeasures(ctx, p.Partition.Partition, at, measures)
}

// counts reports whether measures are counts of records of exactly the range.
func counts(measures []flow.Measure, of flow.Range) bool {
	var covered flow.Ranges
	for _, m := range measures {
		if m.Rows < 0 || !of.Contains(m.Range) {
			return false
		}
		covered = covered.Add(m.Range)
	}
	return covered.Covers(of)
}

// unmoved settles the sinks for which the vendor's figures prove that nothing came since they were read last, and returns the others.
// The read of plan comes after the
// figures. An error says that they must be waited for.
func (r *run) unmoved(ctx context.Context, src Source, w *work, plan *ledger.Recheck, lacking []int, out *outcome) ([]int, error) {
	if w.recheck.always || w.recheck.measured {
		return lacking, nil
	}
	defer func() { plan.Read = r.clock.Now() }()
	w.state.wait("the vendor's figures", time.Time{})
	of := w.slice.Range()
	before, err := r.cfg.Ledger.Measures(ctx, w.slice.Partition, of)
	if err != nil {
		return lacking, err
	}
	now, err := r.measure(ctx, src, w.part, of)
	if err != nil {
		if ctx.Err() != nil {
			return lacking, err
		}
		if kind := fault.KindOf(err); kind == fault.Throttled || kind == fault.Canceled {
			// The budget of figures is spent; that of records is the dearer one.
			return lacking, fault.New(fault.Throttled, "measure", "", err).After(max(fault.RetryAfterOf(err), measureWithin))
		}
		r.cfg.Log.Debug("the vendor's figures can't be had: the range is read", "slice", w.slice.String(), "error", err.Error())
	}
	w.recheck.measured = true
	var rest []int
	for _, i := range lacking {
		still, err := r.isUnmoved(ctx, w, i, now, before)
		if err != nil {
			return lacking, err
		}
		if !still {
			rest = append(rest, i)
			continue
		}
		k := *plan
		k.Outcome, k.Read = ledger.RecheckUnmoved, r.clock.Now()
		out.rechecked[i] = k
	}
	return rest, nil
}

// isUnmoved reports whether figures prove that a sink was given all that the vendor has of a range now: a count equals what was read, or
// each figure is what it was before the last read.
func (r *run) isUnmoved(ctx context.Context, w *work, i int, now []flow.Measure, before []ledger.MeasuredAt) (bool, error) {
	of := w.slice.Range()
	if len(now) == 0 {
		return false, nil
	}
	held, err := r.cfg.Ledger.Windows(ctx, r.identity(i), w.slice.Partition, of)
	if err != nil {
		return false, err
	}
	reads, err := r.readTimes(ctx, w.part, i, of)
	if err != nil {
		return false, err
	}
	if counts(now, of) {
		told, known := int64(0), int64(0)
		for _, m := range now {
			told += m.Rows
		}
		for _, h := range held {
			if h.Rev == 0 && of.Contains(h.Range) {
				known += int64(h.Rows)
			}
		}
		for _, k := range reads.checks {
			if of.Contains(k.Range) && reads.stands(k, held) {
				known += int64(k.Rows)
			}
		}
		return told == known, nil
	}
	last := time.Time{} // the earliest of the windows' last reads: every figure must be older
	for _, h := range held {
		if read := reads.of(h); h.Rev == 0 && of.Meets(h.Range) && (last.IsZero() || read.Before(last)) {
			last = read
		}
	}
	var same flow.Ranges
	for _, m := range now {
		if !wasSame(m, before, earlier(last, r.clock.Now().Add(-measureApart))) {
			return false, nil
		}
		same = same.Add(m.Range)
	}
	return same.Covers(of), nil
}

// stands reports whether what a recheck found is still there: its windows weren't withdrawn and read anew since.
func (t readTimes) stands(k ledger.Recheck, held []ledger.Window) bool {
	for _, h := range held {
		if h.Rev == 0 && h.Meets(k.Range) && t.firstOf(h).After(k.Read) {
			return false
		}
	}
	return true
}

// wasSame reports whether the last figure of a range that was told at a time or before it is the one that is told now.
func wasSame(now flow.Measure, before []ledger.MeasuredAt, at time.Time) bool {
	same := false
	for _, b := range before { // by when they were asked for
		if b.Range == now.Range && !b.At.After(at) {
			same = b.Measure == now && (now.Rows >= 0 || now.Bytes >= 0)
		}
	}
	return same
}
