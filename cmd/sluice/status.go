package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

func (a *app) statusCommand() *cobra.Command {
	behind := ""
	c := &cobra.Command{
		Use:   "status [PIPELINE...]",
		Short: "Show what is covered, what is missing and what runs",
		Long: "status reads the ledger, beside a run or without one, and asks a running host what it does: what each slice waits for,\n" +
			"its last byte, its next try, and how the budget stands. It starts no plugin and asks no vendor: without `to`, the range\n" +
			"ends where the last runs' did.",
		RunE: func(c *cobra.Command, args []string) error {
			if behind != "" {
				return usageError(errors.New("--behind (an exit code for monitoring) comes with a later version; `sluice status --json` has the figures"))
			}
			return interruptible(c, func(ctx context.Context) error { return a.status(ctx, args) })
		},
	}
	c.Flags().StringVar(&behind, "behind", "", "")
	_ = c.Flags().MarkHidden("behind")
	return c
}

// pipelineStatus is a line of `status --json`.
type pipelineStatus struct {
	V        int          `json:"v"`
	TS       string       `json:"ts"`
	Event    string       `json:"event"` // "pipeline_status"
	Pipeline string       `json:"pipeline"`
	Source   string       `json:"source"`
	From     string       `json:"from,omitempty"` // of the asked range
	To       string       `json:"to,omitempty"`
	Sinks    []sinkStatus `json:"sinks"`
	LastRun  *lastRun     `json:"last_run,omitempty"`

	asked flow.Range
}

type sinkStatus struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Location    string            `json:"location,omitempty"`
	Remembers   bool              `json:"remembers"` // false: what it was given lasts for one run
	Known       bool              `json:"known"`     // the ledger has rows of it
	Partitions  []partitionStatus `json:"partitions"`
	Asked       int64             `json:"asked"` // milliseconds of log time, as those that follow
	Covered     int64             `json:"covered"`
	Missing     int64             `json:"missing"`
	Unavailable int64             `json:"unavailable"`
}

type partitionStatus struct {
	Stream      string              `json:"stream"`
	Partition   string              `json:"partition"`
	Asked       int64               `json:"asked"`
	Covered     int64               `json:"covered"`
	Missing     int64               `json:"missing"`
	Unavailable int64               `json:"unavailable"`
	Gaps        []rangeStatus       `json:"gaps,omitempty"`
	Gone        []unavailableStatus `json:"gone,omitempty"`
	Failures    []failureStatus     `json:"failures,omitempty"`
	Slices      uint64              `json:"slices"`
	Rows        uint64              `json:"rows"`
	Bytes       uint64              `json:"bytes"`
	Dead        uint64              `json:"dead"`
	LastCommit  string              `json:"last_commit,omitempty"`

	covered, gone flow.Ranges
}

type rangeStatus struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type unavailableStatus struct {
	rangeStatus
	Reason string `json:"reason"`
}

type failureStatus struct {
	rangeStatus
	Slice       string `json:"slice"`
	Quarantined bool   `json:"quarantined"`
	Attempts    uint32 `json:"attempts"`
	Kind        string `json:"kind"`
	Error       string `json:"error"`
	Hint        string `json:"hint,omitempty"`
}

type lastRun struct {
	Start   string          `json:"start"`
	End     string          `json:"end"`
	Exit    int             `json:"exit"`
	Summary json.RawMessage `json:"summary"`
}

// hostStatus is the last line of `status --json`.
type hostStatus struct {
	V       int               `json:"v"`
	TS      string            `json:"ts"`
	Event   string            `json:"event"` // "host_status"
	State   string            `json:"state"`
	Running bool              `json:"running"`
	Host    *control.Snapshot `json:"host,omitempty"`
}

func rangeOf(r flow.Range) rangeStatus {
	return rangeStatus{r.From.Format(flow.Layout), r.To.Format(flow.Layout)}
}

