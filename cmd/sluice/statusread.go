package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// recentRuns are looked at for what a run alone knows: the vendor's clock, how long streams settle.
const recentRuns = 10

// reading is what is known of a pipeline when its sinks are read. It serves `status` and what a run writes for monitoring.
type reading struct {
	ledger   *ledger.Ledger // nil: there is none
	pipeline *config.Pipeline
	streams  map[string]pipeline.Stream
	asked    flow.Range
	horizon  time.Time
	known    []ledger.AskedPartition // that the last start asked for
}

// readStatus reads what the ledger knows of a pipeline's sinks; live is what runs, if anything does. l is nil if there is no ledger.
func readStatus(
	ctx context.Context, l *ledger.Ledger, c *config.Config, p *config.Pipeline, live control.Snapshot, now time.Time,
) (pipelineStatus, error) {
	out := pipelineStatus{
		V: 1, TS: stamp(time.Now()), Event: "pipeline_status", Pipeline: p.Name, Source: p.Source.Type, Sinks: []sinkStatus{},
		Lag: p.Lag.Seconds(),
	}
	r := reading{ledger: l, pipeline: p}
	var summaries []pipelineSummary
	if l != nil {
		runs, err := l.LastRuns(ctx, p.Name, recentRuns)
		if err != nil {
			return out, err
		}
		if len(runs) > 0 {
			out.LastRun = &lastRun{stamp(runs[0].Start), stamp(runs[0].End), runs[0].Exit, runs[0].Summary}
		}
		summaries = summariesOf(runs)
		if r.known, err = l.Asked(ctx, p.Name); err != nil {
			return out, err
		}
		r.known = slices.DeleteFunc(r.known, func(k ledger.AskedPartition) bool { return !slices.Contains(p.Streams, k.Stream) })
	}
	for _, one := range live.Pipelines {
		out.running = out.running || one.Name == p.Name && one.State != "stopped"
	}
	vendorNow := out.setClock(p, summaries, live, now)
	r.horizon = vendorNow.Add(-p.Lag).Truncate(time.Millisecond)
	r.asked, out.open = askedOf(p, r.horizon)
	r.streams = streamsOf(p, summaries, live, r.known)
	out.asked, out.horizon, out.streams, out.last = r.asked, r.horizon, r.streams, p.Range.Last
	if !r.asked.Empty() {
		out.From, out.To = r.asked.From.Format(flow.Layout), r.asked.To.Format(flow.Layout)
	}
	out.Started = len(r.known) > 0
	var err error
	for _, s := range p.Sinks {
		one, err := r.sink(ctx, c, s)
		if err != nil {
			return out, err
		}
		out.Started = out.Started || one.Known
		out.Sinks = append(out.Sinks, one)
	}
	out.sumBehind(&r)
	out.Late, err = r.late(ctx, out.Sinks)
	return out, err
}

// Whose clock a status goes by.
const (
	clockVendor    = "vendor"          // the running host tells it
	clockCorrected = "vendor_last_run" // this machine's, set right by how far the vendor's was from it in the last run
	clockHost      = "host"            // this machine's
)

// setClock says what time it is for the vendor, as far as that is known without asking.
func (s *pipelineStatus) setClock(p *config.Pipeline, runs []pipelineSummary, live control.Snapshot, now time.Time) time.Time {
	vendor := now.UTC()
	s.Clock = clockHost
	if told, ok := vendorClockOf(p.Name, live); ok {
		vendor, s.Clock = told, clockVendor
	} else if p.Clock != config.ClockHost {
		for _, run := range runs {
			if run.VendorAhead != nil {
				s.offset = time.Duration(*run.VendorAhead * float64(time.Second))
				vendor, s.Clock = vendor.Add(s.offset), clockCorrected
				break
			}
		}
	}
	s.Now = stamp(vendor)
	return vendor
}

func vendorClockOf(pipeline string, live control.Snapshot) (time.Time, bool) {
	for _, p := range live.Pipelines {
		if p.Name == pipeline && !p.VendorNow.IsZero() {
			return p.VendorNow.UTC(), true
		}
	}
	return time.Time{}, false
}

func summariesOf(runs []ledger.Run) (out []pipelineSummary) {
	for _, r := range runs {
		var s pipelineSummary
		if json.Unmarshal(r.Summary, &s) == nil {
			out = append(out, s)
		}
	}
	return out
}

// askedOf is the asked range up to the horizon, and whether it goes on with it. What flags narrowed runs to doesn't matter.
func askedOf(p *config.Pipeline, horizon time.Time) (r flow.Range, open bool) {
	r = flow.Range{From: p.Range.From, To: horizon}
	open = true
	if p.Range.To != nil && !p.Range.To.After(horizon) {
		r.To, open = *p.Range.To, false
	}
	if p.Range.Last > 0 {
		r.From = r.To.Add(-p.Range.Last)
	}
	return r, open
}

