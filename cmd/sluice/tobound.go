package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Whether a vendor's `to` is part of a range isn't documented. It shows where two ranges meet at the very time of a record: if the vendor
// includes `to`, the record is in both, and if it doesn't and the setting says that it does, in neither. Counts tell: those of the pieces
// against that of the whole. The search for such a record looks only whether a range has any.

const (
	// boundReads is the most slices that are asked for; boundTime how long that may take.
	boundReads = 64
	boundTime  = time.Minute
)

// boundFound is what `check --online` found out about to_bound.
type boundFound struct {
	Set   string `json:"set"`             // the setting
	Is    string `json:"is,omitempty"`    // what the vendor does; empty: it isn't known
	Why   string `json:"why,omitempty"`   // it isn't known
	Reads int    `json:"reads,omitempty"` // slices that were asked for
}

// Values of to_bound.
const (
	boundExclusive = "exclusive"
	boundInclusive = "inclusive"
)

func (b *boundFound) text() string {
	switch b.Is {
	case "":
		return b.Set + ", not found out: " + b.Why
	case b.Set:
		return fmt.Sprintf("%s, as the vendor has it (by %s)", b.Set, counted(uint64(b.Reads), "slice"))
	}
	return b.Is + " at the vendor, " + b.Set + " in the settings"
}

// wrong is the error of a setting that the vendor doesn't bear out.
func (b *boundFound) wrong() error {
	if b.Is == "" || b.Is == b.Set {
		return nil
	}
	what := "records at the very end of a slice come a second time with the next"
	if b.Set == boundInclusive {
		what = "records in the last millisecond of each slice are never read"
	}
	return fault.New(fault.Config, "to_bound", "set to_bound: "+b.Is+"; what was read before has the fault in it: `sluice forget` makes it a gap again",
		fmt.Errorf("the vendor's `to` is %s, and the setting says %s: %s", b.Is, b.Set, what))
}

