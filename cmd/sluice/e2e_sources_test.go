package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// sourcesEnd is the end of what the tests of all sources ask for.
var sourcesEnd = seedStart.AddDate(0, 0, 2)

// sourcesRig serves two days to every source. Its pipelines are those of the caller alone.
func sourcesRig(t *testing.T, change func(*vendorsim.Options)) *rig {
	t.Helper()
	seed := vendorsim.SeedOptions{Seed: 5, Start: seedStart, Days: 2, Lines: 2500}
	o := vendorsim.Options{
		Logs: vendorsim.Seeded(seed), Elsa: vendorsim.Elsa{Projects: vendorsim.SeededProjects(seed)},
		Usage: vendorsim.UsageOptions{Days: 36_500},
	}
	if change != nil {
		change(&o)
	}
	r := newRig(t, o)
	r.to = sourcesEnd
	r.env = append(r.env, "E2E_ELSA_KEY="+vendorsim.DemoSecretKey)
	return r
}

// only writes a config of these pipelines, whose sources get the simulator's address and key.
func (r *rig) only(pipelines ...obj) {
	r.t.Helper()
	asked := obj{"from": r.from.Format(time.RFC3339Nano), "to": r.to.Format(time.RFC3339Nano)}
	for _, p := range pipelines {
		source := p["source"].(obj)
		config := source["config"].(obj)
		config["base_url"] = r.url
		if source["type"] == "elsa" {
			config["access_key"], config["secret_key"] = vendorsim.DemoAccessKey, "${env:E2E_ELSA_KEY}"
		} else {
			config["api_key"] = "${env:E2E_KEY}"
		}
		if p["range"] == nil {
			p["range"] = asked
		}
		if p["retry"] == nil {
			p["retry"] = obj{"attempts": 30, "max_backoff": "50ms"}
		}
	}
	text, err := json.MarshalIndent(obj{"pipelines": pipelines}, "", " ")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.configPath(), text, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// pipelineOf is a pipeline of a source into a folder of its own.
func (r *rig) pipelineOf(name, source, format string, config obj) (obj, string) {
	root := filepath.Join(r.dir, name)
	return obj{
		"name": name, "source": obj{"type": source, "config": config},
		"sinks": []any{obj{"name": "files", "type": "file", "config": obj{"path": root, "format": format, "compression": "none"}}},
	}, root
}

// shaky are faults that every source meets now and then below its path.
func shaky(path string) vendorsim.Script {
	return vendorsim.Script{Seed: 3, Rules: []vendorsim.Rule{
		{Name: "busy", Path: path, Every: 3, Times: 2, Fault: vendorsim.Fault{Status: 503}},
		{Name: "cut", Path: path, Every: 2, Times: 2, Fault: vendorsim.Fault{CutAfter: vendorsim.At(20), Reset: true}},
	}}
}

// mustBeShaky requires that both faults happened.
func (r *rig) mustBeShaky() {
	r.t.Helper()
	for name, n := range r.faults("busy", "cut") {
		if n == 0 {
			r.t.Errorf("the fault %q never happened", name)
		}
	}
}

// TestEverySourceHoldsWhatWasServed runs each source against a shaky vendor into every format and compares what arrived with what
// was served, the awkward log included, byte for byte; a second run asks for nothing.
func TestEverySourceHoldsWhatWasServed(t *testing.T) {
	t.Parallel()
	projects := []any{
		obj{"key": vendorsim.SeedProject, "id": vendorsim.SeedProjectID},
		obj{"key": vendorsim.SeedOddProject, "id": vendorsim.SeedOddProjectID},
		obj{"key": vendorsim.SeedEmptyProject, "id": vendorsim.SeedEmptyProjectID},
	}
	for _, tt := range []struct{ source, format, path string }{
		{"rapid7-download", "csv", "/download/"},
		{"logentries", "ndjson", "/query/"},
		{"logentries", "csv", "/query/"},
		{"elsa", "ndjson", "/api/v1/"},
		{"elsa", "csv", "/api/v1/"},
	} {
		t.Run(tt.source+" "+tt.format, func(t *testing.T) {
			t.Parallel()
			r := sourcesRig(t, func(o *vendorsim.Options) {
				o.Faults, o.Query.Immediate = shaky(tt.path), true
				o.Elsa.Order, o.Elsa.Entries = vendorsim.MixedOrder, 3
			})
			config := obj{"logs": r.logs}
			if tt.source == "elsa" {
				config = obj{"projects": projects}
			}
			p, root := r.pipelineOf("out", tt.source, tt.format, config)
			r.only(p)
			r.run(0, "run")
			if tt.source == "elsa" {
				r.mustHoldProjects(root, tt.format)
			} else {
				r.mustHold(root, tt.format, r.from, r.to)
			}
			r.mustBeShaky()
			before := r.sim.Stats().Budgeted
			r.run(0, "run").mustSay("nothing to do")
			if asked := r.sim.Stats().Budgeted - before; tt.source != "logentries" && asked > 0 {
				t.Errorf("a run with nothing to do asked %d times", asked)
			}
			if found := contains(t, r.dir, []byte(secretKey)); len(found) > 0 {
				t.Errorf("the key is in %v", found)
			}
		})
	}
}

// mustHoldProjects is mustHold for the seeded projects of ELSA.
func (r *rig) mustHoldProjects(root, format string) {
	r.t.Helper()
	seed := vendorsim.SeedOptions{Seed: 5, Start: seedStart, Days: 2, Lines: 2500}
	for _, p := range vendorsim.SeededProjects(seed) {
		counts, served := lineCounts{}, 0
		for _, record := range p.Records {
			for _, f := range record.Fields {
				if f.Name == "body" {
					counts.add([]byte(bodyOf(r.t, f)), 1)
					served++
				}
			}
		}
		err := eachLine(filepath.Join(root, "stream=events", "log_id="+p.Key), format, func(line []byte) { counts.add(line, -1) })
		if err != nil {
			r.t.Fatal(err)
		}
		if len(counts) > 0 {
			r.t.Errorf("project %s: of %d records served %d bodies are missing or too many", p.Key, served, len(counts))
		}
	}
}

// bodyOf is the text of a field, whose JSON may hold bytes that aren't UTF-8.
func bodyOf(t testing.TB, f vendorsim.Field) string {
	t.Helper()
	var out []byte
	text := f.JSON[1 : len(f.JSON)-1]
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		n := 2
		if text[i+1] == 'u' {
			n = 6
		}
		var s string
		if err := json.Unmarshal([]byte(`"`+text[i:i+n]+`"`), &s); err != nil {
			t.Fatal(err)
		}
		out, i = append(out, s...), i+n-1
	}
	return string(out)
}

