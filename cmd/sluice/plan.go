package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/budget"
	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

func (a *app) planCommand() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan [PIPELINE...]",
		Short: "Say what `run` would fetch, and what it would cost",
		Long: "plan asks the vendor's clock (without key or budget) and prints the slices that a run would fetch now: how many requests,\n" +
			"how many bytes, how long the vendor's budget makes it take, when it is done, and what it leaves of the budget for others; with a\n" +
			"range for each, and what they rest on: the vendor's own figures of the days, and what earlier runs saw.\n" +
			"Nothing is read. Figures of days that the ledger lacks are asked of the vendor, which costs a request or a few of the budget,\n" +
			"unless a run holds the state; --offline asks nobody. It writes nothing and may run beside `sluice run`.\n" +
			"--what-if prints alternatives side by side. With --json each slice is a line.",
		Example: "  sluice plan\n  sluice plan prod --last 24h --json\n  sluice plan --what-if parallel=4,slice=1h --what-if slice=6h\n" +
			"  sluice plan --offline --what-if-parallel 1,2,4",
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.plan(ctx, args, f) })
		},
	}
	f.selectors.add(c)
	c.Flags().BoolVar(&f.offline, "offline", false, "ask nobody: this machine's clock, and what the ledger holds")
	c.Flags().StringArrayVar(&f.whatIf, "what-if", nil, "an alternative to show beside, as parallel=4,slice=1h; again for more")
	c.Flags().StringSliceVar(&f.parallel, "what-if-parallel", nil, "alternatives with so many slices at a time, as 1,2,4")
	c.Flags().StringSliceVar(&f.slice, "what-if-slice", nil, "alternatives with slices of this size, as 1h,6h,500MB,auto; with --what-if-parallel each with each")
	return c
}

// planFlags are the flags of plan.
type planFlags struct {
	selectors
	offline         bool
	whatIf          []string
	parallel, slice []string
}

func (a *app) plan(ctx context.Context, names []string, f planFlags) error {
	sel, err := f.selection()
	if err != nil {
		return err
	}
	alternatives, err := f.alternatives()
	if err != nil {
		return usageError(err)
	}
	c, err := a.load()
	if err != nil {
		return err
	}
	chosen, err := choosePipelines(c, names)
	if err != nil {
		return usageError(err)
	}
	look, err := a.openLooker(ctx, c)
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	p := &planner{looker: look, sel: sel, offline: f.offline, told: map[string]map[flow.Partition][]flow.Measure{}}
	defer func() { _ = p.Close() }()
	all, configs, failed := p.all(ctx, chosen)
	if p.lacksFigures && !f.offline {
		asks, err := p.mayAsk(ctx, c)
		if err != nil {
			return &exitError{codeOf(err), err}
		}
		if asks {
			all, configs, failed = p.all(ctx, chosen)
			if err := p.leave(ctx, a, c); err != nil {
				return &exitError{codeOf(err), err}
			}
		}
	}
	together := lookAt(all)
	for i, c := range configs {
		if ctx.Err() != nil {
			break
		}
		view := planView{foreseen: all[i], config: c, outlook: together, index: i, offline: f.offline}
		if view.alternatives, err = p.alternatives(ctx, c, all[i], alternatives); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", c.Name, err))
			continue
		}
		a.printPlan(view)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed != nil {
		return &exitError{codeOf(failed), failed}
	}
	return nil
}

// planner plans pipelines.
type planner struct {
	*looker
	sel          selection
	offline      bool
	asks         bool                                         // the vendor for its figures
	told         map[string]map[flow.Partition][]flow.Measure // by pipeline: what the vendor said
	lacksFigures bool                                         // of closed days that are to be read
}

// all plans some pipelines. Those that fail are left out of what it returns.
func (l *planner) all(ctx context.Context, chosen []*config.Pipeline) (all []*foreseen, configs []*config.Pipeline, failed error) {
	for _, c := range chosen {
		one, err := l.pipeline(ctx, c)
		if ctx.Err() != nil {
			return all, configs, failed // the others can only say so, too
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", c.Name, err))
			continue
		}
		all, configs = append(all, one), append(configs, c)
	}
	return all, configs, failed
}

