package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/metrics"
	"github.com/sluice-io/sluice/host/pipeline"
)

// metricsEvery is how often a run writes its metrics; at least metricsRest times what writing them takes lies between.
const (
	metricsEvery = 15 * time.Second
	metricsRest  = 20
)

// metricsWritable refuses a path before anything is done that it couldn't tell of.
func metricsWritable(path string) error {
	if err := metrics.Writable(path); err != nil {
		return usageError(fmt.Errorf("--metrics-file: %w", err))
	}
	return nil
}

// counts is what a pipeline's run has committed so far.
type counts struct{ slices, rows, bytes atomic.Uint64 }

func (c *counts) observe(next func(pipeline.Event)) func(pipeline.Event) {
	return func(e pipeline.Event) {
		if e.Kind == pipeline.Committed {
			c.slices.Add(1)
			c.rows.Add(e.Sum.Rows)
			c.bytes.Add(e.Sum.Bytes)
		}
		next(e)
	}
}

// metricsWriter writes a run's metrics while it goes on. A nil one does nothing.
type metricsWriter struct {
	run    *running
	path   string
	config *config.Config
	chosen []*config.Pipeline
	stop   chan struct{}
	done   sync.WaitGroup
	once   sync.Once
	said   string // the last error, told once
}

// startMetrics begins to write metrics to a file, at once and then again and again. An empty path: none.
func (r *running) startMetrics(path string, c *config.Config, chosen []*config.Pipeline) *metricsWriter {
	if path == "" {
		return nil
	}
	m := &metricsWriter{run: r, path: path, config: c, chosen: chosen, stop: make(chan struct{})}
	m.done.Go(m.loop)
	return m
}

func (m *metricsWriter) loop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	every := metricsEvery
	if d := m.run.app.metricsEvery; d > 0 {
		every = d
	}
	for {
		began := time.Now()
		m.write(ctx)
		timer := time.NewTimer(max(every, metricsRest*time.Since(began)))
		select {
		case <-timer.C:
		case <-m.stop:
			timer.Stop()
			return
		}
	}
}

// end writes the metrics for the last time, when the run is in the ledger.
func (m *metricsWriter) end() {
	if m == nil {
		return
	}
	m.once.Do(func() {
		close(m.stop)
		m.done.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), metricsEvery)
		defer cancel()
		m.write(ctx)
	})
}

// write never fails a run: what can't be written is told, once as long as the reason stays the same.
func (m *metricsWriter) write(ctx context.Context) {
	err := m.tryWrite(ctx)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != m.said {
		m.run.app.log.logger.Warn("the metrics file isn't up to date", "file", m.path, "error", text)
	}
	m.said = text
}

func (m *metricsWriter) tryWrite(ctx context.Context) error {
	r := m.run
	live := r.snapshot()
	set := r.app.baseMetrics()
	for _, p := range m.chosen {
		s, err := readStatus(ctx, r.host.ledger, m.config, p, live, time.Now())
		if err != nil {
			return err
		}
		if err := r.app.addMetrics(ctx, set, r.host.ledger, &s); err != nil {
			return err
		}
	}
	for _, l := range r.live() {
		if !l.ended {
			l.addRun(set, r.started)
		}
	}
	addLive(set, live)
	return metrics.WriteFile(m.path, set)
}

// writeStatusMetrics writes what `status` has read, beside a run or without one.
func (a *app) writeStatusMetrics(ctx context.Context, path string, l *ledger.Ledger, all []pipelineStatus, live control.Snapshot) error {
	set := a.baseMetrics()
	for i := range all {
		if err := a.addMetrics(ctx, set, l, &all[i]); err != nil {
			return err
		}
	}
	addLive(set, live)
	if err := metrics.WriteFile(path, set); err != nil {
		return fmt.Errorf("--metrics-file: %w", err)
	}
	return nil
}

func (a *app) baseMetrics() *metrics.Set {
	set := &metrics.Set{}
	set.Gauge("sluice_build_info", "The version that wrote this file; always 1.").Add(1, "version", buildVersion(), "go_version", runtime.Version())
	return set
}

