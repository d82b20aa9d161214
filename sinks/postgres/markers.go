package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// querier is a session or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// markers are the entries of one sink in sluice_commits.
type markers struct {
	table string // quoted, with its schema
	sink  string // the owner's ID
}

// lock is the key of the advisory lock that whoever commits to a partition's day holds until its transaction is over.
func (m markers) lock(p flow.Partition, day time.Time) int64 {
	h := sha256.New()
	h.Write([]byte("sluice-postgres-lock-v1\x00" + m.sink))
	h.Write(p.Selection[:])
	for _, field := range []string{p.Stream, p.Key, day.Format(time.DateOnly)} {
		h.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(field))), field...))
	}
	return int64(binary.BigEndian.Uint64(h.Sum(nil)))
}

const takeLock = `select pg_advisory_xact_lock($1)`

// day reads all entries of a partition's day.
func (m markers) day(ctx context.Context, q querier, p flow.Partition, day time.Time) ([]entry, error) {
	rows, err := q.Query(ctx, `select day, number, kind, entry::text from `+m.table+`
		where sink = $1 and selection = $2 and stream = $3 and partition = $4 and day = $5 order by number`,
		m.sink, p.Selection.String(), p.Stream, p.Key, day)
	if err != nil {
		return nil, err
	}
	return m.scan(rows)
}

func (m markers) scan(rows pgx.Rows) ([]entry, error) {
	defer rows.Close()
	var out []entry
	for rows.Next() {
		var day time.Time
		var number int64
		var kind, text string
		if err := rows.Scan(&day, &number, &kind, &text); err != nil {
			return nil, err
		}
		e, err := parseEntry(day, number, kind, text)
		if err != nil {
			return nil, m.damaged(fmt.Errorf("entry %d of %s: %w", number, day.Format(time.DateOnly), err))
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func (m markers) damaged(err error) error {
	return fault.New(fault.Config, "read "+m.table, "was it changed by hand, or written by a newer sluice? docs/sinks/postgres.md says how to go on", err)
}

// stand returns the commits of a day that stand, and the number of the next entry.
func (m markers) stand(ctx context.Context, q querier, p flow.Partition, day time.Time) (commits []entry, next uint64, err error) {
	all, err := m.day(ctx, q, p, day)
	if err != nil {
		return nil, 0, err
	}
	if commits, err = standing(all); err != nil {
		return nil, 0, m.damaged(err)
	}
	return commits, uint64(len(all)) + 1, nil
}

// insert writes an entry.
func (m markers) insert(ctx context.Context, c *pgx.Conn, p flow.Partition, e entry) error {
	var body any = e.commit
	var id, from, to, rows any
	var table string
	if e.kind == kindForget {
		body = e.forget
	} else {
		s := e.commit.Slice
		id, from, to, rows, table = s.ID.String(), s.From, s.To, int64(e.commit.Delivered.Rows), e.commit.Table
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, `insert into `+m.table+` (sink, selection, stream, partition, day, number, kind, slice, range_from, range_to, target, rows, entry)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::jsonb)`,
		m.sink, p.Selection.String(), p.Stream, p.Key, e.day, int64(e.number), e.kind, id, from, to, table, rows, string(text))
	return err
}

// page is how many entries are read at once.
const page = 1000

// Committed implements sinks.Memory.
func (k *Sink) Committed(ctx context.Context, g flow.Gap, after func(time.Time) uint64) iter.Seq2[sinks.Receipt, error] {
	const op = "read the commits"
	return func(yield func(sinks.Receipt, error) bool) {
		last, number := flow.Day(g.From), uint64(0)
		if !g.From.Before(g.To) {
			return
		}
		end := flow.Day(g.To.Add(-time.Nanosecond))
		for {
			entries, err := k.entries(ctx, g.Partition, last, number, end)
			if err != nil {
				yield(sinks.Receipt{}, classify(op, err))
				return
			}
			for _, e := range entries {
				if !e.day.Equal(last) {
					last, number = e.day, 0
				}
				if number++; e.number != number {
					yield(sinks.Receipt{}, k.markers.damaged(fmt.Errorf("entry %d of %s is missing", number, last.Format(time.DateOnly))))
					return
				}
				if after != nil && e.number <= after(e.day) {
					continue
				}
				if !yield(e.receipt(g.Partition), nil) {
					return
				}
			}
			if len(entries) < page {
				return
			}
		}
	}
}

// entries reads a page: what follows an entry, up to a day.
func (k *Sink) entries(ctx context.Context, p flow.Partition, day time.Time, number uint64, end time.Time) ([]entry, error) {
	if err := k.checkOpen(); err != nil {
		return nil, err
	}
	rows, err := k.pool.Query(ctx, `select day, number, kind, entry::text from `+k.markers.table+`
		where sink = $1 and selection = $2 and stream = $3 and partition = $4 and (day, number) > ($5, $6) and day <= $7 order by day, number limit $8`,
		k.markers.sink, p.Selection.String(), p.Stream, p.Key, day, int64(number), end, page)
	if err != nil {
		return nil, err
	}
	return k.markers.scan(rows)
}

// Lookup implements sinks.Memory. It waits until a transaction that may be committing the slice is over: such a one holds the
// lock that is taken here, also if its client's connection is lost.
func (k *Sink) Lookup(ctx context.Context, s flow.Slice) (sinks.Receipt, error) {
	if err := k.checkOpen(); err != nil {
		return sinks.Receipt{}, err
	}
	var commits []entry
	err := pgx.BeginFunc(ctx, k.pool, func(tx pgx.Tx) error {
		if !k.config.ReadOnly { // a reader waits for nobody
			if _, err := tx.Exec(ctx, takeLock, k.markers.lock(s.Partition, s.Day())); err != nil {
				return err
			}
		}
		var err error
		commits, _, err = k.markers.stand(ctx, tx, s.Partition, s.Day())
		return err
	})
	if err != nil {
		return sinks.Receipt{}, classify("look a slice up", err)
	}
	for _, e := range commits {
		if e.commit.Slice.ID == s.ID {
			return e.receipt(s.Partition), nil
		}
	}
	return sinks.Receipt{}, fmt.Errorf("slice %s: %w", s, sinks.ErrNotCommitted)
}

// Partitions implements sinks.Lister.
func (k *Sink) Partitions(ctx context.Context) ([]flow.Partition, error) {
	const op = "list the partitions"
	if err := k.checkOpen(); err != nil {
		return nil, err
	}
	rows, err := k.pool.Query(ctx, `select selection, stream, partition from `+k.markers.table+` where sink = $1 group by 1, 2, 3
		order by selection collate "C", stream collate "C", partition collate "C"`, k.markers.sink)
	if err != nil {
		return nil, classify(op, err)
	}
	defer rows.Close()
	var out []flow.Partition
	for rows.Next() {
		var p flow.Partition
		var selection string
		if err := rows.Scan(&selection, &p.Stream, &p.Key); err != nil {
			return nil, classify(op, err)
		}
		if err := p.Selection.UnmarshalText([]byte(selection)); err != nil {
			return nil, k.markers.damaged(err)
		}
		out = append(out, p)
	}
	return out, classify(op, rows.Err())
}

// Strays implements sinks.Lister: there are none, rows and their marker are of one transaction.
func (k *Sink) Strays(context.Context) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}

// now is the time as receipts hold it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
