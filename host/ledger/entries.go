package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// KnownDay is what is recorded of a UTC day of a commit log.
type KnownDay struct {
	Day   time.Time
	Last  uint64       // the highest number of an entry
	Slice flow.SliceID // that stands in that entry, so that a log that lost entries can be told
	// Dense says that every entry below Last is recorded, as a commit, a forget, or what a forget withdrew. Two commits that end side by
	// side, or someone else's between two of our own, may leave one out.
	Dense bool
}

// KnownDays returns the days of a partition of which entries of a sink's commit log are recorded, in their order. It reads the
// partition's entries once, however many days there are: a run begins with it.
func (l *Ledger) KnownDays(ctx context.Context, sink string, p flow.Partition) ([]KnownDay, error) {
	sinkID, partitionID, ok, err := l.both(ctx, sink, p)
	if err != nil || !ok {
		return nil, err
	}
	var all []KnownDay
	err = l.query(ctx, "list days", func(rows *sql.Rows) error {
		var day, last, n int64
		var id string
		if err := rows.Scan(&day, &last, &n, &id); err != nil {
			return err
		}
		k := KnownDay{Day: timeOf(day * 86400000), Last: uint64(last), Dense: n == last} // numbers begin with 1, and none is there twice
		err := k.slice(id)
		all = append(all, k)
		return err
	}, `SELECT day, last, n, (SELECT slice FROM slices WHERE sink_id = ?1 AND partition_id = ?2 AND `+entryDay+` = day
			AND state = 'committed' AND entry > 0 AND entry = last)
		FROM (SELECT `+entryDay+` AS day, max(entry) AS last, count(*) AS n FROM slices
			WHERE sink_id = ?1 AND partition_id = ?2 AND state = 'committed' AND entry > 0 GROUP BY `+entryDay+`) ORDER BY day`,
		sinkID, partitionID)
	if err != nil {
		return nil, err
	}
	var forgot []time.Time
	err = l.query(ctx, "list days", func(rows *sql.Rows) error {
		var day int64
		err := rows.Scan(&day)
		forgot = append(forgot, timeOf(day))
		return err
	}, `SELECT DISTINCT day_ms FROM forgets WHERE sink_id = ? AND partition_id = ?`, sinkID, partitionID)
	if err != nil {
		return nil, err
	}
	for _, day := range forgot {
		k, err := l.dayWithForgets(ctx, sinkID, partitionID, day)
		if err != nil {
			return nil, err
		}
		at, known := slices.BinarySearchFunc(all, day, func(k KnownDay, day time.Time) int { return k.Day.Compare(day) })
		if known {
			all[at] = k
		} else {
			all = slices.Insert(all, at, k)
		}
	}
	return all, nil
}

func (k *KnownDay) slice(id string) error {
	if err := k.Slice.UnmarshalText([]byte(id)); err != nil {
		return fault.New(fault.Config, "ledger", hintRebuild, fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	return nil
}

// dayWithForgets looks at one day, what was withdrawn of it included.
func (l *Ledger) dayWithForgets(ctx context.Context, sinkID, partitionID int64, day time.Time) (KnownDay, error) {
	k := KnownDay{Day: day}
	var last, known int64
	var id string
	ms := day.UnixMilli()
	err := l.reader.QueryRowContext(ctx, `SELECT entry, slice FROM (
		SELECT * FROM (SELECT entry, slice FROM slices WHERE sink_id = ?1 AND partition_id = ?2 AND `+entryDay+` = ?3
			AND state = 'committed' AND entry > 0 ORDER BY entry DESC LIMIT 1)
		UNION ALL
		SELECT * FROM (SELECT entry, slice FROM forgets WHERE sink_id = ?1 AND partition_id = ?2 AND day_ms = ?4 ORDER BY entry DESC LIMIT 1)
		) ORDER BY entry DESC LIMIT 1`, sinkID, partitionID, ms/86400000, ms).Scan(&last, &id)
	if err != nil {
		return k, fmt.Errorf("last entry: %w", explain(l.path, err))
	}
	if err := k.slice(id); err != nil {
		return k, err
	}
	err = l.reader.QueryRowContext(ctx, `SELECT count(*) FROM (
		SELECT entry FROM slices WHERE sink_id = ?1 AND partition_id = ?2 AND `+entryDay+` = ?3 AND state = 'committed'
			AND entry > 0 AND entry <= ?5
		UNION SELECT entry FROM forgets WHERE sink_id = ?1 AND partition_id = ?2 AND day_ms = ?4 AND entry BETWEEN 1 AND ?5
		UNION SELECT e.value FROM forgets f, json_each(f.entries) e WHERE f.sink_id = ?1 AND f.partition_id = ?2 AND f.day_ms = ?4
			AND e.value BETWEEN 1 AND ?5)`,
		sinkID, partitionID, ms/86400000, ms, last).Scan(&known)
	if err != nil {
		return k, fmt.Errorf("count entries: %w", explain(l.path, err))
	}
	k.Last, k.Dense = uint64(last), known == last
	return k, nil
}
