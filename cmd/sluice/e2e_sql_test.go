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

// TestSQLReadsWhatWasWritten has DuckDB and ClickHouse read each format and layout by the view that `sluice sql` prints, and compares the
// records with what was served, byte by byte.
func TestSQLReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	python := filepath.Join(realpart.Installed(t, "python"), "bin", "python")
	chdb := filepath.Join(realpart.Installed(t, "chdb"), "bin", "python")
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
		"sinks": []obj{folder("raw", "file", obj{"format": "raw"}), folder("arrow", "arrow", obj{"format": "file"})},
	}
	r.write()
	r.run(exitOK, "run")
	// No secret is needed. DuckDB doesn't read Arrow files.
	views := r.run(exitOK, "E2E_KEY=", "sql", "duckdb", "main").stdout.String() + r.run(exitOK, "E2E_KEY=", "sql", "duckdb", "--sink", "raw").stdout.String()
	inClickHouse := r.run(exitOK, "E2E_KEY=", "sql", "clickhouse").stdout.String()
	for name, text := range map[string]string{"views.sql": views, "clickhouse.sql": inClickHouse} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
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
	for _, one := range []struct{ python, script, views string }{{python, readViews, views}, {chdb, readInClickHouse, inClickHouse}} {
		if out, err := exec.Command(one.python, "-c", one.script, r.dir).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, one.views)
		}
	}
}

const readInClickHouse = `
import collections, os, sys
from chdb import session
dir = sys.argv[1]
served = {n: collections.Counter(l.strip() for l in open(os.path.join(dir, n))) for n in ("all", "text")}
sql = session.Session()
sql.query("SET session_timezone = 'UTC'")
sql.query(open(os.path.join(dir, "clickhouse.sql")).read())
ask = lambda text: [l.split("\t") for l in str(sql.query(text, "TSV")).splitlines()]
for view in ("main_pq_events", "main_pqflat_events", "main_nd_events", "main_ndflat_events", "main_csv_events", "raw_2_raw_events", "raw_2_arrow_events"):
    exact = "coalesce(body_raw, body)" if view != "raw_2_raw_events" else "body"
    got = collections.Counter(r[0] for r in ask(f"SELECT lower(hex({exact})) FROM {view}"))
    want = served["text" if view.startswith("raw_2") else "all"]
    assert got == want, (view, got.total(), want.total(), list((got - want).items())[:3], list((want - got).items())[:3])
days = {v: ask(f"SELECT log_id, date, count(), min(received_from), max(received_to) FROM {v} GROUP BY ALL ORDER BY ALL") for v in ("main_pq_events", "main_nd_events")}
assert days["main_pq_events"] == days["main_nd_events"] and len(days["main_pq_events"]) > 7, {v: d[:2] for v, d in days.items()}
for log, day, n, lo, hi in days["main_pq_events"]:
    assert lo.startswith(day), (log, day, lo)
`

const readViews = `
import collections, os, sys, duckdb
dir = sys.argv[1]
served = {n: collections.Counter(bytes.fromhex(l.strip()) for l in open(os.path.join(dir, n))) for n in ("all", "text")}
sql = duckdb.connect()
sql.execute("set timezone = 'UTC'")
sql.execute(open(os.path.join(dir, "views.sql")).read())
for view in ("main_pq_events", "main_pqflat_events", "main_nd_events", "main_ndflat_events", "main_csv_events", "raw_2_raw_events"):
    exact = "coalesce(body_raw, encode(body))" if view != "raw_2_raw_events" else "encode(body)"
    got = collections.Counter(bytes(r[0]) for r in sql.execute(f"select {exact} from {view}").fetchall())
    want = served["text" if view == "raw_2_raw_events" else "all"]
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