// streamsOf says what the pipeline's source may be asked for: by its definition and, because it follows from settings that only the
// process reads, by what the process that runs or that was started last said of how long its streams settle.
func streamsOf(p *config.Pipeline, runs []pipelineSummary, live control.Snapshot, known []ledger.AskedPartition) map[string]pipeline.Stream {
	out := map[string]pipeline.Stream{}
	d, err := sourceDefinition(p.Source.Type)
	if err != nil {
		return out // the config's check has refused it before
	}
	for _, s := range d.Streams {
		out[s.Name] = pipeline.Stream{Snapshot: s.Kind == plugins.Snapshot, Granularity: s.Granularity}
	}
	for name, settle := range settledBy(p, d, runs, live, known) {
		if s, ok := out[name]; ok {
			s.Settle = settle
			out[name] = s
		}
	}
	return out
}

func settledBy(
	p *config.Pipeline, d plugins.Definition, runs []pipelineSummary, live control.Snapshot, known []ledger.AskedPartition,
) map[string]time.Duration {
	inTime := func(ms map[string]int64) map[string]time.Duration {
		out := map[string]time.Duration{}
		for name, n := range ms {
			out[name] = time.Duration(n) * time.Millisecond
		}
		return out
	}
	for _, l := range live.Pipelines {
		if l.Name == p.Name && l.Settle != nil {
			return inTime(l.Settle)
		}
	}
	if len(known) > 0 {
		out := map[string]time.Duration{}
		for _, k := range known {
			out[k.Stream] = k.Settle
		}
		return out
	}
	for _, s := range runs {
		if s.Settle != nil {
			return inTime(s.Settle)
		}
	}
	return settleOfFile(p, d)
}

// settleOfFile is what the settings in the file say, or their default, of a source that was never started: what settles are figures
// of whole hours or days, and a setting of that name says how long.
func settleOfFile(p *config.Pipeline, d plugins.Definition) map[string]time.Duration {
	var own struct {
		Settle string `json:"settle"`
	}
	var schema struct {
		Properties struct {
			Settle struct {
				Default string `json:"default"`
			} `json:"settle"`
		} `json:"properties"`
	}
	if json.Unmarshal(d.Config, &schema) != nil || schema.Properties.Settle.Default == "" {
		return nil
	}
	_ = json.Unmarshal(p.Source.Config.JSON, &own) // of any shape; else the default
	settle, err := config.ParseDuration(own.Settle)
	if err != nil { // left out, or a placeholder
		settle, _ = config.ParseDuration(schema.Properties.Settle.Default)
	}
	out := map[string]time.Duration{}
	for _, s := range d.Streams {
		if s.Granularity > 0 && s.Kind == plugins.Time {
			out[s.Name] = time.Duration(settle)
		}
	}
	return out
}

// sink reads what the ledger knows of one sink.
func (r *reading) sink(ctx context.Context, c *config.Config, s config.Sink) (sinkStatus, error) {
	one := sinkStatus{Name: s.Name, Type: s.Type, Partitions: []partitionStatus{}, streams: s.Streams}
	d, err := sinkDefinition(s.Type)
	if err != nil {
		return one, err
	}
	one.Remembers = !d.OneRun
	var tallies map[flow.Partition]ledger.Tally
	if r.ledger != nil {
		info, ok, err := knownSink(ctx, r.ledger, c, r.pipeline, s)
		if err != nil {
			return one, err
		}
		one.Location = info.Location
		if ok {
			one.identity = info.Identity
		}
		if tallies, err = r.ledger.Tallies(ctx, one.identity); err != nil {
			return one, err
		}
	}
	recorded, err := r.recorded(ctx, one.identity)
	if err != nil {
		return one, err
	}
	one.Known = len(recorded) > 0
	for _, p := range r.partitions(s, one.Remembers, recorded) {
		if err := r.fill(ctx, &p, one.identity, tallies[p.key]); err != nil {
			return one, err
		}
		one.Asked += p.status.Asked
		one.Covered += p.status.Covered
		one.Missing += p.status.Missing
		one.Unavailable += p.status.Unavailable
		one.Partitions = append(one.Partitions, p.status)
	}
	return one, nil
}

func (r *reading) recorded(ctx context.Context, identity string) ([]flow.Partition, error) {
	if r.ledger == nil || identity == "" {
		return nil, nil
	}
	return r.ledger.Partitions(ctx, identity)
}

// partitionReading is a partition that is being read.
type partitionReading struct {
	key    flow.Partition
	status partitionStatus
}

