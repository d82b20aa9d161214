package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// statusLines is how many gaps, reasons or failures of a partition are printed before "and N more".
const statusLines = 4

// barCells is the width of a coverage bar.
const barCells = 28

func (a *app) printStatus(s pipelineStatus, deadPath string) {
	if a.json {
		a.printJSON(s)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)", s.Pipeline, s.Source)
	if s.asked.Empty() {
		b.WriteString(": the range is not closed yet\n")
	} else {
		fmt.Fprintf(&b, ": %s to %s\n", shortTime(s.asked.From), shortTime(s.asked.To))
	}
	if s.LastRun == nil {
		b.WriteString("  last run: none has ended yet\n")
	} else {
		fmt.Fprintf(&b, "  last run: %s\n", s.LastRun.text())
	}
	dead := uint64(0)
	for _, sink := range s.Sinks {
		where := ""
		if sink.Location != "" {
			where = ", " + sink.Location
		}
		fmt.Fprintf(&b, "  sink %s (%s%s)", sink.Name, sink.Type, where)
		switch {
		case !sink.Remembers:
			b.WriteString(": what it was given is remembered for one run\n")
		case !sink.Known:
			b.WriteString(": nothing yet\n")
		default:
			b.WriteString(":\n")
		}
		for _, p := range sink.Partitions {
			a.partitionText(&b, s.asked, p, isSnapshot(s.Source, p.Stream))
			dead += p.Dead
		}
	}
	if dead > 0 {
		fmt.Fprintf(&b, "  dead letters: %s in %s\n", grouped(dead), deadPath)
	}
	_ = a.printText(b.String())
}

func (r *lastRun) text() string {
	var s pipelineSummary
	text := fmt.Sprintf("ended %s, exit %d", r.End, r.Exit)
	if json.Unmarshal(r.Summary, &s) != nil {
		return text
	}
	text += fmt.Sprintf(", %s in %s, %s", counted(s.Rows, "record"), counted(uint64(s.Slices), "slice"), counted(s.Requests, "request"))
	if s.Forecast != nil && s.Forecast.Known {
		text += "\n    " + s.Forecast.text()
	}
	if s.Error != "" {
		text += "\n    " + s.Error
	}
	if s.Hint != "" {
		text += "\n    " + s.Hint
	}
	return text
}

// isSnapshot says whether a stream of a source is of what is now, each millisecond of its log time one snapshot.
func isSnapshot(source, stream string) bool {
	d, err := sourceDefinition(source)
	return err == nil && slices.ContainsFunc(d.Streams, func(s plugins.Stream) bool { return s.Name == stream && s.Kind == plugins.Snapshot })
}

func (a *app) partitionText(b *strings.Builder, whole flow.Range, p partitionStatus, snapshots bool) {
	fmt.Fprintf(b, "    %s ", strings.TrimSuffix(p.Stream+"/"+p.Partition, "/"))
	if a.drawsBars() && !whole.Empty() && !snapshots {
		b.WriteString(bar(whole, p.covered, p.gone, a.isUnicode()) + " ")
	}
	fmt.Fprintf(b, "covered %s of %s (%s), %s, %s\n", covered(p.Covered, snapshots), asked(p.Asked, snapshots), percent(p.Covered, p.Asked),
		counted(p.Rows, "record"), size(p.Bytes))
	for n, g := range p.Gaps {
		if n == statusLines {
			fmt.Fprintf(b, "      and %d more missing ranges\n", len(p.Gaps)-n)
			break
		}
		fmt.Fprintf(b, "      missing [%s, %s)\n", g.From, g.To)
	}
	for n, g := range p.Gone {
		if n == statusLines {
			fmt.Fprintf(b, "      and %d more unavailable ranges\n", len(p.Gone)-n)
			break
		}
		fmt.Fprintf(b, "      unavailable [%s, %s): %s\n", g.From, g.To, g.Reason)
	}
	for n, f := range p.Failures {
		if n == statusLines {
			fmt.Fprintf(b, "      and %d more failures: `sluice status --json`\n", len(p.Failures)-n)
			break
		}
		what := "failed"
		if f.Quarantined {
			what = "quarantined, tried again by the next run"
		}
		fmt.Fprintf(b, "      %s [%s, %s), %d tries: %s\n", what, f.From, f.To, f.Attempts, f.Error)
		if f.Hint != "" && !strings.Contains(f.Error, f.Hint) {
			fmt.Fprintf(b, "        %s\n", f.Hint)
		}
	}
}

// percent never says 100 while something lacks.
func percent(part, whole int64) string {
	switch {
	case whole <= 0:
		return "–"
	case part >= whole:
		return "100 %"
	}
	return fmt.Sprintf("%.1f %%", min(99.9, 100*float64(part)/float64(whole)))
}

