package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// look opens a sink to read it.
func look(t testing.TB, d Driver, fsys commitlog.FS) sinks.Sink {
	t.Helper()
	k, err := d.Look(fsys, root)
	if err != nil {
		t.Fatalf("open to read: %v", err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// audit reads a slice back and returns the sums of its records.
func audit(t testing.TB, k sinks.Sink, r sinks.Receipt) (sums []flow.Sum, found []sinks.Finding) {
	t.Helper()
	found, err := k.(sinks.Auditor).Audit(context.Background(), r, func(s flow.Sum) error {
		sums = append(sums, s)
		return nil
	})
	if err != nil {
		t.Fatalf("audit %s: %v", r.Slice, err)
	}
	return sums, found
}

// wantAudit requires that a sink holds exactly these records of a slice.
func wantAudit(t testing.TB, k sinks.Sink, r sinks.Receipt, bodies []string) {
	t.Helper()
	got, found := audit(t, k, r)
	if len(found) > 0 {
		t.Errorf("audit %s: %+v", r.Slice, found)
	}
	var want []flow.Sum
	for _, b := range bodies {
		want = append(want, flow.SumOf([]byte(b)))
	}
	byDigest := func(a, b flow.Sum) int { return strings.Compare(a.Digest.String(), b.Digest.String()) }
	slices.SortFunc(want, byDigest)
	slices.SortFunc(got, byDigest)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit %s: sums of records (-want +got):\n%s", r.Slice, diff)
	}
}

// committed returns the receipts of a partition.
func committed(t testing.TB, k sinks.Sink, p flow.Partition) (out []sinks.Receipt) {
	t.Helper()
	g := flow.Gap{Partition: p, From: Day, To: Day.AddDate(0, 0, 9)}
	for r, err := range k.(sinks.Memory).Committed(context.Background(), g, nil) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func strays(t testing.TB, k sinks.Sink) (out []string) {
	t.Helper()
	for p, err := range k.(sinks.Lister).Strays(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func testAudit(t *testing.T, d Driver) {
	fsys := disk(t)
	k := open(t, d, fsys)
	slices := []flow.Slice{Hours("one", 0, 1), Hours("a/b:c", 0, 24), Hours("one", 1, 2), Hours("", 3, 4)}
	var bodies [][]string
	var receipts []sinks.Receipt
	for i, s := range slices {
		bodies = append(bodies, Bodies(s, []int{100, 20, 0, 1}[i]))
		receipts = append(receipts, write(t, k, s, bodies[i]))
	}
	for i, r := range receipts {
		wantAudit(t, k, r, bodies[i])
	}

	gone := errors.New("enough")
	n := 0
	_, err := k.(sinks.Auditor).Audit(context.Background(), receipts[0], func(flow.Sum) error {
		if n++; n == 3 {
			return gone
		}
		return nil
	})
	if !errors.Is(err, gone) || n != 3 {
		t.Errorf("each failed with its third record: %v after %d", err, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.(sinks.Auditor).Audit(ctx, receipts[0], func(flow.Sum) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	wrong := receipts[0]
	wrong.Delivered.Digest.Lo++
	if _, found := audit(t, k, wrong); len(found) != 1 || found[0].Kind != sinks.FindingDiffers {
		t.Errorf("another digest in the receipt: %+v", found)
	}
	wrong = receipts[0]
	wrong.Delivered.Bytes++
	if _, found := audit(t, k, wrong); len(found) != 1 || found[0].Kind != sinks.FindingDiffers {
		t.Errorf("other bytes in the receipt: %+v", found)
	}
}

// rewrite replaces a file.
func rewrite(t testing.TB, fsys commitlog.FS, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := fsys.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := fsys.Remove(name); err != nil {
		t.Fatal(err)
	}
	putFile(t, fsys, name, change(slices.Clone(b)))
}

func testAuditDamage(t *testing.T, d Driver) {
	s := Hours("one", 0, 1)
	bodies := Bodies(s, 100)
	flip := func(at func(n int) int) func([]byte) []byte {
		return func(b []byte) []byte { b[at(len(b))] ^= 1; return b }
	}
	for name, tt := range map[string]struct {
		change func([]byte) []byte // nil: the file goes
		kind   sinks.FindingKind
	}{
		"removed":         {nil, sinks.FindingMissing},
		"empty":           {func([]byte) []byte { return nil }, sinks.FindingTruncated},
		"half":            {func(b []byte) []byte { return b[:len(b)/2] }, sinks.FindingTruncated},
		"one byte less":   {func(b []byte) []byte { return b[:len(b)-1] }, sinks.FindingTruncated},
		"one byte more":   {func(b []byte) []byte { return append(b, '\n') }, sinks.FindingChanged},
		"doubled within":  {func(b []byte) []byte { return append(b, b...) }, sinks.FindingChanged},
		"first byte":      {flip(func(int) int { return 0 }), sinks.FindingChanged},
		"byte in between": {flip(func(n int) int { return n / 2 }), sinks.FindingChanged},
		"last byte":       {flip(func(n int) int { return n - 1 }), sinks.FindingChanged},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			fsys := disk(t)
			k := open(t, d, fsys)
			r := write(t, k, s, bodies)
			other := Hours("one", 1, 2)
			untouched := write(t, k, other, Bodies(other, 5))
			file := root + "/" + r.Parts[0].Path
			if tt.change == nil {
				if err := fsys.Remove(file); err != nil {
					t.Fatal(err)
				}
			} else {
				rewrite(t, fsys, file, tt.change)
			}
			sums, found := audit(t, k, r)
			if len(found) != 1 || found[0].Kind != tt.kind || found[0].Path != r.Parts[0].Path || found[0].What == "" || found[0].Hint == "" {
				t.Errorf("%+v, want one of kind %s that names %s", found, tt.kind, r.Parts[0].Path)
			}
			left := 0 // what the other parts hold is read all the same
			for _, p := range r.Parts[1:] {
				left += int(p.Rows)
			}
			if len(sums) < left {
				t.Errorf("%d records were read, the other parts hold %d", len(sums), left)
			}
			wantAudit(t, k, untouched, Bodies(other, 5))
		})
	}

	fsys := disk(t)
	k := open(t, d, fsys)
	r := write(t, k, s, bodies)
	if got := strays(t, k); len(got) > 0 {
		t.Errorf("strays %q", got)
	}
	b, err := fsys.ReadFile(root + "/" + r.Parts[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	dir, base := r.Parts[0].Path[:strings.LastIndex(r.Parts[0].Path, "/")], r.Parts[0].Path[strings.LastIndex(r.Parts[0].Path, "/")+1:]
	if err := fsys.Mkdir(root+"/copy", 0o777); err != nil {
		t.Fatal(err)
	}
	want := []string{"copy/" + base, dir + "/again-" + base}
	for _, name := range want {
		putFile(t, fsys, root+"/"+name, b)
	}
	putFile(t, fsys, root+"/"+dir+"/_"+base, b) // isn't data
	got := strays(t, k)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("strays (-want +got):\n%s", diff)
	}
}

// testAuditBeside reads a target that is being written to, at each step of a commit: nothing is changed, and what is committed is
// there whole.
func testAuditBeside(t *testing.T, d Driver) {
	if d.Look == nil {
		t.Fatal("the driver has no Look")
	}
	base := disk(t)
	var watched atomic.Bool
	var check func(after Step)
	f := &Faults{FS: base, At: func(s Step, do func() error) error {
		err := do()
		if watched.Load() && s.Op != "write" {
			check(s)
		}
		return err
	}}
	k := open(t, d, f)
	first, second := Hours("one", 0, 1), Hours("one", 1, 2)
	write(t, k, first, Bodies(first, 30))
	bodies := map[flow.SliceID][]string{first.ID: Bodies(first, 30), second.ID: Bodies(second, 50)}

	seen := map[int]bool{}
	var turn sync.Mutex // steps are taken by several goroutines
	check = func(after Step) {
		turn.Lock()
		defer turn.Unlock()
		quiet := &Faults{FS: base, At: func(s Step, _ func() error) error {
			return fmt.Errorf("a reader tried to %s %s", s.Op, s.Name)
		}}
		l := look(t, d, quiet)
		all := committed(t, l, Partition("one"))
		for _, r := range all {
			wantAudit(t, l, r, bodies[r.Slice.ID])
		}
		if got := strays(t, l); len(got) > 0 {
			t.Errorf("after %s %s: strays %q", after.Op, after.Name, got)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if quiet.Steps() > 0 {
			t.Errorf("a reader took %d steps", quiet.Steps())
		}
		seen[len(all)] = true
	}
	watched.Store(true)
	write(t, k, second, bodies[second.ID])
	watched.Store(false)
	check(Step{Op: "all"})
	if !seen[1] || !seen[2] {
		t.Errorf("numbers of commits that were seen: %v", seen)
	}

	l := look(t, d, base)
	if l.Identity() != k.Identity() {
		t.Errorf("identity %s, the writer's is %s", l.Identity(), k.Identity())
	}
	if _, err := l.Begin(context.Background(), Hours("one", 2, 3), 0, Schema); err == nil {
		t.Error("a sink that was opened to be read took a slice")
	}
	if _, err := d.Look(disk(t), root); !errors.Is(err, sinks.ErrAbsent) {
		t.Errorf("open an empty folder to read: %v, want ErrAbsent", err)
	}
}

// remoteBeside reads a target at each step of a commit: what is committed is there whole.
func remoteBeside(t *testing.T, r Remote) {
	if l, err := r.Look(); !errors.Is(err, sinks.ErrAbsent) {
		if err == nil {
			_ = l.Close()
		}
		t.Errorf("open to read what nobody has written to: %v, want ErrAbsent", err)
	}
	first, second := Hours("one", 0, 1), Hours("one", 1, 2)
	bodies := map[flow.SliceID][]string{first.ID: Bodies(first, 30), second.ID: Bodies(second, 50)}
	seen := map[int]bool{}
	var turn sync.Mutex // steps are taken by several goroutines
	check := func() {
		turn.Lock()
		defer turn.Unlock()
		l, err := r.Look()
		if err != nil {
			t.Errorf("open to read: %v", err)
			return
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		all := committed(t, l, Partition("one"))
		for _, c := range all {
			wantAudit(t, l, c, bodies[c.Slice.ID])
		}
		seen[len(all)] = true
		if _, err := l.Begin(context.Background(), Hours("one", 2, 3), 0, Schema); err == nil {
			t.Error("a sink that was opened to be read took a slice")
		}
	}
	var watched atomic.Bool
	s := steps{at: func(_ int, do func() error) error {
		err := do()
		if watched.Load() {
			check()
		}
		return err
	}}
	k, err := r.Open(s.step)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	write(t, k, first, bodies[first.ID])
	watched.Store(true)
	write(t, k, second, bodies[second.ID])
	watched.Store(false)
	check()
	if !seen[1] || !seen[2] {
		t.Errorf("numbers of commits that were seen: %v", seen)
	}
}
