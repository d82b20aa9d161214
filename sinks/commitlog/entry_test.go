package commitlog

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

var update = flag.Bool("update", false, "write golden files")

var testDay = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func goldenEntries() map[string]Entry {
	p := flow.Partition{Selection: flow.SelectionID{0xab, 1}, Stream: "events", Key: "a/b"}
	at := time.Date(2026, 11, 2, 3, 4, 5, 6_000_000, time.UTC)
	var read flow.Sum
	read.Add([]byte("one"))
	delivered := read
	read.Add([]byte("two"))
	n := nonce{0xfe, 15: 1}.String()
	return map[string]Entry{
		"commit.json": {Kind: KindCommit, Commit: &Commit{
			V: 1, Kind: KindCommit, Slice: flow.NewSlice(p, testDay, testDay.Add(time.Hour), 0),
			Parts: []sinks.Part{{Path: "date=2026-11-01/x-00000.log", Bytes: 4, SHA256: strings.Repeat("0a", 32), Rows: 1}},
			Read:  read, Delivered: delivered, Dead: read.Minus(delivered), DeadLetters: "dead/x.bin", Nonce: n,
			Source: Program{"rapid7-download", "0.1.0"}, Sluice: "0.1.0", At: at,
		}},
		"forget.json": {Kind: KindForget, Forget: &Forget{
			V: 1, Kind: KindForget, Partition: p, Day: "2026-11-01", Entries: []uint64{1, 3}, Nonce: n, Sluice: "0.1.0", At: at,
		}},
		"sweep.json": {Kind: KindSweep, Sweep: &Sweep{
			V: 1, Kind: KindSweep, Partition: p, Day: "2026-11-01", Swept: nonce{0xab, 15: 2}.String(), Nonce: n, Sluice: "0.1.0", At: at,
		}},
	}
}

