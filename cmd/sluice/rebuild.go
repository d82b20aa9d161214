package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

func (a *app) ledgerCommand() *cobra.Command {
	c := &cobra.Command{Use: "ledger", Short: "Care for the ledger"}
	var names []string
	rebuild := &cobra.Command{
		Use:   "rebuild [PIPELINE...]",
		Short: "Take the sinks' word over the ledger's",
		Long: "rebuild forgets what the ledger holds of the pipelines' sinks and records what their commit logs say. Use it when a run\n" +
			"stops because both disagree, after a sink was restored from a backup, or when the ledger is damaged (it is set aside).\n" +
			"What a sink lost is fetched again by the next run. Data files that no commit names are listed first and left alone.",
		Example: "  sluice ledger rebuild\n  sluice ledger rebuild prod --sink lake",
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.rebuild(ctx, args, names) })
		},
	}
	rebuild.Flags().StringSliceVar(&names, "sink", nil, "only these sinks")
	c.AddCommand(rebuild, a.exportCommand())
	parent(c)
	return c
}

// strayLine and rebuiltLine are the lines of `ledger rebuild --json`.
type strayLine struct {
	V        int    `json:"v"`
	TS       string `json:"ts"`
	Event    string `json:"event"` // "stray"
	Pipeline string `json:"pipeline"`
	Sink     string `json:"sink"`
	Path     string `json:"path"`
}

type rebuiltLine struct {
	V        int     `json:"v"`
	TS       string  `json:"ts"`
	Event    string  `json:"event"` // "ledger_rebuilt"
	Pipeline string  `json:"pipeline"`
	Sink     string  `json:"sink"`
	Location string  `json:"location,omitempty"`
	Strays   int     `json:"strays"`
	Before   account `json:"before"`
	After    account `json:"after"`
}

// account sums up what the ledger holds of a sink.
type account struct {
	Partitions int    `json:"partitions"`
	Slices     uint64 `json:"slices"`
	Rows       uint64 `json:"rows"`
	Covered    int64  `json:"covered"` // milliseconds of log time
}

func (a *app) rebuild(ctx context.Context, names, only []string) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	all, err := choosePipelines(c, names)
	if err != nil {
		return usageError(err)
	}
	h, err := a.openOrSetAside(ctx, c)
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	defer h.Close()
	var failed error
	rebuilt := 0
	for _, p := range all {
		if ctx.Err() != nil {
			failed = errors.Join(failed, ctx.Err()) // the others can only say so, too
			break
		}
		n, err := h.rebuildPipeline(ctx, p, only)
		rebuilt += n
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.Name, err))
		}
	}
	switch {
	case failed != nil:
		return &exitError{codeOf(failed), failed}
	case rebuilt == 0:
		return usageError(errors.New("none of the chosen sinks remembers what it holds: for them the ledger is the only account"))
	}
	return nil
}

// openOrSetAside opens the state; a damaged ledger is moved aside for a new one.
func (a *app) openOrSetAside(ctx context.Context, c *config.Config) (*host, error) {
	h, err := a.openHost(ctx, c)
	if !errors.Is(err, ledger.ErrCorrupt) {
		return h, err
	}
	aside, setErr := ledger.SetAside(c.State)
	if setErr != nil {
		return nil, errors.Join(err, setErr)
	}
	a.log.logger.Warn("the ledger was damaged and is set aside; pipelines that aren't rebuilt now are healed by their next run",
		"kept", aside, "error", err.Error())
	return a.openHost(ctx, c)
}

