package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/multiset"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// outcome is how one try of a slice ended: what was committed and found, and the error of each sink that lacks it still.
// A read's error stands for every sink that hadn't failed before.
type outcome struct {
	work       *work
	committed  map[int]sinks.Receipt // committed by this try
	found      map[int]sinks.Receipt // the sink already held it
	failed     map[int]error
	bySink     sinkSet // of the failed: by the sink's own error, not the read's
	sum        flow.Sum
	took       time.Duration // from the first transaction's begin
	opening    time.Duration // until the vendor's answer had begun; 0: it waited for the budget
	fromVendor bool
	counters   map[string]uint64
	rechecked  map[int]ledger.Recheck // how a recheck ended, by sink
}

// leg is one sink's side of a slice.
type leg struct {
	index     int
	sink      Sink
	stream    Stream
	txn       sinks.Txn
	delivered flow.Sum
	deadSum   flow.Sum
	dead      *deadFile
	err       error
	deadline  time.Duration // of the transaction, from opened on; 0: none
	opened    time.Time

	held     *multiset.Set // of a recheck: what the sink has of the range
	filtered flow.Sum      // of what was read, had by it already
	seq      uint64
	schema   *arrow.Schema
}

// carry takes one slice from Lookup to Record. It and carryRecheck are the only callers of a sink's transaction.
func (r *run) carry(ctx context.Context, w *work) outcome {
	if w.recheck != nil {
		return r.carryRecheck(ctx, w)
	}
	out := outcome{work: w, committed: map[int]sinks.Receipt{}, found: map[int]sinks.Receipt{}, failed: map[int]error{}}
	r.step(StepLookup)
	lacking := r.lookup(ctx, w, &out)
	if len(lacking) == 0 {
		return out
	}
	r.step(StepBegin)
	if err := r.cfg.Ledger.Begin(ctx, r.identities(lacking), w.slice, w.attempt); err != nil {
		if ctx.Err() != nil {
			return out.failAll(lacking, ctx.Err())
		}
		return out.failAll(lacking, fault.New(fault.Config, "ledger", "check the state folder's disk", err))
	}
	reader, err := r.openRead(ctx, w, &out)
	if err != nil {
		return out.failAll(lacking, err)
	}
	defer reader.Close()
	r.step(StepSinks)
	opened := time.Now()
	legs := r.begin(ctx, w, lacking, reader)
	defer func() { r.abandon(ctx, legs) }()
	manifest, err := r.pump(ctx, w, reader, legs)
	if err != nil {
		for _, l := range legs {
			if l.err != nil { // a sink's own error, not the read's that followed from it
				out.sinkFailed(l.index, l.err)
			}
		}
		if errors.Is(err, errNoSinkLeft) {
			return out
		}
		if _, ok := reader.(replay); ok && ctx.Err() == nil {
			r.unspool(w.slice) // it would give the same again
		}
		return out.failAll(lacking, err)
	}
	out.sum, out.counters = manifest.Sum, reader.Counters()
	dropLate(w, legs)
	r.commit(ctx, w, legs, manifest, &out)
	out.took = time.Since(opened)
	return out
}

func (o *outcome) sinkFailed(i int, err error) {
	o.failed[i] = err
	o.bySink |= setOf(i)
}

// failAll charges an error to every sink of the slice that has nothing better.
func (o outcome) failAll(lacking []int, err error) outcome {
	for _, i := range lacking {
		if _, ok := o.failed[i]; !ok {
			o.failed[i] = err
		}
	}
	return o
}

// lookup asks the sinks with a memory whether they hold the slice; what is found is recorded. It returns the others.
func (r *run) lookup(ctx context.Context, w *work, out *outcome) []int {
	var lacking []int
	for _, i := range w.sinks.each() {
		if w.probe&setOf(i) != 0 && !r.probe(ctx, i, out) {
			continue
		}
		memory, ok := r.cfg.Sinks[i].Sink.(sinks.Memory)
		if !ok {
			lacking = append(lacking, i)
			continue
		}
		var found sinks.Receipt
		err := r.lend(ctx, i, "look up", func(ctx context.Context) error {
			receipt, err := memory.Lookup(ctx, w.slice)
			if err == nil {
				found = receipt
			}
			return err
		}, nil)
		switch {
		case errors.Is(err, sinks.ErrNotCommitted):
			lacking = append(lacking, i)
		case err != nil:
			out.sinkFailed(i, fmt.Errorf("look up: %w", err))
		default:
			r.record(ctx, i, found, out, out.found)
			r.publishFound(found)
		}
	}
	return lacking
}

