package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// settle takes the outcome of one try.
func (r *run) settle(ctx context.Context, out outcome) {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	w := out.work
	if cancel := r.cancel[w]; cancel != nil {
		cancel()
		delete(r.cancel, w)
	}
	w.running = false
	for _, i := range w.sinks.each() {
		if st := &r.sinks[i]; st.probing == w {
			st.probing = nil
		}
	}
	r.take(ctx, w, out)
	w.attempt++
	r.detachFailed(ctx, w, out)
	defer func() {
		if err := r.settleSpool(ctx, w.part, w.slice); err != nil {
			r.fatal = fault.New(fault.Config, "ledger", "check the state folder's disk", err)
		}
	}()
	if w.sinks == 0 {
		r.mended(w)
		r.drop(w)
		return
	}
	groups, charged := r.judge(w, out), w.failures+1
	for n, g := range groups {
		target := w
		if n > 0 { // sinks that failed for different reasons go separate ways
			target = &work{slice: w.slice, part: w.part, attempt: w.attempt, failures: charged - 1, refused: w.refused, src: w.src, recheck: w.recheck.clone()}
			w.part.work[target] = struct{}{}
		}
		target.sinks, target.lastErr, target.suspect = g.sinks, g.err, g.verdict.alone
		if g.verdict.charged {
			target.failures = charged
		}
		r.apply(ctx, target, g)
	}
}

// take adds what was committed or found to the coverage and the summary.
func (r *run) take(ctx context.Context, w *work, out outcome) {
	if w.recheck != nil {
		r.settleRecheck(w, out)
	}
	var committed sinkSet
	for i, receipt := range out.committed {
		committed |= setOf(i)
		if receipt.Slice.Rev == 0 {
			w.part.covered[i] = w.part.covered[i].Add(receipt.Slice.Range())
		}
		r.summary.DeadLetters += receipt.Dead.Rows
		r.markUp(i)
	}
	for i, receipt := range out.found { // committed by a run, or a try, that didn't come to tell
		w.part.covered[i] = w.part.covered[i].Add(receipt.Slice.Range())
		r.summary.DeadLetters += receipt.Dead.Rows
	}
	w.sinks = 0
	for i := range out.failed {
		w.sinks |= setOf(i)
	}
	if committed != 0 {
		r.worked(w, committed)
		r.summary.Rows += out.sum.Rows
		r.summary.Bytes += out.sum.Bytes
		r.summary.Slices++
		if w.recheck == nil {
			r.summary.Pace.add(out)
			r.learnPace(ctx, w, committed, out.took)
			if err := r.recordFirst(ctx, w, committed); err != nil {
				r.fatal = fault.New(fault.Config, "ledger", "check the state folder's disk", err)
			}
		}
		for name, n := range out.counters {
			if r.summary.Counters == nil {
				r.summary.Counters = map[string]uint64{}
			}
			r.summary.Counters[name] += n
		}
		r.observe(Event{
			Kind: Committed, Slice: w.slice, Name: w.part.Name, Sinks: r.names(committed), Attempt: w.attempt, Sum: out.sum,
			Counters: out.counters,
		})
	}
	if len(out.found) > 0 {
		r.observe(Event{Kind: Found, Slice: w.slice, Name: w.part.Name})
	}
}

// group is the sinks of a slice that share a verdict.
type group struct {
	sinks   sinkSet
	bySink  sinkSet // of them, by the sink's own error
	verdict verdict
	err     error
}

// detachFailed takes the sinks out of a slice that are left behind from here.
func (r *run) detachFailed(ctx context.Context, w *work, out outcome) {
	if r.ending {
		return
	}
	for _, i := range (w.sinks & out.bySink).each() {
		detached, err := r.sinkFailed(ctx, i, w, out.failed[i], r.cfg.decide(out.failed[i], w.failures+1))
		if err != nil {
			r.fatal = fault.New(fault.Config, "ledger", "check the state folder's disk", err)
		}
		if detached {
			w.sinks &^= setOf(i)
			delete(out.failed, i)
		}
	}
}

