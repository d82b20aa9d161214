package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// healSink brings the ledger up to what a sink with a memory holds, of every partition. It only ever adds:
// a commit that the ledger holds and the sink lacks stops the pipeline, because then either the sink lost data or it is
// another one.
func (r *run) healSink(ctx context.Context, s *Sink, asked flow.Range) error {
	if _, ok := s.Sink.(sinks.Memory); !ok {
		return nil
	}
	healed := 0
	for _, p := range r.cfg.Partitions {
		if !s.takes(p.Stream) {
			continue
		}
		n, err := r.healPartition(ctx, s, p.Partition, asked)
		if err != nil {
			return err
		}
		healed += n
	}
	if healed > 0 {
		noun := "commits"
		if healed == 1 {
			noun = "commit"
		}
		r.observe(Event{Kind: Healed, Sinks: []string{s.Name}, Message: fmt.Sprintf("recorded %d %s that the sink holds and the ledger lacked", healed, noun)})
	}
	return nil
}

// healPartition records what one sink holds of a partition beyond the last entry that the ledger knows of each day.
func (r *run) healPartition(ctx context.Context, s *Sink, p flow.Partition, asked flow.Range) (int, error) {
	l := r.cfg.Ledger
	days, err := l.KnownDays(ctx, s.Identity(), p)
	if err != nil {
		return 0, err
	}
	seen := make(map[int64]bool, len(days))
	last := make(map[int64]ledger.KnownDay, len(days))
	span := flow.Range{From: flow.Day(asked.From), To: flow.Day(asked.To).Add(24 * time.Hour)}
	for _, k := range days {
		last[k.Day.UnixMilli()] = k
		span.From, span.To = earlier(span.From, k.Day), later(span.To, k.Day.Add(24*time.Hour))
	}
	// The last known entry is asked for again: entries are numbered without gaps, so that it is still there proves that
	// nothing before it was lost. A day of which an earlier entry isn't known is read from its start.
	after := func(day time.Time) uint64 {
		if k := last[day.UnixMilli()]; k.Dense {
			return k.Last - 1
		}
		return 0
	}
	healed := 0
	var batch []sinks.Receipt
	record := func() error {
		err := l.RecordAll(ctx, s.Identity(), batch)
		if err == nil {
			healed += len(batch)
		}
		batch = batch[:0]
		return err
	}
	err = s.committed(ctx, flow.Gap{Partition: p, From: span.From, To: span.To}, after, func(receipt sinks.Receipt) error {
		day := receipt.Slice.Day().UnixMilli()
		if k, ok := last[day]; ok && receipt.Entry == k.Last {
			if receipt.Slice.ID != k.Slice {
				return lostEntry(s, p, k)
			}
			seen[day] = true
			return nil
		}
		if batch = append(batch, receipt); len(batch) < healBatch {
			return nil
		}
		return record()
	})
	if err != nil {
		return healed, err
	}
	if err := record(); err != nil {
		return healed, err
	}
	for day, k := range last {
		if !seen[day] {
			return healed, lostEntry(s, p, k)
		}
	}
	return healed, nil
}

// committed calls each with what a sink with a memory holds, until it returns an error. It is asked before any slice is at work, when
// nothing else would turn a panic of the sink into an error.
func (s *Sink) committed(ctx context.Context, g flow.Gap, after func(day time.Time) uint64, each func(sinks.Receipt) error) error {
	const op = "read its commit log"
	var own error // of each: it isn't the sink's
	err := guard(s.Name, op, func() error {
		for receipt, err := range s.Sink.(sinks.Memory).Committed(ctx, g, after) {
			if err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
			if own = each(receipt); own != nil {
				return nil
			}
		}
		return nil
	})
	if own != nil {
		return own
	}
	return err
}

// healBatch is how many receipts are recorded in one transaction: each is a sync of the disk.
const healBatch = 500

func lostEntry(s *Sink, p flow.Partition, k ledger.KnownDay) error {
	return fault.New(fault.Config, "sink "+s.Name,
		"was the folder restored from a backup, or is another one mounted? `sluice ledger rebuild` takes the sink's word over the ledger's",
		fmt.Errorf("the ledger holds commit %d of %s on %s and the sink's commit log lacks it", k.Last, p, k.Day.Format(time.DateOnly)))
}

// load reads what the ledger knows of each partition, and gives up cuts that a sink's coverage is in the way of.
func (r *run) load(ctx context.Context) error {
	for _, p := range r.parts {
		if err := r.know(ctx, p); err != nil {
			return err
		}
		if err := r.recordMissed(ctx, p); err != nil {
			return err
		}
		if err := r.giveUpCuts(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) giveUpCuts(ctx context.Context, p *partition) error {
	for i, dropped := range p.dropCuts(r.clock.Now()) {
		for _, s := range dropped {
			why := "part of it is covered"
			switch {
			case s.Rev > 0:
				why = "what is read again is planned anew"
			case !p.covered[i].Meets(s.Range()):
				why = "it ends after the vendor's now"
			}
			if err := r.cfg.Ledger.GiveUp(ctx, r.identities([]int{i}), s, why); err != nil {
				return err
			}
		}
	}
	return nil
}

// narrow fixes what is asked by the clock as it is now, which was set back: the run would wait until the wrong time has come.
func (r *run) narrow(ctx context.Context) error {
	r.ask()
	for _, p := range r.parts {
		p.asked = r.asks(p)
		if err := r.giveUpCuts(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// correct gives up a slice that ends after the vendor's now: it was planned while the clock was ahead.
func (r *run) correct(ctx context.Context, w *work, ids []string) error {
	if err := r.narrow(ctx); err != nil {
		return err
	}
	r.drop(w)
	r.unspool(w.slice)
	return r.cfg.Ledger.GiveUp(ctx, ids, w.slice, "it ends after the vendor's now")
}

// know reads what the ledger knows of a partition: coverage by sink, what is unavailable, and durable cuts.
func (r *run) know(ctx context.Context, p *partition) error {
	gone, err := r.cfg.Ledger.Unavailable(ctx, p.Partition.Partition)
	if err != nil {
		return err
	}
	p.unavailable = nil
	for _, g := range gone {
		p.unavailable = p.unavailable.Add(g.Range)
	}
	if err := r.knowPace(ctx, p); err != nil {
		return err
	}
	p.cuts = nil
	for _, i := range p.takers.each() {
		if r.cfg.Sinks[i].Sink == nil { // as far as it can be known: it isn't planned for before it is open
			if p.covered[i], err = r.cfg.Ledger.Coverage(ctx, r.cfg.Sinks[i].Known, p.Partition.Partition); err != nil {
				return err
			}
			continue
		}
		if err := r.knowSink(ctx, p, i); err != nil {
			return err
		}
	}
	return nil
}

// knowSink reads what the ledger knows of a partition in one sink.
func (r *run) knowSink(ctx context.Context, p *partition, i int) (err error) {
	identity := r.identity(i)
	if p.covered[i], err = r.cfg.Ledger.Coverage(ctx, identity, p.Partition.Partition); err != nil {
		return err
	}
	open, err := r.cfg.Ledger.Cuts(ctx, identity, p.Partition.Partition)
	if err != nil {
		return err
	}
	for _, c := range open {
		p.addCut(c.Slice, setOf(i))
	}
	return nil
}

// addCut takes up a durable cut for some sinks.
func (p *partition) addCut(s flow.Slice, set sinkSet) {
	for n := range p.cuts {
		if p.cuts[n].ID == s.ID {
			p.cuts[n].sinks |= set
			return
		}
	}
	p.cuts = append(p.cuts, cut{Slice: s, sinks: set})
}