// TestUsageHoldsWhatWasTold compares figures with the lines that they count.
func TestUsageHoldsWhatWasTold(t *testing.T) {
	t.Parallel()
	r := sourcesRig(t, func(o *vendorsim.Options) { o.Faults = shaky("/usage/") })
	p, root := r.pipelineOf("usage", "rapid7-usage", "ndjson", obj{})
	r.only(p)
	r.run(0, "run")
	r.mustHoldFigures(root)
	r.mustBeShaky()
}

// mustHoldFigures requires that the usage stream of a root, in NDJSON, holds the figure of every day of the range, each once.
func (r *rig) mustHoldFigures(root string) {
	r.t.Helper()
	t := r.t
	want := map[string]int64{}
	for _, id := range r.logs {
		for day := r.from; !day.AddDate(0, 0, 1).After(r.to); day = day.AddDate(0, 0, 1) {
			if n := r.sim.DayBytes(id, day); n > 0 {
				want[id+" "+day.Format(time.DateOnly)] = n
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "stream=usage", "date=*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(rawLines(file, func(line []byte) {
			var record struct {
				Day   string `json:"day"`
				Log   string `json:"log_id"`
				Bytes int64  `json:"bytes"`
			}
			if err := json.Unmarshal(line, &record); err != nil {
				t.Fatal(err)
			}
			if key := record.Log + " " + record.Day; want[key] != record.Bytes {
				t.Errorf("%s: %d bytes, want %d; or it is there twice", key, record.Bytes, want[key])
			} else {
				delete(want, key)
			}
		}), file.Close())
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(want) > 0 {
		t.Errorf("no record of %v", want)
	}
}