// bar draws a range as cells: all of it covered, part of it, none, or unavailable.
func bar(asked flow.Range, covered, gone flow.Ranges, unicode bool) string {
	full, some, none, lost := "#", "+", ".", "x"
	if unicode {
		full, some, none = "█", "▒", "·"
	}
	var b strings.Builder
	width := asked.Duration() / barCells
	for i := range barCells {
		cell := flow.Range{From: asked.From.Add(time.Duration(i) * width), To: asked.From.Add(time.Duration(i+1) * width)}
		if i == barCells-1 {
			cell.To = asked.To
		}
		switch {
		case covered.Covers(cell):
			b.WriteString(full)
		case gone.Union(covered).Covers(cell):
			b.WriteString(lost)
		case covered.Meets(cell):
			b.WriteString(some)
		default:
			b.WriteString(none)
		}
	}
	return b.String()
}

// drawsBars reports whether stdout is a terminal that shows more than plain lines.
func (a *app) drawsBars() bool {
	f, ok := a.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && a.getenv("TERM") != "dumb"
}

// isUnicode reports whether the locale says UTF-8.
func (a *app) isUnicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := a.getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

func (a *app) printHost(c *config.Config, running bool, s control.Snapshot) {
	if a.json {
		line := hostStatus{V: 1, TS: stamp(time.Now()), Event: "host_status", State: c.State, Running: running}
		if running {
			line.Host = &s
		}
		a.printJSON(line)
		return
	}
	if !running {
		_ = a.printText("not running\n")
		return
	}
	_ = a.printText(fmt.Sprintf("running since %s (process %d, version %s)\n", s.Started.Format(time.RFC3339), s.PID, s.Version))
	for _, p := range s.Pipelines {
		text := fmt.Sprintf("  %s: %s", p.Name, p.State)
		if p.Error != "" {
			text += ": " + p.Error
		}
		_ = a.printText(text + "\n")
		if p.Forecast != nil {
			_ = a.printText("    " + p.Forecast.Text + "\n")
		}
		for _, k := range p.Sinks {
			if k.State != pipeline.SinkUp {
				_ = a.printText("    " + sinkText(k) + "\n")
			}
		}
		rows := [][]string{{"    SLICE", "FROM", "TO", "TRY", "ROWS", "BYTES", "LAST BYTE", "NEXT TRY", "WAITS FOR"}}
		for _, x := range p.Slices {
			rows = append(rows, sliceRow(x, s.At))
		}
		if len(rows) > 1 {
			_ = a.printTable(rows)
		}
	}
	for _, b := range s.Budgets {
		_ = a.printText("  " + budgetText(b) + "\n")
	}
}

func sinkText(k control.Sink) string {
	st := pipeline.SinkStatus{State: k.State, Since: k.Since, NextTry: k.NextTry}
	text := "sink " + k.Name + ": " + st.Text() + ", lacks " + span(k.Left)
	if k.Error != "" {
		text += ": " + k.Error
	}
	return text
}

func sliceRow(s control.Slice, now time.Time) []string {
	ago, next, waits := "–", "–", s.WaitsFor
	if !s.LastByte.IsZero() {
		ago = now.Sub(s.LastByte).Round(100*time.Millisecond).String() + " ago"
	}
	if !s.NextTry.IsZero() {
		next = s.NextTry.Format("15:04:05Z")
	}
	if waits == "" {
		waits = "nothing: " + s.State
	}
	if s.Error != "" {
		waits += " (" + s.Error + ")"
	}
	return []string{
		"    " + strings.TrimSuffix(s.Stream+"/"+s.Partition, "/"), shortTime(s.From), shortTime(s.To), fmt.Sprint(s.Attempt + 1),
		grouped(s.Rows), size(s.Bytes), ago, next, waits,
	}
}

func budgetText(b control.Budget) string {
	text := fmt.Sprintf("budget %s of key %s:", b.Namespace, b.Key)
	if b.LimitRequests > 0 {
		text += fmt.Sprintf(" %s of %s requests", grouped(b.UsedRequests), grouped(b.LimitRequests))
	}
	if b.LimitBytes > 0 {
		text += fmt.Sprintf(", %s of %s", size(b.UsedBytes), size(b.LimitBytes))
	}
	text += " in " + shortDuration(b.Window)
	if !b.NextFree.IsZero() {
		text += ", next at " + b.NextFree.Format("15:04:05Z")
	}
	if b.Why != "" {
		text += " (" + b.Why + ")"
	}
	return text
}
