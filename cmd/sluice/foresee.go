package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/sluice-io/sluice/host/budget"
	"github.com/sluice-io/sluice/host/forecast"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	// foreseenHints is how many slices of a log its profile is made of at most.
	foreseenHints = 5000
	// foreseenRuns is how many runs back a pipeline's pace is looked for.
	foreseenRuns = 50
	// foreseenDays is how many days before what is asked the vendor's figures are held against what was read.
	foreseenDays = 40
)

// foreseen is what is expected of a pipeline's slices, and what that rests on.
type foreseen struct {
	name     string
	forecast pipeline.Forecast
	parts    []foreseenPart // as forecast.Partitions
	pace     forecast.Pace
	parallel int
	budget   planBudget
	key      string // of the budget, by an earlier run; empty: not known
	charges  []forecast.Charge
}

type foreseenPart struct {
	slices   []foreseenSlice
	rows     float64
	bytes    forecast.Estimate
	requests forecast.Estimate
	known    bool
	bases    map[forecast.Basis]int // slices
	seen     float64                // days of history
	told     int                    // days of what is asked that the vendor has figures of
	held     int                    // days that these were held against what was read
}

type foreseenSlice struct {
	flow.Range
	rows, bytes float64
	basis       forecast.Basis
}

// foresee weighs the slices of a forecast. fresh is what the vendor said just now, by partition; the rest is the ledger's.
func foresee(
	ctx context.Context, l *ledger.Ledger, name string, f pipeline.Forecast, parallel int, b planBudget, fresh map[flow.Partition][]flow.Measure,
) (*foreseen, error) {
	out := &foreseen{name: name, forecast: f, parallel: parallel, budget: b}
	runs, err := l.LastRuns(ctx, name, foreseenRuns)
	if err != nil {
		return nil, err
	}
	out.key, out.pace = b.keyOf(runs), forecast.PaceOf(b.runsOf(runs))
	if out.charges, err = chargesOf(ctx, l, out.key, b.namespace); err != nil {
		return nil, err
	}
	weights := make([]forecast.Weights, len(f.Partitions))
	for i, p := range f.Partitions {
		hints, err := l.Hints(ctx, p.Partition.Partition, foreseenHints)
		if err != nil {
			return nil, err
		}
		profile := forecast.NewProfile(hints)
		reach := flow.Range{From: f.Range.From.AddDate(0, 0, -foreseenDays), To: f.Range.To}
		told, err := l.Measures(ctx, p.Partition.Partition, reach)
		if err != nil {
			return nil, err
		}
		var measures []flow.Measure
		for _, m := range told {
			measures = append(measures, m.Measure)
		}
		weights[i] = forecast.Weights{Profile: profile, Usage: forecast.NewUsage(append(measures, fresh[p.Partition.Partition]...), profile)}
	}
	others := othersOf(f, weights)
	for i, p := range f.Partitions {
		weights[i].Others = others[p.Stream]
		out.parts = append(out.parts, foreseePart(p, &weights[i], out.pace))
	}
	return out, nil
}

// othersOf is what a second of log time weighs in a stream's partitions of which something is known, on average.
func othersOf(f pipeline.Forecast, weights []forecast.Weights) map[string]float64 {
	sums, known := map[string]float64{}, map[string]float64{}
	for i, p := range f.Partitions {
		if !weights[i].Profile.Known() {
			continue
		}
		day := flow.Range{From: flow.Day(f.Range.To), To: flow.Day(f.Range.To).AddDate(0, 0, 7)}
		for _, part := range day.CutDays() {
			w := forecast.Weights{Profile: weights[i].Profile, Usage: &forecast.Usage{}}
			_, bytes, _ := w.Of(part)
			sums[p.Stream] += bytes
			known[p.Stream] += part.Duration().Seconds()
		}
	}
	for stream := range sums {
		sums[stream] /= known[stream]
	}
	return sums
}

func foreseePart(p pipeline.PartitionForecast, w *forecast.Weights, pace forecast.Pace) foreseenPart {
	out := foreseenPart{known: w.Known(), bases: map[forecast.Basis]int{}, seen: w.Profile.Days()}
	sums, days := map[forecast.Basis]float64{}, map[forecast.Basis]map[time.Time]bool{}
	for _, s := range p.Slices {
		one := foreseenSlice{Range: s.Range()}
		one.rows, one.bytes, one.basis = w.Of(one.Range)
		out.rows += one.rows
		sums[one.basis] += one.bytes
		out.bases[one.basis]++
		if days[one.basis] == nil {
			days[one.basis] = map[time.Time]bool{}
		}
		days[one.basis][flow.Day(s.From)] = true
		out.slices = append(out.slices, one)
	}
	for basis, sum := range sums {
		out.bytes = out.bytes.Plus(w.Range(sum, basis, len(days[basis])))
	}
	out.told = len(days[forecast.FromUsage])
	_, out.held = w.UsageDays()
	n := float64(len(out.slices))
	if n > 0 {
		out.requests = pace.Requests(out.bytes.Times(1 / n)).Times(n)
	}
	return out
}

// totals sums the partitions up.
func (f *foreseen) totals() (slices int, rows float64, bytes, requests forecast.Estimate, known bool) {
	known = true
	for _, p := range f.parts {
		slices += len(p.slices)
		rows += p.rows
		bytes, requests = bytes.Plus(p.bytes), requests.Plus(p.requests)
		known = known && (p.known || len(p.slices) == 0)
	}
	return slices, rows, bytes, requests, known
}

