package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/sluice-io/sluice/proto/flow"
)

// Tally counts the slices of a partition in a sink by state, with the Totals of what is committed.
type Tally struct {
	States map[State]uint64
	Totals
}

// Tallies returns the Tally of every partition of which a sink has slices, in one pass over them.
func (l *Ledger) Tallies(ctx context.Context, sink string) (map[flow.Partition]Tally, error) {
	sinkID, ok, err := l.sinkID(ctx, l.reader, sink)
	if err != nil || !ok {
		return nil, err
	}
	all := map[flow.Partition]Tally{}
	err = l.query(ctx, "count slices", func(rows *sql.Rows) error {
		var p flow.Partition
		var selection, state string
		var n, r, b, dead, resent, last int64
		if err := rows.Scan(&selection, &p.Stream, &p.Key, &state, &n, &r, &b, &dead, &resent, &last); err != nil {
			return err
		}
		if err := p.Selection.UnmarshalText([]byte(selection)); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		t := all[p]
		if t.States == nil {
			t.States = map[State]uint64{}
		}
		t.States[State(state)] = uint64(n)
		if State(state) == Committed {
			t.Totals = Totals{
				Slices: uint64(n), Rows: uint64(r), Bytes: uint64(b), Dead: uint64(dead), Resent: uint64(resent), Last: timeOf(last),
			}
		}
		all[p] = t
		return nil
	}, `SELECT p.selection, p.stream, p.partition, t.state, t.n, t.r, t.b, t.dead, t.resent, t.last FROM (
		SELECT partition_id, state, count(*) AS n, sum(rows) AS r, sum(bytes) AS b, sum(dead_rows) AS dead,
			sum(`+resent+`) AS resent, max(at_ms) AS last
		FROM slices l WHERE sink_id = ? GROUP BY partition_id, state) t JOIN partitions p ON p.id = t.partition_id`, sinkID)
	return all, err
}
