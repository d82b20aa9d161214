package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// verifies runs `sluice verify --json` and returns its lines by event.
func (r *rig) verifies(want int, args ...string) map[string][]obj {
	r.t.Helper()
	c := r.run(want, append([]string{"verify", "--json"}, args...)...)
	out := map[string][]obj{}
	for line := range strings.Lines(c.stdout.String()) {
		var l obj
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			r.t.Fatalf("%q: %v", line, err)
		}
		event, _ := l["event"].(string)
		out[event] = append(out[event], l)
	}
	return out
}

// mustProve requires that `sluice verify` proves what every sink holds.
func (r *rig) mustProve() {
	r.t.Helper()
	for _, l := range r.verifies(0)["sink_verified"] {
		if l["state"] != proved || l["slices"] == 0.0 || l["inexact_slices"] != 0.0 {
			r.t.Errorf("%v", l)
		}
	}
}

// findingsOf returns the findings as "sink kind path".
func findingsOf(lines []obj) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l["sink"].(string)+" "+l["kind"].(string)+" "+l["path"].(string))
	}
	slices.Sort(out)
	return out
}

// TestVerify carries logs into sinks of every kind of file, proves them beside a host that holds the state, then damages what
// they hold and expects each damage to be named.
func TestVerify(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 60)
	r.to = seedStart.AddDate(0, 0, 2)
	roots := map[string]string{
		"raw": r.fileSink("raw", "raw", "gzip"), "ndjson": r.fileSink("ndjson", "ndjson", "zstd"), "csv": r.fileSink("csv", "csv", "none"),
	}
	for name, config := range map[string]obj{"parquet": {}, "arrow": {}} {
		roots[name] = filepath.Join(r.dir, name)
		maps.Copy(config, obj{"path": roots[name]})
		r.sinks = append(r.sinks, obj{"name": name, "type": name, "config": config})
	}
	r.sinks = append(r.sinks, obj{"name": "screen", "type": "stdout", "config": obj{}})
	r.write()
	r.run(0, "run")

	lines := r.verifies(0)
	var rows float64
	for _, l := range lines["sink_verified"] {
		want := proved
		if l["sink"] == "screen" {
			want = unprovable
		} else if rows = max(rows, l["rows"].(float64)); rows == 0 || l["rows"] != rows || l["slices"] != 8.0 {
			t.Errorf("%v", l)
		}
		if l["state"] != want {
			t.Errorf("%v, want state %s", l, want)
		}
	}
	if n := len(lines["sink_verified"]); n != 6 || len(lines["finding"]) > 0 {
		t.Errorf("%d sinks, findings %v", n, lines["finding"])
	}
	// Beside a host that holds the state and each sink, and waits for the vendor.
	hold := make(chan struct{})
	if err := r.sim.AddFault(vendorsim.Rule{Log: "web", Fault: vendorsim.Fault{Hold: hold}}); err != nil {
		t.Fatal(err)
	}
	r.to = seedStart.AddDate(0, 0, 3)
	r.write()
	host := r.prepare("run").start()
	host.await("a download", func() bool { return len(r.sim.Active()) > 0 })
	r.run(0, "verify").mustSay("main/screen: ")
	close(hold)
	host.wait().mustExit(0)

	first := func(name string, n int) string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(roots[name], "stream=events", "*", "*", "*"))
		if err != nil || len(all) <= n {
			t.Fatalf("%s: %v, %v", name, all, err)
		}
		return all[n]
	}
	rel := func(name, path string) string {
		p, err := filepath.Rel(roots[name], path)
		if err != nil {
			t.Fatal(err)
		}
		return filepath.ToSlash(p)
	}
	change := func(path string, how func(b []byte) []byte) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, how(b), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	removed, cut, flipped, page := first("raw", 0), first("ndjson", 1), first("csv", 2), first("parquet", 0)
	if err := os.Remove(removed); err != nil {
		t.Fatal(err)
	}
	change(cut, func(b []byte) []byte { return b[:len(b)-1] })
	change(flipped, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	change(page, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	double := first("arrow", 0)
	b, err := os.ReadFile(double)
	if err != nil {
		t.Fatal(err)
	}
	copied := strings.TrimSuffix(double, ".arrow") + "-copy.arrow"
	if err := os.WriteFile(copied, b, 0o666); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"arrow doubled " + rel("arrow", copied), "csv changed " + rel("csv", flipped), "ndjson truncated " + rel("ndjson", cut),
		"parquet changed " + rel("parquet", page), "raw missing " + rel("raw", removed),
	}
	got := r.verifies(1)
	if diff := cmp.Diff(want, findingsOf(got["finding"])); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if last := got["verified"]; len(last) != 1 || last[0]["findings"] != 5.0 {
		t.Errorf("%v", last)
	}
	text := r.run(1, "verify", "--sink", "raw,csv").stdout.String()
	for _, word := range []string{"main/raw: missing: " + rel("raw", removed), "sluice forget", "main/csv: changed", "FINDINGS", "wrong"} {
		if !strings.Contains(text, word) {
			t.Errorf("the text lacks %q:\n%s", word, text)
		}
	}
	if strings.Contains(text, "parquet") {
		t.Errorf("--sink raw,csv told of others:\n%s", text)
	}
	// A day without damage is proved by itself.
	if got := r.verifies(0, "--from", "2026-03-02", "--sink", "raw"); got["sink_verified"][0]["slices"] != 8.0 {
		t.Errorf("%v", got)
	}

	r.run(2, "verify", "--sink", "lake")
	r.run(2, "verify", "--stream", "trades")
	r.run(2, "verify", "nothing")
	r.run(2, "verify", "--sink", "screen").mustSay("nothing was proved")
	r.run(2, "verify", "--last", "1d", "--from", "2026-03-01")
}

