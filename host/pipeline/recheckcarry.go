package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// The steps of a recheck, beside those of a slice.
const (
	StepHeld        Step = "held"         // before the sinks are asked for what they hold
	StepRecheckPlan Step = "recheck_plan" // before the ledger holds what the recheck is to become
	StepRechecked   Step = "rechecked"    // settled in the sinks, before the ledger holds how it went
)

// RecheckSteps lists the steps of a recheck in their order.
func RecheckSteps() []Step {
	return []Step{StepLookup, StepHeld, StepRecheckPlan, StepOpen, StepSinks, StepAppend, StepCommit, StepRecord, StepPublish, StepRechecked}
}

// carryRecheck takes one recheck to its end in each sink: what it has is counted, the range is read whole, and the records that the
// count doesn't have are committed as the next revision. Nothing is committed where nothing is new.
func (r *run) carryRecheck(ctx context.Context, w *work) outcome {
	out := outcome{
		work: w, committed: map[int]sinks.Receipt{}, found: map[int]sinks.Receipt{}, failed: map[int]error{}, rechecked: map[int]ledger.Recheck{},
	}
	r.step(StepLookup)
	lacking := r.lookup(ctx, w, &out)
	plan := ledger.Recheck{Range: w.slice.Range(), Age: w.recheck.age, Outcome: ledger.RecheckPlanned, Rev: w.slice.Rev, Read: r.clock.Now()}
	for i, receipt := range out.found {
		k := plan
		if !w.recheck.read.IsZero() { // what the vendor indexed since that try isn't in it
			k.Read = w.recheck.read
		}
		out.rechecked[i] = foundBy(receipt, k)
	}
	if len(lacking) > 0 {
		src, err := r.source(ctx)
		if err != nil {
			return out.failAll(lacking, err)
		}
		w.src = src
		if lacking, err = r.unmoved(ctx, src, w, &plan, lacking, &out); err != nil {
			return out.failAll(lacking, err)
		}
		r.compare(ctx, src, w, plan, lacking, &out)
	}
	r.step(StepRechecked)
	for i, k := range out.rechecked {
		if _, failed := out.failed[i]; failed {
			delete(out.rechecked, i) // committed and not recorded: the next try finds it
			continue
		}
		if err := r.recordRecheck(ctx, i, w, k); err != nil {
			delete(out.rechecked, i)
			out.failed[i] = fault.New(fault.Config, "ledger", "check the state folder's disk", err)
		}
	}
	return out
}

// recordRecheck writes down how a recheck went. A row that an earlier try left as failed goes.
func (r *run) recordRecheck(ctx context.Context, i int, w *work, k ledger.Recheck) error {
	ctx = context.WithoutCancel(ctx)
	if k.Outcome != ledger.RecheckFound {
		k.Rev = 0
		if err := r.cfg.Ledger.GiveUp(ctx, r.identities([]int{i}), w.slice, "nothing of it was late"); err != nil {
			return err
		}
	}
	return r.cfg.Ledger.RecordRechecks(ctx, r.identity(i), w.slice.Partition, k)
}

// foundBy is a recheck whose slice is committed.
func foundBy(receipt sinks.Receipt, k ledger.Recheck) ledger.Recheck {
	late := receipt.Delivered.Plus(receipt.Dead)
	k.Outcome, k.Rows, k.Bytes = ledger.RecheckFound, late.Rows, late.Bytes
	return k
}

// compare reads the range for the sinks that lack the revision and settles each.
func (r *run) compare(ctx context.Context, src Source, w *work, plan ledger.Recheck, lacking []int, out *outcome) {
	r.step(StepHeld)
	legs := r.hold(ctx, w, plan, lacking, out)
	defer func() {
		r.abandon(ctx, legs)
		for _, l := range legs {
			if err := l.held.Close(); err != nil {
				r.cfg.Log.Warn("the count of what a sink holds", "error", err.Error())
			}
		}
	}()
	if len(legs) == 0 {
		return
	}
	r.step(StepRecheckPlan)
	w.recheck.read = plan.Read
	for _, l := range legs {
		l.err = r.cfg.Ledger.RecordRechecks(ctx, r.identity(l.index), w.slice.Partition, plan)
		if l.err != nil && ctx.Err() == nil {
			l.err = fault.New(fault.Config, "ledger", "check the state folder's disk", l.err)
		}
	}
	opened := time.Now()
	var read flow.Sum
	var err error
	for _, piece := range w.recheck.pieces {
		var sum flow.Sum
		if sum, err = r.readPiece(ctx, src, w, flow.NewSlice(w.slice.Partition, piece.From, piece.To, w.slice.Rev), legs, out); err != nil {
			break
		}
		read = read.Plus(sum)
	}
	if err != nil {
		for _, l := range legs {
			if l.err != nil { // a sink's own error, not the read's that followed from it
				out.sinkFailed(l.index, l.err)
			} else {
				out.failed[l.index] = err
			}
		}
		return
	}
	r.settleLegs(ctx, w, plan, legs, read, out)
	out.took = time.Since(opened)
}

