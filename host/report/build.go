package report

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/reconcile"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Input is a pipeline as the config has it.
type Input struct {
	Name, Source string
	// Range is what the config asks for; a zero From, that it asks for a time back from each run; a zero To, for all that is closed.
	Range flow.Range
	Lag   time.Duration
	// Asks returns what of a range is asked of a stream when what is closed ends at a horizon.
	Asks func(stream string, r flow.Range, horizon time.Time) flow.Ranges
	// Snapshot reports whether a stream holds what is now.
	Snapshot func(stream string) bool
	Sinks    []InputSink
	// Logs are what the ledger may hold nothing of and is asked for all the same, and what logs are called; nil: not known.
	Logs []NamedLog
	// Asked are the ranges that runs asked for.
	Asked []flow.Range
}

// NamedLog is a partition with what people call it.
type NamedLog struct {
	flow.Partition
	Name string
}

// InputSink is a sink of a pipeline. Its Identity is empty if the ledger doesn't know it.
type InputSink struct {
	Name, Type, Promise, Identity, Location string
	Takes                                   func(stream string) bool // whether it is given a stream, and keeps it; nil: it is
}

func (s InputSink) takes(stream string) bool { return s.Takes == nil || s.Takes(stream) }

// steady is how often a report is made anew because a running host wrote meanwhile.
const steady = 5

// Build makes the report of a month, which begins at its first day's midnight. When a host writes meanwhile it is made anew a few times, so
// that it is of one moment.
func Build(ctx context.Context, l *ledger.Ledger, month time.Time, pipelines []Input) (*Report, error) {
	for try := 1; ; try++ {
		before, err := l.Latest(ctx)
		if err != nil {
			return nil, err
		}
		r, err := build(ctx, l, month, before, pipelines)
		if err != nil {
			return nil, err
		}
		after, err := l.Latest(ctx)
		if err != nil {
			return nil, err
		}
		if after.Equal(before) || try == steady {
			return r, nil
		}
	}
}

func build(ctx context.Context, l *ledger.Ledger, month, asOf time.Time, pipelines []Input) (*Report, error) {
	span := flow.Range{From: month, To: month.AddDate(0, 1, 0)}
	r := &Report{
		V: 1, TS: stamp(asOf), Event: "report", Month: month.Format("2006-01"), From: stamp(span.From), To: stamp(span.To),
		AsOf: stamp(asOf), Over: !asOf.Before(span.To), Pipelines: []Pipeline{},
	}
	for _, in := range pipelines {
		b := &builder{ledger: l, in: in, month: span, asOf: asOf}
		p, err := b.pipeline(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.Name, err)
		}
		for _, s := range p.Sinks {
			r.Totals.add(s.Totals)
		}
		r.Pipelines = append(r.Pipelines, p)
	}
	return r, nil
}

// builder makes the account of one pipeline.
type builder struct {
	ledger *ledger.Ledger
	in     Input
	month  flow.Range
	asOf   time.Time
	closed time.Time // what was closed when the ledger was last written
	begins time.Time // the first commit of the month's slices
	ends   time.Time // the last one
}

// held is what the ledger holds of a partition in a sink.
type held struct {
	covered  flow.Ranges
	receipts []sinks.Receipt // of the month
	late     map[flow.SliceID]time.Time
}

func (b *builder) pipeline(ctx context.Context) (Pipeline, error) {
	p := Pipeline{Name: b.in.Name, Source: b.in.Source, Versions: []Version{}, Sinks: []Sink{}}
	runs, err := b.ledger.LastRuns(ctx, b.in.Name, allRuns)
	if err != nil {
		return p, err
	}
	for _, r := range runs {
		if !r.End.Before(b.month.From) && r.End.Before(b.month.To) {
			p.Runs.Ended++
			if r.Exit != 0 {
				p.Runs.Failed++
			}
		}
	}
	// What was asked is decided by all sinks: where one was left behind, the others show what it lacks.
	all := map[string]map[flow.Partition]held{}
	var partitions []flow.Partition
	for _, log := range b.in.Logs {
		partitions = append(partitions, log.Partition)
	}
	var known flow.Ranges
	for _, s := range b.in.Sinks {
		all[s.Name] = map[flow.Partition]held{}
		if s.Identity == "" {
			continue
		}
		of, err := b.ledger.Partitions(ctx, s.Identity)
		if err != nil {
			return p, err
		}
		for _, part := range of {
			h, err := b.held(ctx, s.Identity, part)
			if err != nil {
				return p, err
			}
			all[s.Name][part] = h
			known = known.Union(h.covered)
			partitions = append(partitions, part)
		}
	}
	partitions = inOrder(partitions)
	asked := b.asked(known)
	for _, s := range b.in.Sinks {
		one := Sink{Name: s.Name, Type: s.Type, Promise: s.Promise, Identity: s.Identity, Location: s.Location, Known: s.Identity != "", Logs: []Log{}}
		for _, part := range partitions {
			log, err := b.log(ctx, s, part, all[s.Name][part], asked)
			if err != nil {
				return p, err
			}
			if log == nil {
				continue
			}
			one.Totals.add(log.totals())
			one.Logs = append(one.Logs, *log)
		}
		p.Sinks = append(p.Sinks, one)
	}
	p.Versions, err = b.versions(ctx)
	return p, err
}