func (h *host) rebuildPipeline(ctx context.Context, c *config.Pipeline, only []string) (rebuilt int, err error) {
	p, err := h.assemble(ctx, c, selection{}, false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := h.recordAsked(ctx, p); err != nil {
		return 0, err
	}
	for _, s := range c.Sinks {
		if !chosen(only, s.Name) {
			continue
		}
		done, err := h.rebuildSink(ctx, p, s)
		if err != nil {
			return rebuilt, fmt.Errorf("sink %s: %w", s.Name, err)
		}
		if done {
			rebuilt++
		} else {
			h.log.Warn(fmt.Sprintf("%s: sink %s doesn't remember what it holds; left alone", c.Name, s.Name))
		}
	}
	return rebuilt, nil
}

// rebuildSink opens a sink without asking the ledger about it, and puts the sink's word in the place of the ledger's.
func (h *host) rebuildSink(ctx context.Context, p *assembled, s config.Sink) (done bool, err error) {
	d, err := sinkDefinition(s.Type)
	if err != nil {
		return false, err
	}
	c, err := h.sinkConfig(p.config, s, takenBy(s, p.streams))
	if err != nil {
		return false, err
	}
	sink, err := d.Open(ctx, c)
	if err != nil {
		return false, sinkOpenError(s.Name, err)
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	memory, ok := sink.(sinks.Memory)
	if !ok {
		return false, nil
	}
	lister, ok := sink.(sinks.Lister)
	if !ok {
		return false, fault.Errorf(fault.Config, "rebuild", "a sink of type %s can't list what it holds", s.Type)
	}
	line := rebuiltLine{V: 1, Event: "ledger_rebuilt", Pipeline: p.config.Name, Sink: s.Name}
	if l, ok := sink.(sinks.Locator); ok {
		line.Location = l.Location()
	}
	if line.Strays, err = h.listStrays(ctx, p.config.Name, s.Name, lister); err != nil {
		return false, err
	}
	if line.Before, err = h.forget(ctx, sink.Identity(), line.Location); err != nil {
		return false, err
	}
	if err := h.register(ctx, p.config, s, sink); err != nil {
		return false, err
	}
	if err := h.recordAll(ctx, sink.Identity(), memory, lister); err != nil {
		return false, err
	}
	if line.After, err = h.accountOf(ctx, sink.Identity()); err != nil {
		return false, err
	}
	line.TS = stamp(time.Now())
	h.app.printRebuilt(line)
	return true, nil
}

func (h *host) listStrays(ctx context.Context, pipeline, sink string, l sinks.Lister) (n int, err error) {
	for path, err := range l.Strays(ctx) {
		if err != nil {
			return n, err
		}
		n++
		if h.app.json {
			h.app.printJSON(strayLine{1, stamp(time.Now()), "stray", pipeline, sink, path})
		} else if err := h.app.printText(fmt.Sprintf("stray: no commit of %s/%s names %s\n", pipeline, sink, path)); err != nil {
			return n, err
		}
	}
	return n, nil
}

// forget drops a sink from the ledger, and whatever else the ledger knew in its place.
func (h *host) forget(ctx context.Context, identity, location string) (account, error) {
	before, err := h.accountOf(ctx, identity)
	if err != nil {
		return before, err
	}
	if location != "" {
		other, ok, err := h.ledger.SinkAt(ctx, location)
		if err != nil {
			return before, err
		}
		if ok && other.Identity != identity {
			more, err := h.accountOf(ctx, other.Identity)
			if err != nil {
				return before, err
			}
			before.Partitions += more.Partitions
			before.Slices += more.Slices
			before.Rows += more.Rows
			before.Covered += more.Covered
			if err := h.ledger.Reset(ctx, other.Identity); err != nil {
				return before, err
			}
		}
	}
	return before, h.ledger.Reset(ctx, identity)
}

func (h *host) accountOf(ctx context.Context, identity string) (account, error) {
	var sum account
	partitions, err := h.ledger.Partitions(ctx, identity)
	if err != nil {
		return sum, err
	}
	for _, p := range partitions {
		covered, err := h.ledger.Coverage(ctx, identity, p)
		if err != nil {
			return sum, err
		}
		totals, err := h.ledger.Totals(ctx, identity, p)
		if err != nil {
			return sum, err
		}
		sum.Partitions++
		sum.Covered += covered.Duration().Milliseconds()
		sum.Slices += totals.Slices
		sum.Rows += totals.Rows
	}
	return sum, nil
}

// recordBatch is how many receipts are recorded in one transaction.
const recordBatch = 1000

// recordAll records everything that a sink holds.
func (h *host) recordAll(ctx context.Context, identity string, memory sinks.Memory, lister sinks.Lister) error {
	partitions, err := lister.Partitions(ctx)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		gap := flow.Gap{Partition: p, From: time.Unix(0, 0).UTC(), To: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
		var batch []sinks.Receipt
		for receipt, err := range memory.Committed(ctx, gap, nil) {
			if err != nil {
				return err
			}
			if batch = append(batch, receipt); len(batch) < recordBatch {
				continue
			}
			if err := h.ledger.RecordAll(ctx, identity, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if err := h.ledger.RecordAll(ctx, identity, batch); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printRebuilt(l rebuiltLine) {
	if a.json {
		a.printJSON(l)
		return
	}
	at := ""
	if l.Location != "" {
		at = " (" + l.Location + ")"
	}
	describe := func(n account) string {
		return fmt.Sprintf("%s slices, %s records, %s of log time in %d partitions", grouped(n.Slices), grouped(n.Rows), span(n.Covered), n.Partitions)
	}
	_ = a.printText(fmt.Sprintf("%s: sink %s%s\n  the ledger held  %s\n  the sink holds   %s\n", l.Pipeline, l.Sink, at, describe(l.Before), describe(l.After)))
	if l.Strays > 0 {
		_ = a.printText(fmt.Sprintf("  %d data files that no commit names were left alone\n", l.Strays))
	}
	if l.After.Covered < l.Before.Covered {
		a.say("the next run fetches what the sink lost, as far as the vendor still has it")
	}
}