// mayAsk makes ready to ask the vendor for its figures: the requests count against the state's budget, if there is a state, which no run
// may hold then. False: one does.
func (l *planner) mayAsk(ctx context.Context, c *config.Config) (bool, error) {
	l.asks = true
	if _, err := os.Stat(filepath.Join(c.State, ledger.FileName)); err != nil {
		return true, nil //nolint:nilerr // nothing was counted yet
	}
	h, err := l.app.openHost(ctx, c)
	if errors.Is(err, ledger.ErrLocked) {
		l.asks = false
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := l.Close(); err != nil {
		return false, errors.Join(err, h.Close())
	}
	l.looker = &looker{host: h}
	return true, nil
}

// leave lets go of the state when the vendor has been asked: a run may begin.
func (l *planner) leave(ctx context.Context, a *app, c *config.Config) error {
	l.asks = false // what the vendor said is known by now
	if l.folder != "" {
		return nil // it was never held
	}
	if err := l.Close(); err != nil {
		return err
	}
	look, err := a.openLooker(ctx, c)
	if err != nil {
		return err
	}
	l.looker = look
	return nil
}

// measureLimit bounds how long the vendor is asked for its figures of a pipeline, waits for the budget included.
const measureLimit = 30 * time.Second

// measuredDays is how many of the latest days without a figure are asked for, of each partition.
const measuredDays = 31

// pipeline plans one pipeline.
func (l *planner) pipeline(ctx context.Context, c *config.Pipeline) (_ *foreseen, err error) {
	p, err := l.assemble(ctx, c, l.sel, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := l.addClosedSinks(ctx, p, l.sel); err != nil {
		return nil, err
	}
	p.run.HostClock = p.run.HostClock || l.offline
	f, err := pipeline.PredictAnd(ctx, p.run, func(src pipeline.Source, f *pipeline.Forecast) error {
		if l.asks {
			l.told[c.Name] = l.measure(ctx, p, src, f)
			return nil
		}
		for _, part := range f.Partitions {
			days, err := l.unmeasured(ctx, p, f, part)
			if err != nil {
				return err
			}
			l.lacksFigures = l.lacksFigures || !days.Empty()
		}
		return nil
	})
	if err != nil {
		return nil, asUsage(err)
	}
	return foresee(ctx, l.ledger, c.Name, f, p.run.Parallel, p.budget, l.told[c.Name])
}

// measure asks the vendor what the days hold that are to be read and of which the ledger has no figure. What isn't told isn't known.
func (l *planner) measure(ctx context.Context, p *assembled, src pipeline.Source, f *pipeline.Forecast) map[flow.Partition][]flow.Measure {
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, measureLimit)
	defer cancel()
	out := map[flow.Partition][]flow.Measure{}
	for _, part := range f.Partitions {
		days, err := l.unmeasured(ctx, p, f, part)
		var measures []flow.Measure
		if err == nil && !days.Empty() {
			measures, err = src.Measure(ctx, part.Partition.Partition, days)
		}
		if whole.Err() != nil {
			return out // the plan ends
		}
		if err != nil {
			l.log.Warn("the vendor's figures aren't known: the plan rests on history alone", "pipeline", p.config.Name,
				"partition", part.Partition.String(), "error", err.Error())
			return out
		}
		out[part.Partition.Partition] = measures
	}
	return out
}

// unmeasured is the closed ones among the latest days of what is to be read, from the first without a figure on. Today's would say little
// yet.
func (l *planner) unmeasured(ctx context.Context, p *assembled, f *pipeline.Forecast, part pipeline.PartitionForecast) (flow.Range, error) {
	if len(part.Slices) == 0 || p.run.Streams[part.Stream].Snapshot {
		return flow.Range{}, nil
	}
	all := flow.Range{From: flow.Day(part.Slices[0].From), To: part.Slices[len(part.Slices)-1].To}
	today := flow.Day(f.VendorNow)
	if all.To.After(today) {
		all.To = today
	}
	if from := today.AddDate(0, 0, -measuredDays); from.After(all.From) {
		all.From = from
	}
	if all.Empty() {
		return flow.Range{}, nil
	}
	told, err := l.ledger.Measures(ctx, part.Partition.Partition, all)
	if err != nil {
		return flow.Range{}, err
	}
	known := map[time.Time]bool{}
	for _, m := range told {
		if m.To.Sub(m.From) == 24*time.Hour {
			known[m.From.UTC()] = true
		}
	}
	for all.From.Before(all.To) && known[all.From] {
		all.From = all.From.AddDate(0, 0, 1)
	}
	if all.Empty() {
		return flow.Range{}, nil
	}
	return all, nil
}

// addClosedSinks names the pipeline's sinks, and opens none.
func (l *looker) addClosedSinks(ctx context.Context, p *assembled, sel selection) error {
	for _, s := range p.config.Sinks {
		if !chosen(sel.sinks, s.Name) {
			continue
		}
		if len(takenBy(s, p.streams)) == 0 {
			continue // --stream leaves none of its streams
		}
		definition, err := sinkDefinition(s.Type)
		if err != nil {
			return err
		}
		info, known, err := knownSink(ctx, l.ledger, l.config, p.config, s)
		if err != nil {
			return err
		}
		identity := info.Identity
		switch recorded, err := l.ledger.Partitions(ctx, identity); {
		case err != nil:
			return err
		case !known:
			identity = "new:" + s.Name // nothing is recorded under such a name
		case len(recorded) == 0:
			l.log.Warn(fmt.Sprintf("%s: the ledger knows nothing of sink %s, which is there: `sluice run` reads its commit log first, so less may be missing",
				p.config.Name, s.Name))
		}
		var c sinks.Config
		if definition.Deadline != nil { // else its secrets aren't needed
			if c, err = l.sinkConfig(p.config, s, takenBy(s, p.streams)); err != nil {
				return asUsage(err)
			}
		}
		deadline, err := l.deadlineOf(ctx, definition, c, identity)
		if err != nil {
			return err
		}
		p.run.Sinks = append(p.run.Sinks, pipeline.Sink{
			Name: s.Name, Type: s.Type, Sink: closedSink{identity: identity, deadline: deadline}, Streams: s.Streams,
		})
	}
	if len(p.run.Sinks) == 0 {
		return usageError(noneLeft(p.config))
	}
	return nil
}

// planBudget is what the vendor allows a pipeline, after its share, and before. Zero fields aren't limited.
type planBudget struct {
	namespace          string
	requests, bytes    uint64
	allRequests, allOf uint64 // before the share: requests and bytes
	share              float64
	window             time.Duration
}

// budgetOfPlan takes the first limit that the source states, which is that of its reads, and what the settings make of it. A source
// whose vendor tells none has what the settings say, if they say it whole.
func budgetOfPlan(d supervisor.Description, settings json.RawMessage) planBudget {
	var b planBudget
	if len(d.Limits) > 0 {
		b = planBudget{namespace: d.Limits[0].Namespace, allRequests: d.Limits[0].Requests, allOf: d.Limits[0].Bytes, window: d.Limits[0].Window}
	}
	var own struct {
		Budget struct {
			Requests uint64          `json:"requests"`
			Bytes    json.RawMessage `json:"bytes"`
			Window   string          `json:"window"`
			Share    float64         `json:"share"`
		} `json:"budget"`
	}
	own.Budget.Share = 0.9
	if json.Unmarshal(settings, &own) == nil {
		if own.Budget.Requests > 0 {
			b.allRequests = own.Budget.Requests
		}
		if n, ok := sizeOf(own.Budget.Bytes); ok {
			b.allOf = n
		}
		if d, err := config.ParseDuration(own.Budget.Window); err == nil && d > 0 {
			b.window = time.Duration(d)
		}
	}
	if b.window == 0 {
		return planBudget{namespace: b.namespace}
	}
	b.share = own.Budget.Share
	b.requests, b.bytes = budget.Allowed(b.allRequests, b.share), budget.Allowed(b.allOf, b.share)
	return b
}

func sizeOf(raw json.RawMessage) (uint64, bool) {
	var n uint64
	if json.Unmarshal(raw, &n) == nil && len(raw) > 0 {
		return n, true
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return 0, false
	}
	s, err := config.ParseSize(text)
	return uint64(s), err == nil
}

// takes is how long the budget makes so many requests and bytes take at least: whole windows pass before the last begins.
func (b planBudget) takes(requests, bytes uint64) time.Duration {
	windows := uint64(0)
	for _, x := range []struct{ want, limit uint64 }{{requests, b.requests}, {bytes, b.bytes}} {
		if x.limit > 0 && x.want > 0 {
			windows = max(windows, (x.want-1)/x.limit)
		}
	}
	return time.Duration(windows) * b.window
}

// partitionName writes a partition with what people call it.
func partitionName(p flow.Partition, name string) string {
	if name == "" {
		return p.String()
	}
	return p.String() + " (" + name + ")"
}

// shortTime leaves out what is zero at a time's end.
func shortTime(t time.Time) string {
	t = t.UTC()
	switch {
	case t.Equal(flow.Day(t)):
		return t.Format(time.DateOnly)
	case t.Equal(t.Truncate(time.Second)):
		return t.Format("2006-01-02T15:04:05Z")
	}
	return t.Format(flow.Layout)
}
