package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

var _ sinks.Auditor = (*Sink)(nil)

// undefinedTable is the SQLSTATE of a table that isn't there.
const undefinedTable = "42P01"

// hintRows is what to do about rows that aren't as they were committed.
const hintRows = "what changed the table? restore the rows; or delete what is left of them, and the commit is forgotten"

// Audit implements sinks.Auditor: it reads the rows of a slice from its table. They are known by the columns that name the slice, see
// selecting, and by the transaction that wrote them, whose number the marker's row has too.
func (k *Sink) Audit(ctx context.Context, r sinks.Receipt, each func(flow.Sum) error) ([]sinks.Finding, error) {
	const op = "read a slice back"
	if err := k.checkOpen(); err != nil {
		return nil, err
	}
	st, ok := k.stream(r.Slice.Stream)
	if !ok {
		return nil, fault.Errorf(fault.Config, op, "the sink wasn't opened for stream %q", r.Slice.Stream)
	}
	a := &audit{sink: k, receipt: r, stream: st, each: each}
	err := pgx.BeginTxFunc(ctx, k.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// A slice may be large: how long its rows take says nothing about the server.
		if _, err := tx.Exec(ctx, `set local statement_timeout = 0`); err != nil {
			return err
		}
		return a.read(ctx, tx)
	})
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == undefinedTable && a.table != "":
		return []sinks.Finding{{
			Kind: sinks.FindingMissing, Path: a.table, Hint: hintRows,
			What: fmt.Sprintf("the table isn't there; %d records of slice %s were committed to it", r.Delivered.Rows, r.Slice),
		}}, nil
	case a.aborted != nil:
		return nil, a.aborted
	case err != nil:
		return nil, classify(op, fmt.Errorf("slice %s: %w", r.Slice, err))
	}
	return a.end()
}

func (k *Sink) stream(name string) (sinks.Stream, bool) {
	for _, st := range k.config.Streams {
		if st.Name == name {
			return st, true
		}
	}
	return sinks.Stream{}, false
}

// audit reads one slice back.
type audit struct {
	sink    *Sink
	receipt sinks.Receipt
	stream  sinks.Stream
	each    func(flow.Sum) error

	table   string // quoted
	sum     flow.Sum
	lossy   string
	aborted error // of each
	byTxn   bool  // the rows were told by their transaction
}

func (a *audit) read(ctx context.Context, tx pgx.Tx) error {
	where, err := a.selecting(ctx, tx)
	if err != nil || a.table == "" {
		return err
	}
	dec, err := newRowDecoder(a.stream)
	if err != nil {
		return err
	}
	defer dec.close()
	a.lossy = dec.lossy()
	// The mode that the sink uses else knows texts alone.
	args := append([]any{pgx.QueryExecModeDescribeExec, pgx.QueryResultFormats{pgx.BinaryFormatCode}}, where.args...)
	rows, err := tx.Query(ctx, `select `+dec.columns()+` from `+a.table+` where `+strings.Join(where.all, " and "), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		sum, err := dec.sum(rows.RawValues())
		if err != nil {
			return err
		}
		a.sum = a.sum.Plus(sum)
		if a.aborted = a.each(sum); a.aborted != nil {
			return a.aborted
		}
	}
	return rows.Err()
}

// conditions are what the rows of a slice fulfil.
type conditions struct {
	all  []string
	args []any
}

func (c *conditions) add(left string, value any, right string) {
	c.args = append(c.args, value)
	c.all = append(c.all, fmt.Sprintf("%s = $%d%s", left, len(c.args), right))
}

// selecting finds the slice's table and what its rows are known by: the partition, and received_from and received_to, which every
// record of a stream of logs has. Where a stream has none, and where several revisions have one range, the transaction decides.
func (a *audit) selecting(ctx context.Context, tx pgx.Tx) (c conditions, err error) {
	s := a.receipt.Slice
	entries, err := a.sink.markers.day(ctx, tx, s.Partition, s.Day())
	if err != nil {
		return c, err
	}
	alike := 0
	for _, e := range entries {
		if e.kind != kindCommit {
			continue
		}
		if e.commit.Slice.Range() == s.Range() {
			alike++
		}
		if e.number == a.receipt.Entry && e.commit.Slice.ID == s.ID {
			a.table = e.commit.Table
		}
	}
	if a.table == "" {
		return c, nil // it has no rows
	}
	quoted := func(name string) string { return pgx.Identifier{name}.Sanitize() }
	if a.stream.PartitionBy != "" {
		c.add(quoted(a.stream.PartitionBy), s.Key, "")
	}
	ranged := a.stream.Schema.HasField(flow.ColReceivedFrom) && a.stream.Schema.HasField(flow.ColReceivedTo)
	if ranged {
		c.add(quoted(flow.ColReceivedFrom), s.From, "")
		c.add(quoted(flow.ColReceivedTo), s.To, "")
	}
	if a.byTxn = !ranged || alike > 1; a.byTxn {
		var xid string
		err := tx.QueryRow(ctx, `select xmin::text from `+a.sink.markers.table+`
			where sink = $1 and selection = $2 and stream = $3 and partition = $4 and day = $5 and number = $6`,
			a.sink.markers.sink, s.Selection.String(), s.Stream, s.Key, s.Day(), int64(a.receipt.Entry)).Scan(&xid)
		if err != nil {
			return c, err
		}
		c.add("xmin", xid, "::text::xid")
	}
	return c, nil
}

// end compares what was read with the receipt.
func (a *audit) end() ([]sinks.Finding, error) {
	what := a.receipt.Difference(a.sum)
	path := a.table
	switch {
	case what == "":
		return nil, nil
	case a.lossy != "" && a.sum.Rows == a.receipt.Delivered.Rows:
		return nil, &sinks.InexactError{Why: a.lossy, Compared: "rows"}
	case path == "":
		path = a.receipt.Slice.String()
	}
	kind, hint := sinks.FindingDiffers, hintRows
	if a.sum.Rows == 0 {
		kind = sinks.FindingMissing
	}
	if a.byTxn {
		hint = "rows that were changed, or restored from a dump, are of another transaction than their commit: then they can't be told. Else: " + hintRows
	}
	return []sinks.Finding{{Kind: kind, Path: path, What: what, Hint: hint}}, nil
}