func (a *app) status(ctx context.Context, names []string) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	chosen, err := choosePipelines(c, names)
	if err != nil {
		return usageError(err)
	}
	snapshot, err := control.Query(ctx, c.State)
	running := err == nil
	if err != nil && !errors.Is(err, control.ErrNotRunning) {
		a.log.logger.Warn("the running host doesn't answer", "error", err.Error())
	}
	l, err := ledger.OpenReadOnly(ctx, c.State)
	if errors.Is(err, ledger.ErrNoLedger) && !a.json && !running {
		return a.printText(fmt.Sprintf("nothing has run yet: there is no ledger in %s\n`sluice run` makes one\n", c.State))
	}
	if err != nil && !errors.Is(err, ledger.ErrNoLedger) {
		return &exitError{codeOf(err), err}
	}
	if l != nil {
		defer l.Close()
		for _, p := range chosen {
			s, err := readStatus(ctx, l, c, p, snapshot)
			if err != nil {
				return failedError(fmt.Errorf("%s: %w", p.Name, err))
			}
			a.printStatus(s, p.DeadLetter.Path)
		}
	}
	a.printHost(c, running, snapshot)
	return nil
}

// readStatus reads what the ledger knows of a pipeline's sinks; live is what runs, if anything does.
func readStatus(ctx context.Context, l *ledger.Ledger, c *config.Config, p *config.Pipeline, live control.Snapshot) (pipelineStatus, error) {
	out := pipelineStatus{V: 1, TS: stamp(time.Now()), Event: "pipeline_status", Pipeline: p.Name, Source: p.Source.Type}
	runs, err := l.LastRuns(ctx, p.Name, recentRuns)
	if err != nil {
		return out, err
	}
	if len(runs) > 0 {
		out.LastRun = &lastRun{stamp(runs[0].Start), stamp(runs[0].End), runs[0].Exit, runs[0].Summary}
	}
	summaries := summariesOf(runs)
	now := time.Now()
	out.asked = askedOf(p, summaries, now)
	ask := asker{streams: streamsOf(p, summaries, live), asked: out.asked, horizon: horizonOf(p, out.asked, now)}
	if !out.asked.Empty() {
		out.From, out.To = out.asked.From.Format(flow.Layout), out.asked.To.Format(flow.Layout)
	}
	for _, s := range p.Sinks {
		one := sinkStatus{Name: s.Name, Type: s.Type, Partitions: []partitionStatus{}}
		info, known, err := knownSink(ctx, l, c, p, s)
		if err != nil {
			return out, err
		}
		d, err := sinkDefinition(s.Type)
		if err != nil {
			return out, err
		}
		one.Location, one.Remembers = info.Location, !d.OneRun
		if known {
			if err := one.read(ctx, l, info.Identity, ask); err != nil {
				return out, err
			}
		}
		one.Known = len(one.Partitions) > 0
		out.Sinks = append(out.Sinks, one)
	}
	return out, nil
}

// recentRuns are looked at for the end of the asked range: flags may have narrowed the last one.
const recentRuns = 10

func summariesOf(runs []ledger.Run) (out []pipelineSummary) {
	for _, r := range runs {
		var s pipelineSummary
		if json.Unmarshal(r.Summary, &s) == nil {
			out = append(out, s)
		}
	}
	return out
}

// askedOf is the asked range as far as it is known without the vendor: up to where recent runs asked, else to this
// machine's clock minus lag.
func askedOf(p *config.Pipeline, runs []pipelineSummary, now time.Time) flow.Range {
	var to time.Time
	for _, s := range runs {
		if t, err := time.Parse(flow.Layout, s.To); err == nil && t.After(to) {
			to = t
		}
	}
	if to.IsZero() {
		to = now.UTC().Add(-p.Lag).Truncate(time.Millisecond)
	}
	if p.Range.To != nil && (p.Range.To.Before(to) || p.Range.To.Before(now.Add(-p.Lag))) {
		to = *p.Range.To
	}
	r := flow.Range{From: p.Range.From, To: to}
	if p.Range.Last > 0 {
		r.From = to.Add(-p.Range.Last)
	}
	return r
}

// horizonOf is the vendor's now minus lag, as far as it is known without the vendor: where an open range ends, else this machine's.
func horizonOf(p *config.Pipeline, asked flow.Range, now time.Time) time.Time {
	horizon := now.UTC().Add(-p.Lag).Truncate(time.Millisecond)
	if isOpen := p.Range.To == nil || !asked.To.Equal(*p.Range.To); isOpen || horizon.Before(asked.To) {
		return asked.To
	}
	return horizon
}

