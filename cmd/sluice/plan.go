package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

func (a *app) planCommand() *cobra.Command {
	var f selectors
	c := &cobra.Command{
		Use:   "plan [PIPELINE...]",
		Short: "Say what `run` would fetch, and what it would cost",
		Long: "plan asks the vendor's clock (without key or budget) and prints the slices that a run would fetch now: how many requests,\n" +
			"how many bytes as far as earlier runs tell, and how long the vendor's budget makes it take at least.\n" +
			"It writes nothing and may run beside `sluice run`. With --json each slice is a line.",
		Example: "  sluice plan\n  sluice plan prod --last 24h --json",
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.plan(ctx, args, f) })
		},
	}
	f.add(c)
	return c
}

func (a *app) plan(ctx context.Context, names []string, f selectors) error {
	sel, err := f.selection()
	if err != nil {
		return err
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
	defer look.Close()
	var failed error
	for _, p := range chosen {
		if err := look.planPipeline(ctx, p, sel); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.Name, err))
		}
	}
	if failed != nil {
		return &exitError{codeOf(failed), failed}
	}
	return nil
}

func (l *looker) planPipeline(ctx context.Context, c *config.Pipeline, sel selection) (err error) {
	p, err := l.assemble(ctx, c, sel, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	description, err := p.first.Describe(ctx)
	if err != nil {
		return err
	}
	if err := l.addClosedSinks(ctx, p, sel); err != nil {
		return err
	}
	forecast, err := pipeline.Predict(ctx, p.run)
	if err != nil {
		return asUsage(err)
	}
	l.app.printForecast(c, forecast, budgetOfPlan(description, c.Source.Config.JSON))
	return nil
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
		return usageError(fmt.Errorf("--sink and --stream leave none of its sinks"))
	}
	return nil
}

// planBudget is what the vendor allows a pipeline, after its share. Zero fields aren't limited.
type planBudget struct {
	requests, bytes uint64
	window          time.Duration
}

// budgetOfPlan takes the first limit that the source states, which is that of its reads, and what the settings make of it. A source
// whose vendor tells none has what the settings say, if they say it whole.
func budgetOfPlan(d supervisor.Description, settings json.RawMessage) planBudget {
	var b planBudget
	if len(d.Limits) > 0 {
		b = planBudget{d.Limits[0].Requests, d.Limits[0].Bytes, d.Limits[0].Window}
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
			b.requests = own.Budget.Requests
		}
		if n, ok := sizeOf(own.Budget.Bytes); ok {
			b.bytes = n
		}
		if d, err := config.ParseDuration(own.Budget.Window); err == nil && d > 0 {
			b.window = time.Duration(d)
		}
	}
	if b.window == 0 {
		return planBudget{}
	}
	b.requests = uint64(math.Floor(float64(b.requests) * own.Budget.Share))
	b.bytes = uint64(float64(b.bytes) * own.Budget.Share)
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

