package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestSQLReadsWhatWasWritten has DuckDB read each format and layout by the view that `sluice sql duckdb` prints, and compares the records
// with what was served, byte by byte.
func TestSQLReadsWhatWasWritten(t *testing.T) {
	python := filepath.Join(realpart.Installed(t, "python"), "bin", "python")
	r := seededRig(t, vendorsim.Options{}, 250)
	odd := filepath.Join(r.dir, "it's [a] \"lake\"")
	folder := func(name, typ string, config obj) obj {
		config["path"] = filepath.Join(odd, name)
		return obj{"name": name, "type": typ, "config": config}
	}
	r.sinks = []obj{
		folder("pq", "parquet", obj{"compression": "zstd"}),
		folder("pqflat", "parquet", obj{"layout": "{partition}/{date}"}),
		folder("nd", "file", obj{"format": "ndjson", "compression": "zstd"}),
		folder("ndflat", "file", obj{"format": "ndjson", "layout": "{partition}/{hour}"}),
		folder("csv", "file", obj{"format": "csv", "compression": "gzip", "layout": "day={date}/{stream}"}),
	}
	// Lines as they are, of logs that are text throughout: DuckDB refuses others.
	source := obj{"base_url": r.url, "api_key": "${env:E2E_KEY}", "logs": []string{vendorsim.SeedWebID, vendorsim.SeedAppID, vendorsim.SeedEmptyID}}
	r.second = obj{
		"name": "raw-2", "source": obj{"type": "rapid7-download", "config": source},
		"sinks": []obj{folder("raw", "file", obj{"format": "raw"})},
	}
	r.write()
	r.run(exitOK, "run")
	c := r.run(exitOK, "E2E_KEY=", "sql", "duckdb") // no secret is needed
	script := filepath.Join(r.dir, "views.sql")
	if err := os.WriteFile(script, []byte(c.stdout.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, logs := range map[string][]string{"all": r.sim.LogIDs(), "text": {vendorsim.SeedWebID, vendorsim.SeedAppID}} {
		f, err := os.Create(filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w := bufio.NewWriter(f)
		for _, id := range logs {
			for line := range r.sim.Lines(id, r.from, r.to) {
				fmt.Fprintln(w, hex.EncodeToString(line))
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	out, err := exec.Command(python, "-c", readViews, r.dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, c.stdout.String())
	}
}

const readViews = `
import collections, os, sys, duckdb
dir = sys.argv[1]
served = {n: collections.Counter(bytes.fromhex(l.strip()) for l in open(os.path.join(dir, n))) for n in ("all", "text")}
sql = duckdb.connect()
sql.execute("set timezone = 'UTC'")
sql.execute(open(os.path.join(dir, "views.sql")).read())
for view in ("main_pq_events", "main_pqflat_events", "main_nd_events", "main_ndflat_events", "main_csv_events", "raw_2_events"):
    exact = "coalesce(body_raw, encode(body))" if view != "raw_2_events" else "encode(body)"
    got = collections.Counter(bytes(r[0]) for r in sql.execute(f"select {exact} from {view}").fetchall())
    want = served["text" if view == "raw_2_events" else "all"]
    assert got == want, (view, got.total(), want.total(), list((got - want).items())[:3], list((want - got).items())[:3])
    assert sql.execute(f"select count(*) from {view}").fetchone()[0] == want.total(), view
columns = [d[0] for d in sql.execute("select * from main_pq_events limit 0").description]
for view in ("main_pq_events", "main_nd_events"):
    assert [d[0] for d in sql.execute(f"select * from {view} limit 0").description] == columns, view
    days = sql.execute(f"select log_id, date, count(*), min(received_from), max(received_to) from {view} group by all order by all").fetchall()
    if view == "main_pq_events":
        first = days
    assert days == first and len(days) > 7, (view, days[:2], first[:2])
    for log, day, n, lo, hi in days:
        assert lo.date() == day, (log, day, lo)
assert sql.execute("select count(distinct day), typeof(min(day)) from main_csv_events").fetchone() == (7, "DATE")
for view in ("main_pqflat_events", "main_ndflat_events", "main_csv_events"):
    same = sql.execute(f"select log_id, count(*), count(severity_number), count(attributes), min(observed_timestamp) is null from {view} group by all order by all").fetchall()
    want = sql.execute("select log_id, count(*), count(severity_number), count(attributes), min(observed_timestamp) is null from main_pq_events group by all order by all").fetchall()
    assert same == want, (view, same, want)
`
