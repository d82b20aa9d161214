package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// reporter shows a run while it goes on: JSON lines on stdout with --json, else log lines and, on a terminal, one line of
// progress on stderr.
type reporter struct {
	app  *app
	run  *running
	mu   sync.Mutex
	rows uint64 // committed
	size uint64
	stop chan struct{}
	done sync.WaitGroup
	once sync.Once
}

// progressEvery is how often the progress line is drawn.
const progressEvery = 200 * time.Millisecond

func newReporter(a *app, r *running) *reporter {
	out := &reporter{app: a, run: r, stop: make(chan struct{})}
	if !a.json && !a.quiet && a.isTerminal() {
		out.done.Go(out.draw)
	}
	return out
}

func (o *reporter) close() {
	o.once.Do(func() {
		close(o.stop)
		o.done.Wait()
	})
}

// jsonEvent is a line on stdout.
type jsonEvent struct {
	V         int               `json:"v"`
	TS        string            `json:"ts"`
	Event     string            `json:"event"`
	Pipeline  string            `json:"pipeline,omitempty"`
	Slice     string            `json:"slice,omitempty"`
	Stream    string            `json:"stream,omitempty"`
	Partition string            `json:"partition,omitempty"`
	From      string            `json:"from,omitempty"`
	To        string            `json:"to,omitempty"`
	Rev       uint32            `json:"rev,omitempty"`
	Sinks     []string          `json:"sinks,omitempty"`
	Attempt   *uint32           `json:"attempt,omitempty"`
	Rows      *uint64           `json:"rows,omitempty"`
	Bytes     *uint64           `json:"bytes,omitempty"`
	Digest    string            `json:"digest,omitempty"`
	Parts     int               `json:"parts,omitempty"`
	Until     string            `json:"until,omitempty"`
	Kind      string            `json:"kind,omitempty"`
	Message   string            `json:"message,omitempty"`
	Hint      string            `json:"hint,omitempty"`
	Behind    *int64            `json:"behind,omitempty"` // of a window: milliseconds
	Counters  map[string]uint64 `json:"counters,omitempty"`
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (o *reporter) event(e pipeline.Event) {
	if o.app.json {
		o.line(e)
	}
	if e.Kind == pipeline.Committed {
		o.mu.Lock()
		o.rows += e.Sum.Rows
		o.size += e.Sum.Bytes
		o.mu.Unlock()
	}
	o.logEvent(e)
}

func (o *reporter) line(e pipeline.Event) {
	j := jsonEvent{
		V: 1, TS: stamp(e.Time), Event: string(e.Kind), Pipeline: e.Pipeline, Sinks: e.Sinks, Message: e.Message,
		Hint: e.Hint, Parts: len(e.Parts), Counters: e.Counters,
	}
	if e.Slice.Stream != "" {
		s := e.Slice
		j.Slice, j.Stream, j.Partition, j.Rev = s.ID.String(), s.Stream, s.Key, s.Rev
		j.From, j.To, j.Attempt = s.From.Format(flow.Layout), s.To.Format(flow.Layout), &e.Attempt
	}
	if e.Kind == pipeline.Window {
		behind := e.Behind.Milliseconds()
		j.From, j.To, j.Behind = e.Range.From.Format(flow.Layout), e.Range.To.Format(flow.Layout), &behind
	}
	switch e.Kind {
	case pipeline.Committed:
		j.Rows, j.Bytes, j.Digest = &e.Sum.Rows, &e.Sum.Bytes, e.Sum.Digest.String()
	case pipeline.Rechecked:
		j.Rows, j.Bytes = &e.Sum.Rows, &e.Sum.Bytes
	}
	if !e.Until.IsZero() {
		j.Until = stamp(e.Until)
	}
	if e.Err != nil {
		j.Kind = fault.KindOf(e.Err).String()
	}
	o.app.printJSON(j)
}

// printJSON prints one JSON line to stdout, secrets masked.
func (a *app) printJSON(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		a.log.logger.Error("JSON line", "error", err.Error())
		return
	}
	a.printMu.Lock()
	defer a.printMu.Unlock()
	_, err = fmt.Fprintln(a.stdout, a.log.redactor.Redact(string(text)))
	a.printFailed(err)
}

