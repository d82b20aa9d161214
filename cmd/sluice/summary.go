package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// runSummary is how every run ends, as a JSON line and as --summary FILE. Asked, Covered, Missing and Unavailable are
// milliseconds of log time, summed over partitions; what is covered lacks in no sink.
type runSummary struct {
	V           int               `json:"v"`
	TS          string            `json:"ts"`
	Event       string            `json:"event"` // "summary"
	Exit        int               `json:"exit"`
	Started     string            `json:"started"`
	Seconds     float64           `json:"seconds"`
	Asked       int64             `json:"asked"`
	Covered     int64             `json:"covered"`
	Missing     int64             `json:"missing"`
	Unavailable int64             `json:"unavailable"`
	Slices      int               `json:"slices"`
	Rows        uint64            `json:"rows"`
	Bytes       uint64            `json:"bytes"`
	Requests    uint64            `json:"requests"`
	Dead        uint64            `json:"dead"`
	Late        *lateSummary      `json:"late,omitempty"`
	Pipelines   []pipelineSummary `json:"pipelines"`
	Error       string            `json:"error,omitempty"` // why none of its pipelines began
	Hint        string            `json:"hint,omitempty"`
}

type pipelineSummary struct {
	exit        int               // of this pipeline alone
	Name        string            `json:"name"`
	From        string            `json:"from,omitempty"`
	To          string            `json:"to,omitempty"`
	Asked       int64             `json:"asked"`
	Covered     int64             `json:"covered"`
	Missing     int64             `json:"missing"`
	Unavailable int64             `json:"unavailable"`
	Slices      int               `json:"slices"`
	Rows        uint64            `json:"rows"`
	Bytes       uint64            `json:"bytes"`
	Requests    uint64            `json:"requests"`
	Dead        uint64            `json:"dead"`
	Late        *lateSummary      `json:"late,omitempty"`
	VendorAhead *float64          `json:"vendor_ahead_seconds,omitempty"` // of this machine's clock when the run ended; left out if it was never asked
	Follow      int64             `json:"follow,omitempty"`               // how often new time was asked for, in ms; left out: it didn't follow
	Came        int64             `json:"came,omitempty"`                 // of missing: what came while it followed, for the next run
	Settle      map[string]int64  `json:"settle,omitzero"`                // by stream: how much longer than the lag its ranges are left alone, in ms
	Counters    map[string]uint64 `json:"counters,omitempty"`
	Budgets     []spaceUse        `json:"budgets,omitempty"` // what was used of each namespace of the key
	Pace        *paceSummary      `json:"pace,omitempty"`
	Forecast    *heldForecast     `json:"forecast,omitempty"` // beside what the run took
	Error       string            `json:"error,omitempty"`
	Hint        string            `json:"hint,omitempty"`
	Gaps        []gapSummary      `json:"gaps,omitempty"`
	Faults      []faultSummary    `json:"faults,omitempty"`
	Sinks       []sinkSummary     `json:"sinks,omitempty"`

	deadPath  string          // the folder of its dead letters
	letters   string          // what to do about them; empty without any
	streams   map[string]bool // that were asked for
	snapshots bool            // of every stream: a millisecond of log time is one
	fileless  bool            // as assembled
}

// paceSummary is how fast the slices went that were read from the vendor: summed over those that opened without waiting for the budget
// until their answers began, and over all from there to the commit.
type paceSummary struct {
	Parallel       int     `json:"parallel"`
	Opened         int     `json:"opened"`
	OpeningSeconds float64 `json:"opening_seconds"`
	ReadingSeconds float64 `json:"reading_seconds"`
	Bytes          uint64  `json:"bytes"`
}