func (r *run) judge(w *work, out outcome) []group {
	var groups []group
	refused := false
	for _, i := range w.sinks.each() {
		if kind := fault.KindOf(out.failed[i]); kind == fault.Overlap && out.bySink&setOf(i) == 0 {
			out.failed[i] = fault.New(fault.Bug, "read", "report this to the plugin's author",
				fmt.Errorf("it says that the slice overlaps another, which only a sink can know: %s", out.failed[i])) //nolint:errorlint // its kind must not be seen
		}
		failures := w.failures + 1
		if fault.KindOf(out.failed[i]) == fault.Auth { // a fresh process of its own, whatever failed before
			failures, refused = w.refused+1, true
		}
		v := r.cfg.decide(out.failed[i], failures)
		// A Canceled that nobody asked for: its process was replaced. Without a charge it could come back for ever.
		canceled := v.action == actDrop && !r.ending
		if out.bySink&setOf(i) == 0 && (canceled || fault.KindOf(out.failed[i]) == fault.Crash) {
			v = r.cfg.afterCrash(out.failed[i], w.company, failures)
		}
		if out.bySink&setOf(i) != 0 {
			v.fresh = false // another process of the source wouldn't help
		}
		at := slices.IndexFunc(groups, func(g group) bool { return g.verdict.action == v.action })
		if at < 0 {
			groups = append(groups, group{setOf(i), out.bySink & setOf(i), v, out.failed[i]})
			continue
		}
		groups[at].sinks |= setOf(i)
		groups[at].bySink |= out.bySink & setOf(i)
		groups[at].verdict.fresh = groups[at].verdict.fresh || v.fresh
		groups[at].verdict.charged = groups[at].verdict.charged || v.charged
		groups[at].verdict.alone = groups[at].verdict.alone || v.alone
		groups[at].verdict.wait = max(groups[at].verdict.wait, v.wait)
	}
	if refused {
		w.refused++
	}
	return groups
}

// apply does what a verdict asks for.
func (r *run) apply(ctx context.Context, w *work, g group) {
	p, ids := w.part, r.identities(g.sinks.each())
	event := Event{
		Slice: w.slice, Name: p.Name, Sinks: r.names(g.sinks), Attempt: w.attempt, Err: g.err, Hint: fault.HintOf(g.err),
		Message: g.err.Error(),
	}
	if g.verdict.fresh {
		r.retire(w.src)
	}
	if w.recheck != nil {
		done, err := r.applyRecheck(ctx, w, g, &event)
		if err != nil {
			r.fatal = fault.New(fault.Config, "ledger", "check the state folder's disk", err)
		}
		if done {
			r.observe(event)
			return
		}
	}
	var err error
	switch g.verdict.action {
	case actRetry:
		w.told = false
		w.next = time.Now().Add(g.verdict.wait)
		w.state.wait("backoff", w.next)
		event.Kind, event.Until = Retry, w.next
		r.markAllDown(g, w.next)
		err = r.fail(ctx, ids, w, ledger.Failed, g.err)
	case actWait:
		if fault.KindOf(g.err) == fault.NotYet && w.slice.To.After(r.clock.Now()) {
			event.Kind = GivenUp
			err = r.correct(ctx, w, ids)
			break
		}
		w.told = g.bySink == 0
		w.next = time.Now().Add(g.verdict.wait)
		reason := "vendor" // what it said is the slice's error
		if g.bySink != 0 {
			reason = waitsForSinks(r.names(g.bySink))
		}
		w.state.wait(reason, w.next)
		event.Kind, event.Until = Waiting, w.next
		r.markAllDown(g, w.next)
	case actSplit:
		err = r.split(ctx, ids, w, g, event)
		event.Kind = ""
	case actQuarantine:
		event.Kind = Quarantined
		w.parked = true
		event.Until = r.setAside(w, g.err)
		r.fault(w, g.err, true)
		err = r.fail(ctx, ids, w, ledger.Quarantined, g.err)
	case actStopPartition:
		event.Kind = Stopped
		w.parked, p.stopped = true, g.err
		event.Until = r.setAside(w, g.err)
		r.fault(w, g.err, false)
		err = r.fail(ctx, ids, w, ledger.Failed, g.err)
	case actStopPipeline:
		event.Kind = Failed
		w.parked = true
		r.fault(w, g.err, false)
		if r.fatal == nil {
			r.fatal = g.err
		}
		err = r.fail(ctx, ids, w, ledger.Failed, g.err)
	case actReplan:
		event.Kind = GivenUp
		if err := r.replan(ctx, w, g); err != nil { // the sink's, or the ledger's: either says so
			r.fatal = err
		}
	case actUnavailable:
		event.Kind = Missing
		p.unavailable = p.unavailable.Add(w.slice.Range())
		err = r.cfg.Ledger.MarkUnavailable(ctx, p.Partition.Partition, w.slice.Range(), g.err.Error())
		if err == nil {
			err = r.cfg.Ledger.GiveUp(ctx, ids, w.slice, "unavailable")
		}
		r.mended(w)
		r.drop(w)
		r.unspool(w.slice)
	case actDrop:
		r.drop(w)
		if !r.ending { // a sink whose other side has ended, such as a pipe: trying again would not bring it back
			r.fatal, r.summary.Stopped = g.err, true
		}
	}
	if err != nil {
		r.fatal = fault.New(fault.Config, "ledger", "check the state folder's disk", err)
	}
	if event.Kind != "" {
		r.observe(event)
	}
}