// allRuns is more than the ledger keeps.
const allRuns = 1 << 20

func inOrder(all []flow.Partition) []flow.Partition {
	slices.SortFunc(all, comparePartitions)
	return slices.Compact(all)
}

func comparePartitions(a, b flow.Partition) int {
	for _, c := range []int{cmpText(a.Stream, b.Stream), cmpText(a.Key, b.Key), cmpText(a.Selection.String(), b.Selection.String())} {
		if c != 0 {
			return c
		}
	}
	return 0
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (b *builder) held(ctx context.Context, sink string, p flow.Partition) (held, error) {
	covered, err := b.ledger.Coverage(ctx, sink, p)
	if err != nil {
		return held{}, err
	}
	all, err := b.ledger.Committed(ctx, sink, p)
	if err != nil {
		return held{}, err
	}
	h := held{covered: covered}
	for _, r := range all {
		if b.month.Contains(r.Slice.Range()) {
			h.receipts = append(h.receipts, r)
			if b.begins.IsZero() || r.At.Before(b.begins) {
				b.begins = r.At
			}
			if r.At.After(b.ends) {
				b.ends = r.At
			}
		}
	}
	known, err := reconcile.Known(ctx, b.ledger, sink, p, b.month)
	if err != nil {
		return held{}, err
	}
	h.late = reconcile.Late(h.receipts, known)
	return h, nil
}

// asked is what was asked for, by the config up to what was closed when the ledger was last written, and by runs whose flags said
// otherwise. What is covered was asked for.
func (b *builder) asked(covered flow.Ranges) flow.Ranges {
	asked := covered.Union(flow.NewRanges(b.in.Asked...))
	b.closed = b.asOf.Add(-b.in.Lag)
	if n := len(asked); n > 0 && asked[n-1].To.After(b.closed) {
		b.closed = asked[n-1].To
	}
	if !b.in.Range.From.IsZero() {
		r := flow.Range{From: b.in.Range.From, To: b.closed}
		if to := b.in.Range.To; !to.IsZero() && to.Before(r.To) {
			r.To = to
		}
		asked = asked.Add(r)
	}
	return asked.Intersect(flow.NewRanges(b.month))
}

// versions are those that were at work while the month's slices were committed.
func (b *builder) versions(ctx context.Context) ([]Version, error) {
	all, err := b.ledger.Versions(ctx, b.in.Name)
	if err != nil {
		return nil, err
	}
	out := []Version{}
	for i, v := range all {
		over := i+1 < len(all) && !all[i+1].Since.After(b.begins)
		if b.begins.IsZero() || over || v.Since.After(b.ends) {
			continue
		}
		out = append(out, Version{stamp(v.Since), v.Sluice, v.Source, v.SourceVersion})
	}
	return out, nil
}

// log makes the account of a partition in a sink; nil if nothing of the month was asked of it.
func (b *builder) log(ctx context.Context, s InputSink, p flow.Partition, h held, asked flow.Ranges) (*Log, error) {
	log := &Log{Stream: p.Stream, Partition: p.Key, Name: b.name(p), Selection: p.Selection.String(), Snapshot: b.in.Snapshot(p.Stream)}
	var want flow.Ranges
	if b.isAsked(p) && s.takes(p.Stream) {
		for _, r := range asked {
			want = want.Union(b.in.Asks(p.Stream, r, b.closed))
		}
	}
	month := flow.NewRanges(b.month)
	covered := h.covered.Intersect(month)
	want = want.Union(covered).Intersect(month)
	if len(want) == 0 && len(h.receipts) == 0 {
		return nil, nil
	}
	gone, err := b.ledger.Unavailable(ctx, p)
	if err != nil {
		return nil, err
	}
	var lost flow.Ranges
	for _, g := range gone {
		if met := flow.NewRanges(g.Range).Intersect(want).Minus(covered); len(met) > 0 {
			lost = lost.Union(met)
			for _, r := range met {
				log.Gone = append(log.Gone, Gone{spanOf(r), g.Reason, stamp(g.At)})
			}
		}
	}
	missing := want.Minus(covered).Minus(lost)
	for _, r := range missing {
		log.Gaps = append(log.Gaps, spanOf(r))
	}
	log.Asked, log.Covered = want.Duration().Milliseconds(), covered.Duration().Milliseconds()
	log.Missing, log.Unavailable = missing.Duration().Milliseconds(), lost.Duration().Milliseconds()
	sums(log, h)
	if err := b.failures(ctx, log, s, p); err != nil {
		return nil, err
	}
	return log, b.usage(ctx, log, p, h)
}

// isAsked reports whether a partition is still asked for: one of before the settings changed is complete with what it has.
func (b *builder) isAsked(p flow.Partition) bool {
	return len(b.in.Logs) == 0 || slices.ContainsFunc(b.in.Logs, func(l NamedLog) bool { return l.Partition == p })
}

func (b *builder) name(p flow.Partition) string {
	for _, log := range b.in.Logs {
		if log.Partition == p {
			return log.Name
		}
	}
	return ""
}

// sums adds up what was committed, all revisions.
func sums(log *Log, h held) {
	var delivered, dead flow.Sum
	var first, last time.Time
	for _, r := range h.receipts {
		log.Slices++
		delivered = delivered.Plus(r.Delivered)
		_, late := h.late[r.Slice.ID]
		switch {
		case late:
			log.Late.Revisions++
			log.Late.Rows += r.Delivered.Rows + r.Dead.Rows
			log.Late.Bytes += r.Delivered.Bytes + r.Dead.Bytes
			dead = dead.Plus(r.Dead)
		case r.Slice.Rev == 0:
			dead = dead.Plus(r.Dead)
		default: // dead letters that were sent again: what stays dead of them was counted before
			log.Dead.Resent += r.Delivered.Rows
		}
		if first.IsZero() || r.At.Before(first) {
			first = r.At
		}
		if r.At.After(last) {
			last = r.At
		}
	}
	log.Rows, log.Bytes, log.Digest = delivered.Rows, delivered.Bytes, delivered.Digest.String()
	log.Dead.Rows, log.Dead.Bytes = dead.Rows, dead.Bytes
	if dead.Rows > 0 {
		log.Dead.Digest = dead.Digest.String()
	}
	log.FirstCommit, log.LastCommit = stamp(first), stamp(last)
}

func (b *builder) failures(ctx context.Context, log *Log, s InputSink, p flow.Partition) error {
	if s.Identity == "" {
		return nil
	}
	cuts, err := b.ledger.Cuts(ctx, s.Identity, p)
	if err != nil {
		return err
	}
	for _, c := range cuts {
		if (c.State == ledger.Failed || c.State == ledger.Quarantined) && c.Range().Meets(b.month) {
			log.Failures = append(log.Failures, Failure{
				Span: spanOf(c.Range()), Slice: c.ID.String(), Quarantined: c.State == ledger.Quarantined, Attempts: c.Attempts,
				Kind: c.Kind.String(), Error: c.Error, Hint: c.Hint,
			})
		}
	}
	return nil
}

// usage puts the vendor's figures of the month beside what was delivered.
func (b *builder) usage(ctx context.Context, log *Log, p flow.Partition, h held) error {
	measures, err := b.ledger.Measures(ctx, p, b.month)
	if err != nil {
		return err
	}
	result := reconcile.Judge(reconcile.Days(reconcile.Entries(h.receipts, h.late), h.covered, measures))
	u := &Usage{Unit: result.Unit, Ratio: result.Ratio, Overhead: result.Overhead, RatioDays: result.Days, Tolerance: result.Tolerance}
	for _, j := range result.Judged {
		figure, had := u.Unit.Of(j)
		if figure < 0 {
			continue
		}
		u.DaysTold++
		u.Figure += figure
		u.Delivered += had
		switch {
		case j.Verdict.Flagged():
			u.Flagged = append(u.Flagged, FlaggedDay{j.Day.Day.Format(time.DateOnly), j.Verdict, figure, had, j.Expected})
		case j.Verdict == reconcile.Agrees:
			u.Agree++
		default:
			u.Unjudged++
		}
	}
	if u.DaysTold > 0 {
		log.Usage = u
	}
	return nil
}
