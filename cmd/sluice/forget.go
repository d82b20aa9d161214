package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// forgetFlags are the flags of forget.
type forgetFlags struct {
	from, to                    string
	streams, sinks, partitions  []string
	remove, keep, dry, confirms bool
}

func (a *app) forgetCommand() *cobra.Command {
	var f forgetFlags
	c := &cobra.Command{
		Use:   "forget [PIPELINE] --from TIME --to TIME",
		Short: "Make a committed range a gap again, so that the next run reads it anew",
		Long: "forget withdraws the commits of a range: the next run reads it again. Only whole commits can be withdrawn; a range that\n" +
			"meets some in part is refused with one that fits. While the data of a commit is there it is refused, too, or the records\n" +
			"would be there twice: --delete deletes it, after the entry that withdraws the commit is durable. What a crash leaves of it\n" +
			"the same command deletes when it is given again.\n" +
			"Sinks that keep no account are sent the range again: their receivers have it twice, or drop what has the same ID.\n\n" +
			"Exit: 0 forgotten, or nothing is committed there; 1 failed, 2 command line or file, also without --yes; 4 a run holds the state.",
		Example: "  sluice forget prod --from 2026-11-03 --to 2026-11-04 --dry-run\n" +
			"  sluice forget prod --from 2026-11-03 --to 2026-11-04 --sink lake --delete --yes",
		Args: atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.forget(ctx, args, f) })
		},
	}
	c.Flags().StringVar(&f.from, "from", "", "begin of the range: RFC 3339 or a date (UTC)")
	c.Flags().StringVar(&f.to, "to", "", "its end, which isn't part of it")
	c.Flags().StringSliceVar(&f.streams, "stream", nil, "only these streams")
	c.Flags().StringSliceVar(&f.partitions, "partition", nil, "only these partitions, by ID or name")
	c.Flags().StringSliceVar(&f.sinks, "sink", nil, "only these sinks")
	c.Flags().BoolVar(&f.remove, "delete", false, "delete the data of what is forgotten")
	c.Flags().BoolVar(&f.keep, "keep", false, "forget though data stays that the sink can't delete, such as messages of a topic")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "only show what would be forgotten")
	c.Flags().BoolVar(&f.confirms, "yes", false, "do it")
	return c
}

// forgetLine is a line of `forget --json`: a partition in a sink.
type forgetLine struct {
	V         int      `json:"v"`
	TS        string   `json:"ts"`
	Event     string   `json:"event"` // "forgotten", "would_forget"
	Pipeline  string   `json:"pipeline"`
	Sink      string   `json:"sink"`
	Stream    string   `json:"stream"`
	Partition string   `json:"partition"`
	From      string   `json:"from,omitempty"`
	To        string   `json:"to,omitempty"`
	Commits   int      `json:"commits"`
	Rows      uint64   `json:"rows"`
	Left      []string `json:"data,omitempty"`     // that is there
	Leftover  []string `json:"leftover,omitempty"` // of commits that were forgotten before
	Account   bool     `json:"account"`            // the sink keeps one; false: all is sent again
}

func (f *forgetFlags) options() (o pipeline.ForgetOptions, err error) {
	o = pipeline.ForgetOptions{Partitions: f.partitions, Remove: f.remove, Keep: f.keep}
	switch {
	case f.from == "" || f.to == "":
		return o, usageError(errors.New("--from and --to say what is forgotten; both are needed"))
	case f.remove && f.keep:
		return o, usageError(errors.New("--delete and --keep exclude each other"))
	case f.dry && f.confirms:
		return o, usageError(errors.New("--dry-run and --yes exclude each other"))
	}
	from, err := config.ParseTime(f.from)
	if err != nil {
		return o, usageError(fmt.Errorf("--from: %w", err))
	}
	to, err := config.ParseTime(f.to)
	if err != nil {
		return o, usageError(fmt.Errorf("--to: %w", err))
	}
	o.Range = flow.Range{From: from.Time, To: to.Time}
	if o.Range.Empty() {
		return o, usageError(fmt.Errorf("the range is empty: from %s, to %s", f.from, f.to))
	}
	return o, nil
}