func TestGolden(t *testing.T) {
	for name, e := range goldenEntries() {
		t.Run(name, func(t *testing.T) {
			got, err := e.encode()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, got, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			back, err := ParseEntry(want)
			if diff := cmp.Diff(e, back); err != nil || diff != "" {
				t.Errorf("parse: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestParseEntryRefuses(t *testing.T) {
	b, err := os.ReadFile("testdata/commit.json")
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for _, tt := range []struct{ name, old, new, want string }{
		{"newer", `"v": 1`, `"v": 2`, "newer"},
		{"no version", `"v": 1`, `"v": 0`, "no format version"},
		{"kind", `"kind": "commit"`, `"kind": "merge"`, `unknown kind "merge"`},
		{"key", `"nonce"`, `"nonse"`, "unknown field"},
		{"nonce", `"nonce": "fe`, `"nonce": "FE`, "nonce"},
		{"other slice", `"rev": 0`, `"rev": 1`, "ID doesn't fit"},
		{"way out", "date=2026-11-01/x", "../x", "leads out"},
		{"absolute", "date=2026-11-01/x", "/x", "clean relative"},
		{"not data", "date=2026-11-01/x", "_sluice/x", "leads out"},
		{"hash", "0a0a", "0a", "SHA-256"},
		{"rows", `"rows": 1
    }`, `"rows": 2
    }`, "the parts hold 2 rows"},
		{"unbalanced", `"filtered": {
    "rows": 0`, `"filtered": {
    "rows": 1`, "isn't the sum"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := strings.Replace(good, tt.old, tt.new, 1)
			if bad == good {
				t.Fatal("nothing replaced")
			}
			if _, err := ParseEntry([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for i := range len(good) - 2 {
		if _, err := ParseEntry([]byte(good[:i])); err == nil {
			t.Fatalf("the first %d bytes are no entry", i)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, e := range goldenEntries() {
		b, err := e.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEntry(b)
		if err != nil {
			return
		}
		again, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseEntry(again); err != nil || !cmp.Equal(e, back) {
			t.Fatalf("%v: %s", err, again)
		}
	})
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ value, hive, log string }{
		{"", "__HIVE_DEFAULT_PARTITION__", "_"},
		{"_", "_", "%5F"},
		{"__HIVE_DEFAULT_PARTITION__", "__HIVE_DEFAULT_PARTITION__", "%5F_HIVE_DEFAULT_PARTITION__"},
		{".", ".", "%2E"},
		{"..", "..", "%2E."},
		{"a/b:c=d%", "a%2Fb%3Ac%3Dd%25", "a%2Fb%3Ac%3Dd%25"},
		{"tab\t ü{[]^", "tab%09 ü%7B%5B%5D%5E", "tab%09 ü%7B%5B%5D%5E"},
	} {
		if got := EscapeValue(tt.value); got != tt.hive {
			t.Errorf("EscapeValue(%q) = %q, want %q", tt.value, got, tt.hive)
		}
		if got := logName(tt.value); got != tt.log {
			t.Errorf("logName(%q) = %q, want %q", tt.value, got, tt.log)
		}
		if got, err := parseLogName(tt.log); err != nil || got != tt.value {
			t.Errorf("parseLogName(%q) = %q, %v", tt.log, got, err)
		}
	}
	for _, bad := range []string{"a%2", "a%zz", "%61", "a:b", "", ".x"} {
		if got, err := parseLogName(bad); err == nil {
			t.Errorf("parseLogName(%q) = %q", bad, got)
		}
	}
}

func testOwner(stream, layout string, selection byte) Owner {
	return Owner{
		Type: "file", Format: "raw", Pipeline: "prod", Sink: "lake",
		Streams: map[string]OwnedStream{stream: {Selection: flow.SelectionID{selection}, Layout: layout}},
	}
}

func openOwner(t *testing.T, root string, o Owner) error {
	l, err := Open(t.Context(), Options{Root: root, Owner: o})
	if err != nil {
		return err
	}
	return l.Close()
}

func TestOwner(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new", "lake")
	if err := openOwner(t, root, testOwner("events", "a", 1)); err != nil {
		t.Fatal(err)
	}
	first, err := ReadOwner(OS{}, root)
	if err != nil {
		t.Fatal(err)
	}
	other := testOwner("events", "a", 1)
	other.Format = "csv"
	other.Pipeline = "second"
	for name, o := range map[string]Owner{
		"raw": other, "selection": testOwner("events", "a", 2), "layout": testOwner("events", "b", 1),
	} {
		err := openOwner(t, root, o)
		if !errors.Is(err, sinks.ErrOwned) || !strings.Contains(err.Error(), name) || !strings.Contains(fault.HintOf(err), "path: "+root+"/"+o.Pipeline) {
			t.Errorf("%s: %v (%s)", name, err, fault.HintOf(err))
		}
		if err := CheckRoot(OS{}, root, o); !errors.Is(err, sinks.ErrOwned) {
			t.Errorf("check %s: %v", name, err)
		}
	}
	if err := openOwner(t, root, testOwner("usage", "b", 2)); err != nil {
		t.Errorf("a new stream: %v", err)
	}
	// Another selection is let in when that is said, and is known from then on.
	let := testOwner("events", "a", 2)
	let.NewSelection = true
	for _, o := range []Owner{let, testOwner("events", "a", 2), testOwner("events", "a", 1)} {
		if err := openOwner(t, root, o); err != nil {
			t.Errorf("a selection that was let in: %v", err)
		}
	}
	let.Streams["events"] = OwnedStream{Selection: flow.SelectionID{2}, Layout: "b"}
	if err := openOwner(t, root, let); !errors.Is(err, sinks.ErrOwned) {
		t.Errorf("another layout of it: %v", err)
	}
	let.Streams["events"] = OwnedStream{Selection: flow.SelectionID{2, 0, 0, 0, 1}, Layout: "a"}
	if err := openOwner(t, root, let); !errors.Is(err, sinks.ErrOwned) {
		t.Errorf("a selection whose folder is another's: %v", err)
	}
	both, err := ReadOwner(OS{}, root)
	if err != nil || both.V != 2 || both.SelectionFolder("events", flow.SelectionID{1}) != "" || both.SelectionFolder("events", flow.SelectionID{2}) != "selection=02000000" {
		t.Errorf("owner %+v, %v", both, err)
	}
	moved := root + "-moved"
	if err := os.Rename(root, moved); err != nil {
		t.Fatal(err)
	}
	if err := openOwner(t, moved, testOwner("events", "a", 1)); err != nil {
		t.Errorf("a moved folder: %v", err)
	}
	last, err := ReadOwner(OS{}, moved)
	if err != nil || last.ID != first.ID || len(last.Streams) != 2 {
		t.Errorf("owner %+v, %v", last, err)
	}
	if err := CheckRoot(OS{}, filepath.Join(moved, "below", "it"), testOwner("events", "a", 1)); err != nil {
		t.Errorf("check of a folder that isn't there: %v", err)
	}
}

// TestNestedRoots: a root may lie inside of another one, as the error of a root that is taken proposes it, whichever was there first. Neither takes what
// is the other's for its own.
func TestNestedRoots(t *testing.T) {
	for _, outerFirst := range []bool{true, false} {
		outer := filepath.Join(t.TempDir(), "lake")
		inner := filepath.Join(outer, "sub", "deep")
		of := func(root string) Owner {
			o := testOwner("events", "a", 1)
			o.Sink = filepath.Base(root)
			return o
		}
		order := []string{inner, outer}
		if outerFirst {
			slices.Reverse(order)
		}
		for _, root := range order {
			if err := CheckRoot(OS{}, root, of(root)); err != nil {
				t.Errorf("check %s: %v", root, err)
			}
			if err := openOwner(t, root, of(root)); err != nil {
				t.Fatalf("%s: %v", root, err)
			}
			if err := os.WriteFile(filepath.Join(root, "20261101T000000.000Z-0123456789abcdef-00000.ndjson"), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		l, err := Open(t.Context(), Options{Root: outer, Owner: of(outer)})
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for p, err := range l.Strays(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, p)
		}
		if len(found) != 1 || strings.Contains(found[0], "/") {
			t.Errorf("outer first %v: strays %q, want the outer's own alone", outerFirst, found)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPathMovedUp: a sink whose path becomes one above would write what it wrote into a new root, of which the old one is a part.
func TestPathMovedUp(t *testing.T) {
	outer := filepath.Join(t.TempDir(), "lake")
	inner := filepath.Join(outer, "sub", "deep")
	mine := testOwner("events", "a", 1)
	if err := openOwner(t, inner, mine); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{outer, filepath.Join(outer, "sub")} {
		for name, err := range map[string]error{"check": CheckRoot(OS{}, root, mine), "open": openOwner(t, root, mine)} {
			if !errors.Is(err, sinks.ErrOwned) || !strings.Contains(err.Error(), inner) || !strings.Contains(fault.HintOf(err), "set `path` back") {
				t.Errorf("%s %s: %v", name, root, err)
			}
		}
		if _, err := os.Stat(filepath.Join(root, metaDir)); err == nil {
			t.Errorf("%s became a root", root)
		}
	}
	for _, other := range []func(*Owner){
		func(o *Owner) { o.Pipeline = "other" }, func(o *Owner) { o.Sink = "other" }, func(o *Owner) { *o = testOwner("events", "a", 2) },
	} {
		o := testOwner("events", "a", 1)
		other(&o)
		if err := CheckRoot(OS{}, outer, o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	owner := filepath.Join(inner, metaDir, ownerName)
	if err := os.WriteFile(owner, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := CheckRoot(OS{}, outer, mine); err == nil || !strings.Contains(err.Error(), owner) {
		t.Errorf("beside a damaged one: %v", err)
	}
}

func TestRoots(t *testing.T) {
	write := func(t *testing.T, name string) string {
		t.Helper()
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		return root
	}
	for _, tt := range []struct{ name, file, below, want string }{
		{"files of others", "notes/20261101.log", "", ""},
		{"data without its log", "date=2026-11-01/20261101T000000.000Z-0123456789abcdef-00000.log.gz", "", "no _sluice folder"},
		{"log without owner", "_sluice/commits/x/y", "", "it is gone, but there is a commit log"},
		{"damaged owner", "_sluice/owner.json", "", "owner.json"},
		{"path is a file", "lake", "/lake", "not a directory"},
		{"path below a file", "lake", "/lake/x", "not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := openOwner(t, write(t, tt.file)+tt.below, testOwner("events", "a", 1))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.want) || fault.HintOf(err) == "" {
				t.Errorf("got %v (hint %q), want %q", err, fault.HintOf(err), tt.want)
			}
		})
	}
}

func TestLockSaysWho(t *testing.T) {
	root := t.TempDir()
	l, err := Open(t.Context(), Options{Root: root, Owner: testOwner("events", "a", 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = openOwner(t, root, testOwner("events", "a", 1))
	if !errors.Is(err, sinks.ErrOwned) || !strings.Contains(err.Error(), lockNote("prod")) {
		t.Errorf("got %v, want the holder's name", err)
	}
}

func TestForget(t *testing.T) {
	root := t.TempDir()
	o := testOwner("events", "a", 1)
	l, err := Open(t.Context(), Options{Root: root, Owner: o})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := flow.Partition{Selection: o.Streams["events"].Selection, Stream: "events"}
	s := flow.NewSlice(p, testDay, testDay.Add(time.Hour), 0)
	commit := func() error {
		tx, err := l.Begin(t.Context(), s)
		if err != nil {
			return err
		}
		_, err = tx.Commit(t.Context(), nil, sinks.Account{})
		return err
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	if err := commit(); !errors.Is(err, sinks.ErrOverlap) {
		t.Fatalf("again: %v", err)
	}
	if _, err := l.Forget(t.Context(), p, testDay, []uint64{2}); err == nil {
		t.Error("forgot an entry that isn't there")
	}
	r, err := l.Forget(t.Context(), p, testDay, []uint64{1})
	if err != nil || r.Entry != 2 || !cmp.Equal(r.Forgets, []uint64{1}) {
		t.Fatalf("receipt %+v, %v", r, err)
	}
	if _, err := l.Lookup(t.Context(), s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("lookup: %v", err)
	}
	if err := commit(); err != nil {
		t.Errorf("after forget: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(t.Context(), Options{Root: root, Owner: o}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if r, err := l.Lookup(t.Context(), s); err != nil || r.Entry != 3 {
		t.Errorf("lookup after a restart: %+v, %v", r, err)
	}
}

// A day of the log that contradicts itself about an attempt stops whoever reads it.
func TestSweepAndCommit(t *testing.T) {
	commit := goldenEntries()["commit.json"]
	sweep := goldenEntries()["sweep.json"]
	s := *sweep.Sweep
	s.Swept = commit.Commit.Nonce
	mine := Entry{Kind: KindSweep, Sweep: &s}
	for name, order := range map[string][]Entry{"commit of what was swept": {mine, commit}, "sweep of what was committed": {commit, mine}} {
		var d day
		if err := d.apply(1, order[0]); err != nil {
			t.Fatal(err)
		}
		if err := d.apply(2, order[1]); err == nil || d.last != 1 {
			t.Errorf("%s: %v, %d entries", name, err, d.last)
		}
	}
	var d day
	if err := errors.Join(d.apply(1, sweep), d.apply(2, commit)); err != nil {
		t.Errorf("a sweep of another attempt: %v", err)
	}
}