// probe asks a sink that was down whether it can be reached: the vendor needn't be asked for what it can't take. Only an answer that
// says so counts, others may be of the question.
func (r *run) probe(ctx context.Context, i int, out *outcome) bool {
	err := r.lend(ctx, i, "reach it", r.cfg.Sinks[i].Probe, nil)
	if err == nil || fault.KindOf(err) != fault.Transient {
		return true
	}
	out.sinkFailed(i, err)
	return false
}

// record writes a receipt into the ledger, which follows the sink: a commit that can't be recorded is found again by the
// next Lookup.
func (r *run) record(ctx context.Context, i int, receipt sinks.Receipt, out *outcome, into map[int]sinks.Receipt) {
	if err := r.cfg.Ledger.Record(context.WithoutCancel(ctx), r.identity(i), receipt); err != nil {
		out.failed[i] = fault.New(fault.Config, "ledger", "check the state folder's disk; the sink has the slice", err)
		return
	}
	into[i] = receipt
}

// ripe refuses a slice that the vendor's own clock, in the very answer that opened it, doesn't call closed. It returns the clock that it
// went by.
func (r *run) ripe(s flow.Slice, vendor time.Time) (time.Time, error) {
	if r.cfg.HostClock || vendor.IsZero() {
		vendor = r.clock.Now()
	} else {
		r.clock.set(vendor)
	}
	return vendor, r.closedAt(s, vendor)
}

// closedAt refuses a slice that isn't closed by a reading of the vendor's clock.
func (r *run) closedAt(s flow.Slice, vendor time.Time) error {
	stream := r.stream(s.Partition)
	if young := s.To.Sub(vendor.Add(-r.cfg.Lag - stream.Settle)); young > 0 {
		return fault.Errorf(fault.NotYet, "read", "the vendor's clock says %s: the slice is closed in %s",
			vendor.UTC().Format(time.RFC3339), young).After(young)
	}
	if stream.Snapshot {
		return onItsDay(s, vendor)
	}
	return nil
}

// begin starts a transaction in each sink, side by side. A sink that can't begin has its error; the others go on.
func (r *run) begin(ctx context.Context, w *work, lacking []int, reader Reader) []*leg {
	legs := make([]*leg, len(lacking))
	var wg sync.WaitGroup
	for n, i := range lacking {
		l := &leg{index: i, sink: r.cfg.Sinks[i], stream: r.stream(w.slice.Partition)}
		legs[n] = l
		if len(lacking) == 1 {
			l.begin(ctx, r, w, reader.Schema())
			continue
		}
		wg.Go(func() { l.begin(ctx, r, w, reader.Schema()) })
	}
	wg.Wait()
	return legs
}

func (l *leg) begin(ctx context.Context, r *run, w *work, schema *arrow.Schema) {
	var txn sinks.Txn // the call's own until it has come back
	l.deadline, l.opened = deadlineOf(l.sink.Sink), time.Now()
	l.err = r.lend(ctx, l.index, "begin", func(ctx context.Context) (err error) {
		txn, err = l.sink.Begin(ctx, w.slice, w.attempt, schema)
		return err
	}, func() {
		if txn != nil {
			_ = guard(l.sink.Name, "abort", txn.Abort)
		}
	})
	if l.err == nil {
		l.txn = txn
	}
}

