package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/budget"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
)

// live returns the run's pipelines as they are now.
func (r *running) live() []liveRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]liveRun, len(r.pipelines))
	for i, l := range r.pipelines {
		out[i] = *l
	}
	return out
}

// done is how much of the asked log time is behind, for the progress line.
func (r *running) done() string {
	var asked, left time.Duration
	for _, l := range r.live() {
		if l.pipeline != nil {
			st := l.pipeline.Snapshot()
			asked += st.AskedTime
			left += st.LeftTime
		}
	}
	if asked == 0 {
		return ""
	}
	share := float64(asked-left) / float64(asked)
	text := fmt.Sprintf("%.0f %%", 100*share)
	if elapsed := time.Since(r.started); share > 0.02 && left > 0 && elapsed > 2*time.Second {
		eta := time.Duration(float64(elapsed) * (1 - share) / share).Round(time.Second)
		text += ", about " + eta.String() + " left"
	}
	return text
}

// budgetLine is the tightest namespace of the budget, for the progress line.
func (r *running) budgetLine() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	all, err := r.host.budget.Status(ctx)
	if err != nil {
		return ""
	}
	text, highest := "", -1.0
	for _, s := range all {
		if s.LimitRequests == 0 {
			continue
		}
		if used := float64(s.UsedRequests) / float64(s.LimitRequests); used > highest {
			highest, text = used, fmt.Sprintf("budget %d/%d", s.UsedRequests, s.LimitRequests)
		}
	}
	return text
}

// snapshot is what `sluice status` is told.
func (r *running) snapshot() control.Snapshot {
	out := control.Snapshot{PID: os.Getpid(), Version: buildVersion(), Started: r.started, At: time.Now().UTC()}
	for _, l := range r.live() {
		p := control.Pipeline{Name: l.name, State: "planning", Slices: []control.Slice{}, Sinks: []control.Sink{}}
		switch {
		case l.ended:
			p.State = "stopped"
		case r.draining.Load():
			p.State = "draining"
		case l.pipeline != nil:
			p.State = "running"
		}
		if l.err != nil {
			p.Error = r.app.log.redactor.Redact(l.err.Error())
		}
		if l.assembled != nil {
			p.Settle = settleOf(l.assembled.run.Streams)
		}
		if l.pipeline != nil && !l.ended {
			p.Slices, p.Sinks = r.slices(l), r.sinks(l)
			p.Forecast = l.progress(out.At)
			p.VendorNow = l.pipeline.VendorNow()
			p.Follow = r.follow(l)
		}
		out.Pipelines = append(out.Pipelines, p)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if all, err := r.host.budget.Status(ctx); err == nil {
		for _, s := range all {
			out.Budgets = append(out.Budgets, budgetOf(s))
		}
	}
	return out
}

func (r *running) slices(l liveRun) []control.Slice {
	out := []control.Slice{}
	for _, s := range l.pipeline.Snapshot().Slices {
		out = append(out, control.Slice{
			ID: s.Slice.ID.String(), Pipeline: l.name, Source: l.assembled.run.SourceName, Stream: s.Slice.Stream,
			Partition: s.Slice.Key, From: s.Slice.From, To: s.Slice.To, Attempt: s.Attempt, State: s.State, WaitsFor: s.WaitsFor,
			Rows: s.Rows, Bytes: s.Bytes, LastByte: s.LastByte.UTC(), NextTry: s.NextTry.UTC(), Sinks: s.Sinks,
			CreditSize: l.assembled.run.Window / int64(l.assembled.run.Parallel), Error: r.app.log.redactor.Redact(s.Error),
		})
	}
	slices.SortFunc(out, func(a, b control.Slice) int { return a.From.Compare(b.From) })
	return out
}

// follow is how a pipeline that follows stands, nil for one that ends when all is covered.
func (r *running) follow(l liveRun) *control.Follow {
	st := l.pipeline.Snapshot()
	if st.Follow == 0 {
		return nil
	}
	return &control.Follow{
		Every: st.Follow.Milliseconds(), Next: st.Next.UTC(), To: st.Asked.To, Behind: st.Behind.Milliseconds(), Left: st.LeftTime.Milliseconds(),
		Error: r.app.log.redactor.Redact(st.TickError),
	}
}

func (r *running) sinks(l liveRun) []control.Sink {
	out := []control.Sink{}
	for _, s := range l.pipeline.Snapshot().Sinks {
		out = append(out, control.Sink{
			Name: s.Name, State: s.State, Since: s.Since.UTC(), NextTry: s.NextTry.UTC(), Left: s.Left.Milliseconds(),
			Error: r.app.log.redactor.Redact(s.Error),
		})
	}
	return out
}

// downLine names the sinks that are down, for the progress line.
func downLine(all []pipeline.SinkStatus) string {
	var out []string
	for _, s := range all {
		if s.State != pipeline.SinkUp {
			out = append(out, "sink "+s.Name+": "+s.Text())
		}
	}
	return strings.Join(out, ", ")
}

func budgetOf(s budget.NamespaceStatus) control.Budget {
	b := control.Budget{
		Key: s.Key, Namespace: s.Namespace, Window: s.Window, UsedRequests: s.UsedRequests, LimitRequests: s.LimitRequests,
		UsedBytes: s.UsedBytes, LimitBytes: s.LimitBytes, Why: s.Why,
	}
	if s.NextFree > 0 {
		b.NextFree = time.Now().UTC().Add(s.NextFree)
	}
	return b
}

// recordRun keeps a run in the ledger's history.
func (h *host) recordRun(run ledger.Run) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return h.ledger.RecordRun(ctx, run)
}

// recordAsked writes down what a pipeline that starts asks for, so that what it lacks is known even if it never gets to commit it.
func (r *running) recordAsked(ctx context.Context, p *assembled) {
	if err := r.host.recordAsked(ctx, p); err != nil {
		r.app.log.logger.Warn("`sluice status` may not know all partitions", "pipeline", p.config.Name, "error", err.Error())
	}
}

func (h *host) recordAsked(ctx context.Context, p *assembled) error {
	var streams []string
	var all []ledger.AskedPartition
	for _, s := range p.streams {
		streams = append(streams, s.Name)
	}
	for _, part := range p.run.Partitions {
		all = append(all, ledger.AskedPartition{
			Partition: part.Partition, Name: part.Name, Settle: p.run.Streams[part.Stream].Settle,
		})
	}
	return h.ledger.RecordAsked(ctx, p.config.Name, streams, all)
}
