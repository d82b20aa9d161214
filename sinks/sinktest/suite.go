// Package sinktest is the conformance suite of sinks: what sinks.Sink, Txn and Memory promise, tried on a sink with crashes,
// full disks, rivals and zombies.
//
//	func TestConformance(t *testing.T) {
//		sinktest.Run(t, func(t *testing.T) sinktest.Driver { return sinktest.Driver{Open: open, Visible: visible} })
//	}
//
// A sink on a commitlog.FS gets everything; one that is at least once (AtLeastOnce) what applies to it.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// Driver knows one kind of sink.
type Driver struct {
	// Open opens the sink on a target as a new process does, for Stream. root is a folder that is there.
	Open func(fsys commitlog.FS, root string) (sinks.Sink, error)
	// Visible returns the bodies of the records that a reader of the target sees, in any order.
	Visible func(fsys commitlog.FS, root string) ([]string, error)
	// Look opens the sink with Config.ReadOnly.
	Look func(fsys commitlog.FS, root string) (sinks.Sink, error)
	// AtLeastOnce says that records are visible at once and nothing is remembered: the sink has no Memory and no file system.
	AtLeastOnce bool
	// Stride tries every Stride-th step of the crash tests alone, for one of several alike; 0 is 1.
	Stride int
	// Fresh returns a driver of another, empty target; nil: an empty disk is one.
	Fresh func() Driver
}

// another returns a driver of an empty target.
func (d Driver) another() Driver {
	if d.Fresh == nil {
		return d
	}
	return d.Fresh()
}

// root is where targets on a Disk are.
const root = "/data/lake"

// Run runs the suite. fresh is called for each test.
func Run(t *testing.T, fresh func(t *testing.T) Driver) {
	tests := []struct {
		name  string
		files bool // needs Memory and a file system
		run   func(t *testing.T, d Driver)
	}{
		{"every record arrives once", false, testArrives},
		{"dead after the end", false, testDead},
		{"account", false, testAccount},
		{"two slices interleaved", false, testInterleaved},
		{"slice without rows", false, testEmpty},
		{"context", false, testContext},
		{"nothing visible before commit", true, testInvisible},
		{"abort leaves nothing", true, testAbort},
		{"committed and lookup", true, testMemory},
		{"revisions", true, testRevisions},
		{"overlap", true, testOverlap},
		{"lock and close", true, testLock},
		{"removed part", true, testRemovedPart},
		{"missing entry", true, testMissingEntry},
		{"damaged entry", true, testDamagedEntry},
		{"foreign file", true, testForeignFile},
		{"audit", true, testAudit},
		{"audit of damage", true, testAuditDamage},
		{"audit beside a writer", true, testAuditBeside},
		{"crash at each step", true, testCrash},
		{"crash of the restart", true, testCrashTwice},
		{"entry that its writer didn't sync", true, testUnsynced},
		{"fault at each step", true, testFaults},
		{"link that takes place later", true, testLateLink},
		{"overlapping cuts at once", true, testRace},
		{"neighbours at once", true, testNeighbours},
		{"zombie", true, testZombie},
		{"commit during a sweep", true, testLateCommit},
		{"commit of one that died beside", true, testDiedBeside},
		{"part of one that died is damaged", true, testDiedDamaged},
		{"folder of one that died is damaged", true, testDiedUnknown},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			d := fresh(t)
			if tt.files && d.AtLeastOnce {
				return // named above: it promises none of this
			}
			tt.run(t, d)
		})
	}
}

