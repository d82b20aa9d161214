package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// OpenCuts returns the slices that a pipeline's sinks lack and that will run again as they were cut.
func (l *Ledger) OpenCuts(ctx context.Context, pipeline string) (map[flow.SliceID]bool, error) {
	all := map[flow.SliceID]bool{}
	err := l.query(ctx, "list open cuts", func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		var id flow.SliceID
		if err := id.UnmarshalText([]byte(text)); err != nil {
			return err
		}
		all[id] = true
		return nil
	}, `SELECT DISTINCT slice FROM slices WHERE `+isCut+` AND sink_id IN (SELECT id FROM sinks WHERE pipeline = ?)`, pipeline)
	return all, err
}

// ForgottenSince reports whether any sink's commits of a partition and UTC day were withdrawn after a time.
func (l *Ledger) ForgottenSince(ctx context.Context, p flow.Partition, day, since time.Time) (bool, error) {
	partitionID, ok, err := l.partitionID(ctx, l.reader, p)
	if err != nil || !ok {
		return false, err
	}
	var n int
	err = l.reader.QueryRowContext(ctx, `SELECT count(*) FROM forgets WHERE partition_id = ? AND day_ms = ? AND at_ms >= ?`,
		partitionID, flow.Day(day).UnixMilli(), since.UnixMilli()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("what was forgotten: %w", explain(l.path, err))
	}
	return n > 0, nil
}

// Registered reports whether a sink is known.
func (l *Ledger) Registered(ctx context.Context, sink string) (bool, error) {
	_, ok, err := l.sinkID(ctx, l.reader, sink)
	return ok, err
}
