package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// coverageCache holds the coverage that was asked for, per sink and partition. It is only used by the one process that writes.
// Lock order: a load holds mu while it reads the database, a writer takes mu only after its commit; so a load either sees the
// commit or is corrected by the writer that waits for it.
type coverageCache struct {
	mu  sync.Mutex
	all map[coverageKey]flow.Ranges
}

type coverageKey struct {
	sink string
	flow.Partition
}

func (c *coverageCache) add(sink string, p flow.Partition, added []flow.Range) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := coverageKey{sink, p}
	if have, ok := c.all[key]; ok {
		c.all[key] = have.Union(flow.NewRanges(added...))
	}
}

func (c *coverageCache) drop(sink string, p flow.Partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, coverageKey{sink, p})
}

func (c *coverageCache) dropSink(sink string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.all {
		if key.sink == sink {
			delete(c.all, key)
		}
	}
}

// Coverage returns the union of the committed ranges of revision 0. The caller may keep and change it. In a ledger that was opened
// for writing only the first call per sink and partition reads the database.
func (l *Ledger) Coverage(ctx context.Context, sink string, p flow.Partition) (flow.Ranges, error) {
	if l.writer == nil {
		return l.loadCoverage(ctx, sink, p)
	}
	c := &l.coverage
	c.mu.Lock()
	defer c.mu.Unlock()
	key := coverageKey{sink, p}
	have, ok := c.all[key]
	if !ok {
		var err error
		if have, err = l.loadCoverage(ctx, sink, p); err != nil {
			return nil, err
		}
		if c.all == nil {
			c.all = map[coverageKey]flow.Ranges{}
		}
		c.all[key] = have
	}
	return slices.Clone(have), nil
}

func (l *Ledger) loadCoverage(ctx context.Context, sink string, p flow.Partition) (flow.Ranges, error) {
	sinkID, partitionID, ok, err := l.both(ctx, sink, p)
	if err != nil || !ok {
		return nil, err
	}
	var out flow.Ranges
	var from, to, end int64
	err = l.query(ctx, "coverage", func(rows *sql.Rows) error {
		if err := rows.Scan(&from, &to); err != nil {
			return err
		}
		if n := len(out); n > 0 && from <= end {
			if to > end {
				out[n-1].To, end = timeOf(to), to
			}
			return nil
		}
		out, end = append(out, flow.Range{From: timeOf(from), To: timeOf(to)}), to
		return nil
	}, `SELECT from_ms, to_ms FROM slices WHERE sink_id = ? AND partition_id = ? AND state = 'committed' AND rev = 0
		ORDER BY from_ms, to_ms`, sinkID, partitionID)
	return out, err
}

// Hints returns what the last n slices of a partition weighed that were committed (delivered and dead letters) or split (seen until
// the cap), whatever the sink, each slice once, the most recent last.
func (l *Ledger) Hints(ctx context.Context, p flow.Partition, n int) ([]flow.Hint, error) {
	partitionID, ok, err := l.partitionID(ctx, l.reader, p)
	if err != nil || !ok || n <= 0 {
		return nil, err
	}
	var all []flow.Hint
	index := map[string]int{}
	errEnough := errors.New("enough")
	err = l.query(ctx, "hints", func(rows *sql.Rows) error {
		var id string
		var from, to, seen, bytes int64
		var truncated bool
		if err := rows.Scan(&id, &from, &to, &seen, &bytes, &truncated); err != nil {
			return err
		}
		i, known := index[id]
		if !known {
			if i = len(all); i == n {
				return errEnough
			}
			index[id] = i
			all = append(all, flow.Hint{From: timeOf(from), To: timeOf(to)})
		}
		h := &all[i]
		// A sink that some records were filtered for has less of the slice than was read.
		h.Rows, h.Bytes, h.Truncated = max(h.Rows, uint64(seen)), max(h.Bytes, uint64(bytes)), h.Truncated || truncated
		return nil
	}, `SELECT slice, from_ms, to_ms, rows + dead_rows, bytes + dead_bytes, state = 'split' FROM slices
		WHERE partition_id = ? AND `+isWeighed+` AND (rev = 0 OR state = 'split') -- a revision holds only what was late
		ORDER BY at_ms DESC, from_ms DESC, rowid DESC`, partitionID)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	slices.Reverse(all)
	return all, nil
}

// UnavailableRange is what the vendor says it no longer has, and why.
type UnavailableRange struct {
	flow.Range
	Reason string
	At     time.Time // when that was learnt
}

// MarkUnavailable writes down that the vendor no longer has a range. It is never counted as covered.
func (l *Ledger) MarkUnavailable(ctx context.Context, p flow.Partition, r flow.Range, reason string) error {
	if r.Empty() {
		return fault.Errorf(fault.Bug, "mark unavailable", "range %s is empty", r)
	}
	return l.write(ctx, "mark unavailable "+r.String(), func(ctx context.Context, tx *sql.Tx) error {
		partitionID, err := l.makePartitionID(ctx, tx, p)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO unavailable (partition_id, from_ms, to_ms, reason, at_ms) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET reason = excluded.reason, at_ms = excluded.at_ms`,
			partitionID, r.From.UnixMilli(), r.To.UnixMilli(), clip(reason), l.now().UnixMilli())
		return err
	})
}

// Unavailable returns what the vendor no longer has of a partition, by start; ranges may overlap.
func (l *Ledger) Unavailable(ctx context.Context, p flow.Partition) ([]UnavailableRange, error) {
	partitionID, ok, err := l.partitionID(ctx, l.reader, p)
	if err != nil || !ok {
		return nil, err
	}
	var all []UnavailableRange
	err = l.query(ctx, "list unavailable", func(rows *sql.Rows) error {
		var u UnavailableRange
		var from, to, at int64
		err := rows.Scan(&from, &to, &u.Reason, &at)
		u.From, u.To, u.At = timeOf(from), timeOf(to), timeOf(at)
		all = append(all, u)
		return err
	}, `SELECT from_ms, to_ms, reason, at_ms FROM unavailable WHERE partition_id = ? ORDER BY from_ms, to_ms`, partitionID)
	return all, err
}
