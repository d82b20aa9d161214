package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

const (
	// recordedWithin is how long a commit of a running host is waited for in the ledger: the sink is first.
	recordedWithin = 10 * time.Second
	recordedEvery  = 200 * time.Millisecond
)

// recorded returns what the ledger holds of a partition.
func (v *verifier) recorded(ctx context.Context, p flow.Partition) (map[flow.SliceID]sinks.Receipt, error) {
	if v.Ledger == nil {
		return nil, nil
	}
	all, err := v.Ledger.Committed(ctx, v.Sink.Identity(), p)
	if err != nil {
		return nil, err
	}
	out := make(map[flow.SliceID]sinks.Receipt, len(all))
	for _, r := range all {
		if v.wanted(r.Slice) {
			out[r.Slice.ID] = r
		}
	}
	return out, nil
}

// compare compares what the ledger and the sink say of one slice.
func (v *verifier) compare(ledger, sink sinks.Receipt) error {
	if v.Ledger == nil {
		return nil
	}
	var what string
	switch {
	case ledger.Entry != sink.Entry:
		what = fmt.Sprintf("the ledger has it as entry %d, the sink as entry %d", ledger.Entry, sink.Entry)
	case ledger.Delivered != sink.Delivered:
		what = "the ledger says that other records were delivered: " + ledger.Difference(sink.Delivered)
	case ledger.Dead != sink.Dead, ledger.DeadLetters != sink.DeadLetters:
		what = fmt.Sprintf("the ledger has %d dead letters in %q, the sink %d in %q", ledger.Dead.Rows, ledger.DeadLetters, sink.Dead.Rows, sink.DeadLetters)
	case !slices.Equal(ledger.Parts, sink.Parts):
		what = "the ledger names other parts, or the same with other sizes or sums"
	default:
		return nil
	}
	return v.found(Finding{sinks.Finding{Kind: KindDisagrees, Path: firstPath(sink), What: what, Hint: hintRebuild}, sink.Slice})
}

const hintRebuild = "was the sink restored from a backup, or is another one mounted? sluice ledger rebuild takes the sink's word over the ledger's"

// reconcile reports what only one of ledger and sink holds.
func (v *verifier) reconcile(
	ctx context.Context, p flow.Partition, before map[flow.SliceID]sinks.Receipt, seen map[flow.SliceID]struct{}, missing []sinks.Receipt,
) error {
	var lost []sinks.Receipt
	for id, r := range before {
		if _, ok := seen[id]; !ok {
			lost = append(lost, r)
		}
	}
	if len(lost) == 0 && len(missing) == 0 {
		return nil
	}
	began := time.Now()
	for {
		after, err := v.recorded(ctx, p)
		if err != nil {
			return err
		}
		// What was withdrawn meanwhile is in neither any more.
		lost = slices.DeleteFunc(lost, func(r sinks.Receipt) bool { _, ok := after[r.Slice.ID]; return !ok })
		missing = slices.DeleteFunc(missing, func(r sinks.Receipt) bool { _, ok := after[r.Slice.ID]; return ok })
		if len(missing) == 0 || !v.Running || time.Since(began) > recordedWithin {
			break
		}
		if v.waits != nil {
			v.waits()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(recordedEvery):
		}
	}
	slices.SortFunc(lost, func(a, b sinks.Receipt) int { return a.Slice.From.Compare(b.Slice.From) })
	for _, r := range lost {
		err := v.found(Finding{sinks.Finding{
			Kind: KindLost, Path: firstPath(r), Hint: hintRebuild,
			What: fmt.Sprintf("the ledger holds this commit, entry %d with %d records, and the sink's commit log lacks it", r.Entry, r.Delivered.Rows),
		}, r.Slice})
		if err != nil {
			return err
		}
	}
	for _, r := range missing {
		err := v.found(Finding{sinks.Finding{
			Kind: KindUnrecorded, Path: firstPath(r), Hint: "the next sluice run records it; a run that ended between commit and record leaves one",
			What: fmt.Sprintf("the sink holds this commit, entry %d with %d records, and the ledger lacks it", r.Entry, r.Delivered.Rows),
		}, r.Slice})
		if err != nil {
			return err
		}
	}
	return nil
}
