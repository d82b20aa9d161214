package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// Run is one run of a pipeline that has ended.
type Run struct {
	Pipeline   string
	Start, End time.Time // kept in whole milliseconds
	Exit       int
	Summary    json.RawMessage // one JSON object; nil is kept as {}
}

// keptRuns is how many runs of a pipeline are kept.
const keptRuns = 1000

// RecordRun writes down a run that has ended.
func (l *Ledger) RecordRun(ctx context.Context, r Run) error {
	if r.Summary == nil {
		r.Summary = json.RawMessage("{}")
	}
	return l.write(ctx, "record run", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO runs (pipeline, start_ms, end_ms, exit, summary) VALUES (?, ?, ?, ?, ?)`,
			r.Pipeline, r.Start.UnixMilli(), r.End.UnixMilli(), r.Exit, string(r.Summary))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM runs WHERE pipeline = ?1 AND id IN
			(SELECT id FROM runs WHERE pipeline = ?1 ORDER BY start_ms DESC, id DESC LIMIT -1 OFFSET ?2)`, r.Pipeline, keptRuns)
		return err
	})
}

// LastRuns returns the last n runs of a pipeline (of all, if it is empty), the most recent first.
func (l *Ledger) LastRuns(ctx context.Context, pipeline string, n int) ([]Run, error) {
	var all []Run
	err := l.query(ctx, "list runs", func(rows *sql.Rows) error {
		var r Run
		var start, end int64
		var summary string
		err := rows.Scan(&r.Pipeline, &start, &end, &r.Exit, &summary)
		r.Start, r.End, r.Summary = timeOf(start), timeOf(end), json.RawMessage(summary)
		all = append(all, r)
		return err
	}, `SELECT pipeline, start_ms, end_ms, exit, summary FROM runs WHERE ?1 = '' OR pipeline = ?1
		ORDER BY start_ms DESC, id DESC LIMIT ?2`, pipeline, n)
	return all, err
}

// isWeighed is the condition of the index slices_weight, which bounds a scan to one partition; it must be spelled the same everywhere to
// be found by it.
const isWeighed = `state IN ('committed', 'split')`

// resent is the expression of how many records of a row of slices, as l, were dead letters before: all of a later revision, unless it is
// known to have brought records that the vendor indexed late, or has more records than there were dead letters before it.
const resent = `CASE WHEN l.rev > 0 AND l.state = 'committed' AND (l.entry = 0 OR
	NOT EXISTS (SELECT 1 FROM rechecks k WHERE k.sink_id = l.sink_id AND k.partition_id = l.partition_id AND k.from_ms = l.from_ms
		AND k.to_ms = l.to_ms AND k.rev = l.rev) AND l.rows + l.dead_rows <= (SELECT coalesce(sum(d.dead_rows), 0) FROM slices d
		WHERE d.sink_id = l.sink_id AND d.partition_id = l.partition_id AND d.from_ms / 86400000 = l.from_ms / 86400000
		AND d.state = 'committed' AND d.entry > 0 AND d.rev < l.rev AND d.from_ms < l.to_ms AND d.to_ms > l.from_ms))
	THEN l.rows + l.dead_rows ELSE 0 END`

// Totals sums what a sink has committed of a partition.
type Totals struct {
	Slices      uint64
	Rows, Bytes uint64 // delivered
	Dead        uint64 // records that were dead letters
	Resent      uint64 // of them, those that a later revision took up: delivered, or dead letters of it
	Last        time.Time
}

// DeadNow returns how many records are dead letters still.
func (t Totals) DeadNow() uint64 { return t.Dead - min(t.Dead, t.Resent) }

// Totals returns what a sink has committed of a partition, all revisions. Last is when the last commit took place, zero without any.
func (l *Ledger) Totals(ctx context.Context, sink string, p flow.Partition) (Totals, error) {
	sinkID, partitionID, ok, err := l.both(ctx, sink, p)
	if err != nil || !ok {
		return Totals{}, err
	}
	var t Totals
	err = l.query(ctx, "totals", func(rows *sql.Rows) error {
		var n, r, b, dead, resent, last int64
		err := rows.Scan(&n, &r, &b, &dead, &resent, &last)
		t = Totals{Slices: uint64(n), Rows: uint64(r), Bytes: uint64(b), Dead: uint64(dead), Resent: uint64(resent)}
		if n > 0 {
			t.Last = timeOf(last)
		}
		return err
	}, `SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(bytes), 0), coalesce(sum(dead_rows), 0),
		coalesce(sum(`+resent+`), 0), coalesce(max(at_ms), 0)
		FROM slices l WHERE sink_id = ? AND partition_id = ? AND state = 'committed' AND `+isWeighed, sinkID, partitionID)
	return t, err
}

// LastSuccess returns when the last run of a pipeline ended that ended with exit code 0; ok is false if none is remembered.
func (l *Ledger) LastSuccess(ctx context.Context, pipeline string) (end time.Time, ok bool, err error) {
	err = l.query(ctx, "last success", func(rows *sql.Rows) error {
		var ms sql.NullInt64
		err := rows.Scan(&ms)
		if ms.Valid {
			end, ok = timeOf(ms.Int64), true
		}
		return err
	}, `SELECT max(end_ms) FROM runs WHERE pipeline = ? AND exit = 0`, pipeline)
	return end, ok, err
}

// Pipelines returns the names of all pipelines that the ledger has heard of.
func (l *Ledger) Pipelines(ctx context.Context) ([]string, error) {
	var all []string
	err := l.query(ctx, "list pipelines", func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		all = append(all, name)
		return err
	}, `SELECT pipeline FROM sinks UNION SELECT pipeline FROM runs UNION SELECT pipeline FROM asked ORDER BY 1`)
	return all, err
}
