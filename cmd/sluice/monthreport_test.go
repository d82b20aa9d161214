package main

import (
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
)

// TestAStartThatNeverEndedAsked: what `range: {last: ...}` asked for is known from the start of a run, not only from one that ended.
func TestAStartThatNeverEndedAsked(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 10, 6, 0, 0, 0, time.UTC)
	l, err := ledger.Open(t.Context(), t.TempDir(), ledger.Options{Version: "test", Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	web := flow.Partition{Stream: "events", Key: "web"}
	if err := l.RecordAsked(t.Context(), "prod", []string{"events"}, []ledger.AskedPartition{{Partition: web, Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	p := &config.Pipeline{Name: "prod", Lag: time.Hour, Streams: []string{"events"}}
	p.Source.Type, p.Range.Last = "rapid7-download", 24*time.Hour
	in, err := reportInput(t.Context(), l, &config.Config{}, p)
	if err != nil {
		t.Fatal(err)
	}
	want := flow.Range{From: at.Add(-25 * time.Hour), To: at.Add(-time.Hour)}
	if len(in.Asked) != 1 || in.Asked[0] != want {
		t.Errorf("asked %v, want %s", in.Asked, want)
	}
}
