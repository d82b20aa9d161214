package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/host/verify"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// kindDrift is a finding: the vendor has other records now than were committed.
const kindDrift sinks.FindingKind = "drift"

// gone is what `verify --drift` says of what the vendor no longer has.
const gone = "unavailable"

// comparedLine is a line of `verify --json` with --sample or --drift.
type comparedLine struct {
	V         int      `json:"v"`
	TS        string   `json:"ts"`
	Event     string   `json:"event"` // "compared"
	Pipeline  string   `json:"pipeline"`
	Sink      string   `json:"sink"`
	Stream    string   `json:"stream"`
	Partition string   `json:"partition"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	Verdict   string   `json:"verdict"` // same, more, fewer, others, unavailable
	Rows      uint64   `json:"rows"`    // more or fewer
	Vendor    flow.Sum `json:"vendor"`
	Holds     flow.Sum `json:"holds"`
	Why       string   `json:"why,omitempty"` // of what is unavailable
}

// drifter compares what sinks hold with what the vendor has now.
type drifter struct {
	*verification
	p      *assembled
	vendor verify.Vendor

	srcMu sync.Mutex
	src   pipeline.Source

	mu    sync.Mutex // of what follows, and of printing
	table map[string]map[string]int
	order []string // sinks
}

// unit is a range that is compared for each sink that has it.
type unit struct {
	partition flow.Partition
	of        flow.Range
	spans     []heldSpan
}

type heldSpan struct {
	sink string
	open sinks.Sink // nil: it can't be read back
	verify.Span
}

// drift compares one pipeline with its vendor.
func (v *verification) drift(ctx context.Context, h *host, c *config.Pipeline) (err error) {
	p, err := h.assemble(ctx, c, selection{streams: v.sel.streams}, false)
	if err != nil {
		return err
	}
	d := &drifter{verification: v, p: p, table: map[string]map[string]int{}}
	d.vendor = verify.Vendor{
		Source: d.source, Share: c.Flow.Window / int64(c.Flow.Parallel), Tries: c.Retry.Attempts,
		Backoff: func(n int) time.Duration { return min(time.Second<<min(n-1, 16), c.Retry.MaxBackoff) },
		Waiting: func(until time.Time, why string) {
			if !until.IsZero() {
				v.log.logger.Info("waits until " + until.UTC().Format("15:04:05") + ": " + why)
			}
		},
	}
	var opened []sinks.Sink
	defer func() {
		for _, k := range opened {
			err = errors.Join(err, k.Close())
		}
		if d.src != nil {
			err = errors.Join(err, d.src.Close())
		}
		err = errors.Join(err, p.Close())
	}()
	units := map[string]*unit{}
	for _, s := range c.Sinks {
		if !chosen(v.sel.sinks, s.Name) {
			continue
		}
		sink, err := d.add(ctx, h, s, units)
		if sink != nil {
			opened = append(opened, sink)
		}
		if err != nil {
			return err
		}
	}
	all := d.choose(units)
	if len(all) == 0 {
		v.say("%s: nothing is committed that could be compared", c.Name)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.Flow.Parallel)
	for _, u := range all {
		g.Go(func() error { return d.compare(ctx, u) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return d.print()
}

// source returns the running plugin; one that has ended is replaced.
func (d *drifter) source(ctx context.Context) (pipeline.Source, error) {
	d.srcMu.Lock()
	defer d.srcMu.Unlock()
	if d.src != nil {
		select {
		case <-d.src.Done():
			_ = d.src.Close()
			d.src = nil
		default:
			return d.src, nil
		}
	}
	src, err := d.p.run.Start(ctx)
	if err == nil {
		d.src = src
	}
	return src, err
}

// add adds what a sink holds of the partitions that the pipeline reads.
func (d *drifter) add(ctx context.Context, h *host, s config.Sink, units map[string]*unit) (sinks.Sink, error) {
	definition, err := sinkDefinition(s.Type)
	if err != nil {
		return nil, err
	}
	streams := takenBy(s, d.p.streams)
	if len(streams) == 0 {
		return nil, nil
	}
	known, _, err := knownSink(ctx, h.ledger, h.config, d.p.config, s)
	if err != nil {
		return nil, err
	}
	c, err := h.sinkConfig(d.p.config, s, streams)
	if err != nil {
		return nil, err
	}
	c.ReadOnly = true
	var sink sinks.Sink
	if canAudit(definition) {
		if sink, err = definition.Open(ctx, c); err != nil && !errors.Is(err, sinks.ErrAbsent) {
			return nil, sinkOpenError(s.Name, err)
		}
		if sink != nil && !verify.Auditable(sink) {
			err = sink.Close()
			sink = nil
		}
		if err != nil && !errors.Is(err, sinks.ErrAbsent) {
			return nil, err
		}
	}
	d.table[s.Name], d.order = map[string]int{}, append(d.order, s.Name)
	for _, p := range d.p.run.Partitions {
		if !s.Takes(p.Stream) || d.p.run.Streams[p.Stream].Snapshot {
			continue // what a snapshot told can't be asked for again
		}
		var receipts []sinks.Receipt
		if sink != nil {
			receipts, err = verify.Standing(ctx, sink.(sinks.Memory), p.Partition, flow.Range{})
		} else {
			receipts, err = h.ledger.Committed(ctx, known.Identity, p.Partition)
		}
		if err != nil {
			return sink, err
		}
		for _, span := range verify.Spans(receipts) {
			r := span.Range()
			if !d.asked.Empty() && !d.asked.Meets(r) {
				continue
			}
			key := p.Partition.String() + r.String()
			if units[key] == nil {
				units[key] = &unit{partition: p.Partition, of: r}
			}
			units[key].spans = append(units[key].spans, heldSpan{s.Name, sink, span})
		}
	}
	return sink, nil
}

// choose returns all units in order, or with --sample a few of them by chance.
func (d *drifter) choose(units map[string]*unit) []*unit {
	all := make([]*unit, 0, len(units))
	for _, u := range units {
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b *unit) int {
		if c := a.of.From.Compare(b.of.From); c != 0 {
			return c
		}
		if c := a.of.To.Compare(b.of.To); c != 0 {
			return c
		}
		return slices.Compare([]string{a.partition.String()}, []string{b.partition.String()})
	})
	if d.sample == 0 || d.sample >= len(all) {
		return all
	}
	rnd := rand.New(rand.NewPCG(d.seed, 0))
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	d.say("%s: %d of %s, drawn by --seed %d", d.p.config.Name, d.sample, counted(uint64(len(all)), "slice"), d.seed)
	return all[:d.sample]
}

// compare reads one range from the vendor and from each sink.
func (d *drifter) compare(ctx context.Context, u *unit) error {
	var vendor flow.Sum
	why := ""
	for _, s := range u.spans[0].Slices() {
		sum, err := d.vendor.Sum(ctx, s)
		if fault.KindOf(err) == fault.Unavailable {
			why = err.Error()
			break
		}
		if err != nil {
			return err
		}
		vendor = vendor.Plus(sum)
	}
	for _, span := range u.spans {
		if err := d.readBack(ctx, span); err != nil {
			return err
		}
		verdict, rows := gone, uint64(0)
		if why == "" {
			verdict, rows = span.Compare(vendor)
		}
		if err := d.tell(u, span, verdict, rows, vendor, why); err != nil {
			return err
		}
	}
	return nil
}

// readBack proves that the sink holds what its receipts say.
func (d *drifter) readBack(ctx context.Context, span heldSpan) error {
	if span.open == nil {
		return nil
	}
	for _, r := range span.Receipts {
		found, err := span.open.(sinks.Auditor).Audit(ctx, r, func(flow.Sum) error { return nil })
		var inexact *sinks.InexactError
		if err != nil && !errors.As(err, &inexact) {
			return err
		}
		for _, f := range found {
			if err := d.finding(span.sink, verify.Finding{Finding: f, Slice: r.Slice}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *drifter) finding(sink string, f verify.Finding) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.findings++
	return d.printFinding(d.p.config.Name, sink, f)
}

// tell prints what came of comparing one range with one sink.
func (d *drifter) tell(u *unit, span heldSpan, verdict string, rows uint64, vendor flow.Sum, why string) error {
	d.mu.Lock()
	d.table[span.sink][verdict]++
	if d.json {
		d.printJSON(comparedLine{
			V: 1, TS: stamp(time.Now()), Event: "compared", Pipeline: d.p.config.Name, Sink: span.sink, Stream: u.partition.Stream,
			Partition: u.partition.Key, From: u.of.From.Format(flow.Layout), To: u.of.To.Format(flow.Layout), Verdict: verdict, Rows: rows,
			Vendor: vendor, Holds: span.Holds(), Why: d.log.redactor.Redact(why),
		})
	}
	d.mu.Unlock()
	if verdict == verify.Same || verdict == gone {
		return nil
	}
	what, hint := verify.Drift(verdict, rows)
	holds := span.Holds()
	what += fmt.Sprintf(" (%d rows, %d bytes; the sink was given %d rows, %d bytes)", vendor.Rows, vendor.Bytes, holds.Rows, holds.Bytes)
	return d.finding(span.sink, verify.Finding{
		Finding: sinks.Finding{Kind: kindDrift, Path: fmt.Sprintf("%s %s", u.partition, u.of), What: what, Hint: hint},
		Slice:   span.Slices()[0],
	})
}

// print prints the table of the pipeline's sinks.
func (d *drifter) print() error {
	if d.json {
		return nil
	}
	verdicts := []string{verify.Same, verify.More, verify.Fewer, verify.Others, gone}
	rows := [][]string{{"SINK", "COMPARED", "SAME", "MORE", "FEWER", "OTHERS", "UNAVAILABLE"}}
	for _, name := range d.order {
		total := 0
		row := []string{d.p.config.Name + "/" + name, ""}
		for _, verdict := range verdicts {
			total += d.table[name][verdict]
			row = append(row, grouped(uint64(d.table[name][verdict])))
		}
		row[1] = grouped(uint64(total))
		rows = append(rows, row)
	}
	return d.printTable(rows)
}
