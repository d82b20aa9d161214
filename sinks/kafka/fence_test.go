package kafka

import (
	"testing"

	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestFenceBeforeMarkers has an old producer commit at the last moment, right before it is fenced: only markers that are read after the
// fence tell.
func TestFenceBeforeMarkers(t *testing.T) {
	r := newRig(fake(t))
	old, err := open(t.Context(), r.config(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	s := sinktest.Hours("one", 0, 6)
	bodies := sinktest.Bodies(s, 12)
	tx, err := old.Begin(t.Context(), s, 0, sinktest.Schema)
	if err == nil {
		err = sinktest.Append(t.Context(), tx, s, bodies)
	}
	if err != nil {
		t.Fatal(err)
	}
	fenced := false
	k, err := open(t.Context(), r.config(nil), func(name string, do func() error) error {
		if name == "fence" && !fenced {
			fenced = true
			if _, err := tx.Commit(t.Context(), sinktest.Account(bodies)); err != nil {
				t.Errorf("commit before the fence: %v", err)
			}
		}
		return do()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if fenced {
		t.Fatal("the second one that opens is no new owner, and fences nobody yet")
	}
	if _, err := k.(*Sink).Lookup(t.Context(), s); err != nil || !fenced {
		t.Errorf("fenced %v, lookup: %v", fenced, err)
	}
	r.wantBodies(t, bodies)
}
