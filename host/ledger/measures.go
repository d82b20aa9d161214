package ledger

import (
	"context"
	"database/sql"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// MeasuredAt is what the vendor said of a range when it was asked.
type MeasuredAt struct {
	flow.Measure
	At time.Time
}

// RecordMeasures writes down what the vendor said of ranges of a partition when it was asked at a time. What was said before is kept:
// figures grow for a while, and the vendor forgets them. One with neither rows nor bytes says that the vendor was asked and told nothing.
func (l *Ledger) RecordMeasures(ctx context.Context, p flow.Partition, at time.Time, measures []flow.Measure) error {
	if len(measures) == 0 {
		return nil
	}
	return l.write(ctx, "record measures of "+p.String(), func(ctx context.Context, tx *sql.Tx) error {
		partitionID, err := l.makePartitionID(ctx, tx, p)
		if err != nil {
			return err
		}
		for _, m := range measures {
			if m.Empty() || m.Rows < -1 || m.Bytes < -1 {
				return fault.Errorf(fault.Bug, "record measures", "%s: %d rows, %d bytes", m.Range, m.Rows, m.Bytes)
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO measures (partition_id, from_ms, to_ms, rows, bytes, at_ms) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET rows = excluded.rows, bytes = excluded.bytes`,
				partitionID, m.From.UnixMilli(), m.To.UnixMilli(), figure(m.Rows), figure(m.Bytes), at.UnixMilli())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func figure(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n >= 0} }

func scanMeasure(rows *sql.Rows) (MeasuredAt, error) {
	var m MeasuredAt
	var from, to, at int64
	var n, bytes sql.NullInt64
	err := rows.Scan(&from, &to, &n, &bytes, &at)
	m.From, m.To, m.At, m.Rows, m.Bytes = timeOf(from), timeOf(to), timeOf(at), -1, -1
	if n.Valid {
		m.Rows = n.Int64
	}
	if bytes.Valid {
		m.Bytes = bytes.Int64
	}
	return m, err
}

// Measures returns what the vendor said of the ranges of a partition that meet r, by range, then by when it was asked.
func (l *Ledger) Measures(ctx context.Context, p flow.Partition, r flow.Range) ([]MeasuredAt, error) {
	partitionID, ok, err := l.partitionID(ctx, l.reader, p)
	if err != nil || !ok {
		return nil, err
	}
	var all []MeasuredAt
	err = l.query(ctx, "list measures", func(rows *sql.Rows) error {
		m, err := scanMeasure(rows)
		all = append(all, m)
		return err
	}, `SELECT from_ms, to_ms, rows, bytes, at_ms FROM measures WHERE partition_id = ? AND from_ms < ? AND to_ms > ?
		ORDER BY from_ms, to_ms, at_ms`, partitionID, r.To.UnixMilli(), r.From.UnixMilli())
	return all, err
}
