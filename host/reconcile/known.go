package reconcile

import (
	"context"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
)

// Read is when the vendor was asked for a revision by its own clock, ok false for one that isn't known to have brought late records.
type Read func(flow.Slice) (at time.Time, ok bool)

// Known returns what the ledger knows of later revisions of a partition in a sink that brought records which the vendor indexed late.
func Known(ctx context.Context, l *ledger.Ledger, sink string, p flow.Partition, within flow.Range) (Read, error) {
	all, err := l.Rechecks(ctx, sink, p, within)
	if err != nil {
		return nil, err
	}
	type revision struct {
		from, to int64
		rev      uint32
	}
	found := map[revision]time.Time{}
	for _, r := range all {
		if r.Rev > 0 {
			found[revision{r.From.UnixMilli(), r.To.UnixMilli(), r.Rev}] = r.Read
		}
	}
	return func(s flow.Slice) (time.Time, bool) {
		at, ok := found[revision{s.From.UnixMilli(), s.To.UnixMilli(), s.Rev}]
		return at, ok
	}, nil
}
