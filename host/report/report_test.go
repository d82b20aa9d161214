package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

var update = flag.Bool("update", false, "write golden files")

var october = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func on(day int) time.Time { return october.AddDate(0, 0, day-1) }

// clock is the ledger's own stamps.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func receipt(p flow.Partition, r flow.Range, rev uint32, entry uint64, rows, dead int, at time.Time) sinks.Receipt {
	var d, x flow.Sum
	for i := range rows {
		d.Add(fmt.Appendf(nil, "record %d of %s, revision %d", i, r, rev))
	}
	for i := range dead {
		x.Add(fmt.Appendf(nil, "dead record %d of %s", i, r))
	}
	return sinks.Receipt{Slice: flow.NewSlice(p, r.From, r.To, rev), Entry: entry, Delivered: d, Dead: x, At: at}
}

var (
	web    = flow.Partition{Selection: flow.SelectionID{1}, Stream: "events", Key: "aee00b66-a543-43dc-b093-53963c2e8f41"}
	app    = flow.Partition{Selection: flow.SelectionID{1}, Stream: "events", Key: "d8eacea6-3dbd-4163-8fc2-3ef5067bd7c9"}
	before = flow.Partition{Selection: flow.SelectionID{9}, Stream: "events", Key: web.Key}
)

const hostile = "gone | <script>alert(1)</script> \u202e\x1b[31m **since** a while"

// written is a ledger with something of everything in October.
func written(t *testing.T) *ledger.Ledger {
	t.Helper()
	c := &clock{on(1)}
	l, err := ledger.Open(t.Context(), t.TempDir(), ledger.Options{Version: "test", Now: c.Now})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	ctx := t.Context()
	for _, name := range []string{"lake", "copy"} {
		must(t, l.RegisterSink(ctx, ledger.SinkInfo{Identity: name + "-id", Pipeline: "prod", Name: name, Type: "file", Location: "/data/" + name, Memory: true}, nil))
	}
	must(t, l.RecordVersions(ctx, "prod", ledger.Versions{Sluice: "0.9.0", Source: "rapid7-download", SourceVersion: "0.1.0"}))
	for d := 1; d <= 12; d++ {
		c.now = on(d + 1).Add(time.Hour)
		if d == 6 {
			must(t, l.RecordVersions(ctx, "prod", ledger.Versions{Sluice: "1.0.0", Source: "rapid7-download", SourceVersion: "0.2.0"}))
		}
		day := flow.Range{From: on(d), To: on(d + 1)}
		rows := 100 + 10*d
		if d == 4 {
			rows = 60
		}
		must(t, l.Record(ctx, "lake-id", receipt(web, day, 0, 1, rows, d%3, c.now)))
		if d != 7 {
			must(t, l.Record(ctx, "copy-id", receipt(web, day, 0, 1, rows, 0, c.now)))
		}
		figure := int64(100+10*d+d%3) * 90
		if d == 3 {
			figure += 17 * 90 // indexed late
		}
		must(t, l.RecordMeasures(ctx, web, on(d+2), []flow.Measure{{Range: day, Rows: -1, Bytes: figure}}))
		exit := 0
		if d == 9 {
			exit = 1
		}
		must(t, l.RecordRun(ctx, ledger.Run{Pipeline: "prod", Start: c.now.Add(-time.Minute), End: c.now, Exit: exit}))
	}
	must(t, l.Record(ctx, "lake-id", receipt(web, flow.Range{From: on(3), To: on(4)}, 1, 2, 17, 0, c.now))) // late
	must(t, l.Record(ctx, "lake-id", receipt(web, flow.Range{From: on(2), To: on(3)}, 1, 2, 2, 0, c.now)))  // dead letters, sent again
	half := flow.Range{From: on(1), To: on(1).Add(12*time.Hour + time.Millisecond)}
	must(t, l.Record(ctx, "lake-id", receipt(app, half, 0, 1, 5, 0, c.now)))
	must(t, l.MarkUnavailable(ctx, app, flow.Range{From: on(2), To: on(3)}, hostile))
	bad := flow.NewSlice(app, on(5), on(6), 0)
	must(t, l.Begin(ctx, []string{"lake-id"}, bad, 3))
	must(t, l.Fail(ctx, []string{"lake-id"}, bad, ledger.Quarantined, fault.Corrupt, "a cut stream", "look at the proxy"))
	must(t, l.Record(ctx, "lake-id", receipt(before, flow.Range{From: on(1), To: on(1).Add(time.Hour)}, 0, 1, 9, 0, c.now)))
	// Neither of October.
	must(t, l.Record(ctx, "lake-id", receipt(web, flow.Range{From: on(0), To: on(1)}, 0, 1, 7, 0, c.now)))
	return l
}