// plannedLine is a slice of `plan --json`.
type plannedLine struct {
	V         int      `json:"v"`
	TS        string   `json:"ts"`
	Event     string   `json:"event"` // "slice_planned"
	Pipeline  string   `json:"pipeline"`
	Slice     string   `json:"slice"`
	Stream    string   `json:"stream"`
	Partition string   `json:"partition"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	Sinks     []string `json:"sinks"`
	Begun     bool     `json:"begun"` // cut in an earlier run
}

// planLine ends a pipeline of `plan --json`.
type planLine struct {
	V           int     `json:"v"`
	TS          string  `json:"ts"`
	Event       string  `json:"event"` // "plan"
	Pipeline    string  `json:"pipeline"`
	From        string  `json:"from"`
	To          string  `json:"to"`
	VendorNow   string  `json:"vendor_now"`
	Slices      int     `json:"slices"`
	Requests    int     `json:"requests"` // at least
	Rows        *uint64 `json:"rows"`     // null: not known
	Bytes       *uint64 `json:"bytes"`    // null: not known
	Missing     int64   `json:"missing"`
	Unavailable int64   `json:"unavailable"`
	Seconds     float64 `json:"budget_seconds"`          // that the budget makes it take at least
	Finish      string  `json:"finish"`                  // not before, by the vendor's clock
	Within      float64 `json:"slice_seconds,omitempty"` // that a slice is planned to take, for a sink that ends transactions
}

func (a *app) printForecast(c *config.Pipeline, f pipeline.Forecast, b planBudget) {
	line := planLine{
		V: 1, TS: stamp(time.Now()), Event: "plan", Pipeline: c.Name, From: f.Range.From.Format(flow.Layout), To: f.Range.To.Format(flow.Layout),
		VendorNow: stamp(f.VendorNow),
	}
	rows := [][]string{{"PARTITION", "SLICES", "FROM", "TO", "REQUESTS", "BYTES"}}
	known, total, records := true, uint64(0), uint64(0)
	for _, p := range f.Partitions {
		line.Slices += len(p.Slices)
		line.Missing += p.Missing.Milliseconds()
		if within := p.Within.Seconds(); within > 0 && (line.Within == 0 || within < line.Within) {
			line.Within = within
		}
		line.Unavailable += p.Unavailable.Milliseconds()
		if len(p.Slices) == 0 {
			rows = append(rows, []string{partitionName(p.Partition.Partition, p.Name), "0", "covered", "", "0", "0 B"})
			continue
		}
		known = known && p.Known
		total += p.Bytes
		records += p.Rows
		bytes := "unknown"
		if p.Known {
			bytes = "about " + size(p.Bytes)
		}
		n := fmt.Sprint(len(p.Slices))
		rows = append(rows, []string{
			partitionName(p.Partition.Partition, p.Name), n, shortTime(p.Slices[0].From), shortTime(p.Slices[len(p.Slices)-1].To), n, bytes,
		})
	}
	line.Requests = line.Slices
	least := b.takes(uint64(line.Requests), total)
	line.Seconds, line.Finish = least.Seconds(), stamp(f.VendorNow.Add(least))
	if known {
		line.Rows, line.Bytes = &records, &total
	}
	if a.json {
		a.printSlices(c.Name, f)
		a.printJSON(line)
		return
	}
	if line.Slices == 0 {
		_ = a.printText(fmt.Sprintf("%s: nothing to do: %s to %s is covered\n", c.Name, shortTime(f.Range.From), shortTime(f.Range.To)))
		return
	}
	_ = a.printText(fmt.Sprintf("%s: %s to %s\n", c.Name, shortTime(f.Range.From), shortTime(f.Range.To)))
	_ = a.printTable(rows)
	_ = a.printText(line.conclusion(b, known, total, least))
}

func (l planLine) conclusion(b planBudget, known bool, bytes uint64, least time.Duration) string {
	text := "at least " + counted(uint64(l.Requests), "request")
	if known {
		text += ", about " + size(bytes)
	} else {
		text += ", bytes unknown until a first slice has been read"
	}
	switch {
	case b.requests == 0:
	case least == 0:
		text += fmt.Sprintf("; the budget (%s requests in %s) allows it at once", grouped(b.requests), shortDuration(b.window))
	default:
		text += fmt.Sprintf("; the budget (%s requests in %s) makes it take at least %s, until %s", grouped(b.requests), shortDuration(b.window),
			shortDuration(least), l.Finish)
	}
	if l.Within > 0 {
		text += "; slices are cut to end within " + shortDuration(time.Duration(l.Within*float64(time.Second))) + " each, for a sink that ends transactions"
	}
	if l.Unavailable > 0 {
		text += fmt.Sprintf("; unavailable: %s", span(l.Unavailable))
	}
	return text + "\n"
}

func (a *app) printSlices(name string, f pipeline.Forecast) {
	for _, p := range f.Partitions {
		for _, s := range p.Slices {
			a.printJSON(plannedLine{
				V: 1, TS: stamp(time.Now()), Event: "slice_planned", Pipeline: name, Slice: s.ID.String(), Stream: s.Stream, Partition: s.Key,
				From: s.From.Format(flow.Layout), To: s.To.Format(flow.Layout), Sinks: s.Sinks, Begun: s.Begun,
			})
		}
	}
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