// bounds finds out what the vendor makes of `to`, nil for a source that has no such setting or reads nothing that it is about. An error is one of the setting; what keeps
// it from being found out is said in the answer.
func (l *looker) bounds(ctx context.Context, p *assembled) (*boundFound, error) {
	set, err := boundSetting(ctx, p)
	if err != nil || set == "" || !slices.ContainsFunc(p.run.Partitions, func(part pipeline.Partition) bool { return cut(p.run.Streams[part.Stream]) }) {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, boundTime)
	defer cancel()
	found := &boundFound{Set: set}
	s := &boundSearch{config: p.run, src: source{p.first}}
	is, err := s.find(ctx, set)
	found.Reads, found.Is = s.reads, is
	if err != nil {
		found.Why = firstLine(err.Error())
	}
	return found, found.wrong()
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// boundSetting is the setting as the process has it, empty for a source without one.
func boundSetting(ctx context.Context, p *assembled) (string, error) {
	d, err := p.first.Describe(ctx)
	if err != nil {
		return "", err
	}
	var known settingSchema
	if err := json.Unmarshal(d.ConfigSchema, &known); err != nil || !known.has("to_bound") {
		return "", nil //nolint:nilerr // a schema that isn't read here was refused before
	}
	settings, _, err := p.config.Source.Config.Resolve(config.Environment{})
	if err != nil {
		return "", err
	}
	own := struct {
		ToBound string `json:"to_bound"`
	}{boundExclusive}
	if err := json.Unmarshal(settings, &own); err != nil {
		return "", err
	}
	return own.ToBound, nil
}

// boundSearch asks for slices until it knows.
type boundSearch struct {
	config pipeline.Config
	src    pipeline.Source
	reads  int
}

var (
	errNoRecords   = errors.New("the newest part of the range has no records")
	errManyReads   = fmt.Errorf("%d slices didn't tell", boundReads)
	errFilled      = errors.New("the budget is used up for now")
	errNotByCounts = errors.New("its counts don't fit together: records may be coming in still")
)

// step is the finest that ranges of a stream can be cut: one step is what to_bound is about.
func step(s pipeline.Stream) time.Duration { return max(s.Granularity, time.Millisecond) }

// cut says whether slices of a stream are cut so finely that to_bound decides what is read.
func cut(s pipeline.Stream) bool { return !s.Snapshot && step(s) <= time.Second }

func (b *boundSearch) find(ctx context.Context, set string) (string, error) {
	now := time.Now().UTC()
	if !b.config.HostClock {
		var err error
		if now, err = b.src.Now(ctx); err != nil {
			return "", err
		}
	}
	horizon := now.Add(-b.config.Lag).Truncate(time.Millisecond)
	v := previewer{config: b.config}
	asked := v.asked(horizon)
	for n := range previewRequests {
		for _, p := range b.config.Partitions {
			stream := b.config.Streams[p.Stream]
			windows := previewWindows(stream, stream.Asks(asked, horizon), now)
			if !cut(stream) || n >= len(windows) {
				continue
			}
			w := windows[n]
			if any, err := b.count(ctx, p.Partition, w, true); err != nil {
				return "", err
			} else if any == 0 {
				continue
			}
			return b.within(ctx, p.Partition, w, step(stream), set)
		}
	}
	return "", errNoRecords
}

// within looks for the first record of a window that has some, and counts around it.
func (b *boundSearch) within(ctx context.Context, p flow.Partition, w flow.Range, step time.Duration, set string) (string, error) {
	none, some := w.From, w.To // ranges from the window's begin to these have no record, and have one
	for width := max(time.Second, step); none.Add(width).Before(some); width *= 2 {
		at := none.Add(width)
		n, err := b.count(ctx, p, flow.Range{From: w.From, To: at}, true)
		if err != nil {
			return "", err
		}
		if n > 0 {
			some = at
			break
		}
		none = at
	}
	for some.Sub(none) > step {
		at := none.Add((some.Sub(none) / 2).Truncate(step))
		n, err := b.count(ctx, p, flow.Range{From: w.From, To: at}, true)
		if err != nil {
			return "", err
		}
		if n > 0 {
			some = at
		} else {
			none = at
		}
	}
	// Two steps before `some` up to one behind it, in the day.
	whole := flow.Range{From: some.Add(-2 * step), To: some.Add(step)}.Intersect(flow.Range{From: flow.Day(none), To: flow.Day(none).Add(24 * time.Hour)})
	all, err := b.count(ctx, p, whole, false)
	if err != nil {
		return "", err
	}
	pieces := uint64(0)
	for at := whole.From; at.Before(whole.To); at = at.Add(step) {
		n, err := b.count(ctx, p, flow.Range{From: at, To: at.Add(step)}, false)
		if err != nil {
			return "", err
		}
		pieces += n
	}
	switch {
	case all == 0:
		return "", errNotByCounts
	case pieces == all:
		return set, nil
	case pieces > all && set == boundExclusive:
		return boundInclusive, nil
	case pieces < all && set == boundInclusive:
		return boundExclusive, nil
	}
	return "", errNotByCounts
}

// count reads a range and counts its records; with any it is enough to know whether there is one.
func (b *boundSearch) count(ctx context.Context, p flow.Partition, r flow.Range, any bool) (n uint64, err error) {
	if b.reads == boundReads {
		return 0, errManyReads
	}
	b.reads++
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reader, err := b.src.Read(ctx, flow.NewSlice(p, r.From, r.To, 0), b.config.Window/int64(b.config.Parallel), func(until time.Time, why string) {
		if !until.IsZero() { // the run needs it more
			cancel(fmt.Errorf("%w: %s until %s", errFilled, why, until.UTC().Format("15:04:05")))
		}
	})
	if err != nil {
		return 0, errors.Join(context.Cause(ctx), err)
	}
	defer func() { _ = reader.Close() }()
	for {
		item, err := reader.Next(ctx)
		var cut *flow.Truncated
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case errors.As(err, &cut) && any && n > 0:
			return n, nil
		case err != nil:
			return 0, errors.Join(context.Cause(ctx), err)
		case item.Batch != nil:
			n += uint64(item.Batch.Records.NumRows())
		case item.Dead.Last:
			n++
		}
		reader.Release(item)
		if any && n > 0 {
			return n, nil
		}
	}
}