// disk returns an empty disk with the folder above root.
func disk(t testing.TB) *Disk {
	t.Helper()
	d := NewDisk()
	for _, dir := range []string{"/data", root} {
		if err := d.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"/", "/data"} {
		if err := d.SyncDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func open(t testing.TB, d Driver, fsys commitlog.FS) sinks.Sink {
	t.Helper()
	k, err := d.Open(fsys, root)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func lookup(k sinks.Sink, s flow.Slice) (sinks.Receipt, error) {
	return k.(sinks.Memory).Lookup(context.Background(), s)
}

// wantVisible compares what a reader sees, as multisets.
func wantVisible(t testing.TB, d Driver, fsys commitlog.FS, want ...[]string) {
	t.Helper()
	if err := diffVisible(d, fsys, want...); err != nil {
		t.Fatal(err)
	}
}

func diffVisible(d Driver, fsys commitlog.FS, want ...[]string) error {
	got, err := d.Visible(fsys, root)
	if err != nil {
		return fmt.Errorf("visible: %w", err)
	}
	all := slices.Concat(want...)
	slices.Sort(all)
	slices.Sort(got)
	if len(got) == 0 && len(all) == 0 {
		return nil
	}
	if diff := cmp.Diff(all, got); diff != "" {
		return fmt.Errorf("visible records (-want +got):\n%s", diff)
	}
	return nil
}

func write(t testing.TB, k sinks.Sink, s flow.Slice, bodies []string) sinks.Receipt {
	t.Helper()
	r, err := Write(context.Background(), k, s, bodies)
	if err != nil {
		t.Fatalf("slice %s: %v", s, err)
	}
	return r
}

func testArrives(t *testing.T, d Driver) {
	fsys := disk(t)
	k := open(t, d, fsys)
	a, b := Hours("one", 0, 1), Hours("a/b:c", 0, 24)
	ab, bb := Bodies(a, 100), Bodies(b, 20)
	r := write(t, k, a, ab)
	write(t, k, b, bb)
	if r.Slice != a || r.Delivered != Account(ab).Delivered {
		t.Errorf("receipt %+v", r)
	}
	if k.Identity() == "" {
		t.Error("no identity")
	}
	if s, ok := k.(sinks.Sizer); ok && s.Buffer() <= 0 {
		t.Errorf("buffer %d", s.Buffer())
	}
	if err := errors.Join(k.Close(), k.Close()); err != nil {
		t.Fatalf("close: %v", err)
	}
	wantVisible(t, d, fsys, ab, bb)
}

func testDead(t *testing.T, d Driver) {
	ctx := context.Background()
	fsys := disk(t)
	k := open(t, d, fsys)
	a := Hours("one", 0, 1)
	bodies := Bodies(a, 3)
	tx, err := k.Begin(ctx, a, 0, Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(ctx, tx, a, bodies); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(ctx, Account(bodies)); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(ctx, Account(bodies)); !errors.Is(err, sinks.ErrDead) {
		t.Errorf("second commit: %v, want ErrDead", err)
	}
	if err := Append(ctx, tx, a, bodies); !errors.Is(err, sinks.ErrDead) {
		t.Errorf("append after commit: %v, want ErrDead", err)
	}
	if err := errors.Join(tx.Abort(), tx.Abort()); err != nil {
		t.Errorf("abort after commit: %v", err)
	}
	wantVisible(t, d, fsys, bodies)
}

func testAccount(t *testing.T, d Driver) {
	ctx := context.Background()
	good := Bodies(Hours("one", 0, 1), 5)
	for name, change := range map[string]func(a *sinks.Account){
		"not balanced":     func(a *sinks.Account) { a.Read.Rows++ },
		"other digest":     func(a *sinks.Account) { a.Read.Digest.Lo++ },
		"rows not written": func(a *sinks.Account) { a.Read.Rows++; a.Delivered.Rows++ },
		"rows too many":    func(a *sinks.Account) { a.Filtered.Rows++; a.Delivered.Rows-- },
	} {
		fsys, d := disk(t), d.another()
		k := open(t, d, fsys)
		s := Hours("one", 0, 1)
		tx, err := k.Begin(ctx, s, 0, Schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := Append(ctx, tx, s, good); err != nil {
			t.Fatal(err)
		}
		a := Account(good)
		change(&a)
		if _, err := tx.Commit(ctx, a); err == nil || errors.Is(err, sinks.ErrInDoubt) {
			t.Errorf("%s: commit gave %v, want a clean error", name, err)
		}
		if !d.AtLeastOnce {
			wantVisible(t, d, fsys)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func testInterleaved(t *testing.T, d Driver) {
	ctx := context.Background()
	fsys := disk(t)
	k := open(t, d, fsys)
	a, b := Hours("one", 0, 1), Hours("one", 1, 2)
	if serial(k) {
		b = Hours("two", 1, 2)
	}
	ab, bb := Bodies(a, 40), Bodies(b, 40)
	x, err := k.Begin(ctx, a, 0, Schema)
	if err != nil {
		t.Fatal(err)
	}
	y, err := k.Begin(ctx, b, 0, Schema)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 40; i += 8 {
		if err := errors.Join(Append(ctx, x, a, ab[i:i+8]), Append(ctx, y, b, bb[i:i+8])); err != nil {
			t.Fatal(err)
		}
	}
	ry, err := y.Commit(ctx, Account(bb))
	if err != nil {
		t.Fatal(err)
	}
	if !d.AtLeastOnce {
		wantVisible(t, d, fsys, bb)
	}
	if _, err := x.Commit(ctx, Account(ab)); err != nil {
		t.Fatal(err)
	}
	if ry.Slice != b {
		t.Errorf("receipt of %s, want %s", ry.Slice, b)
	}
	wantVisible(t, d, fsys, ab, bb)
}

// serial reports whether a sink takes slices of a partition one at a time only.
func serial(k sinks.Sink) bool {
	s, ok := k.(sinks.Serial)
	return ok && s.Serial()
}

func testEmpty(t *testing.T, d Driver) {
	fsys := disk(t)
	k := open(t, d, fsys)
	s := Hours("one", 0, 24)
	r := write(t, k, s, nil)
	if len(r.Parts) > 0 {
		t.Errorf("parts %v, want none", r.Parts)
	}
	if m, ok := k.(sinks.Memory); ok {
		if _, err := m.Lookup(context.Background(), s); err != nil {
			t.Errorf("lookup: %v", err)
		}
	}
	wantVisible(t, d, fsys)
}

func testContext(t *testing.T, d Driver) {
	fsys := disk(t)
	k := open(t, d, fsys)
	s := Hours("one", 0, 1)
	tx, err := k.Begin(context.Background(), s, 0, Schema)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tx.Commit(ctx, sinks.Account{}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit with an ended context: %v, want context.Canceled", err)
	}
	write(t, k, s, nil)
}

func testInvisible(t *testing.T, d Driver) {
	ctx := context.Background()
	fsys := disk(t)
	k := open(t, d, fsys)
	s := Hours("one", 0, 1)
	bodies := Bodies(s, 500)
	tx, err := k.Begin(ctx, s, 0, Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(ctx, tx, s, bodies); err != nil {
		t.Fatal(err)
	}
	wantVisible(t, d, fsys)
	if _, err := lookup(k, s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("lookup: %v, want ErrNotCommitted", err)
	}
	if _, err := tx.Commit(ctx, Account(bodies)); err != nil {
		t.Fatal(err)
	}
	wantVisible(t, d, fsys, bodies)
}

func testAbort(t *testing.T, d Driver) {
	ctx := context.Background()
	fsys := disk(t)
	k := open(t, d, fsys)
	before := names(t, fsys, root)
	s := Hours("one", 0, 1)
	for i := range 3 {
		tx, err := k.Begin(ctx, s, uint32(i), Schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := Append(ctx, tx, s, Bodies(s, 200*i)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(tx.Abort(), tx.Abort()); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(ctx, Account(nil)); !errors.Is(err, sinks.ErrDead) {
			t.Errorf("commit after abort: %v, want ErrDead", err)
		}
	}
	if diff := cmp.Diff(before, names(t, fsys, root)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

// names lists every file and folder below dir.
func names(t testing.TB, fsys commitlog.FS, dir string) []string {
	t.Helper()
	var out []string
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, dir+"/"+e.Name())
		if e.IsDir() {
			out = append(out, names(t, fsys, dir+"/"+e.Name())...)
		}
	}
	return out
}

func testMemory(t *testing.T, d Driver) {
	ctx := context.Background()
	fsys := disk(t)
	k := open(t, d, fsys)
	var all []sinks.Receipt
	for h := range 3 {
		s := Hours("one", h, h+1)
		all = append(all, write(t, k, s, Bodies(s, h)))
	}
	next := Hours("one", 24, 25)
	all = append(all, write(t, k, next, Bodies(next, 1)))
	write(t, k, Hours("", 0, 1), nil)
	id := k.Identity()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}

	k = open(t, d, fsys)
	if k.Identity() != id {
		t.Errorf("identity %s after a restart, want %s", k.Identity(), id)
	}
	for _, tt := range []struct {
		name  string
		g     flow.Gap
		after func(time.Time) uint64
		want  []sinks.Receipt
	}{
		{"all", flow.Gap{Partition: Partition("one"), From: Day, To: Day.AddDate(0, 0, 9)}, nil, all},
		{"a day that the gap meets is yielded whole", flow.Gap{Partition: Partition("one"), From: Day.Add(5 * time.Hour), To: Day.Add(6 * time.Hour)}, nil, all[:3]},
		{"after", flow.Gap{Partition: Partition("one"), From: Day, To: Day.AddDate(0, 0, 9)}, func(at time.Time) uint64 {
			if at.Equal(Day) {
				return 2
			}
			return 0
		}, all[2:]},
		{"other day", flow.Gap{Partition: Partition("one"), From: Day.AddDate(0, 0, 2), To: Day.AddDate(0, 0, 9)}, nil, nil},
		{"other partition", flow.Gap{Partition: Partition("two"), From: Day, To: Day.AddDate(0, 0, 9)}, nil, nil},
	} {
		var got []sinks.Receipt
		for r, err := range k.(sinks.Memory).Committed(ctx, tt.g, tt.after) {
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			got = append(got, r)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: receipts (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, want := range all {
		got, err := lookup(k, want.Slice)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("lookup: %v (-want +got):\n%s", err, diff)
		}
	}
	if _, err := lookup(k, Hours("one", 0, 2)); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("lookup of another cut: %v, want ErrNotCommitted", err)
	}
	if l, ok := k.(sinks.Lister); ok {
		got, err := l.Partitions(ctx)
		if diff := cmp.Diff([]flow.Partition{Partition(""), Partition("one")}, got); err != nil || diff != "" {
			t.Errorf("partitions: %v (-want +got):\n%s", err, diff)
		}
		for p, err := range l.Strays(ctx) {
			t.Errorf("stray %q, %v", p, err)
		}
	}
}

func testRevisions(t *testing.T, d Driver) {
	ctx := context.Background()
	fsys := disk(t)
	k := open(t, d, fsys)
	a, b := Hours("one", 0, 2), Hours("one", 2, 4)
	write(t, k, a, nil)
	write(t, k, b, nil)
	rev := func(from, to int, n uint32) flow.Slice {
		s := Hours("one", from, to)
		return flow.NewSlice(s.Partition, s.From, s.To, n)
	}
	for _, tt := range []struct {
		s  flow.Slice
		ok bool
	}{
		{rev(1, 3, 2), false}, // the first is 1
		{rev(3, 5, 1), false}, // not wholly covered
		{rev(1, 3, 1), true},
		{rev(0, 2, 1), false}, // meets one of revision 1
		{rev(3, 4, 1), true},
		{rev(0, 4, 2), true},
		{rev(2, 3, 3), true},
	} {
		bodies := Bodies(tt.s, 2)
		_, err := Write(ctx, k, tt.s, bodies)
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, sinks.ErrOverlap) {
			t.Errorf("%s: %v", tt.s, err)
		}
	}
	// A revision makes no coverage.
	if _, err := Write(ctx, k, Hours("one", 3, 5), nil); !errors.Is(err, sinks.ErrOverlap) {
		t.Errorf("covered: %v", err)
	}
	write(t, k, Hours("one", 4, 5), nil)
}

func testOverlap(t *testing.T, d Driver) {
	ctx := context.Background()
	fsys := disk(t)
	k := open(t, d, fsys)
	a := Hours("one", 4, 8)
	bodies := Bodies(a, 10)
	var late sinks.Txn
	if !serial(k) {
		var err error
		if late, err = k.Begin(ctx, Hours("one", 7, 9), 0, Schema); err != nil {
			t.Fatal(err)
		}
	}
	write(t, k, a, bodies)
	for _, s := range []flow.Slice{a, Hours("one", 0, 5), Hours("one", 7, 8), Hours("one", 5, 6), Hours("one", 0, 24)} {
		_, err := Write(ctx, k, s, Bodies(s, 1))
		var o *sinks.OverlapError
		if !errors.Is(err, sinks.ErrOverlap) || !errors.As(err, &o) || o.By != a || o.Entry != 1 {
			t.Errorf("%s: %v, want an overlap with entry 1", s, err)
		}
	}
	if late == nil {
		// No second transaction could be open.
	} else if _, err := late.Commit(ctx, sinks.Account{}); !errors.Is(err, sinks.ErrOverlap) || errors.Is(err, sinks.ErrInDoubt) {
		t.Errorf("commit of a range that was covered since Begin: %v, want ErrOverlap", err)
	}
	other := Hours("two", 4, 8)
	before, after := Hours("one", 0, 4), Hours("one", 8, 24)
	for _, s := range []flow.Slice{other, before, after} {
		write(t, k, s, Bodies(s, 3))
	}
	wantVisible(t, d, fsys, bodies, Bodies(other, 3), Bodies(before, 3), Bodies(after, 3))
}

func testLock(t *testing.T, d Driver) {
	ctx := context.Background()
	fsys := disk(t)
	k := open(t, d, fsys)
	if _, err := d.Open(fsys, root); !errors.Is(err, sinks.ErrOwned) {
		t.Fatalf("second open: %v, want ErrOwned", err)
	}
	s := Hours("one", 0, 1)
	tx, err := k.Begin(ctx, s, 0, Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(ctx, tx, s, Bodies(s, 100)); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(ctx, Account(Bodies(s, 100))); err == nil {
		t.Error("commit after close")
	}
	if _, err := k.Begin(ctx, s, 0, Schema); err == nil {
		t.Error("begin after close")
	}
	k = open(t, d, fsys)
	wantVisible(t, d, fsys)
	write(t, k, s, Bodies(s, 100))
}
