package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Record writes down that a sink has committed a slice. It is idempotent: the same receipt again changes nothing. Cuts of the
// partition that now lie wholly in the coverage are dropped. A receipt with Forgets withdraws the entries of those numbers of its
// day instead. A *DisagreementError if the entry's number or the slice is known with something else: then the sink's log isn't the
// one that was recorded. Sinks without entry numbers may record a slice again; the last receipt stands.
func (l *Ledger) Record(ctx context.Context, sink string, r sinks.Receipt) error {
	return l.RecordAll(ctx, sink, []sinks.Receipt{r})
}

// RecordAll is Record for many receipts in one transaction, in their order: all or none is recorded.
func (l *Ledger) RecordAll(ctx context.Context, sink string, receipts []sinks.Receipt) error {
	if len(receipts) == 0 {
		return nil
	}
	what := fmt.Sprintf("record %d receipts", len(receipts))
	if len(receipts) == 1 {
		what = "record " + receipts[0].Slice.String()
	}
	covered := map[flow.Partition]flow.Ranges{} // added since the transaction began
	forgot := map[flow.Partition]bool{}
	err := l.write(ctx, what, func(ctx context.Context, tx *sql.Tx) error {
		sinkID, err := l.mustSinkID(ctx, tx, sink)
		if err != nil {
			return err
		}
		for _, r := range receipts {
			partitionID, err := l.makePartitionID(ctx, tx, r.Slice.Partition)
			if err != nil {
				return err
			}
			if len(r.Forgets) > 0 {
				forgot[r.Slice.Partition] = true
				if err := recordForget(ctx, tx, sinkID, partitionID, r); err != nil {
					return err
				}
				continue
			}
			if err := recordCommit(ctx, tx, sink, sinkID, partitionID, r); err != nil {
				return err
			}
			if r.Slice.Rev == 0 {
				covered[r.Slice.Partition] = append(covered[r.Slice.Partition], r.Slice.Range())
			}
		}
		for p, added := range covered {
			partitionID, err := l.makePartitionID(ctx, tx, p)
			if err != nil {
				return err
			}
			if err := dropCovered(ctx, tx, sinkID, partitionID, flow.NewRanges(added...)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for p, added := range covered {
		l.coverage.add(sink, p, added)
	}
	for p := range forgot {
		l.coverage.drop(sink, p)
	}
	return nil
}

// entryDay is the expression of the index slices_entry; it must be spelled the same everywhere to be found by it.
const entryDay = `from_ms / 86400000`

func dayNumber(s flow.Slice) int64 { return s.Day().UnixMilli() / 86400000 }

func recordCommit(ctx context.Context, tx *sql.Tx, sink string, sinkID, partitionID int64, r sinks.Receipt) error {
	if err := r.Slice.Validate(); err != nil {
		return fault.New(fault.Bug, "receipt", "", err)
	}
	same, err := compare(ctx, tx, sink, sinkID, partitionID, r)
	if err != nil || same {
		return err
	}
	parts, err := json.Marshal(r.Parts)
	if err != nil {
		return err
	}
	if r.Parts == nil {
		parts = []byte("[]")
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO slices (sink_id, partition_id, slice, from_ms, to_ms, rev, state, entry, rows, bytes, digest,
		dead_rows, dead_bytes, dead_digest, dead_letters, parts, at_ms) VALUES (?, ?, ?, ?, ?, ?, 'committed', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (sink_id, slice) DO UPDATE SET state = 'committed', entry = excluded.entry, rows = excluded.rows,
		bytes = excluded.bytes, digest = excluded.digest, dead_rows = excluded.dead_rows, dead_bytes = excluded.dead_bytes,
		dead_digest = excluded.dead_digest, dead_letters = excluded.dead_letters, parts = excluded.parts, at_ms = excluded.at_ms,
		kind = '', error = '', hint = ''`,
		sinkID, partitionID, r.Slice.ID.String(), r.Slice.From.UnixMilli(), r.Slice.To.UnixMilli(), r.Slice.Rev, int64(r.Entry),
		int64(r.Delivered.Rows), int64(r.Delivered.Bytes), r.Delivered.Digest.String(),
		int64(r.Dead.Rows), int64(r.Dead.Bytes), r.Dead.Digest.String(), r.DeadLetters, string(parts), r.At.UnixMilli())
	return err
}

// compare reports whether the very same commit is recorded already, and fails if another one is in its place.
func compare(ctx context.Context, tx *sql.Tx, sink string, sinkID, partitionID int64, r sinks.Receipt) (same bool, err error) {
	var id, digest, dead string
	var entry int64
	disagree := func() error {
		return fault.New(fault.Config, "", hintRebuild, &DisagreementError{
			Sink: sink, Entry: r.Entry, Holds: fmt.Sprintf("slice %s as entry %d, digest %s", id, entry, digest),
			Got: fmt.Sprintf("slice %s (%s), digest %s", r.Slice.ID, r.Slice, r.Delivered.Digest),
		})
	}
	err = tx.QueryRowContext(ctx, `SELECT slice, entry, digest, dead_digest FROM slices
		WHERE sink_id = ? AND slice = ? AND state = 'committed'`, sinkID, r.Slice.ID.String()).Scan(&id, &entry, &digest, &dead)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return false, err
	case entry == int64(r.Entry) && digest == r.Delivered.Digest.String() && dead == r.Dead.Digest.String():
		return true, nil
	case entry == 0 && r.Entry == 0:
		return false, nil // a sink without memory: the last receipt stands
	default:
		return false, disagree()
	}
	if r.Entry == 0 {
		return false, nil
	}
	err = tx.QueryRowContext(ctx, `SELECT slice, entry, digest FROM slices WHERE sink_id = ? AND partition_id = ? AND `+entryDay+` = ?
		AND entry = ? AND state = 'committed' AND entry > 0`,
		sinkID, partitionID, dayNumber(r.Slice), int64(r.Entry)).Scan(&id, &entry, &digest)
	if errors.Is(err, sql.ErrNoRows) {
		return forgotten(ctx, tx, sinkID, partitionID, r)
	}
	if err != nil {
		return false, err
	}
	return false, disagree()
}

// forgotten reports whether the receipt's entry was withdrawn by a forget entry that is recorded: reading the log from its start
// again must not bring it back.
func forgotten(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, r sinks.Receipt) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM forgets f, json_each(f.entries) e WHERE f.sink_id = ? AND f.partition_id = ?
		AND f.day_ms = ? AND f.entry > ? AND e.value = ?`,
		sinkID, partitionID, r.Slice.Day().UnixMilli(), int64(r.Entry), int64(r.Entry)).Scan(&n)
	return n > 0, err
}

func recordForget(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, r sinks.Receipt) error {
	entries, err := json.Marshal(r.Forgets)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO forgets (sink_id, partition_id, day_ms, entry, slice, entries, at_ms)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		sinkID, partitionID, r.Slice.Day().UnixMilli(), int64(r.Entry), r.Slice.ID.String(), string(entries), r.At.UnixMilli())
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	const these = `sink_id = ?1 AND partition_id = ?2 AND ` + entryDay + ` = ?3 AND state = 'committed' AND entry > 0
		AND entry IN (SELECT value FROM json_each(?4))`
	if err := dropRechecks(ctx, tx, these, sinkID, partitionID, dayNumber(r.Slice), string(entries)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM slices WHERE `+these, sinkID, partitionID, dayNumber(r.Slice), string(entries))
	return err
}

// dropRechecks forgets that ranges were read again for late records, of slices that are about to go: what comes in their place is
// due for it anew.
func dropRechecks(ctx context.Context, tx *sql.Tx, these string, args ...any) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM rechecks WHERE sink_id = ?1 AND partition_id = ?2 AND EXISTS (SELECT 1 FROM slices
		WHERE `+these+` AND slices.from_ms < rechecks.to_ms AND slices.to_ms > rechecks.from_ms)`, args...)
	return err
}

// Withdraw forgets that a sink without entry numbers was given slices: they are gaps again, and will be sent again.
func (l *Ledger) Withdraw(ctx context.Context, sink string, p flow.Partition, slices []flow.Slice) error {
	err := l.write(ctx, "forget slices of "+p.String(), func(ctx context.Context, tx *sql.Tx) error {
		sinkID, err := l.mustSinkID(ctx, tx, sink)
		if err != nil {
			return err
		}
		partitionID, err := l.makePartitionID(ctx, tx, p)
		if err != nil {
			return err
		}
		const these = `sink_id = ?1 AND partition_id = ?2 AND slice = ?3 AND state = 'committed' AND entry = 0`
		for _, s := range slices {
			if err := dropRechecks(ctx, tx, these, sinkID, partitionID, s.ID.String()); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM slices WHERE `+these, sinkID, partitionID, s.ID.String()); err != nil {
				return err
			}
		}
		return nil
	})
	l.coverage.drop(sink, p)
	return err
}

// dropCovered drops the cuts of revision 0 that meet what was added and lie wholly in the coverage.
func dropCovered(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, added flow.Ranges) error {
	type cut struct {
		rowID int64
		flow.Range
	}
	for _, r := range added {
		var cuts []cut
		meets, err := tx.QueryContext(ctx, `SELECT rowid, from_ms, to_ms FROM slices WHERE sink_id = ? AND partition_id = ? AND rev = 0
			AND `+isCut+` AND from_ms < ? AND to_ms > ?`, sinkID, partitionID, r.To.UnixMilli(), r.From.UnixMilli())
		if err != nil {
			return err
		}
		for meets.Next() {
			var c cut
			var from, to int64
			if err := meets.Scan(&c.rowID, &from, &to); err != nil {
				return errors.Join(err, meets.Close()) //nolint:sqlclosecheck // closed before the statements below, in each round
			}
			c.Range = flow.Range{From: timeOf(from), To: timeOf(to)}
			cuts = append(cuts, c)
		}
		if err := errors.Join(meets.Err(), meets.Close()); err != nil {
			return err
		}
		for _, c := range cuts {
			covered, err := coveredWithin(ctx, tx, sinkID, partitionID, c.Range)
			if err != nil {
				return err
			}
			if !covered.Covers(c.Range) {
				continue
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM slices WHERE rowid = ?`, c.rowID); err != nil {
				return err
			}
		}
	}
	return nil
}

// coveredWithin returns the union of the committed ranges that meet r. A slice lies within one UTC day, so none that meets r begins
// more than a day before it: that bounds the scan of the index.
func coveredWithin(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, r flow.Range) (flow.Ranges, error) {
	rows, err := tx.QueryContext(ctx, `SELECT from_ms, to_ms FROM slices WHERE sink_id = ? AND partition_id = ? AND state = 'committed'
		AND rev = 0 AND from_ms > ? AND from_ms < ? AND to_ms > ?`,
		sinkID, partitionID, r.From.Add(-24*time.Hour).UnixMilli(), r.To.UnixMilli(), r.From.UnixMilli())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []flow.Range
	for rows.Next() {
		var from, to int64
		if err := rows.Scan(&from, &to); err != nil {
			return nil, err
		}
		all = append(all, flow.Range{From: timeOf(from), To: timeOf(to)})
	}
	return flow.NewRanges(all...), rows.Err()
}

// Committed returns the receipts of what a sink holds of a partition, by day and entry number, those without a number by time.
func (l *Ledger) Committed(ctx context.Context, sink string, p flow.Partition) ([]sinks.Receipt, error) {
	return l.receipts(ctx, sink, p, `AND `+isWeighed)
}

// CommittedIn is Committed for the receipts with entry numbers whose ranges meet r, of all revisions.
func (l *Ledger) CommittedIn(ctx context.Context, sink string, p flow.Partition, r flow.Range) ([]sinks.Receipt, error) {
	// A slice lies within one UTC day: none that meets r begins more than a day before it, which bounds the scan of the index.
	return l.receipts(ctx, sink, p, `AND entry > 0 AND `+entryDay+` >= ? AND `+entryDay+` <= ? AND from_ms < ? AND to_ms > ?`,
		flow.Day(r.From).UnixMilli()/86400000, flow.Day(r.To).UnixMilli()/86400000, r.To.UnixMilli(), r.From.UnixMilli())
}

func (l *Ledger) receipts(ctx context.Context, sink string, p flow.Partition, clause string, args ...any) ([]sinks.Receipt, error) {
	sinkID, partitionID, ok, err := l.both(ctx, sink, p)
	if err != nil || !ok {
		return nil, err
	}
	var all []sinks.Receipt
	err = l.query(ctx, "list receipts", func(rows *sql.Rows) error {
		r, err := scanReceipt(rows, p)
		all = append(all, r)
		return err
	}, `SELECT slice, from_ms, to_ms, rev, entry, rows, bytes, digest, dead_rows, dead_bytes, dead_digest, dead_letters, parts, at_ms
		FROM slices WHERE sink_id = ? AND partition_id = ? AND state = 'committed' `+clause+` ORDER BY `+entryDay+`, entry, from_ms, rev`,
		append([]any{sinkID, partitionID}, args...)...)
	return all, err
}

func scanReceipt(rows *sql.Rows, p flow.Partition) (sinks.Receipt, error) {
	var r sinks.Receipt
	var id, digest, dead, parts string
	var from, to, entry, deliveredRows, deliveredBytes, deadRows, deadBytes, at int64
	var rev uint32
	err := rows.Scan(&id, &from, &to, &rev, &entry, &deliveredRows, &deliveredBytes, &digest, &deadRows, &deadBytes, &dead,
		&r.DeadLetters, &parts, &at)
	if err != nil {
		return r, err
	}
	if r.Slice, err = sliceOf(id, p, from, to, rev); err != nil {
		return r, err
	}
	r.Entry, r.At = uint64(entry), timeOf(at)
	r.Delivered.Rows, r.Delivered.Bytes = uint64(deliveredRows), uint64(deliveredBytes)
	r.Dead.Rows, r.Dead.Bytes = uint64(deadRows), uint64(deadBytes)
	err = errors.Join(r.Delivered.Digest.UnmarshalText([]byte(digest)), r.Dead.Digest.UnmarshalText([]byte(dead)),
		json.Unmarshal([]byte(parts), &r.Parts))
	if err != nil {
		return r, fault.New(fault.Config, "ledger", hintRebuild, fmt.Errorf("%w: slice %s: %w", ErrCorrupt, r.Slice, err))
	}
	if len(r.Parts) == 0 {
		r.Parts = nil
	}
	return r, nil
}
