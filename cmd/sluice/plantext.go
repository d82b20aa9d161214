package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/forecast"
	"github.com/sluice-io/sluice/proto/flow"
)

func (a *app) printPlan(v planView) {
	line := v.line()
	if a.json {
		a.printSlices(v)
		a.printJSON(line)
		return
	}
	f := v.forecast
	if line.Slices == 0 {
		_ = a.printText(fmt.Sprintf("%s: nothing to do: %s to %s is covered\n", v.name, shortTime(f.Range.From), shortTime(f.Range.To)))
		return
	}
	_ = a.printText(fmt.Sprintf("%s: %s to %s\n", v.name, shortTime(f.Range.From), shortTime(f.Range.To)))
	rows := [][]string{{"PARTITION", "SLICES", "FROM", "TO", "REQUESTS", "BYTES", "RANGE"}}
	for i, p := range f.Partitions {
		part := v.parts[i]
		if len(p.Slices) == 0 {
			rows = append(rows, []string{partitionName(p.Partition.Partition, p.Name), "0", "covered", "", "0", "0 B", ""})
			continue
		}
		rows = append(rows, []string{
			partitionName(p.Partition.Partition, p.Name), fmt.Sprint(len(p.Slices)), shortTime(p.Slices[0].From), shortTime(p.Slices[len(p.Slices)-1].To),
			fmt.Sprintf("%.0f", part.requests.Mid), part.bytesText(), spreadText(part.bytes, part.bases),
		})
	}
	_ = a.printTable(rows)
	_ = a.printText(v.conclusion(line))
	if len(v.alternatives) > 0 {
		_ = a.printTable(v.whatIfs(line))
	}
}

func (p *foreseenPart) bytesText() string {
	if p.bases[forecast.Assumed] > 0 {
		return "unknown"
	}
	return "about " + size(uint64(p.bytes.Mid))
}

// spreadText is the range of a partition's bytes, empty where nothing is known.
func spreadText(e forecast.Estimate, bases map[forecast.Basis]int) string {
	if bases[forecast.Assumed] > 0 {
		return ""
	}
	return size(uint64(e.Low)) + " to " + size(uint64(e.High))
}

// conclusion is what follows from the table.
func (v planView) conclusion(l planLine) string {
	e, b := l.Estimate, v.budget
	words := "at least " + counted(uint64(math.Round(max(e.Requests.Low, float64(l.Slices)))), "request")
	if e.Requests.Mid > e.Requests.Low+0.5 {
		words += fmt.Sprintf(", about %s", grouped(uint64(e.Requests.Mid)))
	}
	if l.Bytes != nil {
		words += fmt.Sprintf("; about %s (%s to %s)", size(*l.Bytes), size(uint64(e.Bytes.Low)), size(uint64(e.Bytes.High)))
	} else {
		words += ", bytes unknown until a first slice has been read"
	}
	switch {
	case b.requests == 0:
	case l.Seconds == 0:
		words += fmt.Sprintf("; the budget (%s requests in %s) allows it at once", grouped(b.requests), shortDuration(b.window))
	default:
		words += fmt.Sprintf("; the budget (%s requests in %s) makes it take at least %s, until %s", grouped(b.requests), shortDuration(b.window),
			shortDuration(time.Duration(l.Seconds*float64(time.Second))), l.Finish)
	}
	if l.Within > 0 {
		words += "; slices are cut to end within " + shortDuration(time.Duration(l.Within*float64(time.Second))) + " each, for a sink that ends transactions"
	}
	if l.Unavailable > 0 {
		words += fmt.Sprintf("; unavailable: %s", span(l.Unavailable))
	}
	lines := []string{words, v.done(l)}
	if l.Budget != nil {
		lines = append(lines, l.Budget.text())
	}
	lines = append(lines, "rests on "+l.Basis.Text)
	return strings.Join(lines, "\n") + "\n"
}

// done says when the run is likely to have ended.
func (v planView) done(l planLine) string {
	now, s := v.forecast.VendorNow, l.Estimate.Seconds
	at := func(seconds float64) string { return dayTime(now.Add(durationOf(seconds)), now) }
	text := fmt.Sprintf("done by %s (%s to %s), in about %s", at(s.Mid), at(s.Low), at(s.High), about(s.Mid))
	if l.Budget != nil && l.Budget.Waits >= 1 {
		text += fmt.Sprintf("; slices wait for the budget for %s altogether", about(l.Budget.Waits))
	}
	return text + fmt.Sprintf(", with %s at a time", counted(uint64(v.parallel), "slice"))
}