// streamsOf says what the pipeline's source may be asked for: by its definition and, because it follows from settings that only the
// process reads, by what the process that runs or that ran last said of how long its streams settle.
func streamsOf(p *config.Pipeline, runs []pipelineSummary, live control.Snapshot) map[string]pipeline.Stream {
	out := map[string]pipeline.Stream{}
	d, err := sourceDefinition(p.Source.Type)
	if err != nil {
		return out // the config's check has refused it before
	}
	for _, s := range d.Streams {
		out[s.Name] = pipeline.Stream{Snapshot: s.Kind == plugins.Snapshot, Granularity: s.Granularity}
	}
	for name, ms := range settledBy(p.Name, runs, live) {
		if s, ok := out[name]; ok {
			s.Settle = time.Duration(ms) * time.Millisecond
			out[name] = s
		}
	}
	return out
}

func settledBy(pipeline string, runs []pipelineSummary, live control.Snapshot) map[string]int64 {
	for _, p := range live.Pipelines {
		if p.Name == pipeline && p.Settle != nil {
			return p.Settle
		}
	}
	for _, s := range runs {
		if s.Settle != nil {
			return s.Settle
		}
	}
	return nil
}

// asker knows what is asked of each stream.
type asker struct {
	streams map[string]pipeline.Stream
	asked   flow.Range
	horizon time.Time
}

func (a asker) of(stream string) flow.Ranges { return a.streams[stream].Asks(a.asked, a.horizon) }

func (s *sinkStatus) read(ctx context.Context, l *ledger.Ledger, identity string, ask asker) error {
	partitions, err := l.Partitions(ctx, identity)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		one, err := readPartition(ctx, l, identity, p, ask.of(p.Stream))
		if err != nil {
			return err
		}
		s.Asked += one.Asked
		s.Covered += one.Covered
		s.Missing += one.Missing
		s.Unavailable += one.Unavailable
		s.Partitions = append(s.Partitions, one)
	}
	return nil
}

func readPartition(ctx context.Context, l *ledger.Ledger, identity string, p flow.Partition, want flow.Ranges) (partitionStatus, error) {
	out := partitionStatus{Stream: p.Stream, Partition: p.Key}
	covered, err := l.Coverage(ctx, identity, p)
	if err != nil {
		return out, err
	}
	gone, err := l.Unavailable(ctx, p)
	if err != nil {
		return out, err
	}
	out.covered = covered.Intersect(want)
	for _, g := range gone {
		if met := flow.NewRanges(g.Range).Intersect(want); len(met) > 0 {
			out.gone = out.gone.Union(met)
			out.Gone = append(out.Gone, unavailableStatus{rangeOf(g.Range), g.Reason})
		}
	}
	out.gone = out.gone.Minus(covered)
	missing := want.Minus(covered).Minus(out.gone)
	for _, r := range missing {
		out.Gaps = append(out.Gaps, rangeOf(r))
	}
	out.Asked, out.Covered = want.Duration().Milliseconds(), out.covered.Duration().Milliseconds()
	out.Missing, out.Unavailable = missing.Duration().Milliseconds(), out.gone.Duration().Milliseconds()
	cuts, err := l.Cuts(ctx, identity, p)
	if err != nil {
		return out, err
	}
	for _, c := range cuts {
		if c.State == ledger.Failed || c.State == ledger.Quarantined {
			out.Failures = append(out.Failures, failureStatus{
				rangeOf(c.Range()), c.ID.String(), c.State == ledger.Quarantined, c.Attempts, c.Kind.String(), c.Error, c.Hint,
			})
		}
	}
	totals, err := l.Totals(ctx, identity, p)
	if err != nil {
		return out, err
	}
	out.Slices, out.Rows, out.Bytes, out.Dead = totals.Slices, totals.Rows, totals.Bytes, totals.DeadNow()
	if !totals.Last.IsZero() {
		out.LastCommit = stamp(totals.Last)
	}
	return out, nil
}
