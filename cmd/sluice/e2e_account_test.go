package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// accountRig has three sinks with a memory and one log that keeps failing for an hour of its first day.
func accountRig(t *testing.T) *rig {
	r := seededRig(t, vendorsim.Options{}, 300)
	r.to = seedStart.AddDate(0, 0, 2)
	r.fileSink("lines", "ndjson", "none")
	for _, kind := range []string{"parquet", "arrow"} {
		r.sinks = append(r.sinks, obj{"name": kind, "type": kind, "config": obj{"path": filepath.Join(r.dir, kind)}})
	}
	return r
}

// statuses returns what `status --json` says of each pipeline.
func (r *rig) statuses() (out []pipelineStatus) {
	r.t.Helper()
	for line := range strings.Lines(r.run(0, "status", "--json").stdout.String()) {
		var s pipelineStatus
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			r.t.Fatal(err)
		}
		if s.Event == "pipeline_status" {
			out = append(out, s)
		}
	}
	return out
}

// exportReaders reads the Parquet and NDJSON exports as a user would and prints what both hold.
const exportReaders = `
import sys, json, pyarrow.parquet as pq, duckdb
parquet, ndjson = sys.argv[1:3]
t = pq.read_table(parquet)
assert t.schema.field("from_utc").type.tz == "UTC", t.schema
rows = t.to_pylist()
lines = [l for l in map(json.loads, open(ndjson)) if l["table"] == "slices"]
assert len(rows) == len(lines) > 0, (len(rows), len(lines))
for a, b in zip(rows, lines):
    for k, v in a.items():
        w = b[k]
        if k == "parts": v = json.loads(v)
        if k.endswith("_utc"): v = v.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (v.microsecond // 1000)
        assert v == w, (k, v, w)
q = "select sink, sum(rows), sum(bytes), count(*) from '%s' where state = 'committed' group by 1 order by 1"
a = duckdb.sql(q % parquet).fetchall()
b = duckdb.sql("select sink, sum(rows), sum(bytes), count(*) from read_json_auto('%s') where \"table\" = 'slices' and state = 'committed' group by 1 order by 1" % ndjson).fetchall()
assert a == b, (a, b)
for sink, rows, size, n in a: print(sink, rows, size, n)
`

// TestAccount exports the account, reads it with pyarrow and DuckDB, then loses the ledger and has it rebuilt: status says of each sink what
// it said before.
func TestAccount(t *testing.T) {
	t.Parallel()
	python := filepath.Join(realpart.Installed(t, "python"), "bin", "python")
	r := accountRig(t)
	r.write()
	r.run(0, "run")
	before := r.statuses()

	for _, f := range [][]string{{"a.ndjson"}, {"b.ndjson"}, {"a.parquet", "--format", "parquet"}, {"b.parquet", "--format", "parquet", "--table", "slices"}} {
		r.run(0, append([]string{"ledger", "export", "-o", f[0]}, f[1:]...)...)
	}
	for _, ext := range []string{".ndjson", ".parquet"} {
		a, b := mustRead(t, filepath.Join(r.dir, "a"+ext)), mustRead(t, filepath.Join(r.dir, "b"+ext))
		if !bytes.Equal(a, b) {
			t.Errorf("two %s exports of one ledger differ", ext)
		}
	}
	if out := r.run(0, "ledger", "export", "main").stdout.String(); out != string(mustRead(t, filepath.Join(r.dir, "a.ndjson"))) {
		t.Error("standard output holds something else than the file")
	}
	r.mustExportInto(filepath.Join(r.dir, "pipe"))
	cmd := exec.Command(python, "-c", exportReaders, "a.parquet", "a.ndjson")
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var want strings.Builder
	sums := map[string][3]uint64{}
	for _, k := range before[0].Sinks {
		s := sums[k.Name]
		for _, p := range k.Partitions {
			s[0], s[1], s[2] = s[0]+p.Rows, s[1]+p.Bytes, s[2]+p.Slices
		}
		sums[k.Name] = s
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintln(&want, name, sums[name][0], sums[name][1], sums[name][2])
	}
	if diff := cmp.Diff(want.String(), string(out)); diff != "" || sums["lines"][0] == 0 {
		t.Errorf("what readers see of the account (-status +readers):\n%s", diff)
	}
	r.run(2, "ledger", "export", "nobody").mustSay("no pipeline is called", "main")
	r.run(2, "ledger", "export", "--table", "secrets").mustSay("no table", "slices")
	r.run(2, "ledger", "export", "--format", "parquet", "--table", "runs,slices").mustSay("one table")
	r.run(2, "ledger", "export", "-o", "none/a.ndjson").mustSay("-o")

	mustRemove(t, filepath.Join(r.dir, "state"))
	r.run(1, "ledger", "export").mustSay("there is no ledger")
	r.run(0, "ledger", "rebuild")
	same := cmp.Options{
		cmpopts.IgnoreUnexported(pipelineStatus{}, sinkStatus{}, partitionStatus{}),
		cmpopts.IgnoreFields(pipelineStatus{}, "TS", "LastRun", "Now", "Clock"), // of the run, which is forgotten
	}
	if diff := cmp.Diff(before, r.statuses(), same); diff != "" {
		t.Errorf("status of a rebuilt ledger (-before +after):\n%s", diff)
	}
	r.run(0, "status", "--behind", "1s")
}