// addMetrics adds what the ledger knows of a pipeline. l may be nil.
func (a *app) addMetrics(ctx context.Context, set *metrics.Set, l *ledger.Ledger, s *pipelineStatus) error {
	if l != nil {
		end, ok, err := l.LastSuccess(ctx, s.Pipeline)
		if err != nil {
			return err
		}
		if ok {
			set.Gauge("sluice_last_success_timestamp_seconds", "When the last run ended that ended with exit code 0.").
				Add(inUnix(end), "pipeline", s.Pipeline)
		}
	}
	s.addLastRun(set)
	named := map[string]bool{}
	for _, k := range s.Sinks {
		for n, p := range slices.Concat(k.Partitions, k.unknown) {
			labels := []string{"pipeline", s.Pipeline, "sink", k.Name, "stream", p.Stream, "partition", a.log.redactor.Redact(p.Partition)}
			if key := p.Stream + "\x00" + p.Partition; p.Name != "" && !named[key] {
				named[key] = true
				set.Gauge("sluice_partition_info", "What people call a partition; always 1.").
					Add(1, "pipeline", s.Pipeline, "stream", p.Stream, "partition", labels[7], "name", a.log.redactor.Redact(p.Name))
			}
			if k.Remembers && !p.Dropped {
				p.addCoverage(set, s, labels)
			}
			if n < len(k.Partitions) {
				p.addAccount(set, labels)
			}
		}
	}
	return nil
}

// addCoverage adds how a partition stands against what is asked.
func (p *partitionStatus) addCoverage(set *metrics.Set, s *pipelineStatus, labels []string) {
	set.Gauge("sluice_behind_seconds", "For how long the oldest missing instant could have been read already, when this file was written.").
		Add(p.Behind, labels...)
	until := p.firstMissing
	if until.IsZero() && s.open {
		until = s.horizon
	}
	if !until.IsZero() {
		set.Gauge("sluice_covered_until_timestamp_seconds", "The log time up to which all that is asked is covered or unavailable; absent once a closed range is.").
			Add(inUnix(until), labels...)
	}
	const what = "Log time of the asked range that "
	set.Gauge("sluice_covered_seconds", what+"is covered.").Add(inSeconds(p.Covered), labels...)
	set.Gauge("sluice_missing_seconds", what+"is missing.").Add(inSeconds(p.Missing), labels...)
	set.Gauge("sluice_unavailable_seconds", what+"the vendor no longer has.").Add(inSeconds(p.Unavailable), labels...)
}

// addAccount adds what a partition's slices weigh.
func (p *partitionStatus) addAccount(set *metrics.Set, labels []string) {
	set.Counter("sluice_rows_total", "Records that the sink has committed.").Add(float64(p.Rows), labels...)
	set.Counter("sluice_bytes_total", "Bytes of the records that the sink has committed, as the digest counts them.").Add(float64(p.Bytes), labels...)
	set.Counter("sluice_dead_letters_total", "Records that became dead letters.").Add(float64(p.deadTotal), labels...)
	set.Gauge("sluice_dead_letters", "Records that are dead letters still.").Add(float64(p.Dead), labels...)
	if !p.lastCommit.IsZero() {
		set.Gauge("sluice_last_commit_timestamp_seconds", "When the sink committed a slice for the last time.").Add(inUnix(p.lastCommit), labels...)
	}
	for _, state := range []ledger.State{ledger.Planned, ledger.Reading, ledger.Committed, ledger.Split, ledger.Failed, ledger.Quarantined} {
		set.Gauge("sluice_slices", "Slices by state.").Add(float64(p.States[string(state)]), append(slices.Clone(labels), "state", string(state))...)
	}
}

