package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
)

func TestVersionsAreOfChanges(t *testing.T) {
	l := open(t, t.TempDir())
	if at, err := l.Latest(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("latest of an empty ledger: %s, %v", at, err)
	}
	now := day0
	l.now = func() time.Time { return now }
	old := Versions{Sluice: "1.0.0", Source: "elsa", SourceVersion: "0.1.0"}
	recent := Versions{Sluice: "1.1.0", Source: "elsa", SourceVersion: "0.1.0"}
	for _, v := range []Versions{old, old, recent, recent, old} {
		must(t, l.RecordVersions(t.Context(), "prod", v))
		now = now.Add(time.Hour)
	}
	must(t, l.RecordVersions(t.Context(), "other", old))
	got, err := l.Versions(t.Context(), "prod")
	must(t, err)
	since := func(v Versions, n int) Versions { v.Since = day0.Add(time.Duration(n) * time.Hour); return v }
	if d := cmp.Diff([]Versions{since(old, 0), since(recent, 2), since(old, 4)}, got); d != "" {
		t.Error(d)
	}
	if at, err := l.Latest(t.Context()); err != nil || !at.Equal(day0.Add(5*time.Hour)) {
		t.Errorf("latest: %s, %v", at, err)
	}
	must(t, l.RecordMeasures(t.Context(), testPartition, day0.AddDate(0, 0, 9), []flow.Measure{{Range: flow.Range{From: day0, To: day0.AddDate(0, 0, 1)}}}))
	if at, err := l.Latest(t.Context()); err != nil || !at.Equal(day0.AddDate(0, 0, 9)) {
		t.Errorf("latest of a measure: %s, %v", at, err)
	}
}
