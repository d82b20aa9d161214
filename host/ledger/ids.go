package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// ids remembers the row IDs of sinks and partitions.
type ids struct {
	mu         sync.Mutex
	sinks      map[string]int64
	partitions map[flow.Partition]int64
}

func (c *ids) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sinks, c.partitions = nil, nil
}

// queryer is what both databases and transactions can do.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// sinkID returns a sink's row ID; ok is false for one that was never registered.
func (l *Ledger) sinkID(ctx context.Context, q queryer, sink string) (id int64, ok bool, err error) {
	l.ids.mu.Lock()
	id, ok = l.ids.sinks[sink]
	l.ids.mu.Unlock()
	if ok {
		return id, true, nil
	}
	err = q.QueryRowContext(ctx, `SELECT id FROM sinks WHERE identity = ?`, sink).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, explain(l.path, err)
	}
	l.ids.mu.Lock()
	defer l.ids.mu.Unlock()
	if l.ids.sinks == nil {
		l.ids.sinks = map[string]int64{}
	}
	l.ids.sinks[sink] = id
	return id, true, nil
}

// mustSinkID is sinkID for those that write.
func (l *Ledger) mustSinkID(ctx context.Context, tx *sql.Tx, sink string) (int64, error) {
	id, ok, err := l.sinkID(ctx, tx, sink)
	if err == nil && !ok {
		err = fault.Errorf(fault.Bug, "ledger", "sink %q was never registered", sink)
	}
	return id, err
}

// partitionID returns a partition's row ID; ok is false for one without rows.
func (l *Ledger) partitionID(ctx context.Context, q queryer, p flow.Partition) (id int64, ok bool, err error) {
	l.ids.mu.Lock()
	id, ok = l.ids.partitions[p]
	l.ids.mu.Unlock()
	if ok {
		return id, true, nil
	}
	err = q.QueryRowContext(ctx, `SELECT id FROM partitions WHERE selection = ? AND stream = ? AND partition = ?`,
		p.Selection.String(), p.Stream, p.Key).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, explain(l.path, err)
	}
	l.learn(p, id)
	return id, true, nil
}

// makePartitionID is partitionID for those that write: it makes what is missing.
func (l *Ledger) makePartitionID(ctx context.Context, tx *sql.Tx, p flow.Partition) (int64, error) {
	id, ok, err := l.partitionID(ctx, tx, p)
	if err != nil || ok {
		return id, err
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO partitions (selection, stream, partition) VALUES (?, ?, ?) RETURNING id`,
		p.Selection.String(), p.Stream, p.Key).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("partition %s: %w", p, err)
	}
	l.learn(p, id)
	return id, nil
}

func (l *Ledger) learn(p flow.Partition, id int64) {
	l.ids.mu.Lock()
	defer l.ids.mu.Unlock()
	if l.ids.partitions == nil {
		l.ids.partitions = map[flow.Partition]int64{}
	}
	l.ids.partitions[p] = id
}

// both returns the row IDs of a sink and a partition; ok is false if one of them is unknown, so that there can be no rows.
func (l *Ledger) both(ctx context.Context, sink string, p flow.Partition) (sinkID, partitionID int64, ok bool, err error) {
	sinkID, ok, err = l.sinkID(ctx, l.reader, sink)
	if err != nil || !ok {
		return 0, 0, false, err
	}
	partitionID, ok, err = l.partitionID(ctx, l.reader, p)
	return sinkID, partitionID, ok, err
}
