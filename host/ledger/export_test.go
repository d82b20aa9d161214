package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// accountOf fills a ledger with something of everything. Backwards only changes the order in which it is written.
func accountOf(t *testing.T, backwards bool) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), t.TempDir(), Options{Version: "v1", Now: func() time.Time { return day0.AddDate(0, 0, 3) }})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	infos := []SinkInfo{{Identity: "A", Pipeline: "prod", Name: "lake", Type: "file", Location: "/lake", Memory: true}, {Identity: "B", Pipeline: "test", Name: "bus", Type: "kafka"}}
	other := flow.Partition{Selection: flow.SelectionID{9}, Stream: "events", Key: "log-2"}
	steps := []func() error{
		func() error { return l.RecordAll(t.Context(), "A", receipts(minutes(0, 10), minutes(10, 20))) },
		func() error {
			return l.Fail(t.Context(), []string{"A", "B"}, minutes(20, 30), Quarantined, fault.Auth, "401", "check the key")
		},
		func() error {
			return l.Split(t.Context(), []string{"B"}, minutes(30, 40), []flow.Slice{minutes(30, 35), minutes(35, 40)}, 5, 50)
		},
		func() error { return l.MarkUnavailable(t.Context(), testPartition, minutes(50, 60).Range(), "too old") },
		func() error { return l.MarkUnavailable(t.Context(), other, minutes(50, 60).Range(), "too old") },
		func() error {
			return l.RecordRun(t.Context(), Run{Pipeline: "prod", Start: day0, End: day0.Add(time.Hour), Summary: []byte(`{"rows": 3}`)})
		},
		func() error {
			return l.RecordAsked(t.Context(), "test", []string{"events"}, []AskedPartition{{Partition: other, Name: "web", Settle: time.Hour}})
		},
		func() error {
			_, err := l.DB().ExecContext(t.Context(), `INSERT INTO forecasts (pipeline, at_ms, from_ms, to_ms, slices, requests, bytes, finish_ms, detail)
				VALUES ('prod', 1, 2, 3, 4, 5, 6, 0, '{}')`)
			return err
		},
	}
	if backwards {
		slices.Reverse(infos)
		slices.Reverse(steps)
	}
	for _, info := range infos {
		must(t, l.RegisterSink(t.Context(), info, nil))
	}
	for _, step := range steps {
		must(t, step())
	}
	return l
}

func exported(t *testing.T, l *Ledger, pipelines, tables []string) (lines []string) {
	t.Helper()
	err := l.Export(t.Context(), pipelines, tables,
		func(table Table) error {
			lines = append(lines, "# "+table.Name)
			return nil
		},
		func(table Table, values []any) error {
			var b strings.Builder
			for i, c := range table.Columns {
				v := values[i]
				if at, ok := v.(time.Time); ok {
					v = at.Format(flow.Layout)
				}
				if raw, ok := v.(json.RawMessage); ok {
					v = string(raw)
				}
				fmt.Fprintf(&b, "%s=%v ", c.Name, v)
			}
			lines = append(lines, strings.TrimSpace(b.String()))
			return nil
		})
	must(t, err)
	return lines
}

// TestExportDependsOnContentAlone writes the same account in two orders, so that row IDs differ.
func TestExportDependsOnContentAlone(t *testing.T) {
	one, two := exported(t, accountOf(t, false), nil, nil), exported(t, accountOf(t, true), nil, nil)
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("the order in which it was written shows:\n%s", diff)
	}
	text := strings.Join(one, "\n")
	id := minutes(0, 10).ID.String()
	for _, want := range []string{
		"pipeline=prod sink=lake identity=A selection=" + testPartition.Selection.String() + " stream=events partition=log-1 slice=" + id +
			" from_utc=2026-11-01T00:00:00.000Z to_utc=2026-11-01T00:10:00.000Z rev=0 state=committed attempts=0 entry=1 rows=10 bytes=1000",
		"state=quarantined", "state=split", "state=planned", "kind=auth error=401 hint=check the key", "reason=too old", `summary={"rows": 3}`,
		"name=web settle_ms=3600000 at_utc=2026-11-04T00:00:00.000Z", "finish_utc=<nil>", "type=kafka location= memory=false",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks in\n%s", want, text)
		}
	}
}

