package ledger

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
)

func TestForecasts(t *testing.T) {
	l := open(t, t.TempDir())
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	want := Forecast{
		Pipeline: "prod", At: at, Range: flow.Range{From: at.AddDate(0, 0, -1), To: at}, Slices: 3, Requests: 4, Bytes: 5,
		Finish: at.Add(time.Hour), Detail: json.RawMessage(`{"a":1}`),
	}
	later := Forecast{Pipeline: "prod", At: at.Add(time.Minute), Range: want.Range, Slices: 9, Detail: json.RawMessage("{}")}
	for _, f := range []Forecast{want, later, {Pipeline: "other", At: at, Range: want.Range}} {
		if err := l.RecordForecast(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	want.Bytes = 50
	if err := l.RecordForecast(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, err := l.Forecasts(t.Context(), "prod", 5)
	if diff := cmp.Diff([]Forecast{later, want}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := l.Forecasts(t.Context(), "prod", 1); err != nil || len(got) != 1 || got[0].Slices != 9 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestBudgetCharges(t *testing.T) {
	l := open(t, t.TempDir())
	for _, row := range []string{
		`('a', 'k', 'download', 'o', 1, 100, 900000000000, 'this', 0, 10000000000, 20000000000, 0, 0)`, // ends at 920 s
		`('b', 'k', 'download', 'o', 1, 200, 900000000000, 'this', 0, NULL, NULL, 0, 0)`,               // open
		`('c', 'k', 'download', 'o', 1, 300, 900000000000, 'other', 0, 1, 1, 0, 0)`,                    // of another boot
		`('d', 'k', 'download', 'o', 1, 400, 60000000000, 'this', 0, 1, 1, 0, 0)`,                      // over
		`('e', 'k', 'usage', 'o', 1, 500, 900000000000, 'this', 0, 1, 1, 0, 0)`,
	} {
		if _, err := l.DB().ExecContext(t.Context(), `INSERT INTO budget_reservations VALUES `+row); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.BudgetCharges(t.Context(), "k", "download", "this", 120*time.Second)
	want := []BudgetCharge{{1, 100, 800 * time.Second}, {1, 200, 900 * time.Second}, {1, 300, 900 * time.Second}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestOpenCuts(t *testing.T) {
	l := open(t, t.TempDir())
	p := flow.Partition{Stream: "events", Key: "a"}
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	mine, others := flow.NewSlice(p, day, day.Add(time.Hour), 0), flow.NewSlice(p, day.Add(time.Hour), day.Add(2*time.Hour), 0)
	for _, s := range []SinkInfo{{Identity: "one", Pipeline: "prod", Name: "a", Type: "file"}, {Identity: "two", Pipeline: "other", Name: "b", Type: "file"}} {
		if err := l.RegisterSink(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Begin(t.Context(), []string{"one"}, mine, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.Plan(t.Context(), []string{"two"}, []flow.Slice{others}); err != nil {
		t.Fatal(err)
	}
	got, err := l.OpenCuts(t.Context(), "prod")
	if diff := cmp.Diff(map[flow.SliceID]bool{mine.ID: true}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := l.GiveUp(t.Context(), []string{"one"}, mine, "test"); err != nil {
		t.Fatal(err)
	}
	if got, err := l.OpenCuts(t.Context(), "prod"); err != nil || len(got) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
	for sink, want := range map[string]bool{"one": true, "three": false} {
		if got, err := l.Registered(t.Context(), sink); err != nil || got != want {
			t.Errorf("%s is registered: %t, %v", sink, got, err)
		}
	}
}
