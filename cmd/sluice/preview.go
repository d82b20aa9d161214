package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
)

// previewRequests is the most that a preview asks of the vendor.
const previewRequests = 12

func (a *app) previewCommand() *cobra.Command {
	var f selectors
	n := 10
	c := &cobra.Command{
		Use:   "preview [PIPELINE]",
		Short: "Print a few records; nothing is committed",
		Long: "preview reads from the newest end of the range until it has a few records, prints them as NDJSON and commits nothing.\n" +
			"It costs at least one request of the vendor's budget, so it needs the state: not while `sluice run` holds it.",
		Example: "  sluice preview -n 3\n  sluice preview prod --from 2026-11-01 --to 2026-11-02",
		Args:    atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.preview(ctx, args, f, n) })
		},
	}
	f.addRange(c)
	c.Flags().StringSliceVar(&f.streams, "stream", nil, "only these streams")
	c.Flags().IntVarP(&n, "records", "n", n, "how many records to print")
	return c
}

func (a *app) preview(ctx context.Context, names []string, f selectors, n int) (err error) {
	sel, err := f.selection()
	if err != nil {
		return err
	}
	if n < 1 {
		return usageError(fmt.Errorf("--records %d: want at least 1", n))
	}
	c, err := a.load()
	if err != nil {
		return err
	}
	chosen, err := chooseOne(c, names)
	if err != nil {
		return usageError(err)
	}
	defer keepPipeErrors()()
	h, err := a.openHost(ctx, c)
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	defer h.Close()
	p, err := h.assemble(ctx, chosen, sel, false)
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	v := &previewer{app: a, config: p.run, left: n}
	err = v.run(ctx)
	if e := p.Close(); err == nil {
		err = e
	}
	a.say("%s, %s to the vendor; nothing was committed", counted(uint64(n-v.left), "record"), counted(uint64(v.requests), "request"))
	if err == nil || isReaderGone(err) {
		return nil
	}
	err = asUsage(err)
	return &exitError{codeOf(err), err}
}

// previewer reads backwards from the newest end of a range.
type previewer struct {
	app      *app
	config   pipeline.Config
	left     int // records to print yet
	requests int
}

