package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/multiset"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// TestHeldDead counts which dead letters of a commit are dead still, at each step of a file that is sent again, in part and once more.
func TestHeldDead(t *testing.T) {
	const name = "s0/x.ndjson"
	line := func(record string) string { return `{"v":1,"record":"` + record + `","bytes":1,"reason":"r"}` + "\n" }
	all, left := line("a")+line("b")+line("c"), line("b")
	first, second := slice(0, 10), slice(10, 20) // what sending it again became
	for _, tt := range []struct {
		name      string
		plan      *retryPlan
		committed flow.Slice
		files     map[string]string
		want      string
	}{
		{"as it was committed", nil, flow.Slice{}, map[string]string{name: all}, "a b c"},
		{"planned", &retryPlan{Slice: first, Left: []int{1}}, flow.Slice{}, map[string]string{name: all}, "a b c"},
		{"sent", &retryPlan{Slice: first, Left: []int{1}}, first, map[string]string{name: all}, "b"},
		{"moved", &retryPlan{Slice: first, Left: []int{1}}, first, map[string]string{"_delivered/" + name: all, name + leftSuffix: left}, "b"},
		{"what is left is in its place", &retryPlan{Slice: first, Left: []int{1}}, first, map[string]string{"_delivered/" + name: all, name: left}, "b"},
		{"over", nil, first, map[string]string{"_delivered/" + name: all, name: left}, "b"},
		{"the rest is sent", &retryPlan{Slice: second, Kept: "x.2.ndjson"}, second, map[string]string{"_delivered/" + name: all, name: left}, ""},
		{"the rest is moved", &retryPlan{Slice: second, Kept: "x.2.ndjson"}, second, map[string]string{"_delivered/" + name: all, "_delivered/s0/x.2.ndjson": left}, ""},
		{"someone removed it", nil, flow.Slice{}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "s0"), 0o777); err != nil {
				t.Fatal(err)
			}
			for path, text := range tt.files {
				path = filepath.Join(root, filepath.FromSlash(path))
				if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if tt.plan != nil {
				if err := writePlan(filepath.Join(root, filepath.FromSlash(name)), *tt.plan); err != nil {
					t.Fatal(err)
				}
			}
			set := multiset.New(multiset.Options{})
			defer set.Close()
			r := newRun(Config{DeadPath: root})
			receipts := []sinks.Receipt{{Slice: slice(-20, 0), DeadLetters: name}, {Slice: tt.committed}}
			if err := r.heldDead(t.Context(), receipts[0], receipts, set); err != nil {
				t.Fatal(err)
			}
			if err := set.Seal(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, record := range []string{"a", "b", "c"} {
				if ok, err := set.Take(flow.DigestOf([]byte(record))); err != nil {
					t.Fatal(err)
				} else if ok {
					got = append(got, record)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" || set.Left() > 0 {
				t.Errorf("held (-want +got):\n%s%d more", diff, set.Left())
			}
		})
	}
}

// TestHeldOfWholeEntries: an entry that reaches out of the range can't be compared with what is read of it, and is looked for anew.
func TestHeldOfWholeEntries(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut, b.source.whole = 1000, true
	if _, err := b.run(span(0, 40)); err != nil {
		t.Fatal(err)
	}
	b.inLedger(func(ctx context.Context, l *ledger.Ledger) error {
		r := newRun(b.config(l, span(0, 40)))
		for within, want := range map[flow.Range]fault.Kind{span(0, 40): 0, span(0, 20): fault.Overlap, span(20, 60): fault.Overlap} {
			set, err := r.held(ctx, 0, logA.Partition, within, 0)
			if fault.KindOf(err) != want && (err != nil || want != 0) {
				t.Errorf("%s: got %v, want %s", within, err, want)
			}
			if err := set.Close(); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
}
