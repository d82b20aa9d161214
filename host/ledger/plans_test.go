package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// planner is a connection that asks for the plan of every statement before it is run.
type planner struct {
	driver.Conn
	seen *plans
}

// plans is what planners saw: the plan's lines by statement.
type plans struct {
	mu  sync.Mutex
	all map[string][]string
}

// connector opens planners.
type connector struct {
	driver driver.Driver
	dsn    string
	seen   *plans
}

func (c connector) Driver() driver.Driver { return c.driver }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	return planner{conn, c.seen}, err
}

func (p planner) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return p.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (p planner) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := p.explain(ctx, query, args); err != nil {
		return nil, err
	}
	return p.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (p planner) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := p.explain(ctx, query, args); err != nil {
		return nil, err
	}
	return p.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (p planner) explain(ctx context.Context, query string, args []driver.NamedValue) (err error) {
	rows, err := p.Conn.(driver.QueryerContext).QueryContext(ctx, `EXPLAIN QUERY PLAN `+query, args)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	var lines []string
	for {
		values := make([]driver.Value, len(rows.Columns()))
		if err := rows.Next(values); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		lines = append(lines, values[3].(string))
	}
	p.seen.mu.Lock()
	defer p.seen.mu.Unlock()
	p.seen.all[query] = lines
	return nil
}

// watch makes a ledger's connections tell how their statements are planned.
func watch(t *testing.T, l *Ledger) *plans {
	t.Helper()
	seen := &plans{all: map[string][]string{}}
	for _, db := range []**sql.DB{&l.reader, &l.writer} {
		d := (*db).Driver()
		must(t, (*db).Close())
		*db = sql.OpenDB(connector{d, "file:" + l.path + "?_pragma=foreign_keys(1)&_txlock=immediate", seen})
		(*db).SetMaxOpenConns(1)
	}
	return seen
}

// reach is how much a statement reads at most.
type reach int

const (
	ofDays      reach = iota // rows of a few days, or cuts, which are few
	ofPartition              // all of a partition in one pass
	ofSink                   // all of a sink in one pass
)

// large are the tables that grow with the slices, by the names that statements give them.
var large = []string{"slices", "l", "d", "rechecks", "k", "measures"}

// reachOf says how much a line of a plan reads.
func reachOf(line string) reach {
	words := strings.Fields(line)
	if len(words) < 2 || !slices.Contains(large, words[1]) || strings.Contains(line, "slices_cuts") || strings.Contains(line, "INTEGER PRIMARY KEY") {
		return ofDays
	}
	switch _, by, _ := strings.Cut(line, " ("); by {
	case "", "sink_id=?)":
		return ofSink
	case "partition_id=?)", "sink_id=? AND partition_id=?)":
		return ofPartition
	}
	return ofDays
}

// TestPlans holds that what a run asks the ledger while it goes on, and for each day at its start, reads a part of a partition and no
// more: with hundreds of thousands of slices anything else is what a run spends its time on. What the account itself is asked for, all
// that there is, reads it once.
func TestPlans(t *testing.T) {
	day := minutes(0, 1).Day()
	hour := flow.Range{From: day, To: day.Add(time.Hour)}
	ids := []string{"A"}
	for _, tt := range []struct {
		name string
		most reach
		call func(ctx context.Context, l *Ledger) error
	}{
		{"record", ofDays, func(ctx context.Context, l *Ledger) error { return l.Record(ctx, "A", receipt(minutes(7, 8), 8)) }},
		{"begin", ofDays, func(ctx context.Context, l *Ledger) error { return l.Begin(ctx, ids, minutes(20, 22), 0) }},
		{"fail", ofDays, func(ctx context.Context, l *Ledger) error {
			return l.Fail(ctx, ids, minutes(20, 22), Failed, fault.Transient, "x", "")
		}},
		{"split", ofDays, func(ctx context.Context, l *Ledger) error {
			return l.Split(ctx, ids, minutes(20, 22), []flow.Slice{minutes(20, 21), minutes(21, 22)}, 1, 1)
		}},
		{"give up", ofDays, func(ctx context.Context, l *Ledger) error { return l.GiveUp(ctx, ids, minutes(20, 21), "x") }},
		{"record what was cut", ofDays, func(ctx context.Context, l *Ledger) error { return l.Record(ctx, "A", receipt(minutes(21, 22), 9)) }},
		{"known days", ofPartition, func(ctx context.Context, l *Ledger) error {
			_, err := l.KnownDays(ctx, "A", testPartition)
			return err
		}},
		{"receipts of a partition", ofPartition, func(ctx context.Context, l *Ledger) error {
			_, err := l.Committed(ctx, "A", testPartition)
			return err
		}},
		{"totals", ofPartition, func(ctx context.Context, l *Ledger) error { _, err := l.Totals(ctx, "A", testPartition); return err }},
		{"tallies", ofSink, func(ctx context.Context, l *Ledger) error { _, err := l.Tallies(ctx, "A"); return err }},
		{"splits", ofPartition, func(ctx context.Context, l *Ledger) error {
			_, err := l.SplitRanges(ctx, "A", testPartition)
			return err
		}},
		{"receipts of a range", ofDays, func(ctx context.Context, l *Ledger) error {
			_, err := l.CommittedIn(ctx, "A", testPartition, hour)
			return err
		}},
		{"windows", ofDays, func(ctx context.Context, l *Ledger) error {
			_, err := l.Windows(ctx, "A", testPartition, hour)
			return err
		}},
		{"rechecks", ofDays, func(ctx context.Context, l *Ledger) error {
			_, err := l.Rechecks(ctx, "A", testPartition, hour)
			return err
		}},
		{"record rechecks", ofDays, func(ctx context.Context, l *Ledger) error {
			return l.RecordRechecks(ctx, "A", testPartition, Recheck{Range: hour, Outcome: FirstRead, Read: day})
		}},
		{"hints", ofPartition, func(ctx context.Context, l *Ledger) error { _, err := l.Hints(ctx, testPartition, 16); return err }},
		{"cuts", ofDays, func(ctx context.Context, l *Ledger) error { _, err := l.Cuts(ctx, "A", testPartition); return err }},
		{"open cuts", ofDays, func(ctx context.Context, l *Ledger) error { _, err := l.OpenCuts(ctx, "prod"); return err }},
		{"forgotten since", ofDays, func(ctx context.Context, l *Ledger) error {
			_, err := l.ForgottenSince(ctx, testPartition, day, day)
			return err
		}},
		{"measures", ofDays, func(ctx context.Context, l *Ledger) error {
			_, err := l.Measures(ctx, testPartition, hour)
			return err
		}},
		{"forget", ofPartition, func(ctx context.Context, l *Ledger) error {
			return l.Record(ctx, "A", sinks.Receipt{Slice: minutes(0, 1), Entry: 10, Forgets: []uint64{1, 2}, At: day})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, t.TempDir())
			must(t, l.RecordAll(t.Context(), "A", receipts(minutes(0, 1), minutes(1, 2), minutes(2, 3))))
			must(t, l.Record(t.Context(), "A", sinks.Receipt{Slice: minutes(0, 1), Entry: 4, Forgets: []uint64{3}, At: day}))
			must(t, l.Begin(t.Context(), ids, minutes(20, 22), 0))
			seen := watch(t, l)
			must(t, tt.call(t.Context(), l))
			if len(seen.all) == 0 {
				t.Fatal("nothing was asked")
			}
			for query, lines := range seen.all {
				for _, line := range lines {
					if reachOf(line) > tt.most {
						t.Errorf("%s\nreads too much: %s", query, line)
					}
				}
			}
		})
	}
}
