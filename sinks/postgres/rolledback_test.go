package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// testRolledBack has the server answer COMMIT with ROLLBACK, as it does when something in the transaction has failed: that is no commit, and
// no doubt.
func (r rig) testRolledBack(t *testing.T) {
	k := r.open(t, r.config(r.Database(t), nil))
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 3)
	tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := sinktest.Append(t.Context(), tx, s, bodies); err != nil {
		t.Fatal(err)
	}
	k.step = func(name string, do func() error) error {
		if name == "commit" {
			if _, err := tx.(*txn).conn.Exec(t.Context(), "select 1/0"); err == nil {
				t.Error("nothing has failed")
			}
		}
		return do()
	}
	if _, err := tx.Commit(t.Context(), sinktest.Account(bodies)); fault.KindOf(err) != fault.Transient || !strings.Contains(err.Error(), "ROLLBACK") {
		t.Errorf("%s: %v", fault.KindOf(err), err)
	}
	if _, err := k.Lookup(t.Context(), s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("lookup: %v", err)
	}
}

// testTrigger has a table that leaves rows out: no slice is committed that lacks some.
func (r rig) testTrigger(t *testing.T) {
	database := r.Database(t)
	k := r.open(t, r.config(database, nil))
	one, two := sinktest.Hours("one", 0, 1), sinktest.Hours("one", 1, 2)
	if _, err := sinktest.Write(t.Context(), k, one, sinktest.Bodies(one, 3)); err != nil {
		t.Fatal(err)
	}
	r.Exec(t, database, `create function forgetful() returns trigger language plpgsql as 'begin return null; end'`,
		`create trigger forgetful before insert on events for each row execute function forgetful()`)
	_, err := sinktest.Write(t.Context(), k, two, sinktest.Bodies(two, 3))
	if fault.KindOf(err) != fault.Corrupt || !strings.Contains(fault.HintOf(err), "trigger") {
		t.Errorf("%s: %v (%s)", fault.KindOf(err), err, fault.HintOf(err))
	}
	if _, err := k.Lookup(t.Context(), two); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("lookup: %v", err)
	}
}
