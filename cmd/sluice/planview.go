package main

import (
	"fmt"
	"math"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/forecast"
	"github.com/sluice-io/sluice/proto/flow"
)

// planView is a pipeline's plan as it is shown.
type planView struct {
	*foreseen
	config       *config.Pipeline
	outlook      outlook // of all pipelines that were planned
	index        int     // this one in it
	offline      bool
	alternatives []shownAlternative
}

// plannedLine is a slice of `plan --json`.
type plannedLine struct {
	V         int      `json:"v"`
	TS        string   `json:"ts"`
	Event     string   `json:"event"` // "slice_planned"
	Pipeline  string   `json:"pipeline"`
	Slice     string   `json:"slice"`
	Stream    string   `json:"stream"`
	Partition string   `json:"partition"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	Sinks     []string `json:"sinks"`
	Begun     bool     `json:"begun"` // cut in an earlier run
	Rows      *uint64  `json:"rows"`  // null: not known
	Bytes     *uint64  `json:"bytes"` // null: not known
	Basis     string   `json:"basis"` // "usage", "history", "others", "assumed"
}

// planLine ends a pipeline of `plan --json`.
type planLine struct {
	V           int     `json:"v"`
	TS          string  `json:"ts"`
	Event       string  `json:"event"` // "plan"
	Pipeline    string  `json:"pipeline"`
	From        string  `json:"from"`
	To          string  `json:"to"`
	VendorNow   string  `json:"vendor_now"`
	Slices      int     `json:"slices"`
	Requests    int     `json:"requests"`
	Rows        *uint64 `json:"rows"`  // null: not known
	Bytes       *uint64 `json:"bytes"` // null: not known
	Missing     int64   `json:"missing"`
	Unavailable int64   `json:"unavailable"`
	Seconds     float64 `json:"budget_seconds"`          // that the budget makes it take at least
	Finish      string  `json:"finish"`                  // not before, by the vendor's clock
	Within      float64 `json:"slice_seconds,omitempty"` // that a slice is planned to take, for a sink that ends transactions

	Offline      bool            `json:"offline"`
	Estimate     planEstimate    `json:"estimate"`
	Budget       *planUse        `json:"budget"` // null: the vendor's isn't known
	Basis        planBasis       `json:"basis"`
	Partitions   []planPartition `json:"partitions"`
	Alternatives []planWhatIf    `json:"alternatives,omitempty"`
}

// planEstimate has a range for each figure: 8 of 10 are expected to lie in it.
type planEstimate struct {
	Slices   int               `json:"slices"`
	Requests forecast.Estimate `json:"requests"`
	Bytes    forecast.Estimate `json:"bytes"`
	Seconds  forecast.Estimate `json:"seconds"`
	Finish   planFinish        `json:"finish"` // by the vendor's clock
}

type planFinish struct {
	Low  string `json:"low"`
	Mid  string `json:"mid"`
	High string `json:"high"`
}

// planUse is what a run uses of the vendor's budget, and leaves of it, in the window of its busiest time.
type planUse struct {
	Namespace     string       `json:"namespace"`
	Window        float64      `json:"window_seconds"`
	Share         float64      `json:"share"`
	LimitRequests uint64       `json:"limit_requests"` // of the vendor; 0: not limited
	MayRequests   uint64       `json:"allowed_requests"`
	PeakRequests  uint64       `json:"peak_requests"`
	LeftRequests  *uint64      `json:"left_requests"` // for others; null: not limited
	LimitBytes    uint64       `json:"limit_bytes"`
	MayBytes      uint64       `json:"allowed_bytes"`
	PeakBytes     uint64       `json:"peak_bytes"`
	LeftBytes     *uint64      `json:"left_bytes"`
	UsedRequests  uint64       `json:"used_requests"` // that count still from before
	UsedBytes     uint64       `json:"used_bytes"`
	Waits         float64      `json:"waits_seconds"` // of all slices for the budget
	Windows       []planWindow `json:"windows"`       // one after the other from now on; those without use are left out
	With          []string     `json:"with,omitempty"`
}

type planWindow struct {
	From         string  `json:"from"`
	Requests     uint64  `json:"requests"`
	Bytes        uint64  `json:"bytes"`
	LeftRequests *uint64 `json:"left_requests"`
	LeftBytes    *uint64 `json:"left_bytes"`
}

// maxWindows bounds how many windows are listed.
const maxWindows = 1000

// planBasis is what the figures rest on.
type planBasis struct {
	Runs        int     `json:"runs"`         // earlier ones that requests and speed rest on; 0: assumed
	HistoryDays float64 `json:"history_days"` // of the log that has the least
	UsageDays   int     `json:"usage_days"`   // days and logs that the vendor has figures of
	HeldDays    int     `json:"held_days"`    // that its figures were held against what was read
	Rate        float64 `json:"bytes_per_second"`
	Open        float64 `json:"open_seconds"`
	Text        string  `json:"text"`
}

type planPartition struct {
	Stream    string            `json:"stream"`
	Partition string            `json:"partition"`
	Name      string            `json:"name,omitempty"`
	Slices    int               `json:"slices"`
	Requests  forecast.Estimate `json:"requests"`
	Bytes     forecast.Estimate `json:"bytes"`
	Known     bool              `json:"known"`
	Bases     map[string]int    `json:"bases"` // slices by what their figures rest on
}

// planWhatIf is an alternative.
type planWhatIf struct {
	WhatIf   string       `json:"what_if"`
	Parallel int          `json:"parallel"`
	Slice    string       `json:"slice"`
	Estimate planEstimate `json:"estimate"`
	Budget   *planUse     `json:"budget"`
}

func (f *foreseen) estimate(took forecast.Estimate) planEstimate {
	slices, _, bytes, requests, _ := f.totals()
	at := func(seconds float64) string { return stamp(f.forecast.VendorNow.Add(durationOf(seconds))) }
	return planEstimate{
		Slices: slices, Requests: rounded(requests), Bytes: rounded(bytes), Seconds: took,
		Finish: planFinish{at(took.Low), at(took.Mid), at(took.High)},
	}
}

func durationOf(s float64) time.Duration {
	const longest = 100 * 365 * 24 * 3600
	return time.Duration(min(s, longest) * float64(time.Second))
}

func rounded(e forecast.Estimate) forecast.Estimate {
	return forecast.Estimate{Low: math.Round(e.Low), Mid: math.Round(e.Mid), High: math.Round(e.High)}
}

// leftOf is what is left of a limit for others; nil: it isn't limited.
func leftOf(limit uint64, used float64) *uint64 {
	if limit == 0 {
		return nil
	}
	n := limit - min(limit, uint64(math.Ceil(used)))
	return &n
}

// use is what the budget of a pipeline is used for, by all that were planned with it.
func (o outlook) use(f *foreseen, i int) *planUse {
	at := o.index[i]
	if at < 0 {
		return nil
	}
	b, r := f.budget, o.results[likely].Budgets[at]
	u := &planUse{
		Namespace: b.namespace, Window: b.window.Seconds(), Share: b.share, LimitRequests: b.allRequests, MayRequests: b.requests,
		PeakRequests: uint64(math.Ceil(r.PeakRequests)), LeftRequests: leftOf(b.allRequests, r.PeakRequests),
		LimitBytes: b.allOf, MayBytes: b.bytes, PeakBytes: uint64(r.PeakBytes), LeftBytes: leftOf(b.allOf, r.PeakBytes),
		Waits: o.results[likely].Lanes[i].Waited.Seconds(), Windows: []planWindow{},
	}
	for _, c := range f.charges {
		u.UsedRequests += uint64(c.Requests)
		u.UsedBytes += uint64(c.Bytes)
	}
	for n, w := range r.Windows {
		if n == maxWindows {
			break
		}
		u.Windows = append(u.Windows, planWindow{
			stamp(f.forecast.VendorNow.Add(w.From)), uint64(w.Requests), uint64(w.Bytes), leftOf(b.allRequests, w.Requests), leftOf(b.allOf, w.Bytes),
		})
	}
	return u
}

// line is a plan as JSON.
func (v planView) line() planLine {
	f := v.forecast
	took := v.outlook.took[v.index]
	l := planLine{
		V: 1, TS: stamp(time.Now()), Event: "plan", Pipeline: v.name, From: f.Range.From.Format(flow.Layout), To: f.Range.To.Format(flow.Layout),
		VendorNow: stamp(f.VendorNow), Offline: v.offline, Estimate: v.estimate(took), Budget: v.outlook.use(v.foreseen, v.index),
		Partitions: []planPartition{},
	}
	slices, rows, bytes, requests, known := v.totals()
	l.Slices, l.Requests = slices, int(math.Round(requests.Mid))
	if known {
		n, b := uint64(rows), uint64(bytes.Mid)
		l.Rows, l.Bytes = &n, &b
	}
	least := v.budget.takes(uint64(requests.Low), uint64(bytes.Low*v.pace.Received))
	l.Seconds, l.Finish = least.Seconds(), stamp(f.VendorNow.Add(least))
	l.Basis = v.basis()
	for i, p := range f.Partitions {
		part := v.parts[i]
		l.Missing += p.Missing.Milliseconds()
		l.Unavailable += p.Unavailable.Milliseconds()
		if within := p.Within.Seconds(); within > 0 && len(p.Slices) > 0 && (l.Within == 0 || within < l.Within) {
			l.Within = within
		}
		one := planPartition{
			Stream: p.Stream, Partition: p.Key, Name: p.Name, Slices: len(p.Slices), Requests: rounded(part.requests), Bytes: rounded(part.bytes),
			Known: part.known, Bases: map[string]int{},
		}
		for basis, n := range part.bases {
			one.Bases[string(basis)] = n
		}
		l.Partitions = append(l.Partitions, one)
	}
	for i := range v.alternatives {
		a := &v.alternatives[i]
		one := planWhatIf{
			WhatIf: a.text, Parallel: a.foreseen.parallel, Slice: sliceText(v.config.Flow.Slice),
			Estimate: a.estimate(a.outlook.took[0]), Budget: a.outlook.use(a.foreseen, 0),
		}
		if a.slice != nil {
			one.Slice = sliceText(*a.slice)
		}
		if one.Budget != nil {
			one.Budget.Windows = nil
		}
		l.Alternatives = append(l.Alternatives, one)
	}
	if l.Budget != nil {
		for i, at := range v.outlook.index {
			if i != v.index && at == v.outlook.index[v.index] {
				l.Budget.With = append(l.Budget.With, v.outlook.names[i])
			}
		}
	}
	return l
}

func sliceText(s config.Slice) string {
	switch {
	case s.Duration > 0:
		return shortDuration(s.Duration)
	case s.Bytes > 0:
		return size(uint64(s.Bytes))
	}
	return "auto"
}

// basis says what the figures rest on.
func (v planView) basis() planBasis {
	b := planBasis{Runs: v.pace.Runs, Rate: v.pace.Rate.Mid, Open: v.pace.Open.Mid, HistoryDays: math.Inf(1)}
	assumed, others := 0, 0
	for _, p := range v.parts {
		if len(p.slices) == 0 {
			continue
		}
		b.HistoryDays = min(b.HistoryDays, p.seen)
		b.UsageDays += p.told
		b.HeldDays += p.held
		assumed += p.bases[forecast.Assumed]
		others += p.bases[forecast.FromOthers]
	}
	if math.IsInf(b.HistoryDays, 1) {
		b.HistoryDays = 0
	}
	text := ""
	add := func(format string, args ...any) {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf(format, args...)
	}
	if b.UsageDays > 0 {
		add("the vendor's figures of %s", counted(uint64(b.UsageDays), "day"))
		if b.HeldDays < 3 {
			text += ", not yet held against what was read"
		} else {
			text += fmt.Sprintf(", held against %s that were read", counted(uint64(b.HeldDays), "day"))
		}
	}
	if b.HistoryDays > 0 {
		noun := "days"
		if b.HistoryDays < 1.005 {
			noun = "day"
		}
		add("%.3g %s of history by the hour of the week", b.HistoryDays, noun)
	}
	if others > 0 {
		add("no history of %s: assumes what the pipeline's other logs weigh", counted(uint64(others), "slice"))
	}
	if assumed > 0 {
		add("no history of %s: assumes 100 MB a day, which may be 20 times more or less", counted(uint64(assumed), "slice"))
	}
	if b.Runs > 0 {
		add("requests and speed of the last %s (%s/s for each slice)", counted(uint64(b.Runs), "run"), size(uint64(b.Rate)))
	} else {
		add("no run yet: assumes a request and half a second for each slice, then 10 MB/s")
	}
	b.Text = text
	return b
}
