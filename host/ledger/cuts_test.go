package ledger

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestCutLife(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	both := []string{"A", "B"}
	whole, left, right := minutes(0, 60), minutes(0, 30), minutes(30, 60)
	must(t, l.Plan(t.Context(), both, []flow.Slice{whole}))
	must(t, l.Begin(t.Context(), both, whole, 0))
	must(t, l.Begin(t.Context(), both, whole, 1))
	must(t, l.Fail(t.Context(), []string{"A"}, whole, Failed, fault.Transient, "reset by peer", "try again"))
	wantCuts(t, l, "A", Cut{Slice: whole, State: Failed, Attempts: 2, Kind: fault.Transient, Error: "reset by peer", Hint: "try again"})
	wantCuts(t, l, "B", Cut{Slice: whole, State: Reading, Attempts: 2})

	// What has begun is still there after a crash: nothing was closed.
	must(t, l.lock.Close())
	l.lock = nil
	l = open(t, dir)
	must(t, l.Begin(t.Context(), both, whole, 2))
	wantCuts(t, l, "A", Cut{Slice: whole, State: Reading, Attempts: 3})

	must(t, l.Split(t.Context(), both, whole, []flow.Slice{left, right}, 99, 999))
	wantCuts(t, l, "A", Cut{Slice: left, State: Planned}, Cut{Slice: right, State: Planned})
	must(t, l.Record(t.Context(), "A", receipt(left, 1)))
	wantCuts(t, l, "A", Cut{Slice: right, State: Planned})
	wantCuts(t, l, "B", Cut{Slice: left, State: Planned}, Cut{Slice: right, State: Planned})
	must(t, l.Fail(t.Context(), both, left, Quarantined, fault.Corrupt, strings.Repeat("x", 10000), ""))
	wantCuts(t, l, "A", Cut{Slice: right, State: Planned})
	must(t, l.GiveUp(t.Context(), both, left, "out of range"))
	wantCuts(t, l, "B", Cut{Slice: right, State: Planned})
	covered, err := l.Coverage(t.Context(), "A", testPartition)
	must(t, err)
	if diff := cmp.Diff(flow.Ranges{left.Range()}, covered); diff != "" {
		t.Errorf("giving up touched the commit (-want +got):\n%s", diff)
	}

	// A split slice may be planned again.
	must(t, l.Plan(t.Context(), []string{"B"}, []flow.Slice{whole}))
	wantCuts(t, l, "B", Cut{Slice: whole, State: Planned}, Cut{Slice: right, State: Planned})

	// A late revision isn't made superfluous by coverage.
	late := flow.NewSlice(testPartition, left.From, left.To, 1)
	must(t, l.Plan(t.Context(), []string{"A"}, []flow.Slice{late}))
	must(t, l.Record(t.Context(), "A", receipt(right, 2)))
	wantCuts(t, l, "A", Cut{Slice: late, State: Planned})
}

func wantCuts(t *testing.T, l *Ledger, sink string, want ...Cut) {
	t.Helper()
	got, err := l.Cuts(t.Context(), sink, testPartition)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cuts of %s (-want +got):\n%s", sink, diff)
	}
}

