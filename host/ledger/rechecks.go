package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// RecheckOutcome is how a read of a committed range went.
type RecheckOutcome string

// The outcomes.
const (
	FirstRead          RecheckOutcome = "first"       // it made the range covered
	RecheckPlanned     RecheckOutcome = "planned"     // begun, and not known to have ended
	RecheckUnmoved     RecheckOutcome = "unmoved"     // not read: the vendor's own figure hadn't moved
	RecheckNothing     RecheckOutcome = "nothing"     // nothing was late
	RecheckFound       RecheckOutcome = "found"       // what was late is committed
	RecheckRefused     RecheckOutcome = "refused"     // the sink no longer holds what it committed, so nothing can be compared
	RecheckUnavailable RecheckOutcome = "unavailable" // the vendor no longer has the range
)

// Recheck is one read of a committed range in one sink.
type Recheck struct {
	flow.Range
	Age         time.Duration // after the range's end at which it became due; 0: the first read
	Outcome     RecheckOutcome
	Rev         uint32    // of the slice that what is found becomes; 0: none
	Rows, Bytes uint64    // found late
	Gone        uint64    // records that the sink holds and the vendor no longer serves
	Read        time.Time // the vendor's clock before the read
	At          time.Time
}

// RecordRechecks writes down how reads of committed ranges went, one row for each range and age: a later one takes an earlier one's
// place. At is set.
func (l *Ledger) RecordRechecks(ctx context.Context, sink string, p flow.Partition, all ...Recheck) error {
	return l.write(ctx, fmt.Sprintf("record %d rechecks", len(all)), func(ctx context.Context, tx *sql.Tx) error {
		sinkID, err := l.mustSinkID(ctx, tx, sink)
		if err != nil {
			return err
		}
		partitionID, err := l.makePartitionID(ctx, tx, p)
		if err != nil {
			return err
		}
		for _, r := range all {
			if r.Empty() {
				return fault.Errorf(fault.Bug, "record recheck", "range %s is empty", r.Range)
			}
			_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO rechecks (sink_id, partition_id, from_ms, to_ms, age_ms, outcome, rev, rows,
				bytes, gone_rows, read_ms, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				sinkID, partitionID, r.From.UnixMilli(), r.To.UnixMilli(), r.Age.Milliseconds(), string(r.Outcome), r.Rev, int64(r.Rows),
				int64(r.Bytes), int64(r.Gone), r.Read.UnixMilli(), l.now().UnixMilli())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Rechecks returns what is known of reads of a partition's ranges that begin in the days that a range meets, by start, end and age.
func (l *Ledger) Rechecks(ctx context.Context, sink string, p flow.Partition, within flow.Range) ([]Recheck, error) {
	sinkID, partitionID, ok, err := l.both(ctx, sink, p)
	if err != nil || !ok {
		return nil, err
	}
	var all []Recheck
	err = l.query(ctx, "list rechecks", func(rows *sql.Rows) error {
		var r Recheck
		var from, to, age, found, bytes, gone, read, at int64
		err := rows.Scan(&from, &to, &age, &r.Outcome, &r.Rev, &found, &bytes, &gone, &read, &at)
		r.From, r.To, r.Age = timeOf(from), timeOf(to), time.Duration(age)*time.Millisecond
		r.Rows, r.Bytes, r.Gone, r.Read, r.At = uint64(found), uint64(bytes), uint64(gone), timeOf(read), timeOf(at)
		all = append(all, r)
		return err
	}, `SELECT from_ms, to_ms, age_ms, outcome, rev, rows, bytes, gone_rows, read_ms, at_ms FROM rechecks
		WHERE sink_id = ? AND partition_id = ? AND from_ms >= ? AND from_ms < ? ORDER BY from_ms, to_ms, age_ms`,
		sinkID, partitionID, flow.Day(within.From).UnixMilli(), dayEnd(within.To).UnixMilli())
	return all, err
}

// dayEnd is the midnight at or after t.
func dayEnd(t time.Time) time.Time {
	day := flow.Day(t)
	if day.Before(t) {
		return day.Add(24 * time.Hour)
	}
	return day
}

// Window is a committed entry as a recheck needs it: what was read of its range, dead letters included.
type Window struct {
	flow.Range
	Rev         uint32
	Rows, Bytes uint64
	At          time.Time // of the commit, by the sink
}

// Windows returns a partition's entries in a sink with numbers, of the days that a range meets, by start, end and revision.
func (l *Ledger) Windows(ctx context.Context, sink string, p flow.Partition, within flow.Range) ([]Window, error) {
	sinkID, partitionID, ok, err := l.both(ctx, sink, p)
	if err != nil || !ok {
		return nil, err
	}
	var all []Window
	err = l.query(ctx, "list windows", func(rows *sql.Rows) error {
		var w Window
		var from, to, n, bytes, at int64
		err := rows.Scan(&from, &to, &w.Rev, &n, &bytes, &at)
		w.From, w.To, w.Rows, w.Bytes, w.At = timeOf(from), timeOf(to), uint64(n), uint64(bytes), timeOf(at)
		all = append(all, w)
		return err
	}, `SELECT from_ms, to_ms, rev, rows + dead_rows, bytes + dead_bytes, at_ms FROM slices
		WHERE sink_id = ? AND partition_id = ? AND `+entryDay+` >= ? AND `+entryDay+` < ? AND state = 'committed' AND entry > 0
		ORDER BY from_ms, to_ms, rev`,
		sinkID, partitionID, flow.Day(within.From).UnixMilli()/86400000, dayEnd(within.To).UnixMilli()/86400000)
	return all, err
}

// LateTotals is what rechecks found in a sink.
type LateTotals struct {
	Rows, Bytes uint64 // late
	Windows     int    // in which something was late
	Checked     int    // that were looked at, unmoved ones included
	Gone        uint64 // records that the sink holds and the vendor no longer served when they were last looked for
	Last        time.Time
}

// Late sums up the rechecks of a sink.
func (l *Ledger) Late(ctx context.Context, sink string) (LateTotals, error) {
	sinkID, ok, err := l.sinkID(ctx, l.reader, sink)
	if err != nil || !ok {
		return LateTotals{}, err
	}
	var t LateTotals
	var rows, bytes, gone, last int64
	err = l.reader.QueryRowContext(ctx, `SELECT coalesce(sum(rows), 0), coalesce(sum(bytes), 0), coalesce(sum(outcome = 'found'), 0),
		count(*), coalesce(max(at_ms), 0) FROM rechecks WHERE sink_id = ? AND outcome NOT IN ('first', 'planned')`, sinkID).
		Scan(&rows, &bytes, &t.Windows, &t.Checked, &last)
	if err == nil { // of several rechecks of a range the last one counts
		err = l.reader.QueryRowContext(ctx, `SELECT coalesce(sum(gone_rows), 0) FROM (SELECT gone_rows, max(read_ms) FROM rechecks
			WHERE sink_id = ? AND outcome IN ('nothing', 'found') GROUP BY partition_id, from_ms, to_ms)`, sinkID).Scan(&gone)
	}
	if err != nil {
		return t, fmt.Errorf("rechecks: %w", explain(l.path, err))
	}
	t.Rows, t.Bytes, t.Gone = uint64(rows), uint64(bytes), uint64(gone)
	if last > 0 {
		t.Last = timeOf(last)
	}
	return t, nil
}