// sinkSummary is how a sink stood at the end; Missing is the log time that it lacks.
type sinkSummary struct {
	Name    string `json:"name"`
	State   string `json:"state"` // "up", "opening", "down", "given up"
	Since   string `json:"since,omitempty"`
	Missing int64  `json:"missing"`
	Late    int    `json:"late,omitempty"` // committed ranges that were due to be read again for it, and weren't
	Error   string `json:"error,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// lacks says what a sink that is down wasn't given.
func (k *sinkSummary) lacks() string {
	windows := counted(uint64(k.Late), "window") + " weren't read again for it, which the next run does"
	switch {
	case k.Late == 0:
		return fmt.Sprintf("lacks %s, which the next run sends", span(k.Missing))
	case k.Missing == 0:
		return windows
	}
	return fmt.Sprintf("lacks %s, which the next run sends, and %s", span(k.Missing), windows)
}

type gapSummary struct {
	Stream    string `json:"stream"`
	Partition string `json:"partition"`
	From      string `json:"from"`
	To        string `json:"to"`
}

type faultSummary struct {
	gapSummary
	Slice       string `json:"slice"`
	Kind        string `json:"kind"`
	Quarantined bool   `json:"quarantined"`
	Error       string `json:"error"`
	Hint        string `json:"hint,omitempty"`
}

func gapOf(p flow.Partition, r flow.Range) gapSummary {
	return gapSummary{p.Stream, p.Key, r.From.Format(flow.Layout), r.To.Format(flow.Layout)}
}

// total sums up a run that has ended and decides its exit code.
func (r *running) total(stop *stopper) runSummary {
	now := time.Now().UTC()
	t := runSummary{V: 1, TS: stamp(now), Event: "summary", Started: stamp(r.started), Seconds: now.Sub(r.started).Seconds()}
	for _, live := range r.live() {
		p := live.summarise()
		p.exit = live.exit(stop)
		t.Exit = worse(t.Exit, p.exit)
		t.add(p)
	}
	return t
}

// endedEarly gives a run that ended before any of its pipelines began the summary that every run has: a reader of the file would take
// an earlier run's for this one's. path may be empty. It returns the error.
func (a *app) endedEarly(started time.Time, path string, err error) error {
	now := time.Now().UTC()
	t := runSummary{
		V: 1, TS: stamp(now), Event: "summary", Exit: exitUsage, Started: stamp(started), Seconds: now.Sub(started).Seconds(),
		Pipelines: []pipelineSummary{}, Error: err.Error(), Hint: fault.HintOf(err),
	}
	var code *exitError
	if errors.As(err, &code) {
		t.Exit = code.code
	}
	if a.json {
		a.printJSON(t)
	}
	if path == "" {
		return err
	}
	text, failed := json.Marshal(t)
	if failed == nil {
		failed = writeSummary(path, []byte(a.log.redactor.Redact(string(text))))
	}
	if failed != nil {
		a.log.logger.Error("the summary isn't in its file", "error", failed.Error())
	}
	return err
}

func (t *runSummary) add(p pipelineSummary) {
	t.Asked += p.Asked
	t.Covered += p.Covered
	t.Missing += p.Missing
	t.Unavailable += p.Unavailable
	t.Slices += p.Slices
	t.Rows += p.Rows
	t.Bytes += p.Bytes
	t.Requests += p.Requests
	t.Dead += p.Dead
	t.Late = t.Late.plus(p.Late)
	t.Pipelines = append(t.Pipelines, p)
}

// exit is one pipeline's exit code.
func (l *liveRun) exit(stop *stopper) int {
	code := exitOK
	if l.err != nil && fault.KindOf(l.err) != fault.Canceled {
		code = worse(code, codeOf(l.err))
	}
	if l.summary != nil && l.summary.Failed() {
		code = worse(code, exitFailed)
	}
	if l.summary == nil || !l.summary.Complete() {
		switch {
		case stop.interrupted.Load():
			code = worse(code, exitInterrupted)
		case stop.stopped.Load(), l.err != nil && fault.KindOf(l.err) == fault.Canceled:
			code = worse(code, exitStopped)
		case code == exitOK:
			code = exitFailed // nothing failed and something is missing: that must not pass for success
		}
	}
	if stop.interrupted.Load() {
		code = worse(code, exitInterrupted)
	}
	return code
}

func (l *liveRun) summarise() pipelineSummary {
	p := pipelineSummary{Name: l.name}
	if l.err != nil {
		p.Error, p.Hint = l.err.Error(), fault.HintOf(l.err)
	}
	if l.assembled != nil {
		p.Requests = l.assembled.requests.granted.Load()
		p.Settle = settleOf(l.assembled.run.Streams)
		p.Budgets = l.assembled.requests.used()
		p.fileless = l.assembled.fileless
		p.streams = map[string]bool{}
		for _, part := range l.assembled.run.Partitions {
			p.streams[part.Stream] = true
		}
	}
	if l.pipeline != nil && l.assembled != nil && !l.assembled.run.HostClock {
		if vendor := l.pipeline.VendorNow(); !vendor.IsZero() {
			ahead := time.Until(vendor).Seconds()
			p.VendorAhead = &ahead
		}
	}
	s := l.summary
	if s == nil {
		return p
	}
	p.snapshots = len(s.Partitions) > 0
	for _, part := range s.Partitions {
		p.snapshots = p.snapshots && l.assembled != nil && l.assembled.run.Streams[part.Stream].Snapshot
	}
	if s.AllNotFound() && p.Hint == "" {
		p.Hint = "the vendor knows none of the logs: a wrong key or region answers like that too"
	}
	p.From, p.To = s.Range.From.Format(flow.Layout), s.Range.To.Format(flow.Layout)
	p.Asked, p.Covered = s.Asked.Milliseconds(), s.Covered.Milliseconds()
	p.Missing, p.Unavailable = s.Missing.Milliseconds(), s.Unavailable.Milliseconds()
	p.Follow, p.Came = s.Follow.Milliseconds(), (s.Missing - s.Due).Milliseconds()
	p.Slices, p.Rows, p.Bytes, p.Dead, p.Counters = s.Slices, s.Rows, s.Bytes, s.DeadLetters, s.Counters
	if p.Dead > 0 && l.assembled != nil {
		p.deadPath, p.letters = l.assembled.config.DeadLetter.Path, l.assembled.aboutDead()
	}
	if s.Slices > 0 && l.assembled != nil {
		p.Pace = &paceSummary{
			l.assembled.run.Parallel, s.Pace.Opened, s.Pace.Opening.Seconds(), s.Pace.Reading.Seconds(), s.Pace.Bytes,
		}
	}
	p.Forecast = l.held(&p)
	p.Late = lateOf(s.Late)
	for _, part := range s.Partitions {
		for _, g := range part.Missing {
			p.Gaps = append(p.Gaps, gapOf(part.Partition, g))
		}
	}
	for _, k := range s.Sinks {
		one := sinkSummary{Name: k.Name, State: k.State, Missing: k.Left.Milliseconds(), Late: k.Unchecked, Error: k.Error, Hint: k.Hint}
		if !k.Since.IsZero() {
			one.Since = stamp(k.Since)
		}
		p.Sinks = append(p.Sinks, one)
	}
	for _, f := range s.Faults {
		p.Faults = append(p.Faults, faultSummary{
			gapOf(f.Slice.Partition, f.Slice.Range()), f.Slice.ID.String(), f.Kind.String(), f.Quarantined, f.Message, f.Hint,
		})
	}
	return p
}

// settleOf returns how long the streams settle that do, in milliseconds: what the process says by its settings. It isn't nil.
func settleOf(streams map[string]pipeline.Stream) map[string]int64 {
	out := map[string]int64{}
	for name, s := range streams {
		if s.Settle > 0 {
			out[name] = s.Settle.Milliseconds()
		}
	}
	return out
}

// report keeps the summary in the ledger, writes it to the file if one was asked for, and prints it.
func (r *running) report(t runSummary, path string) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	text = []byte(r.app.log.redactor.Redact(string(text)))
	for _, p := range t.Pipelines {
		one, err := json.Marshal(p)
		if err != nil {
			return err
		}
		err = r.host.recordRun(ledger.Run{
			Pipeline: p.Name, Start: r.started, End: time.Now().UTC(), Exit: p.exit, Summary: json.RawMessage(r.app.log.redactor.Redact(string(one))),
		})
		if err != nil {
			r.app.log.logger.Warn("the run isn't in the ledger's history", "error", err.Error())
		}
	}
	var failed error
	if path != "" { // before what is printed, which may hang
		failed = writeSummary(path, text)
	}
	if r.app.json {
		r.app.printJSON(t)
	}
	switch {
	case r.app.quiet:
	case r.app.logFormat == jsonLogs:
		r.app.log.logger.Info("the run has ended", "summary", json.RawMessage(text))
	default:
		t.print(r.app.log.out, &r.app.log)
	}
	return failed
}

// print writes the summary for people.
func (t runSummary) print(w io.Writer, l *logging) {
	var b strings.Builder
	for _, p := range t.Pipelines {
		fmt.Fprintf(&b, "%s: ", p.Name)
		switch {
		case p.Error != "":
			fmt.Fprintf(&b, "failed: %s\n", p.Error)
		case p.Slices == 0 && p.Missing == 0 && p.Asked == 0:
			b.WriteString("nothing to do: the range is not closed yet" + p.settling() + "\n")
		case p.Slices == 0 && p.Missing == 0:
			fmt.Fprintf(&b, "nothing to do: %s to %s is covered\n", p.From, p.To)
		default:
			fmt.Fprintf(&b, "%s, %s in %s, %s\n", counted(p.Rows, "record"), size(p.Bytes), counted(uint64(p.Slices), "slice"), counted(p.Requests, "request"))
		}
		if p.Hint != "" {
			fmt.Fprintf(&b, "  %s\n", p.Hint)
		}
		if p.Asked > 0 {
			fmt.Fprintf(&b, "  asked %s, covered %s", asked(p.Asked, p.snapshots), covered(p.Covered, p.snapshots))
			if p.Missing > 0 {
				fmt.Fprintf(&b, ", missing %s", covered(p.Missing, p.snapshots))
				if p.Came > 0 {
					fmt.Fprintf(&b, " (%s came while it followed)", covered(p.Came, p.snapshots))
				}
			}
			if p.Unavailable > 0 {
				fmt.Fprintf(&b, ", unavailable %s", covered(p.Unavailable, p.snapshots))
			}
			fmt.Fprintf(&b, " (log time, %s to %s)\n", p.From, p.To)
		}
		if text, hint := p.clocksDiffer(t.TS); text != "" {
			fmt.Fprintf(&b, "  %s\n    %s\n", text, hint)
		}
		if p.Forecast != nil && p.Forecast.Known {
			fmt.Fprintf(&b, "  %s\n", p.Forecast.text())
		}
		if p.Late != nil {
			fmt.Fprintf(&b, "  %s\n", p.Late.text())
		}
		if p.Dead > 0 {
			fmt.Fprintf(&b, "  %s in %s\n    %s\n", counted(p.Dead, "dead letter"), p.deadPath, p.letters)
		}
		names := make([]string, 0, len(p.Counters))
		for n := range p.Counters {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			fmt.Fprintf(&b, "  %s: %d\n", strings.ReplaceAll(n, "_", " "), p.Counters[n])
		}
		for _, k := range p.Sinks {
			if k.State == pipeline.SinkUp || k.Missing == 0 && k.Late == 0 {
				continue
			}
			fmt.Fprintf(&b, "  sink %s: %s", k.Name, k.State)
			if k.Since != "" {
				fmt.Fprintf(&b, " since %s", k.Since)
			}
			fmt.Fprintf(&b, ", %s: %s\n", k.lacks(), k.Error)
			if k.Hint != "" && !strings.Contains(k.Error, k.Hint) {
				fmt.Fprintf(&b, "    %s\n", k.Hint)
			}
		}
		said := p.Error
		for n, f := range p.Faults {
			if n == 5 {
				fmt.Fprintf(&b, "  and %d more: `sluice status`\n", len(p.Faults)-n)
				break
			}
			fmt.Fprintf(&b, "  %s [%s, %s): ", strings.TrimSuffix(f.Stream+"/"+f.Partition, "/"), f.From, f.To)
			if f.Error == said {
				b.WriteString("the same\n")
				continue
			}
			said = f.Error
			b.WriteString(f.Error + "\n")
			if f.Hint != "" {
				fmt.Fprintf(&b, "    %s\n", f.Hint)
			}
		}
	}
	_, _ = io.WriteString(w, l.redactor.Redact(b.String()))
}

// clocksDiffer is the function for the end of the run, which was at ended.
func (p pipelineSummary) clocksDiffer(ended string) (text, hint string) {
	at, err := time.Parse(time.RFC3339, ended)
	if p.VendorAhead == nil || err != nil {
		return "", ""
	}
	return clocksDiffer(at, durationOf(*p.VendorAhead), p.fileless)
}

// settling says of streams that settle how long they are left alone: why a range that has passed may not be closed yet.
func (p pipelineSummary) settling() (text string) {
	for _, name := range slices.Sorted(maps.Keys(p.Settle)) {
		if p.streams[name] {
			text += fmt.Sprintf("; %s settles for %s before it is read", name, shortDuration(time.Duration(p.Settle[name])*time.Millisecond))
		}
	}
	return text
}

// asked writes how much was asked for: log time, or snapshots.
func asked(n int64, snapshots bool) string {
	if snapshots {
		return counted(uint64(n), "snapshot")
	}
	return span(n)
}

// covered is asked without the noun, which stands before it.
func covered(n int64, snapshots bool) string {
	if snapshots {
		return grouped(uint64(n))
	}
	return span(n)
}

// counted writes a count with its noun.
func counted(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}

// span writes milliseconds of log time for people.
func span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if day := 24 * time.Hour; d >= day {
		if rest := (d % day).Round(time.Second); rest > 0 {
			return fmt.Sprintf("%dd%s", d/day, rest)
		}
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