func TestSplitRefusesParts(t *testing.T) {
	l := open(t, t.TempDir())
	whole := minutes(0, 60)
	other := testPartition
	other.Key = "log-2"
	for _, tt := range []struct {
		name  string
		parts []flow.Slice
	}{
		{"one", []flow.Slice{whole}},
		{"none", nil},
		{"hole", []flow.Slice{minutes(0, 20), minutes(30, 60)}},
		{"overlap", []flow.Slice{minutes(0, 40), minutes(30, 60)}},
		{"short", []flow.Slice{minutes(0, 20), minutes(20, 59)}},
		{"long", []flow.Slice{minutes(0, 20), minutes(20, 61)}},
		{"another partition", []flow.Slice{minutes(0, 30), flow.NewSlice(other, whole.From.Add(30*time.Minute), whole.To, 0)}},
		{"another revision", []flow.Slice{minutes(0, 30), flow.NewSlice(testPartition, whole.From.Add(30*time.Minute), whole.To, 1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := l.Split(t.Context(), []string{"A"}, whole, tt.parts, 0, 0); fault.KindOf(err) != fault.Bug {
				t.Errorf("got %v", err)
			}
			wantCuts(t, l, "A")
		})
	}
}

func TestHints(t *testing.T) {
	l := open(t, t.TempDir())
	if got, err := l.Hints(t.Context(), testPartition, 3); err != nil || got != nil {
		t.Fatalf("empty ledger: %v, %v", got, err)
	}
	for i := range 5 {
		r := receipt(minutes(i*60, i*60+60), uint64(i+1))
		must(t, l.Record(t.Context(), "A", r))
		r.Delivered.Rows, r.Dead.Rows = 4, 1 // less of it was delivered here
		must(t, l.Record(t.Context(), "B", r))
	}
	now := day0.AddDate(0, 1, 0)
	l.now = func() time.Time { return now }
	late := receipt(minutes(240, 300), 9)
	late.Slice, late.At = flow.NewSlice(testPartition, late.Slice.From, late.Slice.To, 1), now // of the hour it tells only what was late
	must(t, l.Record(t.Context(), "A", late))
	must(t, l.Split(t.Context(), []string{"A"}, minutes(300, 360), []flow.Slice{minutes(300, 330), minutes(330, 360)}, 1000, 5000))
	got, err := l.Hints(t.Context(), testPartition, 3)
	must(t, err)
	hint := func(from, to int, rows, bytes uint64, truncated bool) flow.Hint {
		s := minutes(from, to)
		return flow.Hint{From: s.From, To: s.To, Rows: rows, Bytes: bytes, Truncated: truncated}
	}
	want := []flow.Hint{hint(180, 240, 10, 1000, false), hint(240, 300, 10, 1000, false), hint(300, 360, 1000, 5000, true)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
}

func TestUnavailableAndRuns(t *testing.T) {
	l := open(t, t.TempDir())
	now := day0.Add(time.Hour)
	l.now = func() time.Time { return now }
	r := minutes(0, 10).Range()
	must(t, l.MarkUnavailable(t.Context(), testPartition, r, "older"))
	must(t, l.MarkUnavailable(t.Context(), testPartition, r, "older than 90 days"))
	got, err := l.Unavailable(t.Context(), testPartition)
	must(t, err)
	if diff := cmp.Diff([]UnavailableRange{{Range: r, Reason: "older than 90 days", At: now}}, got); diff != "" {
		t.Errorf("unavailable (-want +got):\n%s", diff)
	}
	if err := l.MarkUnavailable(t.Context(), testPartition, flow.Range{From: day0, To: day0}, "x"); fault.KindOf(err) != fault.Bug {
		t.Errorf("an empty range: %v", err)
	}
	covered, err := l.Coverage(t.Context(), "A", testPartition)
	if err != nil || covered != nil {
		t.Errorf("what is unavailable isn't covered: %v, %v", covered, err)
	}
	first := Run{Pipeline: "prod", Start: day0, End: now, Exit: 1, Summary: []byte(`{"rows":1}`)}
	second := Run{Pipeline: "prod", Start: now, End: now, Exit: 0}
	must(t, l.RecordRun(t.Context(), first))
	must(t, l.RecordRun(t.Context(), second))
	must(t, l.RecordRun(t.Context(), Run{Pipeline: "other", Start: now, End: now}))
	second.Summary = []byte("{}")
	runs, err := l.LastRuns(t.Context(), "prod", 5)
	must(t, err)
	if diff := cmp.Diff([]Run{second, first}, runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if runs, err := l.LastRuns(t.Context(), "", 2); err != nil || len(runs) != 2 {
		t.Errorf("runs of all: %v, %v", runs, err)
	}
}

// TestSinksLastFirst: a sink that was led to another target, and back, is found by its name where it was opened last.
func TestSinksLastFirst(t *testing.T) {
	l := open(t, t.TempDir())
	now := day0
	l.now = func() time.Time { now = now.Add(time.Second); return now }
	for _, last := range []string{"old-target", "new-target", "old-target"} {
		must(t, l.RegisterSink(t.Context(), SinkInfo{Identity: last, Pipeline: "prod", Name: "bus", Type: "kafka", Memory: true}, nil))
		all, err := l.Sinks(t.Context())
		must(t, err)
		i := slices.IndexFunc(all, func(s SinkInfo) bool { return s.Name == "bus" })
		if i < 0 || all[i].Identity != last {
			t.Errorf("%v, want %s before others of its name", all, last)
		}
	}
}