// addLastRun adds how the last run ended, and what it moved unless another one runs.
func (s *pipelineStatus) addLastRun(set *metrics.Set) {
	if s.LastRun == nil {
		return
	}
	set.Gauge("sluice_run_exit_code", "Exit code of the last run that has ended.").Add(float64(s.LastRun.Exit), "pipeline", s.Pipeline)
	if end, err := time.Parse(time.RFC3339, s.LastRun.End); err == nil {
		set.Gauge("sluice_run_end_timestamp_seconds", "When the last run ended.").Add(inUnix(end), "pipeline", s.Pipeline)
	}
	if s.running {
		return
	}
	var sum pipelineSummary
	start, err := time.Parse(time.RFC3339, s.LastRun.Start)
	if err != nil || json.Unmarshal(s.LastRun.Summary, &sum) != nil {
		return
	}
	addRun(set, s.Pipeline, start, runCounts{uint64(sum.Slices), sum.Rows, sum.Bytes, sum.Requests})
}

// addRun adds what a pipeline that runs has moved.
func (l *liveRun) addRun(set *metrics.Set, started time.Time) {
	c := runCounts{slices: l.counts.slices.Load(), rows: l.counts.rows.Load(), bytes: l.counts.bytes.Load()}
	if l.assembled != nil {
		c.requests = l.assembled.requests.granted.Load()
	}
	addRun(set, l.name, started, c)
}

// runCounts is what one run moved.
type runCounts struct{ slices, rows, bytes, requests uint64 }

func addRun(set *metrics.Set, name string, start time.Time, c runCounts) {
	const which = " by the run that goes on, else by the last one."
	set.Gauge("sluice_run_start_timestamp_seconds", "When the run began that goes on, else the last one.").Add(inUnix(start), "pipeline", name)
	set.Gauge("sluice_run_slices", "Slices committed"+which).Add(float64(c.slices), "pipeline", name)
	set.Gauge("sluice_run_rows", "Records committed"+which).Add(float64(c.rows), "pipeline", name)
	set.Gauge("sluice_run_bytes", "Bytes of the records committed"+which).Add(float64(c.bytes), "pipeline", name)
	set.Gauge("sluice_run_requests", "Requests that the budget granted"+which).Add(float64(c.requests), "pipeline", name)
}

// addLive adds what a host does that runs.
func addLive(set *metrics.Set, live control.Snapshot) {
	for _, p := range live.Pipelines {
		set.Gauge("sluice_run_active", "Whether a run of the pipeline goes on.").Add(truth(p.State != "stopped"), "pipeline", p.Name)
		for _, k := range p.Sinks {
			set.Gauge("sluice_sink_up", "Whether the sink takes records, in the run that goes on.").
				Add(truth(k.State == pipeline.SinkUp), "pipeline", p.Name, "sink", k.Name)
		}
		states := map[string]int{}
		for _, s := range p.Slices {
			states[s.State]++
		}
		for _, state := range slices.Sorted(maps.Keys(states)) {
			set.Gauge("sluice_slices_in_hand", "Slices that a run has in hand, by what they do.").
				Add(float64(states[state]), "pipeline", p.Name, "state", state)
		}
	}
	for _, b := range live.Budgets {
		labels := []string{"key", b.Key, "namespace", b.Namespace}
		if b.LimitRequests > 0 {
			set.Gauge("sluice_budget_requests_limit", "Requests that the vendor's budget allows in a window, after our share.").Add(float64(b.LimitRequests), labels...)
			set.Gauge("sluice_budget_requests_left", "Of them, those that are left now.").Add(left(b.LimitRequests, b.UsedRequests), labels...)
		}
		if b.LimitBytes > 0 {
			set.Gauge("sluice_budget_limit_bytes", "Bytes that the vendor's budget allows in a window, after our share.").Add(float64(b.LimitBytes), labels...)
			set.Gauge("sluice_budget_left_bytes", "Of them, those that are left now.").Add(left(b.LimitBytes, b.UsedBytes), labels...)
		}
	}
}

func left(limit, used uint64) float64 { return float64(limit - min(limit, used)) }

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func inUnix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func inSeconds(ms int64) float64 { return float64(ms) / 1000 }
