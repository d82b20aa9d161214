package ledger

import (
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// TestDeadNow holds that records which the vendor indexed late aren't taken for dead letters that were sent again: the dead ones would be
// hidden.
func TestDeadNow(t *testing.T) {
	l := open(t, t.TempDir())
	add := func(rev uint32, entry, rows, dead uint64) {
		r := receipt(flow.NewSlice(testPartition, day0, day0.Add(time.Hour), rev), entry)
		r.Delivered.Rows, r.Dead.Rows = rows, dead
		must(t, l.Record(t.Context(), "A", r))
	}
	want := func(why string, dead uint64) {
		t.Helper()
		totals, err := l.Totals(t.Context(), "A", testPartition)
		must(t, err)
		tallies, err := l.Tallies(t.Context(), "A")
		must(t, err)
		if tally := tallies[testPartition]; totals.DeadNow() != dead || tally.DeadNow() != dead {
			t.Errorf("%s: %d dead, %d by the tally, want %d", why, totals.DeadNow(), tally.DeadNow(), dead)
		}
	}
	add(0, 1, 100, 5)
	want("of the first read", 5)
	add(1, 2, 40, 0)
	want("more came late than there were, by a ledger that was rebuilt", 5)
	add(2, 3, 2, 1)
	must(t, l.RecordRechecks(t.Context(), "A", testPartition, Recheck{
		Range: minutes(0, 60).Range(), Age: time.Hour, Outcome: RecheckFound, Rev: 2, Rows: 3, Read: day0,
	}))
	want("three came late, of which one is dead", 6)
	add(3, 4, 4, 1)
	want("five were sent again, of which one is dead again", 2)
	add(4, 5, 2, 0)
	want("all were sent again", 0)
}