// shortWait is how long a wait must be to be told: a source that asks again every few seconds isn't news.
const shortWait = 10 * time.Second

// logEvent writes what an operator wants to see without a terminal: what ended, what waits, what failed.
func (o *reporter) logEvent(e pipeline.Event) {
	l := o.app.log.logger
	where := e.Pipeline
	if e.Slice.Stream != "" {
		name := e.Slice.Partition.String()
		if e.Name != "" {
			name += " (" + e.Name + ")"
		}
		where += ": " + name + " " + e.Slice.Range().String()
	}
	switch e.Kind {
	case pipeline.Committed:
		l.Info(fmt.Sprintf("%s: committed %s, %s to %s", where, counted(e.Sum.Rows, "record"), size(e.Sum.Bytes), strings.Join(e.Sinks, ", ")))
	case pipeline.Started, pipeline.Draining:
		l.Info(where + ": " + e.Message)
	case pipeline.Healed:
		l.Info(fmt.Sprintf("%s: sink %s: %s", where, strings.Join(e.Sinks, ", "), e.Message))
	case pipeline.Rechecked:
		l.Info(fmt.Sprintf("%s: looked for late records for %s: %s", where, strings.Join(e.Sinks, ", "), e.Message))
	case pipeline.Split:
		l.Info(fmt.Sprintf("%s: %s; cut into %d parts", where, e.Message, len(e.Parts)))
	case pipeline.Missing:
		l.Warn(where + ": unavailable: " + e.Message)
	case pipeline.Waiting:
		if e.Until.Sub(e.Time) < shortWait { // zero, too
			l.Debug(where + ": waits for " + e.Message)
		} else {
			l.Info(fmt.Sprintf("%s: waits until %s: %s", where, e.Until.UTC().Format("15:04:05"), e.Message))
		}
	case pipeline.Retry:
		l.Warn(fmt.Sprintf("%s: try again at %s: %s", where, e.Until.UTC().Format("15:04:05"), withHint(e)))
	case pipeline.SinkIsDown:
		l.Warn(fmt.Sprintf("%s: sink %s is down, next try %s: %s", where, strings.Join(e.Sinks, ", "), e.Until.UTC().Format("15:04:05"), withHint(e)))
	case pipeline.SinkIsUp:
		l.Info(fmt.Sprintf("%s: sink %s is back: %s", where, strings.Join(e.Sinks, ", "), e.Message))
	case pipeline.SinkLost:
		l.Error(fmt.Sprintf("%s: sink %s is given up for this run: %s", where, strings.Join(e.Sinks, ", "), withHint(e)))
	case pipeline.Failed, pipeline.Quarantined, pipeline.Stopped:
		text := strings.ReplaceAll(string(e.Kind), "_", " ")
		if !e.Until.IsZero() {
			text += ", tried again at " + e.Until.UTC().Format("15:04:05")
		}
		l.Error(fmt.Sprintf("%s: %s: %s", where, text, withHint(e)))
	case pipeline.Window:
		if e.Message != "" {
			l.Warn(where + ": " + e.Message)
		} else {
			l.Debug(fmt.Sprintf("%s: window %s, behind by %s", where, e.Range, e.Behind.Round(time.Second)))
		}
	case pipeline.Ended:
	default:
		l.Debug(where + ": " + string(e.Kind))
	}
}

func withHint(e pipeline.Event) string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "\n" + e.Hint
}

// pipelineFailed reports an error of a pipeline as a whole.
func (o *reporter) pipelineFailed(name string, err error) {
	if o.app.json {
		o.app.printJSON(jsonEvent{
			V: 1, TS: stamp(time.Now()), Event: "pipeline_failed", Pipeline: name, Kind: fault.KindOf(err).String(),
			Message: err.Error(), Hint: fault.HintOf(err),
		})
	}
	text := fmt.Sprintf("%s: %s", name, err)
	if hint := fault.HintOf(err); hint != "" && !strings.Contains(text, hint) {
		text += "\n" + hint
	}
	o.app.log.logger.Error(text)
}

