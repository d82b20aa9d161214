package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// planAhead bounds the gap that is handed to Plan: the plan rolls, so more would be cut anew anyway.
const planAhead = 3 * 24 * time.Hour

// partition is what a run knows of one partition. It belongs to the run's loop.
type partition struct {
	Partition
	asked       flow.Ranges   // what was asked, up to the horizon
	takers      sinkSet       // that are given the stream
	covered     []flow.Ranges // by sink
	unavailable flow.Ranges
	cuts        []cut              // durable cuts that were begun or planned and aren't settled
	work        map[*work]struct{} // slices that run or wait for their next try, or are given up for this run
	lag         *lagging           // what waits for lag and was told of; written with workMu held
	pace        pace
	meter       meter     // guarded by run.meterMu
	stopped     error     // set: nothing of the partition starts any more
	from        time.Time // set: what is asked begins here, whatever the pipeline's range says
	tail        time.Time // what is newer goes first, if the pipeline says so
	dry         int       // slices that were quarantined in a row
	dryUntil    time.Time // of a partition that is dry: when one slice may start
}

// lagging is a slice that isn't taken up yet: the range ends too short a time before the vendor's now.
type lagging struct {
	slice flow.Slice
	sinks sinkSet
	why   string
	until time.Time // by this machine's clock
}

// cut is a slice that was cut in an earlier run or by a split, with the sinks whose ledger holds it open.
type cut struct {
	flow.Slice
	sinks sinkSet
	rest  sinkSet // of a candidate: those that keep the cut open, because they weren't asked
}

// work is a slice that a run has taken up, for the sinks that lack it.
type work struct {
	slice    flow.Slice
	part     *partition
	sinks    sinkSet
	probe    sinkSet // of them, those that are down: they are asked first whether they are back
	attempt  uint32  // of this run; counts every try that was opened
	failures int     // counts against Config.Attempts
	refused  int     // of them, by the vendor for the key's sake
	running  bool
	parked   bool // quarantined, failed or given up: not in this run again, or not before next
	pauses   int  // times that it was parked
	told     bool // to wait, by the vendor: it is no backoff
	outage   bool // parked by what says nothing about this slice
	company  bool // others were at work during its last try
	suspect  bool // its process crashed during its last try: it is tried alone
	next     time.Time
	lastErr  error
	src      Source // the process of the last try; nil: none was reached
	since    time.Time
	state    progress
	recheck  *recheck  // nil: it makes coverage
	readAt   time.Time // by the vendor's clock, before the last try's read
}

// waits reports whether a slice waits for its next try in this run.
func (w *work) waits() bool { return !w.running && !w.parked && w.part.stopped == nil }

// progress is what status shows of a running slice. Safe for concurrent use.
type progress struct {
	mu       sync.Mutex
	waits    string
	until    time.Time
	rows     uint64
	bytes    uint64
	lastByte time.Time
	moving   bool // bytes have begun to flow
}

func (p *progress) wait(why string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits, p.until = why, until
}

func (p *progress) moved(rows, bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows += rows
	p.bytes += bytes
	p.moving = true
	p.waits = ""
	p.until = time.Time{}
	p.lastByte = time.Now()
}

func (p *progress) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits, p.until, p.rows, p.bytes, p.moving = "plugin", time.Time{}, 0, 0, false
}

func (p *progress) isMoving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moving
}

// lacks returns what each sink lacks of the asked range, work in hand not counted; nothing for one that isn't given the stream.
func (p *partition) lacks() []flow.Ranges {
	want := p.asked.Minus(p.unavailable)
	gaps := make([]flow.Ranges, len(p.covered))
	for _, i := range p.takers.each() {
		gaps[i] = want.Minus(p.covered[i])
	}
	return gaps
}

// candidate is what could start next: a durable cut, or an interval that has yet to be cut.
type candidate struct {
	from  time.Time
	cut   *cut
	fresh *interval
}

// all is the set of every sink.
const all = ^sinkSet(0)

