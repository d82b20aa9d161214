package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	// sampledDays is how many closed days back the vendor is asked what it says of them: no vendor is known to keep figures longer.
	sampledDays = 30
	// sampleSettles is how long after its end the figure of a day may still grow.
	sampleSettles = 24 * time.Hour
	// sampleEvery is how often a partition is asked for at most: a little less than a day, for runs that begin at the same time each day.
	sampleEvery = 20 * time.Hour
	// sampleAgain is when a partition is asked for again after a failure; sampleRefused, after one for the key's sake: reading is allowed to
	// keys that may not see figures, and nobody wants to be told each day.
	sampleAgain   = time.Hour
	sampleRefused = 7 * 24 * time.Hour
	// sampleChunk is how many days one call asks for, so that what a vendor answers day by day is kept as it comes.
	sampleChunk = 8
	// sampleLimit bounds what is asked beside a run, waits for the budget included; sampleGrace, how long the run's end waits for it.
	sampleLimit = 2 * time.Minute
	sampleGrace = 10 * time.Second
)

// sampler asks, beside the slices, what the vendor itself says of closed days, and keeps it in the ledger: the vendor forgets its figures
// within days. No failure of it is one of the run.
type sampler struct {
	next   time.Time          // when to look whether there is something to ask
	cancel context.CancelFunc // nil: nothing was begun
	done   chan struct{}      // closed when what was begun has ended
	grace  time.Duration      // that the run's end waits for it
}

// sample begins to ask if it is time. It is called by the loop.
func (r *run) sample(ctx context.Context) {
	s := &r.sampler
	if s.cancel != nil {
		select {
		case <-s.done:
			s.cancel()
			s.cancel = nil
		default:
			return
		}
	}
	if now := time.Now(); now.Before(s.next) {
		return
	} else {
		s.next = now.Add(sampleAgain)
	}
	r.srcMu.Lock()
	src := r.src
	r.srcMu.Unlock()
	if src == nil {
		return
	}
	var parts []Partition
	for _, p := range r.parts {
		if p.stopped == nil && !r.stream(p.Partition.Partition).Snapshot {
			parts = append(parts, p.Partition)
		}
	}
	// Not the loop's own: at the run's end sampling may go on for a moment.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sampleLimit)
	done := make(chan struct{})
	s.cancel, s.done = cancel, done
	asked, now := r.asked, r.clock.Now()
	go func() { // endSampling waits for it
		defer close(done)
		r.sampleAll(ctx, src, parts, asked, now)
	}()
}

// endSampling waits for what was begun: for a moment after a run that came to its end, not at all after one that was stopped.
func (r *run) endSampling(stopped bool) {
	s := &r.sampler
	if s.cancel == nil {
		return
	}
	if !stopped {
		timer := time.NewTimer(s.grace)
		defer timer.Stop()
		select {
		case <-s.done:
		case <-timer.C:
		}
	}
	s.cancel()
	<-s.done
	s.cancel = nil
}

func (r *run) sampleAll(ctx context.Context, src Source, parts []Partition, asked flow.Range, now time.Time) {
	for _, p := range parts {
		err := r.samplePartition(ctx, src, p.Partition, asked, now)
		switch {
		case err == nil:
		case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
			return // the run ends; the next one asks again
		default:
			r.cfg.Log.Warn("the vendor's own figures aren't known: days can't be held against them, and it keeps them for days only",
				"partition", p.Partition.String(), "error", err.Error(), "hint", fault.HintOf(err))
			if fault.KindOf(err) != fault.NotFound {
				return // it isn't about this partition alone
			}
		}
	}
}

// samplePartition asks for the closed days of a partition that have no settled figure yet.
func (r *run) samplePartition(ctx context.Context, src Source, p flow.Partition, asked flow.Range, now time.Time) error {
	name := "sampled " + p.Selection.String() + "/" + p.String() // two sources may call a log the same
	last, err := r.cfg.Ledger.Number(ctx, name)
	if err != nil {
		return err
	}
	if since := now.Sub(time.UnixMilli(int64(last))); since > -sampleRefused && since < sampleEvery {
		return nil
	}
	today := flow.Day(now)
	window := flow.Range{From: flow.Day(asked.From), To: asked.To}.Intersect(flow.Range{From: today.AddDate(0, 0, -sampledDays), To: today})
	days, err := r.unsampled(ctx, p, window)
	if err != nil || len(days) == 0 {
		return err
	}
	for len(days) > 0 && err == nil {
		n := min(len(days), sampleChunk)
		err = r.sampleDays(ctx, src, p, days[:n], now)
		days = days[n:]
	}
	then := now
	switch {
	case fault.KindOf(err) == fault.Auth && err != nil:
		then = now.Add(sampleRefused - sampleEvery)
	case err != nil:
		then = now.Add(sampleAgain - sampleEvery)
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	return errors.Join(err, r.cfg.Ledger.SetNumber(context.WithoutCancel(ctx), name, float64(then.UnixMilli())))
}

// unsampled returns the whole days in a window that have no figure which was taken after they had settled.
func (r *run) unsampled(ctx context.Context, p flow.Partition, window flow.Range) ([]flow.Range, error) {
	known, err := r.cfg.Ledger.Measures(ctx, p, window)
	if err != nil {
		return nil, err
	}
	settled := map[flow.Range]bool{}
	for _, m := range known {
		if !m.At.Before(m.To.Add(sampleSettles)) {
			settled[m.Range] = true
		}
	}
	var days []flow.Range
	for d := window.From; !d.AddDate(0, 0, 1).After(window.To); d = d.AddDate(0, 0, 1) {
		if day := (flow.Range{From: d, To: d.AddDate(0, 0, 1)}); !settled[day] {
			days = append(days, day)
		}
	}
	return days, nil
}

// sampleDays asks for days, which may have others between them, and keeps what is told of them.
func (r *run) sampleDays(ctx context.Context, src Source, p flow.Partition, days []flow.Range, now time.Time) error {
	all := flow.Range{From: days[0].From, To: days[len(days)-1].To}
	measures, err := src.Measure(ctx, p, all)
	if err != nil || len(measures) == 0 {
		return err
	}
	told := map[flow.Range]flow.Measure{}
	for _, m := range measures {
		told[m.Range] = m
	}
	keep := make([]flow.Measure, 0, len(days))
	for _, d := range days {
		m, ok := told[d]
		if !ok { // asked, and not told: it isn't asked again once it has settled
			m = flow.Measure{Range: d, Rows: -1, Bytes: -1}
		}
		keep = append(keep, m)
	}
	return r.cfg.Ledger.RecordMeasures(context.WithoutCancel(ctx), p, now, keep)
}
