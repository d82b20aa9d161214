package commitlog

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// readingFS notes which files are read.
type readingFS struct {
	FS
	read []string
}

func (f *readingFS) ReadFile(name string) ([]byte, error) {
	f.read = append(f.read, name)
	return f.FS.ReadFile(name)
}

// TestCommittedReadsWhatIsNew: at the start of a run, which knows all but the last entries of each day, the others aren't read.
func TestCommittedReadsWhatIsNew(t *testing.T) {
	root := t.TempDir()
	o := testOwner("events", "a", 1)
	p := flow.Partition{Selection: o.Streams["events"].Selection, Stream: "events"}
	l, err := Open(t.Context(), Options{Root: root, Owner: o})
	if err != nil {
		t.Fatal(err)
	}
	const days, each = 3, 5
	commit := func(l *Log, day, hour int) {
		t.Helper()
		from := testDay.AddDate(0, 0, day).Add(time.Duration(hour) * time.Hour)
		tx, err := l.Begin(t.Context(), flow.NewSlice(p, from, from.Add(time.Hour), 0))
		if err == nil {
			_, err = tx.Commit(t.Context(), nil, sinks.Account{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for day := range days {
		for hour := range each {
			commit(l, day, hour)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seen := &readingFS{FS: OS{}}
	if l, err = Open(t.Context(), Options{Root: root, Owner: o, FS: seen}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	entries := func(after uint64) (got []uint64) {
		t.Helper()
		g := flow.Gap{Partition: p, From: testDay, To: testDay.AddDate(0, 0, days)}
		for r, err := range l.Committed(t.Context(), g, func(time.Time) uint64 { return after }) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.Entry)
		}
		return got
	}
	seen.read = nil
	if diff := cmp.Diff([]uint64{each, each, each}, entries(each-1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range seen.read {
		if !strings.HasSuffix(name, entryFile(each)) {
			t.Errorf("%s was read", name)
		}
	}
	if len(seen.read) == 0 {
		t.Error("nothing was read")
	}
	if got := entries(each + 3); got != nil { // a log that lost what was known
		t.Errorf("got %v", got)
	}
	// A commit reads its day whole; what it adds is seen, what meets it is refused.
	commit(l, 1, each)
	if diff := cmp.Diff([]uint64{each, each, each + 1, each}, entries(each-1)); diff != "" {
		t.Errorf("after a commit (-want +got):\n%s", diff)
	}
	from := testDay.Add(30 * time.Minute)
	if _, err := l.Begin(t.Context(), flow.NewSlice(p, from, from.Add(time.Hour), 0)); err == nil {
		t.Error("a range that is covered began")
	}
	if err := (OS{}).Remove(filepath.Join(l.dayDir(p, testDay.AddDate(0, 0, 2)), entryFile(2))); err != nil {
		t.Fatal(err)
	}
	for _, err := range l.Committed(t.Context(), flow.Gap{Partition: p, From: testDay.AddDate(0, 0, 2), To: testDay.AddDate(0, 0, 3)}, func(time.Time) uint64 { return 3 }) {
		if err == nil {
			t.Error("a log with a hole was read")
		}
	}
}