// scenario is one of the three cases that a range is made of.
type scenario int

const (
	quick scenario = iota
	likely
	slow
)

func (s scenario) of(e forecast.Estimate) float64 { return [...]float64{e.Low, e.Mid, e.High}[s] }

// lane is the pipeline's slices in the order of a run, which takes the partitions in turn.
func (f *foreseen) lane(s scenario) forecast.Lane {
	lane := forecast.Lane{
		Parallel: max(f.parallel, 1), Budget: -1, Rate: (slow - s).of(f.pace.Rate), Open: time.Duration(s.of(f.pace.Open) * float64(time.Second)),
	}
	if s == slow && f.pace.Parallel > 0 && f.parallel > f.pace.Parallel {
		lane.Rate *= float64(f.pace.Parallel) / float64(f.parallel) // more at a time may be no faster together
	}
	next := make([]int, len(f.parts))
	for left := true; left; {
		left = false
		for i := range f.parts {
			p := &f.parts[i]
			if next[i] == len(p.slices) {
				continue
			}
			left = true
			bytes, weight := p.slices[next[i]].bytes, p.slices[next[i]].Duration().Seconds()
			next[i]++
			if p.bytes.Mid > 0 {
				bytes *= s.of(p.bytes) / p.bytes.Mid
			}
			lane.Loads = append(lane.Loads, forecast.Load{
				Requests: 1 + s.of(f.pace.Extra)*bytes, Received: bytes * f.pace.Received, Bytes: bytes, Weight: weight,
			})
		}
	}
	return lane
}

// outlook is how long pipelines take that run side by side.
type outlook struct {
	took    []forecast.Estimate // by pipeline, seconds
	results [3]forecast.Result
	budgets []*foreseen // whose budget it is: the first of those that share it
	index   []int       // by pipeline, into budgets; negative: none
	names   []string    // by pipeline
}

// lookAt simulates pipelines that run at the same time and may share a budget.
func lookAt(all []*foreseen) outlook {
	o := outlook{took: make([]forecast.Estimate, len(all)), index: make([]int, len(all))}
	for i, f := range all {
		o.index[i], o.names = -1, append(o.names, f.name)
		if f.budget.window == 0 {
			continue
		}
		o.index[i] = slices.IndexFunc(o.budgets, func(b *foreseen) bool {
			return b.key != "" && b.key == f.key && b.budget.namespace == f.budget.namespace
		})
		if o.index[i] < 0 {
			o.index[i] = len(o.budgets)
			o.budgets = append(o.budgets, f)
		}
	}
	for _, s := range []scenario{quick, likely, slow} {
		var lanes []forecast.Lane
		for i, f := range all {
			lane := f.lane(s)
			lane.Budget = o.index[i]
			lanes = append(lanes, lane)
		}
		var budgets []forecast.Budget
		for _, f := range o.budgets {
			budgets = append(budgets, forecast.Budget{
				Requests: float64(f.budget.requests), Bytes: float64(f.budget.bytes), Window: f.budget.window, Charges: f.charges,
			})
		}
		o.results[s] = forecast.Simulate(lanes, budgets)
	}
	for i := range all {
		took := func(s scenario) float64 { return o.results[s].Lanes[i].Took.Seconds() }
		mid := took(likely)
		o.took[i] = forecast.Estimate{Low: min(took(quick), mid), Mid: mid, High: max(took(slow), mid)}
	}
	return o
}

// runsOf reads what earlier runs tell of their pace.
func (b planBudget) runsOf(runs []ledger.Run) []forecast.Run {
	var out []forecast.Run
	for _, r := range runs {
		var s pipelineSummary
		if json.Unmarshal(r.Summary, &s) != nil {
			continue
		}
		one := forecast.Run{Slices: s.Slices, Bytes: float64(s.Bytes), Requests: float64(s.Requests)}
		for _, u := range s.Budgets {
			if u.Namespace == b.namespace {
				one.Requests, one.Received = float64(u.Requests), float64(u.Bytes)
			}
		}
		if p := s.Pace; p != nil {
			one.Parallel, one.Opened, one.OpeningSeconds = p.Parallel, p.Opened, p.OpeningSeconds
			one.ReadingSeconds, one.ReadingBytes = p.ReadingSeconds, float64(p.Bytes)
		}
		out = append(out, one)
	}
	return out
}

// keyOf returns the budget's key of the last run that asked for reads.
func (b planBudget) keyOf(runs []ledger.Run) string {
	for _, r := range runs {
		var s pipelineSummary
		if json.Unmarshal(r.Summary, &s) != nil {
			continue
		}
		for _, u := range s.Budgets {
			if u.Namespace == b.namespace {
				return u.Key
			}
		}
	}
	return ""
}

// chargesOf is what earlier requests count against a budget still.
func chargesOf(ctx context.Context, l *ledger.Ledger, key, namespace string) ([]forecast.Charge, error) {
	if key == "" {
		return nil, nil
	}
	clock, err := budget.SystemClock()
	if err != nil {
		return nil, err
	}
	all, err := l.BudgetCharges(ctx, key, namespace, clock.Boot(), clock.Now())
	var out []forecast.Charge
	for _, c := range all {
		out = append(out, forecast.Charge{Requests: float64(c.Requests), Bytes: float64(c.Bytes), Until: c.Until})
	}
	return out, err
}