// TestVerifyLedger has the ledger and a sink's commit log disagree, each way.
func TestVerifyLedger(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 20)
	r.to = seedStart.AddDate(0, 0, 2)
	root := r.fileSink("lake", "ndjson", "none")
	r.write()
	r.verifies(0) // nothing is there yet
	r.run(0, "run")

	l, err := ledger.Open(t.Context(), filepath.Join(r.dir, "state"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.DB().ExecContext(t.Context(), `UPDATE slices SET bytes = bytes + 1 WHERE from_ms = ? AND rows = (SELECT max(rows) FROM slices)`, seedStart.UnixMilli())
	if err == nil {
		_, err = l.DB().ExecContext(t.Context(), `DELETE FROM slices WHERE rowid = (SELECT max(rowid) FROM slices WHERE rows > 0)`)
	}
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	days, err := filepath.Glob(filepath.Join(root, "_sluice", "commits", "*", "events", vendorsim.SeedEmptyID, "*", "000001.json"))
	if err != nil || len(days) != 2 {
		t.Fatalf("entries %v, %v", days, err)
	}
	if err := os.Remove(days[1]); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.verifies(1)["finding"] {
		got = append(got, f["kind"].(string))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"disagrees", "lost", "unrecorded"}, got); diff != "" {
		t.Errorf("kinds of findings (-want +got):\n%s", diff)
	}

	// The sink's folder is gone, and what the ledger says was in it.
	if err := os.Rename(root, root+".away"); err != nil {
		t.Fatal(err)
	}
	if got := findingsOf(r.verifies(1)["finding"]); len(got) != 1 || !strings.HasPrefix(got[0], "lake missing ") {
		t.Errorf("%v", got)
	}
	if _, err := os.Lstat(root); err == nil {
		t.Error("verify has made the sink's folder")
	}
	if err := os.Rename(root+".away", root); err != nil {
		t.Fatal(err)
	}
	// Without a ledger the sink's own log is what there is.
	if err := os.RemoveAll(filepath.Join(r.dir, "state")); err != nil {
		t.Fatal(err)
	}
	r.run(0, "verify").mustSay("there is no ledger")
}

// TestVerifyDrift has the vendor change its mind about what was committed: records come late, go, and get other bytes.
func TestVerifyDrift(t *testing.T) {
	t.Parallel()
	day := func(n, rows int, line string) (out []vendorsim.Record) {
		for i := range rows {
			at := seedStart.AddDate(0, 0, n).Add(time.Duration(i) * time.Minute)
			out = append(out, vendorsim.Record{Time: at, Line: fmt.Appendf(nil, "%s %d %d", line, n, i)})
		}
		return out
	}
	log := func(days ...[]vendorsim.Record) vendorsim.Log {
		return vendorsim.Log{ID: vendorsim.SeedWebID, Name: "web", Records: slices.Concat(days...)}
	}
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{log(day(0, 30, "a"), day(1, 20, "a"), day(2, 20, "a"), day(3, 20, "a"))}})
	r.source["limit"] = 40
	r.pipeline["flow"] = obj{"slice": "24h"} // whatever earlier ones weighed
	r.to = seedStart.AddDate(0, 0, 4)
	r.fileSink("lake", "raw", "none")
	r.fileSink("copy", "ndjson", "gzip")
	r.sinks = append(r.sinks, obj{"name": "screen", "type": "stdout", "config": obj{}})
	r.write()
	r.run(0, "run")
	r.run(0, "verify", "--drift")

	if err := r.sim.PutLog(log(day(0, 42, "a"), day(1, 19, "a"), day(2, 20, "b"), day(3, 20, "a"))); err != nil {
		t.Fatal(err)
	}
	verdicts := func(lines map[string][]obj, sink string) (out []string) {
		for _, l := range lines["compared"] {
			if l["sink"] == sink {
				out = append(out, l["from"].(string)[:10]+" "+l["verdict"].(string)+" "+fmt.Sprint(l["rows"]))
			}
		}
		slices.Sort(out)
		return out
	}
	want := []string{"2026-03-01 more 12", "2026-03-02 fewer 1", "2026-03-03 others 0", "2026-03-04 same 0"}
	got := r.verifies(1, "--drift")
	for _, sink := range []string{"lake", "copy"} {
		if diff := cmp.Diff(want, verdicts(got, sink)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sink, diff)
		}
	}
	text := r.run(1, "verify", "--drift", "--sink", "lake", "--to", "2026-03-04").stdout.String()
	for _, word := range []string{"the vendor now has 12 rows more (late records: recheck)", "1 row fewer", "the same count but different bytes", "UNAVAILABLE"} {
		if !strings.Contains(text, word) {
			t.Errorf("the text lacks %q:\n%s", word, text)
		}
	}
	r.run(0, "verify", "--drift", "--from", "2026-03-04")

	// One seed draws one sample.
	first, second := r.prepare("verify", "--sample", "2", "--seed", "7", "--json").start().wait(), r.prepare("verify", "--sample", "2", "--seed", "7", "--json").start().wait()
	if a, b := strings.Count(first.stdout.String(), `"compared"`), strings.Count(second.stdout.String(), `"compared"`); a < 4 || a != b || first.code != second.code {
		t.Errorf("%d and %d were compared, exits %d and %d", a, b, first.code, second.code)
	}
	first.mustSay("--seed 7")
	r.verifies(0) // what was committed is still there, and nothing was added
	r.run(2, "verify", "--sample", "2", "--drift")
}