// hold counts what each sink has. Sinks that can't be compared are settled by that.
func (r *run) hold(ctx context.Context, w *work, plan ledger.Recheck, lacking []int, out *outcome) []*leg {
	memory := r.cfg.Recheck.Memory
	if memory == 0 {
		memory = RecheckMemory
	}
	var legs []*leg
	for _, i := range lacking {
		name := r.cfg.Sinks[i].Name
		w.state.wait("what sink "+name+" holds", time.Time{})
		set, err := r.held(ctx, i, w.slice.Partition, w.slice.Range(), memory/int64(len(lacking)))
		var refused *refusedError
		var inexact *sinks.InexactError
		switch {
		case err == nil:
			legs = append(legs, &leg{index: i, sink: r.cfg.Sinks[i], stream: r.stream(w.slice.Partition), held: set})
		case errors.As(err, &refused) || errors.As(err, &inexact):
			k := plan
			k.Outcome = ledger.RecheckRefused
			out.rechecked[i] = k
			r.cfg.Log.Warn(fmt.Sprintf("sink %s can't be rechecked for late records: %v; `sluice verify` says more", name, err), "slice", w.slice.String())
		case ctx.Err() != nil:
			out.failed[i] = ctx.Err()
		default:
			out.sinkFailed(i, err)
		}
	}
	return legs
}

// readPiece reads a part of the range, at most all of it, and appends what is new to each sink. It returns what was read.
func (r *run) readPiece(ctx context.Context, src Source, w *work, piece flow.Slice, legs []*leg, out *outcome) (flow.Sum, error) {
	w.state.wait("vendor", time.Time{})
	r.step(StepOpen)
	reader, err := src.Read(ctx, piece, r.cfg.share(), func(until time.Time, why string) {
		w.state.wait(why, until)
		r.observe(Event{Kind: Waiting, Slice: w.slice, Name: w.part.Name, Until: until, Message: why})
	})
	if err != nil {
		return flow.Sum{}, err
	}
	defer reader.Close()
	if _, err := r.ripe(piece, reader.VendorTime()); err != nil {
		return flow.Sum{}, err
	}
	r.step(StepSinks)
	var read flow.Sum
	hasher := flow.NewHasher()
	for {
		dropLate(w, legs)
		if len(living(legs)) == 0 {
			return read, errNoSinkLeft
		}
		item, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return read, err
		}
		if item.Batch != nil {
			var sum flow.Sum
			if sum, err = r.appendNew(ctx, w, legs, item.Batch.Records, reader.Schema()); err == nil {
				read = read.Plus(sum)
			}
		} else {
			_, _ = hasher.Write(item.Dead.Bytes)
			var record *flow.Sum
			if item.Dead.Last {
				sum := hasher.Sum()
				record, read = &sum, read.Plus(sum)
			}
			for _, l := range living(legs) {
				l.err = l.addNewDead(w, *item.Dead, record, r.stage)
			}
			w.state.moved(0, uint64(len(item.Dead.Bytes)))
		}
		reader.Release(item)
		if err != nil {
			return read, err
		}
	}
	if m := reader.Manifest(); m.Sum != read || m.Slice.ID != piece.ID {
		return read, fault.Errorf(fault.Bug, "read", "the manifest says %d rows, %d bytes, digest %s; what came was %d, %d, %s",
			m.Rows, m.Bytes, m.Digest, read.Rows, read.Bytes, read.Digest)
	}
	for _, l := range living(legs) { // a slice without a batch has a schema all the same
		l.schema = reader.Schema()
	}
	for name, n := range reader.Counters() {
		if out.counters == nil {
			out.counters = map[string]uint64{}
		}
		out.counters[name] += n
	}
	return read, nil
}

