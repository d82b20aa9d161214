package sinktest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// died commits a slice in a process that ends right after the commit point: none of its parts has its name yet.
func died(t *testing.T, d Driver, base *Disk, s flow.Slice, bodies []string) {
	t.Helper()
	f := &Faults{FS: base, NoLock: true}
	f.At = func(st Step, do func() error) error {
		err := do()
		if err == nil && st.Op == "put" && strings.Contains(st.Name, "/commits/") {
			f.Kill()
			return ErrCrash
		}
		return err
	}
	k, err := d.Open(f, root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(context.Background(), k, s, bodies); err == nil {
		t.Fatal("it hasn't died")
	}
	_ = k.Close()
}

// testDiedBeside has a process die after its commit point beside one that lives on and sweeps nothing: whatever that one asks for first, it
// gives the parts their names.
func testDiedBeside(t *testing.T, d Driver) {
	ctx := context.Background()
	s, next := Hours("one", 0, 2), Hours("one", 2, 3)
	bodies, others := Bodies(s, 12), Bodies(next, 3)
	for name, ask := range map[string]func(k sinks.Sink) error{
		"lookup": func(k sinks.Sink) error { _, err := lookup(k, s); return err },
		"committed": func(k sinks.Sink) error {
			for _, err := range k.(sinks.Memory).Committed(ctx, flow.Gap{Partition: s.Partition, From: s.From, To: s.To}, func(time.Time) uint64 { return 0 }) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"another slice": func(k sinks.Sink) error { _, err := Write(ctx, k, next, others); return err },
	} {
		base := disk(t)
		k := open(t, d, &Faults{FS: base, NoLock: true})
		died(t, d, base, s, bodies)
		wantVisible(t, d, base)
		if err := ask(k); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if name == "another slice" {
			wantVisible(t, d, base, bodies, others)
			continue
		}
		wantVisible(t, d, base, bodies)
	}
}

// testDiedUnknown has the next start find a folder that doesn't tell whose it is: an entry may name it all the same.
func testDiedUnknown(t *testing.T, d Driver) {
	s := Hours("one", 0, 2)
	bodies := Bodies(s, 12)
	base := disk(t)
	died(t, d, base, s, bodies)
	replace(t, base, "/slice.json", func([]byte) []byte { return []byte("{") })
	k := open(t, d, &Faults{FS: base, NoLock: true})
	wantVisible(t, d, base, bodies)
	if _, err := lookup(k, s); err != nil {
		t.Error(err)
	}
}

// testDiedDamaged has a part that is shorter than its entry says: it doesn't become data.
func testDiedDamaged(t *testing.T, d Driver) {
	s := Hours("one", 0, 2)
	base := disk(t)
	k := open(t, d, &Faults{FS: base, NoLock: true})
	died(t, d, base, s, Bodies(s, 12))
	replace(t, base, "/00000.part", func(b []byte) []byte { return b[:len(b)-1] })
	if _, err := lookup(k, s); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "00000.part") {
		t.Errorf("lookup: %v, want an error of kind Config that names the part", err)
	}
	wantVisible(t, d, base)
}

// replace writes what with returns in place of the file whose name ends so.
func replace(t *testing.T, base *Disk, end string, with func(b []byte) []byte) {
	t.Helper()
	for _, name := range names(t, base, root) {
		if !strings.HasSuffix(name, end) {
			continue
		}
		b, err := base.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := base.Remove(name); err != nil {
			t.Fatal(err)
		}
		putFile(t, base, name, with(b))
		return
	}
	t.Fatalf("there is no file %s", end)
}