// next returns the earliest thing to start, or false. Slices of a partition start in time order; those that run or wait
// for their next try occupy their range for their sinks. Nothing starts for the sinks of away, and what starts is for one of wanted
// at least; what meets avoid is left out.
func (p *partition) next(away, wanted sinkSet, avoid flow.Range) (candidate, bool) {
	if p.stopped != nil {
		return candidate{}, false
	}
	gaps, taken := p.lacks(), make([]flow.Ranges, len(p.covered))
	for i := range gaps {
		if away&setOf(i) != 0 {
			gaps[i] = nil
		}
	}
	take := func(set sinkSet, r flow.Range) {
		for _, i := range set.each() {
			gaps[i], taken[i] = gaps[i].Minus(flow.NewRanges(r)), taken[i].Add(r)
		}
	}
	for w := range p.work {
		take(w.sinks, w.slice.Range())
	}
	if !avoid.Empty() {
		take(p.takers, avoid)
	}
	var best *cut
	for _, c := range p.cuts {
		if c.Rev > 0 {
			continue // a recheck that ended early: it is planned anew by what the sink holds then
		}
		// Whole, also where the sinks that hold it open lack more than was asked: that is what makes a cut durable. A sink
		// that lacks the whole range joins, so that it is read once for both. Cuts that were made for different sinks may
		// meet: a sink that has part of one, or is about to, lacks only the rest, and would refuse the whole.
		set := sinkSet(0)
		for i := range gaps {
			open := c.sinks&setOf(i)&^away != 0 && !p.covered[i].Meets(c.Range()) && !taken[i].Meets(c.Range())
			if open || gaps[i].Covers(c.Range()) {
				set |= setOf(i)
			}
		}
		take(set, c.Range())
		if set&wanted != 0 && (best == nil || c.From.Before(best.From)) {
			best = &cut{Slice: c.Slice, sinks: set, rest: c.sinks & away}
		}
	}
	fresh := slices.DeleteFunc(intervals(gaps), func(x interval) bool { return x.sinks&wanted == 0 })
	switch {
	case best == nil && len(fresh) == 0:
		return candidate{}, false
	case best != nil && (len(fresh) == 0 || !fresh[0].From.Before(best.From)):
		return candidate{from: best.From, cut: best}, true
	}
	return candidate{from: fresh[0].From, fresh: &fresh[0]}, true
}

// dropCuts forgets cuts that don't meet the asked range, that meet a sink's coverage in part, where the sink would refuse
// them, or that end after the vendor's now: those were made while its clock was wrong, and would be waited for. Rechecks are planned
// anew from what is due, wherever they lie: one that failed would stand as such when its range is no longer asked for. It returns, by
// sink, what to give up in the ledger.
func (p *partition) dropCuts(now time.Time) map[int][]flow.Slice {
	dropped := map[int][]flow.Slice{}
	keep := p.cuts[:0]
	for _, c := range p.cuts {
		if c.Rev == 0 && !p.asked.Meets(c.Range()) {
			continue // durable still: another range may ask for it
		}
		for _, i := range c.sinks.each() {
			if c.Rev > 0 || p.covered[i].Meets(c.Range()) || c.To.After(now) {
				c.sinks &^= setOf(i)
				dropped[i] = append(dropped[i], c.Slice)
			}
		}
		if c.sinks != 0 {
			keep = append(keep, c)
		}
	}
	p.cuts = keep
	return dropped
}

// takeUp turns a candidate into a slice and the sinks to read it for.
func (r *run) takeUp(ctx context.Context, p *partition, c candidate, src Source) (flow.Slice, sinkSet, error) {
	if c.cut != nil {
		taken := *c.cut
		p.cuts = slices.DeleteFunc(p.cuts, func(x cut) bool { return x.ID == taken.ID }) // the ledger still has it
		if taken.rest != 0 {
			p.addCut(taken.Slice, taken.rest)
		}
		return taken.Slice, taken.sinks, nil
	}
	planned, err := r.plan(ctx, p, c, src)
	if err != nil {
		return flow.Slice{}, 0, err
	}
	return planned[0], c.fresh.sinks, nil
}

// plan has the source cut what is fresh, at most planAhead of it; there is at least one slice.
func (r *run) plan(ctx context.Context, p *partition, c candidate, src Source) ([]flow.Slice, error) {
	hints, err := r.cfg.Ledger.Hints(ctx, p.Partition.Partition, hintCount)
	if err != nil {
		return nil, err
	}
	gap := flow.Gap{Partition: p.Partition.Partition, From: c.fresh.From, To: c.fresh.To, Hints: hints}
	if ahead := flow.Day(gap.From).Add(planAhead); gap.To.After(ahead) {
		gap.To = ahead
	}
	planned, err := src.Plan(ctx, gap)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", p.Partition.Partition, err)
	}
	if len(planned) == 0 || !planned[0].From.Equal(gap.From) || planned[0].To.After(gap.To) {
		return nil, fmt.Errorf("plan %s: the source's first slice doesn't begin the gap %s", p.Partition.Partition, gap.Range())
	}
	stream := r.stream(p.Partition.Partition)
	if stream.Snapshot {
		return planned, nil
	}
	fit := p.pace.fit(planned[0], r.shortest(c.fresh.sinks), stream.Granularity)
	if fit.ID != planned[0].ID {
		planned = []flow.Slice{fit} // what follows is asked for again
	}
	return planned, nil
}

// hintCount is how many earlier slices' weights a plan sees.
const hintCount = 16
