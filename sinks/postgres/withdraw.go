package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

var _ sinks.Withdrawer = (*Sink)(nil)

// hintByHand is what to do about rows that aren't known by their transaction any more.
const hintByHand = "was the table restored from a dump, or were rows changed? Delete the slice's rows by hand (docs/sinks/postgres.md), then forget it without --delete"

// Removes implements sinks.Withdrawer.
func (k *Sink) Removes() bool { return true }

// Left implements sinks.Withdrawer: it counts the slice's rows.
func (k *Sink) Left(ctx context.Context, r sinks.Receipt) ([]string, error) {
	const op = "count rows"
	if err := k.checkOpen(); err != nil {
		return nil, err
	}
	var left []string
	err := pgx.BeginTxFunc(ctx, k.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		w, err := k.rowsOf(ctx, tx, r)
		if err != nil || w.table == "" {
			return err
		}
		n, err := w.count(ctx, tx)
		if n > 0 {
			left = append(left, fmt.Sprintf("%d rows of %s", n, w.table))
		}
		return err
	})
	return left, classify(op, err)
}

// Withdraw implements sinks.Withdrawer: the rows go in the transaction that writes the entry.
func (k *Sink) Withdraw(ctx context.Context, commits []sinks.Receipt, remove bool) (sinks.Receipt, error) {
	const op = "forget commits"
	if err := k.checkOpen(); err != nil {
		return sinks.Receipt{}, err
	}
	if len(commits) == 0 {
		return sinks.Receipt{}, fault.Errorf(fault.Bug, op, "no commit is named")
	}
	p, day := commits[0].Slice.Partition, commits[0].Slice.Day()
	numbers := make([]uint64, len(commits))
	for i, c := range commits {
		if c.Slice.Partition != p || !c.Slice.Day().Equal(day) {
			return sinks.Receipt{}, fault.Errorf(fault.Bug, op, "slice %s is of another partition or day than %s", c.Slice, commits[0].Slice)
		}
		numbers[i] = c.Entry
	}
	return k.forget(ctx, p, day, numbers, func(tx pgx.Tx) error {
		if !remove {
			return nil
		}
		// The highest revision first: then what is left of its range is of those below.
		newest := slices.Clone(commits)
		slices.SortFunc(newest, func(a, b sinks.Receipt) int { return int(b.Slice.Rev) - int(a.Slice.Rev) })
		for _, c := range newest {
			if err := k.deleteRows(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// Forget withdraws commits of a day: what they covered is a gap again. Their rows must be gone, or they will be there twice: nothing
// here deletes them.
func (k *Sink) Forget(ctx context.Context, p flow.Partition, day time.Time, numbers []uint64) (sinks.Receipt, error) {
	if err := k.checkOpen(); err != nil {
		return sinks.Receipt{}, err
	}
	return k.forget(ctx, p, day, numbers, func(pgx.Tx) error { return nil })
}

// forget is Forget, with what else belongs to the transaction.
func (k *Sink) forget(ctx context.Context, p flow.Partition, day time.Time, numbers []uint64, also func(pgx.Tx) error) (sinks.Receipt, error) {
	const op = "forget commits"
	if k.config.ReadOnly {
		return sinks.Receipt{}, fault.Errorf(fault.Bug, op, "the sink was opened to be read")
	}
	e := entry{day: flow.Day(day), kind: kindForget, forget: forget{V: version, Entries: numbers, Sluice: k.config.Sluice, At: now()}}
	committing := false
	err := k.step("forget", func() error {
		return pgx.BeginFunc(ctx, k.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, takeLock, k.markers.lock(p, e.day)); err != nil {
				return err
			}
			all, err := k.markers.day(ctx, tx, p, e.day)
			if err != nil {
				return err
			}
			e.number = uint64(len(all)) + 1
			if _, err := standing(append(all, e)); err != nil {
				return fault.New(fault.Config, op, "", err)
			}
			if err := also(tx); err != nil {
				return err
			}
			err = k.markers.insert(ctx, tx.Conn(), p, e)
			committing = err == nil
			return err
		})
	})
	switch {
	case err == nil:
		return e.receipt(p), nil
	case committing && !rolledBack(err) && !errors.Is(err, pgx.ErrTxCommitRollback):
		return sinks.Receipt{}, fault.New(fault.InDoubt, op, "given again, the same command tells whether it took place", fmt.Errorf("%w: %w", sinks.ErrInDoubt, err))
	}
	return sinks.Receipt{}, classify(op, err)
}

func (k *Sink) deleteRows(ctx context.Context, tx pgx.Tx, r sinks.Receipt) error {
	w, err := k.rowsOf(ctx, tx, r)
	if err != nil || w.table == "" {
		return err
	}
	there, err := w.count(ctx, tx)
	if err != nil || there == 0 {
		return err
	}
	tag, err := tx.Exec(ctx, `delete from `+w.table+` where `+w.byTransaction, w.args...)
	if err != nil {
		return err
	}
	if n := uint64(tag.RowsAffected()); n != r.Delivered.Rows || n != there {
		return fault.New(fault.Config, "delete rows", hintByHand, fmt.Errorf("slice %s: %d rows of %s are of its transaction, %d of its range, and %d were committed; nothing was deleted",
			r.Slice, n, w.table, there, r.Delivered.Rows))
	}
	return nil
}

// rowsOf finds where the rows of a commit are and what they are known by. An empty table: there are none.
type rowsOf struct {
	table         string // quoted
	byTransaction string // the transaction that wrote them wrote the commit's own row, too
	args          []any
	byRange       string // empty: the table has no columns that tell
	rangeArgs     []any
}

func (k *Sink) rowsOf(ctx context.Context, tx pgx.Tx, r sinks.Receipt) (w rowsOf, err error) {
	// A table may be large: how long it takes says nothing about the server.
	if _, err := tx.Exec(ctx, `set local statement_timeout = 0`); err != nil {
		return w, err
	}
	s := r.Slice
	all, err := k.markers.day(ctx, tx, s.Partition, s.Day())
	if err != nil {
		return w, err
	}
	if r.Entry == 0 || r.Entry > uint64(len(all)) || all[r.Entry-1].commit.Slice.ID != s.ID {
		return w, k.markers.damaged(fmt.Errorf("entry %d of %s isn't slice %s", r.Entry, s.Day().Format(time.DateOnly), s))
	}
	table := all[r.Entry-1].commit.Table
	if table == "" || r.Delivered.Rows == 0 {
		return w, nil
	}
	var exists bool
	var ranged int
	by := ""
	for _, st := range k.config.Streams {
		if st.Name == s.Stream {
			by = st.PartitionBy
		}
	}
	err = tx.QueryRow(ctx, `select to_regclass($1) is not null, (select count(*) from pg_attribute where attrelid = to_regclass($1)
		and not attisdropped and attname in ($2, $3, $4))`, table, flow.ColReceivedFrom, flow.ColReceivedTo, by).Scan(&exists, &ranged)
	if err != nil || !exists {
		return w, err
	}
	w.table = table
	w.byTransaction = `xmin = (select xmin from ` + k.markers.table + ` where sink = $1 and selection = $2 and stream = $3 and partition = $4
		and day = $5 and number = $6)`
	w.args = []any{k.markers.sink, s.Selection.String(), s.Stream, s.Key, s.Day(), int64(r.Entry)}
	if by != "" && ranged == 3 && s.Rev == 0 {
		w.byRange = flow.ColReceivedFrom + ` = $1 and ` + flow.ColReceivedTo + ` = $2 and ` + pgx.Identifier{by}.Sanitize() + ` = $3`
		w.rangeArgs = []any{s.From, s.To, s.Key}
	}
	return w, nil
}

// count is how many rows are there, by whichever of the two ways finds more.
func (w rowsOf) count(ctx context.Context, tx pgx.Tx) (uint64, error) {
	var n, ranged int64
	if err := tx.QueryRow(ctx, `select count(*) from `+w.table+` where `+w.byTransaction, w.args...).Scan(&n); err != nil {
		return 0, err
	}
	if w.byRange != "" {
		if err := tx.QueryRow(ctx, `select count(*) from `+w.table+` where `+w.byRange, w.rangeArgs...).Scan(&ranged); err != nil {
			return 0, err
		}
	}
	return uint64(max(n, ranged)), nil
}
