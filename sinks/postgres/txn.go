package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/target"
)

// txn is one slice's transaction and the session that it has for itself.
type txn struct {
	sink   *Sink
	slice  flow.Slice
	copier copier
	table  pgx.Identifier // nil until there is a record
	rows   uint64

	mu   sync.Mutex
	conn *pgxpool.Conn // nil: the transaction has ended
}

// session returns the session, or ErrDead.
func (t *txn) session() (*pgx.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		return nil, sinks.ErrDead
	}
	return t.conn.Conn(), nil
}

// end ends the transaction once, by giving its session back with how.
func (t *txn) end(how func(*pgxpool.Conn)) {
	t.mu.Lock()
	c := t.conn
	t.conn = nil
	t.mu.Unlock()
	if c == nil {
		return
	}
	how(c)
	t.sink.mu.Lock()
	delete(t.sink.open, t)
	t.sink.mu.Unlock()
}

// endTimeout bounds the words that end a session.
const endTimeout = 5 * time.Second

// discard closes a session, whose transaction the server then rolls back, unless it is about to commit it.
func discard(c *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	_ = c.Conn().Close(ctx)
	c.Release()
}

// rollback gives a session back for further use.
func rollback(c *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if _, err := c.Exec(ctx, "rollback"); err != nil {
		_ = c.Conn().Close(ctx)
	}
	c.Release()
}

// Append implements sinks.Txn: the batch is in the table, for this transaction alone, when it returns.
func (t *txn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	const op = "append"
	c, err := t.session()
	if err != nil {
		return nil, err
	}
	if b.Records.NumRows() == 0 {
		return nil, nil
	}
	if err := t.find(ctx, b.Records); err != nil {
		return nil, classify(op, err)
	}
	if err := t.copier.reset(b.Records); err != nil {
		return nil, err
	}
	defer t.copier.release()
	var tag pgconn.CommandTag
	err = t.sink.step("copy", func() error {
		var err error
		tag, err = c.PgConn().CopyFrom(ctx, &t.copier, copySQL(t.table, t.copier.columns))
		return err
	})
	if err != nil {
		err = cmp.Or(t.copier.failure(), err) // the server only says that the copying was ended
		return nil, fmt.Errorf("slice %s: table %s: %w", t.slice, t.table.Sanitize(), classify(op, err))
	}
	if want := b.Records.NumRows() - int64(len(t.copier.out)); tag.RowsAffected() != want {
		return nil, fault.Errorf(fault.Corrupt, op, "slice %s: the server has taken %d rows of %d", t.slice, tag.RowsAffected(), want).
			WithHint("does the table have a trigger or a rule that leaves rows out?")
	}
	t.rows += uint64(tag.RowsAffected())
	return t.copier.out, nil
}

// find names the slice's table with its first record, and makes sure of it.
func (t *txn) find(ctx context.Context, rec arrow.Record) error {
	if t.table != nil {
		return nil
	}
	v := target.Of(t.sink.config, t.slice)
	if at := rec.Schema().FieldIndices(flow.ColLogName); len(at) == 1 {
		if names, ok := rec.Column(at[0]).(*array.String); ok && names.IsValid(0) {
			v.LogName = names.Value(0)
		}
	}
	table, err := t.sink.set.table.of(v)
	if err != nil {
		return err
	}
	if err := t.sink.ensure(ctx, t.slice.Stream, table, t.copier.columns); err != nil {
		return err
	}
	t.table = table
	return nil
}

// Commit implements sinks.Txn.
func (t *txn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	const op = "commit"
	c, err := t.session()
	if err != nil {
		return sinks.Receipt{}, err
	}
	defer t.end(rollback) // of what wasn't ended otherwise
	if err := ctx.Err(); err != nil {
		return sinks.Receipt{}, err
	}
	p, day := t.slice.Partition, t.slice.Day()
	if _, err := c.Exec(ctx, takeLock, t.sink.markers.lock(p, day)); err != nil {
		return sinks.Receipt{}, classify(op, err)
	}
	commits, next, err := t.sink.markers.stand(ctx, c, p, day)
	if err == nil {
		err = conflict(t.slice, commits)
	}
	if err != nil {
		return sinks.Receipt{}, classify(op, err)
	}
	if !a.Balanced() || a.Delivered.Rows != t.rows {
		return sinks.Receipt{}, fault.Errorf(fault.Bug, op, "slice %s: %d rows were copied, delivered are %d of %d", t.slice, t.rows, a.Delivered.Rows, a.Read.Rows)
	}
	e := entry{day: day, number: next, kind: kindCommit, commit: commit{
		V: version, Slice: t.slice, Read: a.Read, Delivered: a.Delivered, Dead: a.Dead, Filtered: a.Filtered, DeadLetters: a.DeadLetters,
		Source: program{Name: a.Source.Name, Version: a.Source.Version}, Sluice: t.sink.config.Sluice, At: now(),
	}}
	if t.table != nil {
		e.commit.Table = t.table.Sanitize()
	}
	if err := t.sink.step("marker", func() error { return t.sink.markers.insert(ctx, c, p, e) }); err != nil {
		return sinks.Receipt{}, classify(op, err)
	}
	if err := t.commit(ctx, c); err != nil {
		return sinks.Receipt{}, err
	}
	return e.receipt(p), nil
}

// commit sends COMMIT and waits for its answer, also if the pipeline is being stopped: to give up now would leave it in doubt.
func (t *txn) commit(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(t.sink.set.Timeout)+endTimeout)
	defer cancel()
	var tag pgconn.CommandTag
	err := t.sink.step("commit", func() error {
		var err error
		tag, err = c.Exec(ctx, "commit")
		return err
	})
	switch {
	case err == nil && tag.String() == "COMMIT":
		t.end(func(c *pgxpool.Conn) { c.Release() })
		return nil
	case err == nil: // it was a transaction that had failed
		return fault.New(fault.Transient, "commit", "", errors.New("the server answered "+tag.String()))
	case rolledBack(err):
		return classify("commit", err)
	}
	t.end(discard) // its lock would be waited for
	return inDoubt(t.slice.String(), err)
}

// Abort implements sinks.Txn.
func (t *txn) Abort() error {
	t.end(rollback)
	return nil
}