// appendNew appends to each sink the rows that it doesn't hold.
func (r *run) appendNew(ctx context.Context, w *work, legs []*leg, rec arrow.Record, schema *arrow.Schema) (flow.Sum, error) {
	rows, err := r.stream(w.slice.Partition).rowSums(rec)
	if err != nil {
		return flow.Sum{}, fault.New(fault.Bug, "read", "report this to the plugin's author", err)
	}
	var all flow.Sum
	for _, one := range rows {
		all = all.Plus(one)
	}
	w.state.wait(waitsForLegs(living(legs)), time.Time{})
	r.step(StepAppend)
	for _, l := range living(legs) {
		l.err = l.appendNew(ctx, r, w, rec, rows, schema)
	}
	w.state.moved(all.Rows, all.Bytes)
	return all, nil
}

// appendNew takes what the sink holds out of a batch and appends the rest. The transaction begins with the first record that is new.
func (l *leg) appendNew(ctx context.Context, r *run, w *work, rec arrow.Record, rows []flow.Sum, schema *arrow.Schema) error {
	var fresh []int
	var late flow.Sum
	for n, one := range rows {
		had, err := l.held.Take(one.Digest)
		switch {
		case err != nil:
			return err
		case had:
			l.filtered = l.filtered.Plus(one)
		default:
			fresh, late = append(fresh, n), late.Plus(one)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := l.need(ctx, r, w, schema); err != nil {
		return err
	}
	picked, err := pick(rec, fresh)
	if err != nil {
		return err
	}
	defer picked.Release()
	l.append(ctx, r, w, flow.Batch{Slice: w.slice.ID, Seq: l.seq, Records: picked, Bytes: int64(late.Bytes), Sum: late}, late)
	l.seq++
	return l.err
}

// need begins the leg's transaction if it hasn't begun.
func (l *leg) need(ctx context.Context, r *run, w *work, schema *arrow.Schema) error {
	if l.txn == nil {
		l.begin(ctx, r, w, schema)
	}
	return l.err
}

// addNewDead stages a piece of a record that the source couldn't put into a batch. With the last piece comes the record's sum: one that
// the sink's dead letters have already is taken back.
func (l *leg) addNewDead(w *work, piece flow.DeadPiece, record *flow.Sum, stage stager) error {
	if err := l.needDead(w, stage); err != nil {
		return err
	}
	if piece.Offset == 0 {
		if err := l.dead.mark(); err != nil {
			return err
		}
	}
	before := l.deadSum
	if err := l.addDead(w, piece, stage); err != nil || record == nil {
		return err
	}
	had, err := l.held.Take(record.Digest)
	if err != nil || !had {
		return err
	}
	l.deadSum, l.filtered = before, l.filtered.Plus(*record)
	return l.dead.rollBack()
}

// settleLegs commits in the sinks to which something was new.
func (r *run) settleLegs(ctx context.Context, w *work, plan ledger.Recheck, legs []*leg, read flow.Sum, out *outcome) {
	var commit []*leg
	for _, l := range legs {
		if l.dead != nil && l.deadSum.Rows == 0 {
			l.dead.discard()
			l.dead = nil
		}
		if l.err == nil && l.dead != nil { // nothing but dead letters is new, perhaps
			l.err = l.need(ctx, r, w, l.schema)
		}
		k := plan
		k.Gone = l.held.Left()
		late := l.delivered.Plus(l.deadSum)
		switch {
		case l.err != nil:
			out.sinkFailed(l.index, l.err)
			continue
		case late.Rows == 0:
			k.Outcome = ledger.RecheckNothing
		default:
			k.Outcome, k.Rows, k.Bytes = ledger.RecheckFound, late.Rows, late.Bytes
			commit = append(commit, l)
			if late.Rows > out.sum.Rows {
				out.sum = late
			}
		}
		out.rechecked[l.index] = k
	}
	r.commit(ctx, w, commit, flow.Manifest{Slice: w.slice, Sum: read}, out)
	for _, l := range commit {
		if _, ok := out.committed[l.index]; !ok {
			delete(out.rechecked, l.index)
		}
	}
}
