package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// AskedPartition is a partition that the last start of a pipeline asked for. Without it nobody could say of a partition that was never
// committed that it lacks.
type AskedPartition struct {
	flow.Partition
	Name   string        // what people call it; may be empty
	Settle time.Duration // how much longer than the lag a range of it is left alone
	At     time.Time     // when the pipeline was started
}

// RecordAsked writes down what a pipeline that starts asks for of some streams, in the place of what its last start asked of them. What
// it asks of other streams stays: flags may leave some out. At is ignored.
func (l *Ledger) RecordAsked(ctx context.Context, pipeline string, streams []string, all []AskedPartition) error {
	return l.write(ctx, "record what is asked", func(ctx context.Context, tx *sql.Tx) error {
		for _, stream := range streams {
			_, err := tx.ExecContext(ctx, `DELETE FROM asked WHERE pipeline = ? AND partition_id IN
				(SELECT id FROM partitions WHERE stream = ?)`, pipeline, stream)
			if err != nil {
				return err
			}
		}
		for _, p := range all {
			partitionID, err := l.makePartitionID(ctx, tx, p.Partition)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO asked (pipeline, partition_id, name, settle_ms, at_ms) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET name = excluded.name, settle_ms = excluded.settle_ms, at_ms = excluded.at_ms`,
				pipeline, partitionID, p.Name, p.Settle.Milliseconds(), l.now().UnixMilli())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Asked returns what the last starts of a pipeline asked for, in the order of stream and key. Empty if it was never started, or if the
// ledger was lost since.
func (l *Ledger) Asked(ctx context.Context, pipeline string) ([]AskedPartition, error) {
	var all []AskedPartition
	err := l.query(ctx, "list what is asked", func(rows *sql.Rows) error {
		var p AskedPartition
		var selection string
		var settle, at int64
		if err := rows.Scan(&selection, &p.Stream, &p.Key, &p.Name, &settle, &at); err != nil {
			return err
		}
		if err := p.Selection.UnmarshalText([]byte(selection)); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		p.Settle, p.At = time.Duration(settle)*time.Millisecond, timeOf(at)
		all = append(all, p)
		return nil
	}, `SELECT p.selection, p.stream, p.partition, a.name, a.settle_ms, a.at_ms FROM asked a JOIN partitions p ON p.id = a.partition_id
		WHERE a.pipeline = ? ORDER BY p.stream, p.partition, p.selection`, pipeline)
	return all, err
}

// SplitRanges returns the union of the slices of a partition that met the vendor's cap in the way of a sink and were cut.
func (l *Ledger) SplitRanges(ctx context.Context, sink string, p flow.Partition) (flow.Ranges, error) {
	sinkID, partitionID, ok, err := l.both(ctx, sink, p)
	if err != nil || !ok {
		return nil, err
	}
	var all []flow.Range
	err = l.query(ctx, "list splits", func(rows *sql.Rows) error {
		var from, to int64
		err := rows.Scan(&from, &to)
		all = append(all, flow.Range{From: timeOf(from), To: timeOf(to)})
		return err
	}, `SELECT from_ms, to_ms FROM slices WHERE sink_id = ? AND partition_id = ? AND state = 'split' AND `+isWeighed, sinkID, partitionID)
	return flow.NewRanges(all...), err
}