// tooManyDead says why a pipeline that carried everything makes the run fail.
func (o *reporter) tooManyDead(p *assembled, dead uint64) {
	text := fmt.Sprintf("%s: %s in %s, and dead_letter.max is %d: so the exit code is 1", p.config.Name, counted(dead, "dead letter"),
		p.config.DeadLetter.Path, p.config.DeadLetter.Max)
	o.app.log.logger.Error(text + "\n" + p.aboutDead())
}

// aboutDead is what to do about a pipeline's dead letters. Those of `sluice get` have no file that `retry` could read.
func (p *assembled) aboutDead() string {
	send := fmt.Sprintf("`sluice retry --dead-letters %s` sends them again", p.config.Name)
	if p.fileless {
		send = "with --save, which writes a config file, `sluice retry --dead-letters` sends them again"
	}
	return "each line there says why; when that is mended, " + send + "; raise dead_letter.max if you expect them"
}

// draw keeps one line of progress until the run ends.
func (o *reporter) draw() {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	var rate meter
	for {
		select {
		case <-o.stop:
			o.app.log.out.draw("")
			return
		case now := <-tick.C:
			o.app.log.out.draw(clip(o.progress(now, &rate), o.app.width()-1))
		}
	}
}

// progress is the line: what moves, how fast, how much of the range is left and what is waited for.
func (o *reporter) progress(now time.Time, rate *meter) string {
	o.mu.Lock()
	rows, bytes := o.rows, o.size
	o.mu.Unlock()
	var moving, waiting int
	var waits, down string
	for _, live := range o.run.live() {
		if live.pipeline == nil {
			continue
		}
		st := live.pipeline.Snapshot()
		if down == "" {
			down = downLine(st.Sinks)
		}
		for _, s := range st.Slices {
			if s.State == "running" && s.WaitsFor == "" || strings.HasPrefix(s.WaitsFor, "sink") {
				moving++
			} else if s.State != "quarantined" {
				waiting++
				if waits == "" {
					waits = s.WaitsFor
				}
			}
			rows += s.Rows
			bytes += s.Bytes
		}
	}
	perSecond := rate.add(now, bytes)
	parts := []string{counted(rows, "record") + ", " + size(bytes), size(uint64(perSecond)) + "/s"}
	if done := o.run.done(); done != "" {
		parts = append(parts, done)
	}
	parts = append(parts, fmt.Sprintf("%d moving", moving))
	if waiting > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting (%s)", waiting, waits))
	}
	if down != "" {
		parts = append(parts, down)
	}
	if b := o.run.budgetLine(); b != "" {
		parts = append(parts, b)
	}
	return strings.Join(parts, " · ")
}

// meter is a rate over the last few seconds.
type meter struct {
	at    []time.Time
	bytes []uint64
}

func (m *meter) add(now time.Time, bytes uint64) float64 {
	m.at, m.bytes = append(m.at, now), append(m.bytes, bytes)
	for len(m.at) > 2 && now.Sub(m.at[0]) > 3*time.Second {
		m.at, m.bytes = m.at[1:], m.bytes[1:]
	}
	d := now.Sub(m.at[0]).Seconds()
	if d <= 0 || bytes < m.bytes[0] {
		return 0
	}
	return float64(bytes-m.bytes[0]) / d
}

func clip(s string, width int) string {
	r := []rune(s)
	if width > 1 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// size writes bytes for people, in units of 1024.
func size(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, exp := float64(n), -1
	for f >= unit && exp < 5 {
		f /= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTPE"[exp])
}

// grouped writes a count with commas.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// writeSummary replaces a file with the summary as JSON.
func writeSummary(path string, text []byte) error {
	if err := replaceFile(path, append(text, '\n'), 0o666); err != nil {
		return fmt.Errorf("--summary: %w", err)
	}
	return nil
}