func (v *previewer) run(ctx context.Context) error {
	src, err := v.config.Start(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	now, err := v.now(ctx, src)
	if err != nil {
		return err
	}
	horizon := now.Add(-v.config.Lag).Truncate(time.Millisecond)
	asked := v.asked(horizon)
	if asked.Empty() {
		v.app.say("the range is empty: nothing of it is closed yet")
		return nil
	}
	windows := map[string][]flow.Range{}
	longest := 0
	for name, s := range v.config.Streams {
		windows[name] = previewWindows(s, s.Asks(asked, horizon), now)
		longest = max(longest, len(windows[name]))
	}
	// The newest of every partition first, then what lies before it.
	for n := range longest {
		for _, p := range v.config.Partitions {
			if n >= len(windows[p.Stream]) {
				continue
			}
			if v.left == 0 {
				return nil
			}
			window := windows[p.Stream][n]
			if v.requests == previewRequests {
				v.app.say("stopped after %d requests, at %s; --from and --to look elsewhere", v.requests, shortTime(window.To))
				return nil
			}
			if err := v.read(ctx, src, flow.NewSlice(p.Partition, window.From, window.To, 0)); err != nil {
				return err
			}
		}
	}
	v.explain(windows)
	return nil
}

// explain says of streams that were asked for nothing why that is so.
func (v *previewer) explain(windows map[string][]flow.Range) {
	told := map[string]bool{}
	for _, p := range v.config.Partitions {
		if told[p.Stream] || len(windows[p.Stream]) > 0 {
			continue
		}
		told[p.Stream] = true
		switch s := v.config.Streams[p.Stream]; {
		case s.Snapshot:
			v.app.say("%s: a snapshot tells what is now, and the range doesn't hold today's", p.Stream)
		case s.Settle > 0:
			v.app.say("%s: nothing of the range has settled yet: that takes %s and the lag", p.Stream, shortDuration(s.Settle))
		default:
			v.app.say("%s: the range holds no whole %s yet", p.Stream, shortDuration(s.Granularity))
		}
	}
}

// now is the vendor's.
func (v *previewer) now(ctx context.Context, src pipeline.Source) (time.Time, error) {
	if v.config.HostClock {
		return time.Now().UTC(), nil
	}
	now, err := src.Now(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("vendor's clock: %w", err)
	}
	return now.UTC(), nil
}

// asked is the asked range up to the horizon.
func (v *previewer) asked(horizon time.Time) flow.Range {
	r := flow.Range{From: v.config.From, To: horizon}
	if !v.config.To.IsZero() && v.config.To.Before(r.To) {
		r.To = v.config.To
	}
	if v.config.Last > 0 {
		r.From = r.To.Add(-v.config.Last)
	}
	return r
}

// previewWindows cuts what is asked of a stream into windows that grow backwards from its end, none across a UTC day: an hour, four,
// sixteen, then days, all of them whole multiples of the stream's granularity. Of snapshots only today's can be had.
func previewWindows(s pipeline.Stream, asks flow.Ranges, now time.Time) []flow.Range {
	var out []flow.Range
	if s.Snapshot {
		if n := len(asks); n > 0 && !asks[n-1].From.Before(flow.Day(now)) {
			out = append(out, asks[n-1])
		}
		return out
	}
	for _, r := range slices.Backward(asks) {
		width := time.Hour
		if g := s.Granularity; g > 0 {
			width = (width + g - 1).Truncate(g)
		}
		for to := r.To; to.After(r.From) && len(out) <= previewRequests; width = min(4*width, 24*time.Hour) {
			from := to.Add(-width)
			if day := flow.Day(to.Add(-time.Millisecond)); from.Before(day) {
				from = day
			}
			if from.Before(r.From) {
				from = r.From
			}
			out = append(out, flow.Range{From: from, To: to})
			to = from
		}
	}
	return out
}

// read prints what it needs of one slice and gives the rest up.
func (v *previewer) read(ctx context.Context, src pipeline.Source, s flow.Slice) (err error) {
	v.requests++
	r, err := src.Read(ctx, s, v.config.Window/int64(v.config.Parallel), func(until time.Time, why string) {
		if !until.IsZero() {
			v.app.log.logger.Info("waits until " + until.UTC().Format("15:04:05") + ": " + why)
		}
	})
	if err != nil {
		return v.cutShort(fmt.Errorf("%s: %w", s, err))
	}
	defer func() {
		if e := r.Close(); err == nil && v.left > 0 {
			err = e
		}
	}()
	enc, err := encode.New(encode.NDJSON, r.Schema())
	if err != nil {
		return err
	}
	for v.left > 0 {
		item, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return v.cutShort(fmt.Errorf("%s: %w", s, err))
		}
		err = v.print(enc, item)
		r.Release(item)
		if err != nil {
			return err
		}
	}
	return nil
}

// cutShort lets a read that met the vendor's cap be enough: a preview needs no complete slice. What the vendor no longer has is
// told, and doesn't end the preview.
func (v *previewer) cutShort(err error) error {
	var truncated *flow.Truncated
	switch kind := fault.KindOf(err); {
	case errors.As(err, &truncated), kind == fault.NotYet:
		return nil
	case kind == fault.Unavailable:
		v.app.say("unavailable: %s", err)
		return nil
	}
	return err
}

func (v *previewer) print(enc encode.Encoder, item flow.Item) error {
	if item.Dead != nil {
		if item.Dead.Last {
			v.app.say("a record would become a dead letter: %s", item.Dead.Reason)
		}
		return nil
	}
	rec := item.Batch.Records
	if rows := int64(v.left); rec.NumRows() > rows {
		rec = rec.NewSlice(0, rows)
		defer rec.Release()
	}
	var buf []byte
	for row := 0; row < int(rec.NumRows()); {
		var err error
		if buf, row, err = enc.Append(buf[:0], rec, row, 256<<10); err != nil {
			return err
		}
		if _, err := v.app.stdout.Write(buf); err != nil {
			return err
		}
	}
	v.left -= int(rec.NumRows())
	return nil
}