// TestMetricsFile looks at the metrics while a run goes on and when their folder has gone, which must not matter to the run.
func TestMetricsFile(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 200)
	r.to = seedStart.AddDate(0, 0, 1)
	hold := make(chan struct{})
	if err := r.sim.AddFault(vendorsim.Rule{Log: "app", Fault: vendorsim.Fault{Hold: hold}}); err != nil {
		t.Fatal(err)
	}
	r.fileSink("out", "raw", "none")
	r.pipeline["flow"] = obj{"parallel": 4}
	r.write()
	dir := filepath.Join(r.dir, "metrics")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	c := r.prepare(metricsEnv+"=20ms", "run", "--metrics-file", "metrics/sluice.prom").start()
	get := func(family string) func(labels ...string) (float64, bool) {
		text, err := os.ReadFile(filepath.Join(dir, "sluice.prom"))
		if err != nil {
			return func(...string) (float64, bool) { return 0, false }
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return func(labels ...string) (sum float64, ok bool) {
			for _, m := range families[family].GetMetric() {
				have := map[string]string{}
				for _, l := range m.GetLabel() {
					have[l.GetName()] = l.GetValue()
				}
				fits := true
				for i := 0; i < len(labels); i += 2 {
					fits = fits && have[labels[i]] == labels[i+1]
				}
				if fits {
					sum, ok = sum+m.GetGauge().GetValue()+m.GetCounter().GetValue(), true
				}
			}
			return sum, ok
		}
	}
	c.await("metrics of three logs", func() bool {
		n, _ := get("sluice_slices")("state", "committed", "sink", "out")
		counted, _ := get("sluice_run_slices")()
		return n == 3 && counted == 3
	})
	for family, want := range map[string]float64{"sluice_run_active": 1, "sluice_run_slices": 3, "sluice_sink_up": 1, "sluice_build_info": 1} {
		if got, ok := get(family)(); !ok || got != want {
			t.Errorf("while it runs %s is %v (%v), want %v", family, got, ok, want)
		}
	}
	if behind, ok := get("sluice_behind_seconds")("partition", vendorsim.SeedAppID); !ok || behind < time.Since(seedStart).Seconds()-3600 {
		t.Errorf("the log that waits is behind by %v (%v)", behind, ok)
	}
	if left, ok := get("sluice_budget_requests_left")(); !ok || left > 100 {
		t.Errorf("%v requests are left of the budget (%v)", left, ok)
	}
	if _, ok := get("sluice_run_exit_code")(); ok {
		t.Error("an exit code of a run that goes on")
	}
	if err := os.Rename(dir, dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	c.await("a warning", func() bool { return strings.Contains(c.stderr.String(), "the metrics file isn't up to date") })
	close(hold)
	c.wait().mustExit(0)
	if n := strings.Count(c.stderr.String(), "isn't up to date"); n > 2 { // of the two steps of writing it, each once
		t.Errorf("it was told %d times", n)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder is back")
	}
}

// mustExportInto exports into a named pipe, which is written to and not replaced.
func (r *rig) mustExportInto(pipe string) {
	r.t.Helper()
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		r.t.Fatal(err)
	}
	c := r.prepare("ledger", "export", "-o", pipe).start()
	type got struct {
		text []byte
		err  error
	}
	read := make(chan got, 1)
	go func() {
		text, err := os.ReadFile(pipe)
		read <- got{text, err}
	}()
	c.wait()
	// If nobody has opened the pipe to write, its reader still waits.
	if w, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil {
		_ = w.Close()
	}
	g := <-read
	c.mustExit(0)
	if want, err := os.ReadFile(filepath.Join(r.dir, "a.ndjson")); err != nil || g.err != nil || !bytes.Equal(g.text, want) {
		r.t.Errorf("the pipe gave %d bytes, the file has %d: %v, %v", len(g.text), len(want), g.err, err)
	}
	if st, err := os.Stat(pipe); err != nil || st.Mode().Type() != os.ModeNamedPipe {
		r.t.Errorf("the pipe was replaced: %v, %v", st, err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
