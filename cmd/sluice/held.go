package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/forecast"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
)

// expected is what a run of a pipeline is expected to take.
type expected struct {
	planEstimate
	at     time.Time
	known  bool // bytes rest on more than assumptions
	rows   float64
	course []forecast.Point
	over   atomic.Bool // all that was asked at first is there: what a run that follows takes up later wasn't foreseen
}

// coursePoints bounds how many points of a run's expected course are kept.
const coursePoints = 100

// foresee works out what a run is expected to take, with the other pipelines of the run that may share the budget, and keeps it in the
// ledger. It asks no vendor.
func (r *running) foresee(ctx context.Context, p *assembled, f pipeline.Forecast) {
	fs, err := foresee(ctx, r.host.ledger, p.config.Name, f, p.run.Parallel, p.budget, nil)
	if err != nil {
		if ctx.Err() == nil {
			r.app.log.logger.Debug("the run isn't foreseen", "pipeline", p.config.Name, "error", err.Error())
		}
		return
	}
	r.mu.Lock()
	r.foreseen = append(r.foreseen, fs)
	together := lookAt(r.foreseen)
	var keep []ledger.Forecast
	for i, one := range r.foreseen {
		for _, live := range r.pipelines {
			if live.name != one.name {
				continue
			}
			live.expected = one.expect(r.started, together, i)
			if kept, err := live.expected.record(one); err == nil {
				keep = append(keep, kept)
			}
		}
	}
	r.mu.Unlock()
	for _, k := range keep {
		if err := r.host.ledger.RecordForecast(ctx, k); err != nil && ctx.Err() == nil {
			r.app.log.logger.Warn("the run's forecast isn't in the ledger", "pipeline", k.Pipeline, "error", err.Error())
		}
	}
}

func (f *foreseen) expect(at time.Time, o outlook, i int) *expected {
	e := &expected{planEstimate: f.estimate(o.took[i]), at: at}
	_, e.rows, _, _, e.known = f.totals()
	course := o.results[likely].Lanes[i].Course
	for n, p := range course {
		if len(course) <= coursePoints || n == len(course)-1 || n*coursePoints/len(course) != (n+1)*coursePoints/len(course) {
			e.course = append(e.course, p)
		}
	}
	// By this machine's clock, as the run's own times are.
	low, mid, high := at.Add(durationOf(e.Seconds.Low)), e.finish(), at.Add(durationOf(e.Seconds.High))
	e.Finish = planFinish{stamp(low), stamp(mid), stamp(high)}
	return e
}

func (e *expected) finish() time.Time { return e.at.Add(durationOf(e.Seconds.Mid)) }

// record is the ledger's row of a forecast.
func (e *expected) record(f *foreseen) (ledger.Forecast, error) {
	type part struct {
		Stream    string            `json:"stream"`
		Partition string            `json:"partition"`
		Slices    int               `json:"slices"`
		Requests  forecast.Estimate `json:"requests"`
		Bytes     forecast.Estimate `json:"bytes"`
		Known     bool              `json:"known"`
	}
	detail := struct {
		Estimate   planEstimate `json:"estimate"`
		Known      bool         `json:"known"`
		Partitions []part       `json:"partitions"`
	}{e.planEstimate, e.known, []part{}}
	for i, p := range f.forecast.Partitions {
		x := f.parts[i]
		detail.Partitions = append(detail.Partitions, part{p.Stream, p.Key, len(x.slices), rounded(x.requests), rounded(x.bytes), x.known})
	}
	text, err := json.Marshal(detail)
	return ledger.Forecast{
		Pipeline: f.name, At: e.at, Range: f.forecast.Range, Slices: uint64(e.Slices), Requests: uint64(e.Requests.Mid), Bytes: uint64(e.Bytes.Mid),
		Finish: e.finish(), Detail: text,
	}, err
}

// due is when so much of the log time should be done.
func (e *expected) due(done float64) time.Duration {
	var at time.Duration
	before := 0.0
	for _, p := range e.course {
		if p.Done >= done {
			if p.Done > before {
				at += time.Duration(float64(p.At-at) * (done - before) / (p.Done - before))
			}
			return at
		}
		at, before = p.At, p.Done
	}
	return at
}