// partitions are those that the last start asked for and the sink takes, with those that the sink has rows of. Without a start that is
// recorded, all that the sink has count as asked.
func (r *reading) partitions(s config.Sink, remembers bool, recorded []flow.Partition) []partitionReading {
	var out []partitionReading
	at := map[flow.Partition]int{}
	add := func(p flow.Partition, name string, dropped bool) {
		if _, ok := at[p]; !ok {
			at[p] = len(out)
			out = append(out, partitionReading{p, partitionStatus{Stream: p.Stream, Partition: p.Key, Name: name, Dropped: dropped}})
		}
	}
	started := map[string]bool{}
	for _, k := range r.known {
		started[k.Stream] = true
		if remembers && s.Takes(k.Stream) {
			add(k.Partition, k.Name, false)
		}
	}
	for _, p := range recorded {
		add(p, "", started[p.Stream] || !s.Takes(p.Stream))
	}
	slices.SortStableFunc(out, func(a, b partitionReading) int {
		if a.status.Dropped != b.status.Dropped {
			if a.status.Dropped {
				return 1
			}
			return -1
		}
		return compareStrings(a.key.Stream, b.key.Stream, a.key.Key, b.key.Key)
	})
	return out
}

// fill reads the account of a partition.
func (r *reading) fill(ctx context.Context, p *partitionReading, identity string, tally ledger.Tally) error {
	out := &p.status
	stream := r.streams[p.key.Stream]
	if !out.Dropped {
		out.want = stream.Asks(r.asked, r.horizon)
	}
	var covered flow.Ranges
	if r.ledger != nil {
		var err error
		if covered, err = r.ledger.Coverage(ctx, identity, p.key); err != nil {
			return err
		}
		gone, err := r.ledger.Unavailable(ctx, p.key)
		if err != nil {
			return err
		}
		for _, g := range gone {
			if met := flow.NewRanges(g.Range).Intersect(out.want); len(met) > 0 {
				out.gone = out.gone.Union(met)
				out.Gone = append(out.Gone, unavailableStatus{rangeOf(g.Range), g.Reason})
			}
		}
	}
	out.covered, out.gone = covered.Intersect(out.want), out.gone.Minus(covered)
	missing := out.want.Minus(covered).Minus(out.gone)
	out.Gaps, out.Committed = rangesOf(missing), rangesOf(out.covered)
	out.Asked, out.Covered = out.want.Duration().Milliseconds(), out.covered.Duration().Milliseconds()
	out.Missing, out.Unavailable = missing.Duration().Milliseconds(), out.gone.Duration().Milliseconds()
	r.judge(out, stream, missing, covered.Union(out.gone))
	if err := r.fillSlices(ctx, p, identity, tally); err != nil {
		return err
	}
	out.Slices, out.Rows, out.Bytes, out.Dead = tally.Slices, tally.Rows, tally.Bytes, tally.DeadNow()
	out.deadTotal, out.lastCommit = tally.Dead, tally.Last
	if !tally.Last.IsZero() {
		out.LastCommit = stamp(tally.Last)
	}
	return nil
}

// fillSlices reads the slices that aren't committed, and which ranges were cut.
func (r *reading) fillSlices(ctx context.Context, p *partitionReading, identity string, tally ledger.Tally) error {
	out := &p.status
	for state, n := range tally.States {
		if out.States == nil {
			out.States = map[string]uint64{}
		}
		out.States[string(state)] = n
	}
	if tally.States[ledger.Split] > 0 {
		split, err := r.ledger.SplitRanges(ctx, identity, p.key)
		if err != nil {
			return err
		}
		out.Split = rangesOf(split)
	}
	if tally.States[ledger.Planned]+tally.States[ledger.Reading]+tally.States[ledger.Failed]+tally.States[ledger.Quarantined] == 0 {
		return nil
	}
	cuts, err := r.ledger.Cuts(ctx, identity, p.key)
	if err != nil {
		return err
	}
	for _, c := range cuts {
		if c.State == ledger.Failed || c.State == ledger.Quarantined {
			out.failed = append(out.failed, c.Range())
			out.Failures = append(out.Failures, failureStatus{
				rangeOf(c.Range()), c.ID.String(), c.State == ledger.Quarantined, c.Attempts, c.Kind.String(), c.Error, c.Hint,
			})
			continue
		}
		out.planned = append(out.planned, c.Range())
		out.Planned = append(out.Planned, plannedStatus{rangeOf(c.Range()), c.ID.String(), string(c.State), c.Attempts})
	}
	out.failed, out.planned = flow.NewRanges(out.failed...), flow.NewRanges(out.planned...)
	return nil
}

func rangesOf(all flow.Ranges) []rangeStatus {
	var out []rangeStatus
	for _, r := range all {
		out = append(out, rangeOf(r))
	}
	return out
}

// compareStrings orders by the first pair that differs.
func compareStrings(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		switch {
		case pairs[i] < pairs[i+1]:
			return -1
		case pairs[i] > pairs[i+1]:
			return 1
		}
	}
	return 0
}
