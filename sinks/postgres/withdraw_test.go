package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func (r rig) testForget(t *testing.T) {
	database := r.Database(t)
	k := r.open(t, r.config(database, nil))
	s := sinktest.Hours("one", 0, 1)
	for range 2 {
		if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
			t.Fatal(err)
		}
		var last uint64
		for rec, err := range k.Committed(t.Context(), flow.Gap{Partition: s.Partition, From: s.From, To: s.To}, nil) {
			if err != nil {
				t.Fatal(err)
			}
			last = rec.Entry
		}
		r.Exec(t, database, "delete from events")
		rec, err := k.Forget(t.Context(), s.Partition, s.Day(), []uint64{last})
		if err != nil || rec.Entry != last+1 || len(rec.Forgets) != 1 {
			t.Fatalf("%+v, %v", rec, err)
		}
		if _, err := k.Lookup(t.Context(), s); !errors.Is(err, sinks.ErrNotCommitted) {
			t.Errorf("a forgotten slice: %v", err)
		}
		if _, err := k.Forget(t.Context(), s.Partition, s.Day(), []uint64{last}); fault.KindOf(err) != fault.Config {
			t.Errorf("forgotten twice: %v", err)
		}
	}
	var kinds []string
	for rec, err := range k.Committed(t.Context(), flow.Gap{Partition: s.Partition, From: s.From, To: s.To}, func(time.Time) uint64 { return 1 }) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, fmt.Sprint(rec.Entry, rec.Forgets))
	}
	if diff := cmp.Diff([]string{"2 [1]", "3 []", "4 [3]"}, kinds); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}

	// With their rows: of this slice alone, in one transaction, and not if they aren't what was committed.
	other := sinktest.Hours("one", 1, 2)
	var receipts []sinks.Receipt
	for _, s := range []flow.Slice{s, other} {
		rec, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, rec)
	}
	if left, err := k.Left(t.Context(), receipts[0]); err != nil || len(left) != 1 || !strings.HasPrefix(left[0], "3 rows of ") {
		t.Errorf("left: %q, %v", left, err)
	}
	if _, err := k.Withdraw(t.Context(), receipts[:1], true); err != nil {
		t.Fatal(err)
	}
	for n, want := range []int{0, 1} {
		if left, err := k.Left(t.Context(), receipts[n]); err != nil || len(left) != want {
			t.Errorf("left of %s: %q, %v", receipts[n].Slice, left, err)
		}
	}
	r.Exec(t, database, "update events set body = 'changed' where ctid = (select min(ctid) from events)")
	none := func(what string, rec sinks.Receipt) { // whoever gets a receipt believes that the entry is there
		t.Helper()
		if rec.Entry != 0 {
			t.Errorf("%s: a receipt: %+v", what, rec)
		}
	}
	rec, err := k.Withdraw(t.Context(), receipts[1:], true)
	if none("rows that were changed", rec); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "nothing was deleted") {
		t.Errorf("rows that were changed: %v", err)
	}
	if _, err := k.Lookup(t.Context(), other); err != nil {
		t.Errorf("a slice whose rows couldn't be deleted: %v", err)
	}
	rec, err = k.Withdraw(t.Context(), receipts[:1], false)
	if none("forgotten twice", rec); fault.KindOf(err) != fault.Config {
		t.Errorf("forgotten twice: %v", err)
	}
	k.step = func(_ string, do func() error) error { return errors.Join(do(), sinktest.ErrLost) }
	rec, err = k.Withdraw(t.Context(), receipts[1:], false)
	if none("an answer that was lost", rec); !errors.Is(err, sinks.ErrInDoubt) || fault.KindOf(err) != fault.InDoubt {
		t.Errorf("an answer that was lost: %s: %v", fault.KindOf(err), err)
	}
	if _, err := k.Lookup(t.Context(), other); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("forgotten, and the answer lost: %v", err)
	}
}