func (a *app) forget(ctx context.Context, names []string, f forgetFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	c, err := a.load()
	if err != nil {
		return err
	}
	chosen, err := chooseOne(c, names)
	if err != nil {
		return usageError(err)
	}
	h, err := a.openHost(ctx, c)
	if errors.Is(err, ledger.ErrLocked) {
		err = fault.New(fault.Config, "", "stop the run first, and start it again afterwards: it knows what is covered", err)
	}
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	defer h.Close()
	p, err := h.assemble(ctx, chosen, selection{streams: f.streams, sinks: f.sinks}, true)
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	err = a.forgetIn(ctx, p, o, f)
	if e := p.Close(); e != nil && err == nil {
		return failedError(e)
	}
	return err
}

func (a *app) forgetIn(ctx context.Context, p *assembled, o pipeline.ForgetOptions, f forgetFlags) error {
	if f.sinks == nil && len(p.run.Sinks) == 0 {
		return usageError(errors.New("the pipeline has no sink"))
	}
	for i := range p.run.Sinks {
		p.run.Sinks[i].Patience = 0 // nobody else waits
	}
	forgetter := pipeline.NewForgetter(p.run, o)
	defer forgetter.Close()
	plan, err := forgetter.Plan(ctx)
	if err != nil {
		return asUsage(err)
	}
	if len(plan) == 0 {
		a.say("nothing of %s is committed", o.Range)
		return nil
	}
	if err := forgetter.Refuse(plan); err != nil {
		for _, one := range plan {
			a.printForget("would_forget", p.config.Name, one)
		}
		return usageError(err)
	}
	if !f.confirms {
		for _, one := range plan {
			a.printForget("would_forget", p.config.Name, one)
		}
		if f.dry {
			return nil
		}
		return usageError(errors.New("nothing was changed: --yes does it"))
	}
	for _, one := range plan {
		if err := forgetter.Do(ctx, one); err != nil {
			return failedError(err)
		}
		a.printForget("forgotten", p.config.Name, one)
	}
	return nil
}

func (a *app) printForget(event, name string, one pipeline.Forgettable) {
	var rows uint64
	var r flow.Range
	for n, c := range one.Commits {
		rows += c.Delivered.Rows
		if s := c.Slice.Range(); n == 0 || s.From.Before(r.From) {
			r.From = s.From
		}
		if s := c.Slice.Range(); s.To.After(r.To) {
			r.To = s.To
		}
	}
	if a.json {
		line := forgetLine{
			V: 1, TS: stamp(time.Now()), Event: event, Pipeline: name, Sink: one.Sink, Stream: one.Partition.Stream, Partition: one.Partition.Key,
			Commits: len(one.Commits), Rows: rows, Left: one.Left, Leftover: one.Leftover, Account: !one.AtLeast,
		}
		if len(one.Commits) > 0 {
			line.From, line.To = r.From.Format(flow.Layout), r.To.Format(flow.Layout)
		}
		a.printJSON(line)
		return
	}
	verb := "forgotten"
	if event != verb {
		verb = "would be forgotten"
	}
	text := fmt.Sprintf("%s: sink %s: %s: ", name, one.Sink, one.Partition.Partition)
	if len(one.Commits) > 0 {
		text += fmt.Sprintf("%s %s, %s of %s", counted(uint64(len(one.Commits)), "commit"), verb, counted(rows, "record"), r)
	} else {
		text += "nothing " + verb
	}
	if len(one.Left) > 0 {
		text += fmt.Sprintf("; data: %s", counted(uint64(len(one.Left)), "place"))
		for n, l := range one.Left {
			if n == 3 {
				text += "\n    ..."
				break
			}
			text += "\n    " + l
		}
	}
	if len(one.Leftover) > 0 {
		text += fmt.Sprintf("\n    %s left of what was forgotten before", counted(uint64(len(one.Leftover)), "file"))
	}
	if one.AtLeast {
		text += "; the sink keeps no account, so its receiver is sent them again"
	}
	_ = a.printText(text + "\n")
}