func input() []Input {
	return []Input{{
		Name: "prod", Source: "rapid7-download", Range: flow.Range{From: on(1)}, Lag: 5 * time.Minute,
		Asks:     func(_ string, r flow.Range, _ time.Time) flow.Ranges { return flow.NewRanges(r) },
		Snapshot: func(string) bool { return false },
		Logs:     []NamedLog{{app, "app"}, {web, "web"}},
		Sinks: []InputSink{
			{Name: "lake", Type: "file", Promise: "exactly once per slice", Identity: "lake-id", Location: "/data/lake"},
			{Name: "copy", Type: "file", Promise: "exactly once per slice", Identity: "copy-id", Location: "/data/copy"},
			{Name: "new", Type: "kafka", Promise: "exactly once"},
			{Name: "screen", Type: "stdout", Promise: "at least once", Takes: func(string) bool { return false }},
		},
	}}
}

func render(t *testing.T, r *Report) (text, html, asJSON string) {
	t.Helper()
	var a, b bytes.Buffer
	must(t, r.WriteText(&a))
	must(t, r.WriteHTML(&b))
	c, err := json.MarshalIndent(r, "", " ")
	must(t, err)
	return a.String(), b.String(), string(c) + "\n"
}

func TestReport(t *testing.T) {
	l := written(t)
	r, err := Build(t.Context(), l, october, input())
	must(t, err)
	text, html, asJSON := render(t, r)
	for name, got := range map[string]string{"report.md": text, "report.html": html, "report.json": asJSON} {
		path := filepath.Join("testdata", name)
		if *update {
			must(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	again, err := Build(t.Context(), l, october, input())
	must(t, err)
	text2, html2, json2 := render(t, again)
	if text2 != text || html2 != html || json2 != asJSON {
		t.Error("the same ledger gave other bytes")
	}
	for _, bad := range []string{"<script", "src=", "http:", "https:", "\x1b", "\u202e"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page holds %q", bad)
		}
		if strings.Contains(text, bad) {
			t.Errorf("the text holds %q", bad)
		}
	}
}

// TestReportAddsUp holds the report's figures against the ledger's entries, counted another way.
func TestReportAddsUp(t *testing.T) {
	l := written(t)
	r, err := Build(t.Context(), l, october, input())
	must(t, err)
	lake := r.Pipelines[0].Sinks[0]
	var rows, slices uint64
	var digest flow.Digest
	for _, p := range []flow.Partition{web, app, before} {
		all, err := l.Committed(t.Context(), "lake-id", p)
		must(t, err)
		for _, c := range all {
			if c.Slice.From.Month() == time.October {
				rows += c.Delivered.Rows
				digest = digest.Plus(c.Delivered.Digest)
				slices++
			}
		}
	}
	var got flow.Digest
	var n int
	for _, log := range lake.Logs {
		var d flow.Digest
		must(t, d.UnmarshalText([]byte(log.Digest)))
		got = got.Plus(d)
		n += log.Slices
		if log.Covered+log.Missing+log.Unavailable != log.Asked {
			t.Errorf("%s: covered %d, missing %d and unavailable %d aren't the asked %d", log.Partition, log.Covered, log.Missing, log.Unavailable, log.Asked)
		}
	}
	if lake.Totals.Rows != rows || got != digest || n != int(slices) {
		t.Errorf("%d rows, digest %s, %d slices; want %d, %s, %d", lake.Totals.Rows, got, n, rows, digest, slices)
	}
	if lake.Totals.Late != 17 || lake.Totals.Dead != 12-2 {
		t.Errorf("late %d, dead %d", lake.Totals.Late, lake.Totals.Dead)
	}
	flagged := lake.Logs[0].Usage.Flagged
	if len(flagged) != 1 || flagged[0].Day != "2026-10-04" {
		t.Errorf("flagged %+v, want the fourth", flagged)
	}
}

func TestReportOfNothing(t *testing.T) {
	l, err := ledger.Open(t.Context(), t.TempDir(), ledger.Options{Version: "test"})
	must(t, err)
	defer l.Close()
	in := input()
	for i := range in[0].Sinks {
		in[0].Sinks[i].Identity = ""
	}
	r, err := Build(t.Context(), l, october, in)
	must(t, err)
	text, _, _ := render(t, r)
	if !strings.Contains(text, "the ledger is empty") || !strings.Contains(text, "knows nothing of this sink") {
		t.Error(text)
	}
}

func TestHoursAreNeverMoreThanThereAre(t *testing.T) {
	for ms, want := range map[int64]string{0: "0", 3_600_000: "1", 3_599_999: "0.99", 744 * 3_600_000: "744", 744*3_600_000 - 1: "743.99", 1: "0.00", 5400000: "1.50", 3600000 * 1234: "1,234"} {
		if got := hours(ms); got != want {
			t.Errorf("hours(%d) = %s, want %s", ms, got, want)
		}
	}
}