// TestExportIsWhole holds that every table is exported or named as no part of the account, and none has row IDs.
func TestExportIsWhole(t *testing.T) {
	l := accountOf(t, false)
	var want []string
	must(t, l.query(t.Context(), "tables", func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		if !slices.Contains(internalTables, name) {
			want = append(want, "# "+name)
		}
		return err
	}, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`))
	var got []string
	for _, line := range exported(t, l, nil, nil) {
		if strings.HasPrefix(line, "# ") {
			got = append(got, line)
		}
		if strings.Contains(line, "_id=") || strings.HasPrefix(line, "id=") {
			t.Errorf("a row ID in %q", line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
}

func TestExportOfSome(t *testing.T) {
	l := accountOf(t, false)
	for _, tt := range []struct {
		pipelines, tables []string
		with, without     string
	}{
		{[]string{"prod"}, nil, "identity=A", "identity=B"},
		{[]string{"test"}, nil, "identity=B", "identity=A"},
		{[]string{"prod"}, []string{"unavailable"}, "partition=log-1", "log-2"}, // log-2 is test's
		{[]string{"test"}, []string{"unavailable"}, "log-2", "nothing"},
		{[]string{"none"}, []string{"runs"}, "# runs", "prod"},
		{nil, []string{"runs"}, "pipeline=prod", "# slices"},
	} {
		text := strings.Join(exported(t, l, tt.pipelines, tt.tables), "\n")
		if !strings.Contains(text, tt.with) || strings.Contains(text, tt.without) {
			t.Errorf("%v %v: want %q and no %q in\n%s", tt.pipelines, tt.tables, tt.with, tt.without, text)
		}
	}
	if err := l.Export(t.Context(), nil, []string{"partitions"}, nil, nil); fault.KindOf(err) != fault.Config {
		t.Errorf("an unknown table: %v", err)
	}
	mine := errors.New("mine")
	if err := l.Export(t.Context(), nil, nil, func(Table) error { return mine }, nil); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
}

// TestExportIsOfOneMoment commits while the export goes on.
func TestExportIsOfOneMoment(t *testing.T) {
	l := accountOf(t, false)
	n := map[string]int{}
	err := l.Export(t.Context(), nil, []string{"runs", "slices"},
		func(table Table) error {
			if table.Name != "slices" {
				return nil
			}
			return l.Record(t.Context(), "A", receipt(minutes(70, 80), 3))
		},
		func(table Table, _ []any) error { n[table.Name]++; return nil })
	must(t, err)
	if diff := cmp.Diff(map[string]int{"runs": 1, "slices": 7}, n); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestAsked(t *testing.T) {
	l := open(t, t.TempDir())
	part := func(stream, key string) flow.Partition {
		return flow.Partition{Selection: flow.SelectionID{1}, Stream: stream, Key: key}
	}
	record := func(streams []string, parts ...flow.Partition) {
		t.Helper()
		var all []AskedPartition
		for _, p := range parts {
			all = append(all, AskedPartition{Partition: p, Name: "name of " + p.Key, Settle: time.Minute})
		}
		must(t, l.RecordAsked(t.Context(), "prod", streams, all))
	}
	mustAsk := func(want ...flow.Partition) {
		t.Helper()
		all, err := l.Asked(t.Context(), "prod")
		must(t, err)
		var got []flow.Partition
		for _, p := range all {
			got = append(got, p.Partition)
			if p.Name != "name of "+p.Key || p.Settle != time.Minute || p.At.IsZero() {
				t.Errorf("%+v", p)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	}
	mustAsk()
	record([]string{"events", "users"}, part("events", "b"), part("events", "a"), part("users", ""))
	mustAsk(part("events", "a"), part("events", "b"), part("users", ""))
	record([]string{"events"}, part("events", "c")) // of the other stream nothing was asked this time
	mustAsk(part("events", "c"), part("users", ""))
	record([]string{"users"})
	mustAsk(part("events", "c"))
	if other, err := l.Asked(t.Context(), "other"); err != nil || len(other) != 0 {
		t.Errorf("%v, %v", other, err)
	}
	if parts, err := l.Partitions(t.Context(), "A"); err != nil || len(parts) != 0 {
		t.Errorf("what was asked passes for what a sink has: %v, %v", parts, err)
	}
}

func TestTallies(t *testing.T) {
	l := accountOf(t, false)
	for _, sink := range []string{"A", "B"} {
		all, err := l.Tallies(t.Context(), sink)
		must(t, err)
		got := all[testPartition]
		totals, err := l.Totals(t.Context(), sink, testPartition)
		must(t, err)
		if diff := cmp.Diff(totals, got.Totals); diff != "" {
			t.Errorf("%s: totals (-want +got):\n%s", sink, diff)
		}
		want := map[string]map[State]uint64{"A": {Committed: 2, Quarantined: 1}, "B": {Quarantined: 1, Split: 1, Planned: 2}}
		if diff := cmp.Diff(want[sink], got.States); diff != "" {
			t.Errorf("%s: states (-want +got):\n%s", sink, diff)
		}
		split, err := l.SplitRanges(t.Context(), sink, testPartition)
		must(t, err)
		if sink == "B" && (len(split) != 1 || split[0] != minutes(30, 40).Range()) || sink == "A" && len(split) != 0 {
			t.Errorf("%s: split %v", sink, split)
		}
	}
	if all, err := l.Tallies(t.Context(), "none"); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}
