package rapid7download

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

var update = flag.Bool("update", false, "write golden files")

// recorder keeps records as JSON beside what collector checks.
type recorder struct {
	*collector
	constants json.RawMessage
	rows      []json.RawMessage // of all batches: where one ends is a matter of time
}

func (r *recorder) Open(ctx context.Context, o plugins.Opening) error {
	text, err := o.Constants.MarshalJSON()
	if err != nil {
		return err
	}
	r.constants = bytes.Clone(text)
	return r.collector.Open(ctx, o)
}

func (r *recorder) Batch(ctx context.Context, rec arrow.Record) error {
	text, err := rec.MarshalJSON()
	if err != nil {
		return err
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		return err
	}
	r.rows = append(r.rows, rows...)
	return r.collector.Batch(ctx, rec)
}

// TestGoldenBatches pins what a read of awkward lines gives: the constants, and each row of the batches.
func TestGoldenBatches(t *testing.T) {
	const id = "0f0e0d0c-0b0a-4908-8706-050403020100"
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var records []vendorsim.Record
	for i, line := range []string{"plain", "", "crlf\r", "nul \x00 inside", "latin1 \xe9t\xe9", "cut rune \xe2\x82", "日本語", `{"a":"\"b\""}`} {
		records = append(records, vendorsim.Record{Time: from.Add(time.Duration(i) * time.Second), Line: []byte(line)})
	}
	_, base := newSim(t, func(o *vendorsim.Options) {
		o.Logs = []vendorsim.Log{{ID: id, Name: "golden", Records: records}}
	})
	s := newSource(t, nil, simSettings(base, "logs", []string{id}))
	s.now = func() time.Time { return from.Add(48 * time.Hour) }
	out := &recorder{collector: newCollector(t)}
	if err := s.Read(t.Context(), sliceOf(id, from, from.Add(24*time.Hour)), out); err != nil {
		t.Fatal(err)
	}
	out.release()
	got, err := json.MarshalIndent(map[string]any{"constants": out.constants, "rows": out.rows}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const golden = "testdata/golden/events.json"
	if *update {
		if err := os.MkdirAll("testdata/golden", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