// TestOneBudgetForOneKey lets pipelines of different sources share one key. All namespaces are short: the simulator counts no
// request too many in any of them, and everything arrives.
func TestOneBudgetForOneKey(t *testing.T) {
	t.Parallel()
	const window = 1500 * time.Millisecond
	limits := func(n int64) vendorsim.Budget {
		return vendorsim.Budget{Requests: n, Bytes: 1 << 40, Window: window}
	}
	budget := func(n int) obj { return obj{"requests": n, "window": window.String(), "share": 1} }
	for _, tt := range []struct {
		name      string
		pipelines func(r *rig) []obj
		roots     []string
	}{
		{"two downloads", func(r *rig) []obj {
			a, _ := r.pipelineOf("a", "rapid7-download", "raw", obj{"logs": r.logs, "budget": budget(5)})
			b, _ := r.pipelineOf("b", "rapid7-download", "raw", obj{"logs": r.logs, "budget": budget(5)})
			return []obj{a, b}
		}, []string{"a", "b"}},
		{"download, query and usage", func(r *rig) []obj {
			a, _ := r.pipelineOf("a", "rapid7-download", "raw", obj{"logs": r.logs, "budget": budget(5)})
			b, _ := r.pipelineOf("b", "logentries", "raw", obj{"logs": r.logs, "budget": budget(5)})
			c, _ := r.pipelineOf("c", "logentries", "raw", obj{"logs": r.logs, "budget": budget(5)})
			u, _ := r.pipelineOf("u", "rapid7-usage", "csv", obj{"budget": budget(5)})
			v, _ := r.pipelineOf("v", "rapid7-usage", "csv", obj{"budget": budget(5)})
			return []obj{a, b, c, u, v}
		}, []string{"a", "b", "c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := sourcesRig(t, func(o *vendorsim.Options) {
				o.Logs = vendorsim.Seeded(vendorsim.SeedOptions{Seed: 5, Start: seedStart, Days: 2, Lines: 400})
				o.Download, o.Queries, o.Polls, o.Usage.Budget = limits(5), limits(5), limits(10_000), limits(5)
				o.Query.Immediate = true
			})
			r.only(tt.pipelines(r)...)
			r.run(0, "run")
			for _, root := range tt.roots {
				r.mustHold(filepath.Join(r.dir, root), "raw", r.from, r.to)
			}
			if s := r.sim.Stats(); s.Beyond > 0 || s.Budgeted == 0 {
				t.Errorf("%d requests beyond a budget, %d within", s.Beyond, s.Budgeted)
			}
			if most := r.sim.MaxRequests(secretKey, window); most > 5 {
				t.Errorf("%d downloads within a window of 5", most)
			}
		})
	}
}

// TestAVendorInTroubleAtTheStart keeps a source from being configured, which has to ask for the IDs of logs: that is waited for, not a
// failure, until somebody ends the run or the tries are used up.
func TestAVendorInTroubleAtTheStart(t *testing.T) {
	t.Parallel()
	down := vendorsim.Rule{Name: "down", Path: "/management/", Fault: vendorsim.Fault{Status: 503}}
	start := func(t *testing.T, retry obj, rule vendorsim.Rule) *rig {
		t.Parallel()
		r := sourcesRig(t, func(o *vendorsim.Options) {
			o.Faults, o.Query.Immediate = vendorsim.Script{Rules: []vendorsim.Rule{rule}}, true
		})
		p, _ := r.pipelineOf("out", "logentries", "raw", obj{"logs": []any{"awkward"}})
		if retry != nil {
			p["retry"] = retry
		}
		r.only(p)
		return r
	}
	t.Run("it passes", func(t *testing.T) {
		rule := down
		rule.Times = 3
		r := start(t, nil, rule)
		r.run(0, "run").mustSay("out: try again at ", "503")
		r.mustHoldLog(filepath.Join(r.dir, "out"), "raw", vendorsim.SeedAwkwardID, r.from, r.to)
	})
	t.Run("it stays", func(t *testing.T) {
		r := start(t, obj{"attempts": 2, "max_backoff": "10ms"}, down)
		r.run(1, "run").mustSay("503")
		if n := r.faults("down")["down"]; n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
	})
	t.Run("the run is stopped", func(t *testing.T) {
		r := start(t, obj{"attempts": 8, "max_backoff": "1h"}, down)
		c := r.prepare("run").start()
		c.await("a wait", func() bool { return strings.Count(c.stderr.String(), "out: try again at ") >= 2 })
		if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		c.wait().mustExit(3)
	})
}
