package sinktest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

func testRemovedPart(t *testing.T, d Driver) {
	fsys := disk(t)
	k := open(t, d, fsys)
	a, b := Hours("one", 0, 1), Hours("one", 1, 2)
	r := write(t, k, a, Bodies(a, 9))
	write(t, k, b, Bodies(b, 9))
	for _, p := range r.Parts {
		if err := fsys.Remove(root + "/" + p.Path); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = open(t, d, fsys)
	if _, err := lookup(k, a); err != nil {
		t.Errorf("coverage must stand: %v", err)
	}
	if _, err := Write(context.Background(), k, a, Bodies(a, 9)); !errors.Is(err, sinks.ErrOverlap) {
		t.Errorf("written again: %v", err)
	}
	wantVisible(t, d, fsys, Bodies(b, 9))
}

// entryPath returns where an entry of the suite's day lies.
func entryPath(t testing.TB, fsys commitlog.FS, number string) string {
	t.Helper()
	for _, n := range names(t, fsys, root+"/_sluice/commits") {
		if strings.HasSuffix(n, "/2026-11-01/"+number+".json") {
			return n
		}
	}
	t.Fatalf("no entry %s", number)
	return ""
}

func threeEntries(t *testing.T, d Driver, fsys commitlog.FS) {
	t.Helper()
	k := open(t, d, fsys)
	for h := range 3 {
		s := Hours("one", h, h+1)
		write(t, k, s, Bodies(s, 2))
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantRefused expects that nothing can be asked of or written to a day whose log isn't whole, and that the error names the file.
func wantRefused(t *testing.T, d Driver, fsys commitlog.FS, file string) {
	t.Helper()
	k := open(t, d, fsys)
	s := Hours("one", 5, 6)
	_, wrote := Write(context.Background(), k, s, Bodies(s, 2))
	_, looked := lookup(k, Hours("one", 0, 1))
	var listed error
	for _, err := range k.(sinks.Memory).Committed(context.Background(), flow.Gap{Partition: Partition("one"), From: Day, To: Day.AddDate(0, 0, 1)}, nil) {
		listed = err
	}
	for what, err := range map[string]error{"write": wrote, "lookup": looked, "committed": listed} {
		if err == nil || errors.Is(err, sinks.ErrNotCommitted) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want an error that names %s", what, err, file)
		}
	}
}

func testMissingEntry(t *testing.T, d Driver) {
	fsys := disk(t)
	threeEntries(t, d, fsys)
	if err := fsys.Remove(entryPath(t, fsys, "000002")); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, d, fsys, "000002.json")
}

func testDamagedEntry(t *testing.T, d Driver) {
	for name, change := range map[string]func([]byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"cut":          func(b []byte) []byte { return b[:len(b)/2] },
		"unknown kind": func(b []byte) []byte { return bytes.Replace(b, []byte(`"commit"`), []byte(`"merge"`), 1) },
		"newer":        func(b []byte) []byte { return bytes.Replace(b, []byte(`"v": 1`), []byte(`"v": 2`), 1) },
		"unknown key":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"v": 1`), []byte(`"v": 1, "w": 1`), 1) },
		"other slice":  func(b []byte) []byte { return bytes.Replace(b, []byte(`T01:00`), []byte(`T01:01`), 1) },
		"two values":   func(b []byte) []byte { return append(b, '{', '}') },
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			fsys := disk(t)
			threeEntries(t, d, fsys)
			file := entryPath(t, fsys, "000002")
			b, err := fsys.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := fsys.Remove(file); err != nil {
				t.Fatal(err)
			}
			putFile(t, fsys, file, change(b))
			wantRefused(t, d, fsys, "000002.json")
		})
	}
}

func putFile(t testing.TB, fsys commitlog.FS, name string, b []byte) {
	t.Helper()
	f, err := fsys.Create(name, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func testForeignFile(t *testing.T, d Driver) {
	ctx := context.Background()
	probe := disk(t)
	s := Hours("one", 0, 1)
	bodies := Bodies(s, 9)
	part := write(t, open(t, d, probe), s, bodies).Parts[0].Path

	for _, late := range []bool{false, true} {
		base := disk(t)
		put := func() {
			for i := range part {
				if part[i] == '/' {
					_ = base.Mkdir(root+"/"+part[:i], 0o777)
				}
			}
			putFile(t, base, root+"/"+part, []byte("foreign"))
		}
		f := &Faults{FS: base}
		if late { // it appears between the look and the commit point
			f.At = func(st Step, do func() error) error {
				if st.Op == "put" && strings.Contains(st.Name, "/commits/") {
					put()
				}
				return do()
			}
		}
		k := open(t, d, f)
		if !late {
			put()
		}
		_, err := Write(ctx, k, s, bodies)
		if err == nil || !strings.Contains(err.Error(), part) || errors.Is(err, sinks.ErrInDoubt) != late {
			t.Errorf("late %v: %v, want an error that names %s", late, err, part)
		}
		if b, rerr := base.ReadFile(root + "/" + part); rerr != nil || string(b) != "foreign" {
			t.Errorf("the foreign file now holds %q, %v", b, rerr)
		}
		if late {
			if _, err := lookup(k, s); err == nil || errors.Is(err, sinks.ErrNotCommitted) {
				t.Errorf("lookup: %v, want the foreign file's error", err)
			}
		}
		if err := base.Remove(root + "/" + part); err != nil {
			t.Fatal(err)
		}
		if !late {
			write(t, k, s, bodies)
		} else if _, err := lookup(k, s); err != nil {
			t.Errorf("lookup after it was moved away: %v", err)
		}
		wantVisible(t, d, base, bodies)
	}
}
