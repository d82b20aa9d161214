package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/pipeline"
)

// statusLines is how many gaps, reasons or failures of a partition are printed before "and N more".
const statusLines = 4

func (a *app) printStatus(s pipelineStatus, deadPath string, f statusFlags) {
	if a.json {
		a.printJSON(s)
		return
	}
	if f.judge {
		return // only what is behind is named
	}
	var b strings.Builder
	b.WriteString(s.headline() + "\n")
	if s.LastRun == nil {
		b.WriteString("  last run: none has ended yet\n")
	} else {
		fmt.Fprintf(&b, "  last run: %s\n", s.LastRun.text())
	}
	d := drawing{screen: a.screen(), bars: a.drawsBars(), all: f.all, status: &s, used: map[cell]bool{}}
	dead := uint64(0)
	for _, sink := range s.Sinks {
		d.sink(&b, sink)
		for _, p := range sink.Partitions {
			dead += p.Dead
		}
	}
	if legend := d.screen.legend(d.used); legend != "" {
		fmt.Fprintf(&b, "    %s\n", legend)
	}
	if s.Late != nil {
		fmt.Fprintf(&b, "  %s\n", s.Late.text())
	}
	if dead > 0 {
		fmt.Fprintf(&b, "  dead letters: %s in %s\n", grouped(dead), deadPath)
	}
	_ = a.printText(b.String())
}

// headline names the pipeline and what it asks for.
func (s *pipelineStatus) headline() string {
	text := fmt.Sprintf("%s (%s): ", s.Pipeline, s.Source)
	switch {
	case s.asked.Empty():
		return text + "the range is not closed yet"
	case !s.open:
		return text + shortTime(s.asked.From) + " to " + shortTime(s.asked.To)
	}
	whose := "this machine's clock"
	switch s.Clock {
	case clockVendor:
		whose = "the vendor's clock"
	case clockCorrected:
		whose = "the vendor's clock as of the last run"
	}
	from := shortTime(s.asked.From)
	if s.last > 0 {
		from = "the last " + shortDuration(s.last) + " up"
	}
	return text + fmt.Sprintf("%s to now (%s: %s less the lag of %s)", from, s.asked.To.Format("2006-01-02T15:04:05Z"), whose,
		shortDuration(seconds(s.Lag)))
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

// drawsBars reports whether stdout is a terminal: else there are plain lines only.
func (a *app) drawsBars() bool {
	f, ok := a.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// screen is what stdout can show. A dumb terminal has no colours and, whatever the locale, plain characters.
func (a *app) screen() screen {
	dumb := a.getenv("TERM") == "dumb"
	s := screen{width: 80, unicode: a.isUnicode() && !dumb, color: a.drawsBars() && !dumb && a.getenv("NO_COLOR") == ""}
	if f, ok := a.stdout.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			s.width = w
		}
	}
	return s
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
		_ = a.printText(text + "\n" + followText(p.Follow))
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

func followText(f *control.Follow) string {
	if f == nil {
		return ""
	}
	text := fmt.Sprintf("    follows every %s: asked up to %s, next at %s", shortDuration(time.Duration(f.Every)*time.Millisecond),
		f.To.Format(time.RFC3339), f.Next.Format("15:04:05Z"))
	if f.Left > 0 {
		text += ", behind by " + span(f.Behind)
	}
	if f.Error != "" {
		text += "; the vendor doesn't tell its time: " + f.Error
	}
	return text + "\n"
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