// about is a duration for people, in seconds.
func about(seconds float64) string {
	d := durationOf(seconds)
	switch {
	case d < time.Second:
		return "a second"
	case d < time.Hour:
		return shortDuration(d.Round(time.Second))
	}
	return shortDuration(d.Round(time.Minute))
}

// dayTime is a time for people: without its date on the day that it is now.
func dayTime(t, now time.Time) string {
	t = t.UTC()
	if flow.Day(t).Equal(flow.Day(now)) {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}

// text says what is used of the budget and left for others.
func (u *planUse) text() string {
	var used, kept []string
	if u.LimitRequests > 0 {
		used = append(used, fmt.Sprintf("at most %s of %s requests", grouped(u.PeakRequests), grouped(u.MayRequests)))
		kept = append(kept, fmt.Sprintf("%s (%s)", counted(*u.LeftRequests, "request"), percent(int64(*u.LeftRequests), int64(u.LimitRequests))))
	}
	if u.LimitBytes > 0 {
		used = append(used, fmt.Sprintf("%s of %s", size(u.PeakBytes), size(u.MayBytes)))
		kept = append(kept, fmt.Sprintf("%s (%s)", size(*u.LeftBytes), percent(int64(*u.LeftBytes), int64(u.LimitBytes))))
	}
	if len(used) == 0 {
		return fmt.Sprintf("budget %s: not limited", u.Namespace)
	}
	text := fmt.Sprintf("budget %s: uses %s in any %s, leaves %s to others, of which share %.4g keeps %.4g %% always", u.Namespace, strings.Join(used, ", "),
		shortDuration(durationOf(u.Window)), strings.Join(kept, ", "), u.Share, 100*(1-u.Share))
	if u.UsedRequests > 0 {
		text += fmt.Sprintf("; %s of before count still", counted(u.UsedRequests, "request"))
	}
	if len(u.With) > 0 {
		text += "; together with " + strings.Join(u.With, ", ")
	}
	return text
}

// whatIfs is the table of alternatives, as it is first.
func (v planView) whatIfs(l planLine) [][]string {
	now := v.forecast.VendorNow
	rows := [][]string{{"WHAT IF", "SLICES", "REQUESTS", "BYTES", "TAKES", "DONE BY", "LEAVES REQUESTS"}}
	row := func(name string, e planEstimate, u *planUse) {
		leaves := "–"
		if u != nil && u.LeftRequests != nil {
			leaves = fmt.Sprintf("%s of %s", grouped(*u.LeftRequests), grouped(u.LimitRequests))
		}
		bytes := size(uint64(e.Bytes.Mid))
		if l.Bytes == nil {
			bytes = "unknown"
		}
		rows = append(rows, []string{
			name, fmt.Sprint(e.Slices), fmt.Sprintf("%.0f", e.Requests.Mid), bytes,
			fmt.Sprintf("%s (%s to %s)", about(e.Seconds.Mid), about(e.Seconds.Low), about(e.Seconds.High)),
			dayTime(now.Add(durationOf(e.Seconds.Mid)), now), leaves,
		})
	}
	alone := lookAt([]*foreseen{v.foreseen})
	row(fmt.Sprintf("as it is (parallel=%d,slice=%s)", v.parallel, sliceText(v.config.Flow.Slice)), v.estimate(alone.took[0]), alone.use(v.foreseen, 0))
	for _, w := range l.Alternatives {
		row(w.WhatIf, w.Estimate, w.Budget)
	}
	return rows
}

func (a *app) printSlices(v planView) {
	for i, p := range v.forecast.Partitions {
		for n, s := range p.Slices {
			one := v.parts[i].slices[n]
			line := plannedLine{
				V: 1, TS: stamp(time.Now()), Event: "slice_planned", Pipeline: v.name, Slice: s.ID.String(), Stream: s.Stream, Partition: s.Key,
				From: s.From.Format(flow.Layout), To: s.To.Format(flow.Layout), Sinks: s.Sinks, Begun: s.Begun, Basis: string(one.basis),
			}
			if one.basis != forecast.Assumed {
				rows, bytes := uint64(one.rows), uint64(one.bytes)
				line.Bytes = &bytes
				if rows > 0 || one.basis == forecast.FromHistory {
					line.Rows = &rows
				}
			}
			a.printJSON(line)
		}
	}
}
