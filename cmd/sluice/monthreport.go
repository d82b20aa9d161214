package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/report"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// reportFlags are the flags of report.
type reportFlags struct {
	month  string
	html   bool
	output string
}

func (a *app) reportCommand() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report --month YYYY-MM [PIPELINE...]",
		Short: "Write the account of a month",
		Long: "report says for each log and sink what of a month (UTC) was asked, covered, missing and unavailable, what was delivered with\n" +
			"its digest, what the vendor says of it, what came late or couldn't be delivered, and by which versions. It reads the ledger,\n" +
			"beside a run or without one. The same ledger gives the same bytes: a report is \"as of\" the ledger's latest entry.\n\n" +
			"It is Markdown; --html makes one page that holds all it needs, --json one object.",
		Example: "  sluice report --month 2026-10\n  sluice report --month 2026-10 --html -o october.html prod",
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.monthReport(ctx, args, f) })
		},
	}
	c.Flags().StringVar(&f.month, "month", "", "the month, such as 2026-10")
	c.Flags().BoolVar(&f.html, "html", false, "write one HTML page instead of Markdown")
	c.Flags().StringVarP(&f.output, "output", "o", "", "write to this file instead of stdout")
	return c
}

func (a *app) monthReport(ctx context.Context, names []string, f reportFlags) error {
	month, err := parseMonth(f.month)
	if err != nil {
		return usageError(err)
	}
	if f.html && a.json {
		return usageError(errors.New("--html and --json exclude each other"))
	}
	c, err := a.load()
	if err != nil {
		return err
	}
	chosen, err := choosePipelines(c, names)
	if err != nil {
		return usageError(err)
	}
	l, err := ledger.OpenReadOnly(ctx, c.State)
	if errors.Is(err, ledger.ErrNoLedger) {
		return failedError(fault.New(fault.Config, "", "`sluice run` makes one; `sluice ledger rebuild` makes it anew from what the sinks hold", err))
	}
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	defer l.Close()
	var inputs []report.Input
	for _, p := range chosen {
		in, err := reportInput(ctx, l, c, p)
		if err != nil {
			return failedError(fmt.Errorf("%s: %w", p.Name, err))
		}
		inputs = append(inputs, in)
	}
	r, err := report.Build(ctx, l, month, inputs)
	if err != nil {
		return failedError(err)
	}
	return a.writeReport(r, f)
}

func parseMonth(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, errors.New("--month is missing: want the month, such as --month 2026-10")
	}
	month, err := time.Parse("2006-01", text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--month %q: want a year and a month, such as 2026-10", text)
	}
	return month, nil
}

// reportInput is what the config and earlier runs say of a pipeline.
func reportInput(ctx context.Context, l *ledger.Ledger, c *config.Config, p *config.Pipeline) (report.Input, error) {
	in := report.Input{Name: p.Name, Source: p.Source.Type, Lag: p.Lag}
	if p.Range.Last == 0 {
		in.Range.From = p.Range.From
		if p.Range.To != nil {
			in.Range.To = p.Range.To.UTC()
		}
	}
	runs, err := l.LastRuns(ctx, p.Name, mostRuns)
	if err != nil {
		return in, err
	}
	summaries := summariesOf(runs)
	for _, s := range summaries {
		from, e1 := time.Parse(flow.Layout, s.From)
		to, e2 := time.Parse(flow.Layout, s.To)
		if e1 == nil && e2 == nil && from.Before(to) {
			in.Asked = append(in.Asked, flow.Range{From: from, To: to})
		}
	}
	known, err := l.Asked(ctx, p.Name)
	if err != nil {
		return in, err
	}
	for _, k := range known {
		in.Logs = append(in.Logs, report.NamedLog{Partition: k.Partition, Name: k.Name})
		if to := k.At.Add(-p.Lag); p.Range.Last > 0 { // its last start asked for this, though it may never have ended
			in.Asked = append(in.Asked, flow.Range{From: to.Add(-p.Range.Last), To: to})
		}
	}
	streams := streamsOf(p, summaries, control.Snapshot{}, known)
	in.Asks = func(stream string, r flow.Range, horizon time.Time) flow.Ranges {
		return streams[stream].Asks(r, horizon)
	}
	in.Snapshot = func(stream string) bool { return streams[stream].Snapshot }
	for _, s := range p.Sinks {
		d, err := sinkDefinition(s.Type)
		if err != nil {
			return in, err
		}
		one := report.InputSink{
			Name: s.Name, Type: s.Type, Promise: d.Promise,
			Takes: func(stream string) bool { return !d.OneRun && slices.Contains(p.Streams, stream) && s.Takes(stream) },
		}
		info, known, err := knownSink(ctx, l, c, p, s)
		if err != nil {
			return in, err
		}
		if known {
			one.Identity, one.Location = info.Identity, info.Location
		}
		in.Sinks = append(in.Sinks, one)
	}
	return in, nil
}

// mostRuns is more than the ledger keeps.
const mostRuns = 1 << 20

// writeReport prints a report, or puts it in a file's place.
func (a *app) writeReport(r *report.Report, f reportFlags) error {
	var b bytes.Buffer
	var err error
	switch {
	case a.json:
		err = writeJSON(&b, r)
	case f.html:
		err = r.WriteHTML(&b)
	default:
		err = r.WriteText(&b)
	}
	if err != nil {
		return failedError(err)
	}
	text := a.log.redactor.Redact(b.String())
	if f.output == "" {
		return a.printText(text)
	}
	if err := replaceFile(f.output, []byte(text), 0o666); err != nil {
		return failedError(fmt.Errorf("write the report: %w", err))
	}
	a.say("%s", f.output)
	return nil
}

func writeJSON(w io.Writer, r *report.Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}