// pump moves items from the reader into the sinks until the manifest. Sinks append side by side; an item is released once,
// when all have returned. A sink that fails drops out; without any left the read is given up.
func (r *run) pump(ctx context.Context, w *work, reader Reader, legs []*leg) (flow.Manifest, error) {
	var read flow.Sum
	hasher := flow.NewHasher()
	for {
		dropLate(w, legs)
		alive := living(legs)
		if len(alive) == 0 && !r.keepsOn(reader, legs) {
			return flow.Manifest{}, errNoSinkLeft
		}
		next, cancel := withDeadline(ctx, alive)
		item, err := reader.Next(next)
		late := next.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil && late {
			for _, l := range alive {
				l.err = l.late(w)
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return flow.Manifest{}, err
		}
		switch {
		case item.Batch != nil:
			sum, err := item.Batch.Sum, error(nil)
			if sum.Rows == 0 { // no batch is empty: the reader didn't count
				sum, err = r.stream(w.slice.Partition).sum(item.Batch.Records)
			}
			if err == nil {
				read = read.Plus(sum)
				w.state.wait(waitsForLegs(alive), time.Time{})
				r.step(StepAppend)
				r.appendAll(ctx, w, alive, *item.Batch, sum)
				w.state.moved(sum.Rows, sum.Bytes)
			}
			reader.Release(item)
			if err != nil {
				return flow.Manifest{}, fault.New(fault.Bug, "read", "report this to the plugin's author", err)
			}
		case item.Dead != nil:
			_, _ = hasher.Write(item.Dead.Bytes)
			if item.Dead.Last {
				read = read.Plus(hasher.Sum())
			}
			for _, l := range alive {
				l.err = l.addDead(w, *item.Dead, r.stage)
			}
			w.state.moved(0, uint64(len(item.Dead.Bytes)))
			reader.Release(item)
		}
	}
	if len(living(legs)) == 0 {
		return flow.Manifest{}, errNoSinkLeft
	}
	manifest := reader.Manifest()
	if manifest.Sum != read || manifest.Slice.ID != w.slice.ID {
		return flow.Manifest{}, fault.Errorf(fault.Bug, "read", "the manifest says %d rows, %d bytes, digest %s; what came was %d, %d, %s",
			manifest.Rows, manifest.Bytes, manifest.Digest, read.Rows, read.Bytes, read.Digest)
	}
	return manifest, nil
}

var errNoSinkLeft = errors.New("no sink is left to write to")

func waitsForLegs(alive []*leg) string {
	if len(alive) == 0 {
		return "spool"
	}
	names := make([]string, len(alive))
	for i, l := range alive {
		names[i] = l.sink.Name
	}
	return waitsForSinks(names)
}

// waitsForSinks says that a slice waits for these: "sink lake", "sinks lake, siem".
func waitsForSinks(names []string) string {
	if len(names) == 1 {
		return "sink " + names[0]
	}
	return "sinks " + strings.Join(names, ", ")
}

func living(legs []*leg) []*leg {
	var alive []*leg
	for _, l := range legs {
		if l.err == nil {
			alive = append(alive, l)
		}
	}
	return alive
}

// appendAll appends a batch to the sinks side by side and returns when all have.
func (r *run) appendAll(ctx context.Context, w *work, alive []*leg, b flow.Batch, sum flow.Sum) {
	if len(alive) == 1 {
		alive[0].append(ctx, r, w, b, sum)
		return
	}
	var wg sync.WaitGroup
	for _, l := range alive {
		wg.Go(func() { l.append(ctx, r, w, b, sum) })
	}
	wg.Wait()
}

// append writes a batch to one sink, which shares no array with another; what the sink rejects goes to its dead letters.
func (l *leg) append(ctx context.Context, r *run, w *work, b flow.Batch, sum flow.Sum) {
	var rejected []sinks.Rejected
	txn := l.txn
	b.Records = apart(b.Records) // held on its own, too: with patience, the call may outlast the item
	release := b.Records.Release
	l.err = r.lend(ctx, l.index, "append", func(ctx context.Context) (err error) {
		rejected, err = txn.Append(ctx, b)
		return err
	}, func() {
		release()
		_ = guard(l.sink.Name, "abort", txn.Abort)
	})
	if errors.Is(l.err, errNotBack) {
		l.txn = nil
		return
	}
	defer release()
	if l.err != nil {
		return
	}
	dead, err := l.addRejected(w, b, rejected, r.stage)
	if err != nil {
		l.err = err
		return
	}
	l.delivered = l.delivered.Plus(sum.Minus(dead))
}

// commit settles each sink on its own: a slice that was committed in one and failed in the other is read again only for
// the other.
func (r *run) commit(ctx context.Context, w *work, legs []*leg, m flow.Manifest, out *outcome) {
	w.state.wait("commit", time.Time{})
	r.step(StepCommit)
	type done struct {
		leg     *leg
		receipt sinks.Receipt
	}
	ended := make(chan done, len(legs))
	for _, l := range legs {
		if l.err != nil {
			ended <- done{leg: l}
			continue
		}
		go func() { // each sends once, and all are received
			receipt, err := r.commitLeg(ctx, w, l, m)
			l.err = err
			ended <- done{l, receipt}
		}()
	}
	for range legs { // as they end: one that takes long keeps no other's receipt from the ledger
		d := <-ended
		l, receipt := d.leg, d.receipt
		if l.err != nil {
			out.sinkFailed(l.index, l.err)
			continue
		}
		r.step(StepRecord)
		r.record(ctx, l.index, receipt, out, out.committed) // sink first, ledger second: see doc.go
		r.step(StepPublish)
		if l.dead != nil {
			if err := l.dead.publish(); err != nil {
				r.cfg.Log.Warn("dead letters stay staged until the next start", "slice", w.slice.String(), "error", err.Error())
			}
			l.dead = nil
		}
	}
}

func (r *run) commitLeg(ctx context.Context, w *work, l *leg, m flow.Manifest) (sinks.Receipt, error) {
	account := sinks.Account{
		Read: m.Sum, Delivered: l.delivered, Dead: l.deadSum, Filtered: l.filtered,
		Source: sinks.SourceInfo{Name: r.cfg.SourceName, Version: r.cfg.SourceVer, Sluice: r.cfg.Version},
	}
	if err := checkBalance(l.sink.Name, account); err != nil {
		return sinks.Receipt{}, err
	}
	if l.dead != nil {
		if err := l.dead.seal(); err != nil {
			return sinks.Receipt{}, err
		}
		account.DeadLetters = l.dead.name
	}
	var receipt sinks.Receipt
	txn := l.txn
	l.txn = nil
	err := r.lend(ctx, l.index, "commit", func(ctx context.Context) (err error) {
		receipt, err = txn.Commit(ctx, account)
		return err
	}, nil)
	if errors.Is(err, errNotBack) { // it may be committed yet, and name the dead letters
		l.keepDead()
		return sinks.Receipt{}, fault.New(fault.InDoubt, "sink "+l.sink.Name, "", err)
	}
	if err != nil && (errors.Is(err, sinks.ErrInDoubt) || fault.KindOf(err) == fault.InDoubt) {
		return r.resolve(ctx, w, l, err)
	}
	if err == nil {
		if err = checkReceipt(l.sink.Name, w.slice, account, receipt); err != nil {
			l.keepDead() // the commit names them
		}
	}
	return receipt, err
}

// resolve asks a sink in doubt what became of the commit. While it doesn't answer the slice stays uncommitted here; the
// next try begins with Lookup again.
func (r *run) resolve(ctx context.Context, w *work, l *leg, doubt error) (sinks.Receipt, error) {
	memory, ok := l.sink.Sink.(sinks.Memory)
	if !ok {
		return sinks.Receipt{}, doubt
	}
	var receipt sinks.Receipt
	err := r.lend(context.WithoutCancel(ctx), l.index, "look up", func(ctx context.Context) (err error) {
		receipt, err = memory.Lookup(ctx, w.slice)
		return err
	}, nil)
	switch {
	case errors.Is(err, sinks.ErrNotCommitted):
		return sinks.Receipt{}, fault.New(fault.Transient, "sink "+l.sink.Name, "", doubt)
	case err != nil:
		l.keepDead() // the commit may name it: the next start decides
		return sinks.Receipt{}, fault.New(fault.InDoubt, "sink "+l.sink.Name, "", errors.Join(doubt, err))
	}
	if l.dead != nil && receipt.DeadLetters != l.dead.name { // someone else's commit, with dead letters of its own
		l.dead.discard()
		l.dead = nil
	}
	return receipt, nil
}

// abandon gives up what is left of the legs, side by side. An Abort may have to wait for a write that hangs, so it is lent like any call:
// one that is left adrift keeps its sink away until it is back.
func (r *run) abandon(ctx context.Context, legs []*leg) {
	var wg sync.WaitGroup
	for _, l := range legs {
		if txn := l.txn; txn != nil {
			l.txn = nil
			wg.Go(func() {
				_ = r.lend(ctx, l.index, "abort", func(context.Context) error { return txn.Abort() }, nil)
			})
		}
		if l.dead != nil {
			l.dead.discard()
			l.dead = nil
		}
	}
	wg.Wait()
}

// keepDead leaves the staged dead letters for the next start to publish or sweep.
func (l *leg) keepDead() {
	if l.dead != nil {
		l.dead.leave()
		l.dead = nil
	}
}

// guard turns a sink's panic into an error of its slice.
func guard(name, op string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Errorf(fault.Bug, "sink "+name, "%s: panic: %v\n%s", op, p, debug.Stack())
		} else if err != nil {
			err = fmt.Errorf("sink %s: %w", name, err) // which says what it did
		}
	}()
	return f()
}