// progress holds a run against its forecast. Nil: there is none, or all is done.
func (l *liveRun) progress(now time.Time) *control.Forecast {
	e := l.expected
	if e == nil || e.Slices == 0 || e.over.Load() {
		return nil
	}
	moved := l.pipeline.Snapshot().Moved
	if moved.Left == 0 || moved.Begun == 0 {
		e.over.Store(true)
		return nil
	}
	passed := now.Sub(e.at)
	f := &control.Forecast{
		At: e.at, Finish: e.finish(), FinishLow: e.at.Add(durationOf(e.Seconds.Low)), FinishHigh: e.at.Add(durationOf(e.Seconds.High)),
		Requests: uint64(e.Requests.Mid), BytesSoFar: moved.Bytes, LogDone: max(0, 1-moved.Left.Seconds()/moved.Begun.Seconds()),
	}
	if e.Seconds.Mid > 0 {
		f.TimeDone = passed.Seconds() / e.Seconds.Mid
	}
	f.Late = (passed - max(e.due(f.LogDone), 0)).Seconds()
	if done := e.due(f.LogDone); done < passed && e.due(min(1, f.LogDone+e.step())) > passed {
		f.Late = 0 // the slices that are due next aren't over yet
	}
	text := fmt.Sprintf("forecast: done by %s (%s to %s)", dayTime(f.Finish, now), dayTime(f.FinishLow, now), dayTime(f.FinishHigh, now))
	sofar := fmt.Sprintf("%.0f %% of the log time", 100*f.LogDone)
	if e.known {
		bytes := uint64(e.Bytes.Mid)
		f.Bytes = &bytes
		text += ", " + size(bytes)
		if bytes > 0 {
			done := float64(moved.Bytes) / float64(bytes)
			f.BytesDone = &done
			sofar = fmt.Sprintf("%.0f %% of bytes", 100*done)
		}
	}
	f.Text = fmt.Sprintf("%s; so far %s after %.0f %% of the time: %s", text, sofar, 100*f.TimeDone, lateText(f.Late))
	return f
}

// step is how much of the log time one slice is at most, by the course.
func (e *expected) step() float64 {
	most, before := 0.0, 0.0
	for _, p := range e.course {
		most, before = max(most, p.Done-before), p.Done
	}
	return most
}

func lateText(late float64) string {
	switch d := durationOf(math.Abs(late)); {
	case d < time.Second:
		return "in time"
	case late > 0:
		return about(d.Seconds()) + " late"
	default:
		return about(d.Seconds()) + " early"
	}
}

// heldForecast is what a run was expected to take, beside what it took.
type heldForecast struct {
	At       string       `json:"at"`
	Known    bool         `json:"known"` // the bytes rest on more than assumptions
	Estimate planEstimate `json:"estimate"`
	Actual   heldActual   `json:"actual"`
}

type heldActual struct {
	Slices   int     `json:"slices"`
	Requests uint64  `json:"requests"`
	Bytes    uint64  `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	Finish   string  `json:"finish"`
}

// held puts a run's forecast beside what it took; nil for one that followed, which goes on after that. Requests are those of its reads.
func (l *liveRun) held(p *pipelineSummary) *heldForecast {
	e, s := l.expected, l.summary
	if e == nil || s == nil || e.Slices == 0 || s.Slices == 0 || s.Follow > 0 {
		return nil
	}
	out := &heldForecast{At: stamp(e.at), Known: e.known, Estimate: e.planEstimate, Actual: heldActual{
		Slices: s.Slices, Requests: p.Requests, Bytes: s.Bytes, Seconds: s.Ended.Sub(e.at).Seconds(), Finish: stamp(s.Ended),
	}}
	for _, u := range p.Budgets {
		if u.Namespace == l.assembled.budget.namespace {
			out.Actual.Requests = u.Requests
		}
	}
	return out
}

// text is both in a line.
func (h *heldForecast) text() string {
	expected := fmt.Sprintf("forecast %s", counted(uint64(h.Estimate.Requests.Mid), "request"))
	if h.Known {
		expected += ", " + size(uint64(h.Estimate.Bytes.Mid))
	}
	return fmt.Sprintf("%s in %s; it took %s, %s in %s", expected, about(h.Estimate.Seconds.Mid),
		counted(h.Actual.Requests, "request"), size(h.Actual.Bytes), about(h.Actual.Seconds))
}
