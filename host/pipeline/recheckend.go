package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// LateSummary is what a run found late. What is counted of records is each once, however many sinks lacked it.
type LateSummary struct {
	Windows     int    // committed ranges that were looked at
	Unmoved     int    // of them, not read: the vendor's own figures hadn't moved
	Found       int    // of them, in which something was late
	Refused     int    // of them, that a sink couldn't be compared for
	Rows, Bytes uint64 // found late and committed
	Gone        uint64 // records that a sink holds and the vendor no longer serves
}

// settleRecheck takes what a try of a recheck settled into the summary. workMu is held.
func (r *run) settleRecheck(w *work, out outcome) {
	if len(out.rechecked) == 0 {
		return
	}
	s := &r.summary.Late
	var most ledger.Recheck
	gone := uint64(0)
	outcomes := map[ledger.RecheckOutcome]bool{}
	for i, k := range out.rechecked {
		outcomes[k.Outcome] = true
		gone = max(gone, k.Gone)
		if k.Rows >= most.Rows {
			most = k
		}
		r.observe(Event{
			Kind: Rechecked, Slice: w.slice, Name: w.part.Name, Sinks: []string{r.cfg.Sinks[i].Name}, Attempt: w.attempt,
			Sum: flow.Sum{Rows: k.Rows, Bytes: k.Bytes}, Message: recheckText(k),
		})
	}
	s.Windows++
	switch {
	case outcomes[ledger.RecheckFound]:
		s.Found++
	case outcomes[ledger.RecheckRefused]:
		s.Refused++
	case outcomes[ledger.RecheckUnmoved] && len(outcomes) == 1:
		s.Unmoved++
	}
	s.Rows += most.Rows
	s.Bytes += most.Bytes
	s.Gone += gone
}

// recheckText says in a few words how a recheck went.
func recheckText(k ledger.Recheck) string {
	switch k.Outcome {
	case ledger.RecheckUnmoved:
		return "not read again: the vendor's own figures haven't moved"
	case ledger.RecheckRefused:
		return "it can't be compared: the sink doesn't give back what it committed"
	case ledger.RecheckUnavailable:
		return "the vendor no longer has it"
	}
	parts := []string{"nothing was late"}
	if k.Rows > 0 {
		parts[0] = fmt.Sprintf("%d records were late", k.Rows)
	}
	if k.Gone > 0 {
		parts = append(parts, fmt.Sprintf("%d that are there are no longer served", k.Gone))
	}
	return strings.Join(parts, ", ")
}

// recordFirst writes down when a range was first read, for the sinks that committed it: how old it was then decides which rechecks it
// needs.
func (r *run) recordFirst(ctx context.Context, w *work, committed sinkSet) error {
	if len(r.cfg.Recheck.After) == 0 || !r.stream(w.slice.Partition).Rechecks() || w.readAt.IsZero() {
		return nil
	}
	first := ledger.Recheck{Range: w.slice.Range(), Outcome: ledger.FirstRead, Read: w.readAt}
	for _, i := range committed.each() {
		if !Audits(r.cfg.Sinks[i].Sink) || r.cfg.Sinks[i].OneRun {
			continue
		}
		if err := r.cfg.Ledger.RecordRechecks(ctx, r.identity(i), w.slice.Partition, first); err != nil {
			return err
		}
		_, next := dueAge(r.cfg.Recheck.After, w.readAt.Add(-r.cfg.Lag), w.slice.To.Add(r.stream(w.slice.Partition).Settle), w.readAt.Add(-r.cfg.Lag))
		r.late.nextAt(next)
	}
	return nil
}

