// Package postgres is the sink that copies records into tables of PostgreSQL, exactly once for each slice: the rows and the slice's
// marker are of one transaction. FORMAT.md describes the markers.
//
// A transaction has a session of its own. Each batch is one COPY in it, encoded while it is sent, so memory stays small and nothing of
// a batch is kept. Commit takes an advisory lock on the partition's day, reads the markers, refuses an overlap, writes the next marker
// and commits. The server holds the lock until the transaction is over, whatever happens to the connection: so Lookup, which takes the
// same lock first, tells the truth about a commit whose answer was lost.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Definition is the postgres sink's.
var Definition = sinks.Definition{
	Type:    sinkType,
	Promise: "exactly once per slice",
	Config:  []byte(schema),
	Open:    func(ctx context.Context, c sinks.Config) (sinks.Sink, error) { return open(ctx, c, nil) },
	Check: func(_ context.Context, c sinks.Config) error {
		_, err := parse(c)
		return err
	},
	Online: online,
	Buffer: func(sinks.Config) (int64, error) { return buffer, nil },
}

// step runs one named step that changes something at the server, so that a test can end the process before or after it.
type step func(name string, do func() error) error

// Sink writes to the tables of one database.
type Sink struct {
	set     settings
	config  sinks.Config
	pool    *pgxpool.Pool
	markers markers
	id      string
	step    step
	columns map[string][]column // by stream

	mu     sync.Mutex
	open   map[*txn]struct{}
	ready  map[string]bool // tables that are as they must be, by quoted name and stream
	closed bool
}

var (
	_ sinks.Sink   = (*Sink)(nil)
	_ sinks.Memory = (*Sink)(nil)
	_ sinks.Sizer  = (*Sink)(nil)
	_ sinks.Lister = (*Sink)(nil)
)

func open(ctx context.Context, c sinks.Config, at step) (*Sink, error) {
	const op = "open the postgres sink"
	s, err := parse(c)
	if err != nil {
		return nil, err
	}
	if at == nil {
		at = func(_ string, do func() error) error { return do() }
	}
	k := &Sink{set: s, config: c, step: at, columns: map[string][]column{}, open: map[*txn]struct{}{}, ready: map[string]bool{}}
	for _, st := range c.Streams {
		if k.columns[st.Name], err = columnsOf(st.Schema); err != nil {
			return nil, err
		}
	}
	pc, err := s.poolConfig()
	if err != nil {
		return nil, err
	}
	if k.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return nil, classify(op, err)
	}
	if c.ReadOnly {
		err = k.visit(ctx)
	} else {
		err = at("open", func() error { return k.own(ctx) })
	}
	if err != nil {
		k.pool.Close()
		return nil, fmt.Errorf("%s: %w", s.where(), classify(op, err))
	}
	return k, nil
}

// own makes the sink's own tables and its owner's row, and learns who the sink is.
func (k *Sink) own(ctx context.Context) error {
	var cluster, id string
	err := pgx.BeginFunc(ctx, k.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, takeLock, int64(ddlLock))
		if err == nil {
			err = k.set.ensureOwn(ctx, tx)
		}
		if err == nil {
			id, err = k.set.own(ctx, tx, k.config)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = k.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		cluster, err = system(ctx, c.Conn())
		return err
	})
	k.known(cluster, id)
	return err
}

// known remembers who the sink is.
func (k *Sink) known(cluster, id string) {
	k.id = cluster + id
	k.markers = markers{table: pgx.Identifier{k.set.CommitSchema, commitsTable}.Sanitize(), sink: id}
}

// Identity implements sinks.Sink: the cluster's identifier and the ID in the owner's row.
func (k *Sink) Identity() string { return k.id }

// Buffer implements sinks.Sizer. A record larger than a block isn't in it: there is one at most, until Append returns.
func (k *Sink) Buffer() int64 { return buffer }

func (k *Sink) checkOpen() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return fault.Errorf(fault.Bug, "use the postgres sink", "it is closed")
	}
	return nil
}

// Begin implements sinks.Sink.
func (k *Sink) Begin(ctx context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	const op = "begin a slice"
	if err := errors.Join(s.Validate(), k.checkOpen()); err != nil {
		return nil, err
	}
	if k.config.ReadOnly {
		return nil, fault.Errorf(fault.Bug, op, "the sink was opened to be read")
	}
	if _, known := k.columns[s.Stream]; !known {
		return nil, fault.Errorf(fault.Bug, op, "the sink wasn't opened for stream %q", s.Stream)
	}
	columns, err := columnsOf(schema)
	if err != nil {
		return nil, err
	}
	commits, _, err := k.markers.stand(ctx, k.pool, s.Partition, s.Day())
	if err == nil {
		err = conflict(s, commits)
	}
	if err != nil {
		return nil, classify(op, err)
	}
	c, err := k.pool.Acquire(ctx)
	if err != nil {
		return nil, classify(op, err)
	}
	if _, err = c.Exec(ctx, "begin"); err != nil {
		discard(c)
		return nil, classify(op, err)
	}
	t := &txn{sink: k, slice: s, conn: c, copier: copier{columns: columns, limit: maxRow}}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		discard(c)
		return nil, fault.Errorf(fault.Bug, op, "the sink is closed")
	}
	k.open[t] = struct{}{}
	return t, nil
}

// ensure makes the table what a stream's records need, in a transaction of its own. Each table is looked at once.
func (k *Sink) ensure(ctx context.Context, stream string, table pgx.Identifier, columns []column) error {
	key := stream + " " + table.Sanitize()
	k.mu.Lock()
	ready := k.ready[key]
	k.mu.Unlock()
	if ready {
		return nil
	}
	err := k.step("table", func() error {
		return pgx.BeginFunc(ctx, k.pool, func(tx pgx.Tx) error { return k.set.ensureTable(ctx, tx, table, columns) })
	})
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready[key] = true
	return nil
}

// Close implements sinks.Sink.
func (k *Sink) Close() error {
	k.mu.Lock()
	k.closed = true
	all := make([]*txn, 0, len(k.open))
	for t := range k.open {
		all = append(all, t)
	}
	k.mu.Unlock()
	for _, t := range all {
		t.end(discard)
	}
	k.pool.Close()
	return nil
}
