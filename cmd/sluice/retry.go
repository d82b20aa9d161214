package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

func (a *app) retryCommand() *cobra.Command {
	var dead bool
	var only []string
	c := &cobra.Command{
		Use:   "retry [PIPELINE...]",
		Short: "Try again now what a running host has set aside, or send dead letters again",
		Long: "retry tells a running host to end quarantine and backoff now: slices that were quarantined, partitions that were stopped and\n" +
			"sinks that are down are tried at once. What the vendor or the budget asks to wait for is waited for still.\n\n" +
			"retry --dead-letters sends the records in the folders of dead letters again, into the sinks that lack them, after what kept them\n" +
			"out was mended. Each file becomes a later revision of the range that its records were read from: all of it is there, or none.\n" +
			"A file that was delivered moves to _delivered/ in the folder; a record that the sink rejects again is a dead letter again, one\n" +
			"that can't be made again from what was kept stays where it is. It asks the vendor for no records and needs the state: not while\n" +
			"`sluice run` holds it.\n\n" +
			"Exit: 0 the host was told, or none is left; 1 no host runs, some are left or something failed, 2 command line or file, 4 a run\n" +
			"holds the state.",
		Example: "  sluice retry\n  sluice retry prod\n  sluice retry --dead-letters\n  sluice retry --dead-letters prod --sink bus",
		RunE: func(c *cobra.Command, args []string) error {
			if !dead && len(only) > 0 {
				return usageError(errors.New("--sink goes with --dead-letters"))
			}
			if !dead {
				return interruptible(c, func(ctx context.Context) error { return a.retryNow(ctx, args) })
			}
			return interruptible(c, func(ctx context.Context) error { return a.retry(ctx, args, only) })
		},
	}
	c.Flags().BoolVar(&dead, "dead-letters", false, "send dead letters again")
	c.Flags().StringSliceVar(&only, "sink", nil, "only these sinks")
	return c
}

// retriedLine is a line of `retry --json`: a file of dead letters.
type retriedLine struct {
	V         int    `json:"v"`
	TS        string `json:"ts"`
	Event     string `json:"event"` // "dead_letters_retried"
	Pipeline  string `json:"pipeline"`
	Sink      string `json:"sink"`
	File      string `json:"file"`
	Slice     string `json:"slice,omitempty"`
	Rev       uint32 `json:"rev,omitempty"`
	Stream    string `json:"stream,omitempty"`
	Partition string `json:"partition,omitempty"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	Records   uint64 `json:"records"`
	Delivered uint64 `json:"delivered"`
	Rejected  uint64 `json:"rejected"` // by the sink, again
	Left      uint64 `json:"left"`     // can't be sent again
	Why       string `json:"why,omitempty"`
	Error     string `json:"error,omitempty"`
	Hint      string `json:"hint,omitempty"`
}

func (a *app) retry(ctx context.Context, names, only []string) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	pipelines, err := choosePipelines(c, names)
	if err != nil {
		return usageError(err)
	}
	for _, name := range only {
		if !slices.ContainsFunc(pipelines, func(p *config.Pipeline) bool {
			return slices.ContainsFunc(p.Sinks, func(s config.Sink) bool { return s.Name == name })
		}) {
			return usageError(fmt.Errorf("no sink of the chosen pipelines is called %q", name))
		}
	}
	h, err := a.openHost(ctx, c)
	if errors.Is(err, ledger.ErrLocked) {
		err = fault.New(fault.Config, "", "stop the run first: its sinks have one writer at a time; `sluice run` again afterwards takes up where it stopped", err)
	}
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	defer h.Close()
	var failed error
	files, left := 0, uint64(0)
	for _, p := range pipelines {
		if !slices.ContainsFunc(p.Sinks, func(s config.Sink) bool { return chosen(only, s.Name) }) {
			continue
		}
		if ctx.Err() != nil {
			failed = errors.Join(failed, ctx.Err()) // the others can only say so, too
			break
		}
		err := h.retryPipeline(ctx, p, only, func(f pipeline.RetriedFile) {
			files++
			left += f.Records - f.Delivered
			a.printRetried(p.Name, f)
		})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.Name, err))
		}
	}
	switch {
	case failed != nil:
		return &exitError{codeOf(failed), failed}
	case left > 0:
		return failedError(fmt.Errorf("%d dead letters are left", left))
	case files == 0:
		a.say("there are no dead letters")
	}
	return nil
}

func (h *host) retryPipeline(ctx context.Context, c *config.Pipeline, only []string, done func(pipeline.RetriedFile)) (err error) {
	p, err := h.assemble(ctx, c, selection{sinks: only}, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	for _, s := range p.streams {
		rules := p.run.Streams[s.Name]
		rules.Schema = s.Schema
		p.run.Streams[s.Name] = rules
	}
	for i := range p.run.Sinks {
		p.run.Sinks[i].Patience = 0 // nobody else waits
	}
	return pipeline.RetryDead(ctx, p.run, done)
}

func (a *app) printRetried(name string, f pipeline.RetriedFile) {
	if a.json {
		line := retriedLine{
			V: 1, TS: stamp(time.Now()), Event: "dead_letters_retried", Pipeline: name, Sink: f.Sink, File: f.Path,
			Records: f.Records, Delivered: f.Delivered, Rejected: f.Rejected, Left: f.Left, Why: f.Why,
		}
		if s := f.Slice; s.Stream != "" {
			line.Slice, line.Rev, line.Stream, line.Partition = s.ID.String(), s.Rev, s.Stream, s.Key
			line.From, line.To = s.From.Format(flow.Layout), s.To.Format(flow.Layout)
		}
		if f.Err != nil {
			line.Error, line.Hint = f.Err.Error(), fault.HintOf(f.Err)
		}
		a.printJSON(line)
		return
	}
	text := fmt.Sprintf("%s: sink %s: %s: %d of %d delivered", name, f.Sink, f.Path, f.Delivered, f.Records)
	if f.Rejected > 0 {
		text += fmt.Sprintf(", %d rejected again", f.Rejected)
	}
	if f.Left > 0 {
		text += fmt.Sprintf(", %d can't be sent again", f.Left)
	}
	if f.Why != "" {
		text += ": " + f.Why
	}
	if f.Err != nil {
		text += ": " + f.Err.Error()
		if hint := fault.HintOf(f.Err); hint != "" {
			text += "\n  " + hint
		}
	}
	_ = a.printText(text + "\n")
}
