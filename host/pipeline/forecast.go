package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// Forecast is what a run would carry, as far as it is known before.
type Forecast struct {
	VendorNow  time.Time
	Range      flow.Range // what is asked, up to the vendor's now minus lag
	Partitions []PartitionForecast
}

// PartitionForecast is one partition's part of a Forecast.
type PartitionForecast struct {
	Partition
	Slices  []PlannedSlice // in time order
	Missing time.Duration  // of log time, lacked by at least one sink
	// Known says that Rows and Bytes are estimated from what earlier slices of the partition weighed. A slice that turns out
	// to meet the vendor's cap is cut, and costs more requests.
	Known       bool
	Rows, Bytes uint64
	Unavailable time.Duration // of log time, what the vendor no longer has
	// Within is how long a slice is planned to take for the sake of a sink that ends transactions; 0: none does.
	Within time.Duration
}

// PlannedSlice is a slice with the sinks that it would be read for.
type PlannedSlice struct {
	flow.Slice
	Sinks []string
	Begun bool // cut in an earlier run: it runs again whole
}

// Predict says what a run with this Config would do now, and starts no slice. It asks the vendor's clock and the source's
// Plan, reads the ledger, which may be read only, and writes nothing. Of cfg.Sinks only names and identities are used:
// they need not be open. The source that it started is closed.
func Predict(ctx context.Context, cfg Config) (Forecast, error) { return PredictAnd(ctx, cfg, nil) }

// PredictAnd is Predict, and calls then with what it found while the source is still open.
func PredictAnd(ctx context.Context, cfg Config, then func(src Source, f *Forecast) error) (Forecast, error) {
	r := newRun(cfg)
	defer r.close()
	if err := cfg.Validate(); err != nil {
		return Forecast{}, err
	}
	src, err := r.source(ctx)
	if err != nil {
		return Forecast{}, err
	}
	if err := r.clock.ask(ctx, src, cfg.HostClock); err != nil {
		return Forecast{}, err
	}
	r.ask()
	out := Forecast{VendorNow: r.clock.Now(), Range: r.asked}
	for _, p := range r.parts {
		p.asked = r.stream(p.Partition.Partition).Asks(r.asked, r.clock.horizon(r.cfg.Lag))
		if err := r.know(ctx, p); err != nil {
			return Forecast{}, err
		}
		r.missed(p)
		p.dropCuts(r.clock.Now()) // in the ledger too when it runs
		one, err := r.predict(ctx, p, src)
		if err != nil {
			return Forecast{}, err
		}
		out.Partitions = append(out.Partitions, one)
	}
	if then != nil {
		if err := then(src, &out); err != nil {
			return Forecast{}, err
		}
	}
	return out, nil
}

// predict takes up all of a partition's slices as a run would, as if each were carried at once.
func (r *run) predict(ctx context.Context, p *partition, src Source) (PartitionForecast, error) {
	out := PartitionForecast{Partition: p.Partition, Within: SliceTime(r.shortest(p.takers)), Unavailable: p.asked.Intersect(p.unavailable).Duration()}
	var missing flow.Ranges
	for _, gap := range p.lacks() {
		missing = missing.Union(gap)
	}
	out.Missing = missing.Duration()
	hints, err := r.cfg.Ledger.Hints(ctx, p.Partition.Partition, hintCount)
	if err != nil {
		return out, err
	}
	w := weightOf(hints)
	for c, ok := p.next(0, all, flow.Range{}); ok; c, ok = p.next(0, all, flow.Range{}) {
		var planned []flow.Slice
		var set sinkSet
		if c.cut != nil {
			s, sinks, err := r.takeUp(ctx, p, c, src)
			if err != nil {
				return out, err
			}
			planned, set = []flow.Slice{s}, sinks
		} else {
			if planned, err = r.plan(ctx, p, c, src); err != nil {
				return out, err
			}
			set = c.fresh.sinks
		}
		for _, s := range planned {
			if c.fresh != nil && !c.fresh.Contains(s.Range()) {
				break // a source that plans beyond its gap; what is left is asked for again
			}
			out.Slices = append(out.Slices, PlannedSlice{Slice: s, Sinks: r.names(set), Begun: c.cut != nil})
			for _, i := range set.each() {
				p.covered[i] = p.covered[i].Add(s.Range())
			}
			out.Rows += uint64(w.rows * s.Range().Duration().Seconds())
			out.Bytes += uint64(w.bytes * s.Range().Duration().Seconds())
		}
	}
	out.Known = w.known
	slices.SortStableFunc(out.Slices, func(a, b PlannedSlice) int { return a.From.Compare(b.From) })
	return out, nil
}

// weight is what a second of log time weighs.
type weight struct {
	rows, bytes float64
	known       bool
}

func weightOf(hints []flow.Hint) weight {
	var w weight
	var seconds float64
	for _, h := range hints {
		if h.Truncated { // seen until the cap: the rest isn't known
			continue
		}
		seconds += h.To.Sub(h.From).Seconds()
		w.rows += float64(h.Rows)
		w.bytes += float64(h.Bytes)
	}
	if seconds <= 0 {
		return weight{}
	}
	return weight{w.rows / seconds, w.bytes / seconds, true}
}