// cutRecheck cuts the part of a recheck's range that was too much for one answer. What is found stays one slice: only the reads are
// smaller. It returns the error of one that can't be cut.
func (r *run) cutRecheck(w *work, err error) error {
	if errors.Is(err, errDeadline) {
		return fault.New(fault.Truncated, "recheck", "raise how long the sink lets a transaction stay open", err)
	}
	var truncated *flow.Truncated
	if !errors.As(err, &truncated) {
		truncated = &flow.Truncated{}
	}
	for n, piece := range w.recheck.pieces {
		if len(w.recheck.pieces) > 1 && piece != truncated.Slice.Range() {
			continue
		}
		parts := partsOf(flow.NewSlice(w.slice.Partition, piece.From, piece.To, w.slice.Rev), truncated.Into)
		if parts == nil {
			return fault.New(fault.Truncated, "recheck", "raise the source's limit, or narrow its query: one millisecond can't be cut", err)
		}
		var pieces []flow.Range
		for _, part := range parts {
			pieces = append(pieces, part.Range())
		}
		w.recheck.pieces = append(append(append([]flow.Range(nil), w.recheck.pieces[:n]...), pieces...), w.recheck.pieces[n+1:]...)
		return nil
	}
	return fault.New(fault.Bug, "recheck", "report this to the plugin's author", fmt.Errorf("a part is truncated that wasn't asked for: %w", err))
}

// applyRecheck does what a verdict asks for where a recheck differs from a slice that makes coverage. done is false where it doesn't.
func (r *run) applyRecheck(ctx context.Context, w *work, g group, event *Event) (done bool, err error) {
	switch g.verdict.action {
	case actSplit:
		if cut := r.cutRecheck(w, g.err); cut != nil {
			w.parked = true
			event.Until = r.setAside(w, cut)
			r.fault(w, cut, true)
			event.Kind, event.Err, event.Message, event.Hint = Quarantined, cut, cut.Error(), fault.HintOf(cut)
			return true, r.fail(ctx, r.identities(g.sinks.each()), w, ledger.Quarantined, cut)
		}
		w.next, event.Kind = time.Now(), Split
		for _, piece := range w.recheck.pieces {
			event.Parts = append(event.Parts, flow.NewSlice(w.slice.Partition, piece.From, piece.To, w.slice.Rev))
		}
		return true, nil
	case actReplan:
		return true, r.replanRecheck(ctx, w, g, event)
	case actUnavailable:
		event.Kind = Rechecked
		for _, i := range g.sinks.each() {
			k := ledger.Recheck{Range: w.slice.Range(), Age: w.recheck.age, Outcome: ledger.RecheckUnavailable, Read: r.clock.Now()}
			event.Message = recheckText(k)
			if err := r.recordRecheck(ctx, i, w, k); err != nil {
				return true, err
			}
		}
		r.mended(w)
		r.drop(w)
		return true, nil
	}
	return false, nil
}

// maxReplans is how often a recheck is planned anew since a sink's log isn't what the ledger knew.
const maxReplans = 3

// replanRecheck looks at the sinks that refused the revision, and plans the range anew.
func (r *run) replanRecheck(ctx context.Context, w *work, g group, event *Event) error {
	event.Kind = GivenUp
	if r.late.replans == nil {
		r.late.replans = map[flow.Range]int{}
	}
	if r.late.replans[w.slice.Range()]++; r.late.replans[w.slice.Range()] > maxReplans {
		w.parked = true
		event.Until = r.setAside(w, g.err)
		r.fault(w, g.err, true)
		event.Kind = Quarantined
		return r.fail(ctx, r.identities(g.sinks.each()), w, ledger.Quarantined, g.err)
	}
	for _, i := range g.sinks.each() {
		if _, err := r.healPartition(ctx, &r.cfg.Sinks[i], w.part.Partition.Partition, r.asked); err != nil {
			return err
		}
		covered, err := r.cfg.Ledger.Coverage(ctx, r.identity(i), w.part.Partition.Partition)
		if err != nil {
			return err
		}
		w.part.covered[i] = covered
	}
	r.mended(w)
	r.drop(w)
	units, err := r.lateUnits(ctx, w.part, g.sinks, w.slice.Range(), r.clock.horizon(r.cfg.Lag), true)
	if err != nil {
		return err
	}
	r.late.queue = append(units, r.late.queue...)
	return r.cfg.Ledger.GiveUp(ctx, r.identities(g.sinks.each()), w.slice, "another revision took its place")
}