// markAllDown notes of the sinks that a slice waits for that they are down until its next try.
func (r *run) markAllDown(g group, next time.Time) {
	for _, i := range g.bySink.each() {
		r.markDown(i, g.err, time.Until(next))
	}
}

func (r *run) fail(ctx context.Context, ids []string, w *work, state ledger.State, err error) error {
	return r.cfg.Ledger.Fail(ctx, ids, w.slice, state, fault.KindOf(err), err.Error(), fault.HintOf(err))
}

// split cuts a truncated slice, in the ledger first: the parts are durable before one of them starts.
func (r *run) split(ctx context.Context, ids []string, w *work, g group, event Event) error {
	var truncated *flow.Truncated
	errors.As(g.err, &truncated)
	var into []flow.Slice
	var rows, bytes uint64
	if truncated != nil {
		into, rows, bytes = truncated.Into, truncated.Rows, truncated.Bytes
	}
	parts := partsOf(w.slice, into)
	if parts == nil {
		if !errors.Is(g.err, errDeadline) {
			g.err = fault.New(fault.Truncated, "read",
				"raise the source's limit, or narrow its query: one millisecond can't be cut", fmt.Errorf("the vendor's cap was met within a single millisecond: %w", g.err))
		}
		w.parked = true
		event.Until = r.setAside(w, g.err)
		r.fault(w, g.err, true)
		event.Kind, event.Err, event.Message, event.Hint = Quarantined, g.err, g.err.Error(), fault.HintOf(g.err)
		r.observe(event)
		return r.fail(ctx, ids, w, ledger.Quarantined, g.err)
	}
	r.step(StepSplit)
	if err := r.cfg.Ledger.Split(ctx, ids, w.slice, parts, rows, bytes); err != nil {
		return err
	}
	r.step(StepSplitDone)
	for _, part := range parts {
		w.part.addCut(part, g.sinks)
	}
	r.mended(w)
	r.drop(w)
	r.unspool(w.slice) // it isn't read again as it was cut
	event.Kind, event.Parts = Split, parts
	r.observe(event)
	return nil
}

// replan looks at the sinks that found the range covered and lets what is left be planned anew.
func (r *run) replan(ctx context.Context, w *work, g group) error {
	for _, i := range g.sinks.each() {
		if _, ok := r.cfg.Sinks[i].Sink.(sinks.Memory); ok {
			if _, err := r.healPartition(ctx, &r.cfg.Sinks[i], w.part.Partition.Partition, r.asked); err != nil {
				return err
			}
		}
		covered, err := r.cfg.Ledger.Coverage(ctx, r.cfg.Sinks[i].Identity(), w.part.Partition.Partition)
		if err != nil {
			return fault.New(fault.Config, "ledger", "check the state folder's disk", err)
		}
		// What was known before was not planned: without anything new the same would be planned, read and refused for ever.
		slice := flow.NewRanges(w.slice.Range())
		if covered.Intersect(slice).Duration() <= w.part.covered[i].Intersect(slice).Duration() {
			return fault.New(fault.Bug, "sink "+r.cfg.Sinks[i].Name, "report this to the sink's author",
				fmt.Errorf("it refuses %s as covered and holds nothing of it that wasn't known: %w", w.slice, g.err))
		}
		w.part.covered[i] = covered
	}
	if err := r.cfg.Ledger.GiveUp(ctx, r.identities(g.sinks.each()), w.slice, "part of it is covered"); err != nil {
		return fault.New(fault.Config, "ledger", "check the state folder's disk", err)
	}
	r.mended(w)
	r.drop(w)
	r.unspool(w.slice)
	return nil
}

func (r *run) drop(w *work) { delete(w.part.work, w) }
