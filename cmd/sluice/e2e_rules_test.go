package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// promtool runs a command of Prometheus's own tool in a folder.
func promtool(t *testing.T, dir string, stdin []byte, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(realpart.Installed(t, "promtool"), "promtool"), args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

// TestAlertRules has Prometheus's own tool check the rules of the example, and say when each of them fires.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	for _, path := range []string{"../../examples/monitoring/alerts.yml", "testdata/alerts_test.yml"} {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), mustRead(t, path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, dir, nil, "check", "rules", "--lint-fatal", "alerts.yml")
	promtool(t, dir, nil, "test", "rules", "alerts_test.yml")
}

// TestMetricsOfRuns: each metric that the documentation and the rules name is in the file that a run writes while it goes on or when it has
// ended, and Prometheus's own tool takes the file.
func TestMetricsOfRuns(t *testing.T) {
	t.Parallel()
	clock := vendorsim.NewClock(0)
	clock.Freeze(seedStart.AddDate(0, 0, 1))
	r := seededRig(t, vendorsim.Options{Clock: clock}, 200)
	r.logs, r.to = r.logs[:2], time.Time{} // without an end it is covered up to an instant
	hold := make(chan struct{})
	if err := r.sim.AddFault(vendorsim.Rule{Log: "app", Fault: vendorsim.Fault{Hold: hold}}); err != nil {
		t.Fatal(err)
	}
	r.fileSink("out", "raw", "none")
	r.second = obj{ // whose logs have names
		"name": "named", "source": obj{"type": "logentries", "config": obj{"base_url": r.url, "api_key": "${env:E2E_KEY}", "logs": []any{"web"}}},
		"sinks": []any{obj{"name": "out", "type": "file", "config": obj{"path": filepath.Join(r.dir, "named"), "format": "ndjson"}}},
	}
	r.pipeline["flow"] = obj{"parallel": 2}
	r.write()
	file := filepath.Join(r.dir, "sluice.prom")
	read := func() (text []byte, names map[string]bool) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, nil
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		names = map[string]bool{}
		for name := range families {
			names[name] = true
		}
		return text, names
	}
	var during []byte
	written := map[string]bool{}
	c := r.prepare(metricsEnv+"=20ms", "run", "--metrics-file", file).start()
	c.await("metrics of a commit and of a slice in hand", func() bool {
		text, names := read()
		if names["sluice_last_commit_timestamp_seconds"] && names["sluice_slices_in_hand"] && names["sluice_budget_requests_left"] {
			during, written = text, names
		}
		return during != nil
	})
	close(hold)
	c.wait().mustExit(0)
	after, names := read()
	for name := range names {
		written[name] = true
	}
	named := regexp.MustCompile(`\bsluice_[a-z_]+`)
	for _, path := range []string{"docs/monitoring.md", "examples/monitoring/alerts.yml"} {
		for _, name := range slices.Compact(slices.Sorted(slices.Values(named.FindAllString(string(mustRead(t, filepath.Join("..", "..", path))), -1)))) {
			if !written[name] {
				t.Errorf("%s names %s, which no run wrote", path, name)
			}
		}
	}
	promtool(t, r.dir, during, "check", "metrics")
	promtool(t, r.dir, after, "check", "metrics")
}

// TestEachPipelineHasItsOwnExit: one that fails doesn't make the other's runs failed ones.
func TestEachPipelineHasItsOwnExit(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 50)
	r.logs, r.to = r.logs[:1], seedStart.AddDate(0, 0, 1)
	r.fileSink("out", "raw", "none")
	r.second = obj{
		"name": "wrong", "source": obj{"type": "logentries", "config": obj{"base_url": r.url, "api_key": "${env:E2E_KEY}", "logs": []any{"nosuch"}}},
		"sinks": []any{obj{"name": "out", "type": "file", "config": obj{"path": filepath.Join(r.dir, "wrong"), "format": "ndjson"}}},
	}
	r.write()
	file := filepath.Join(r.dir, "sluice.prom")
	r.run(2, "run", "--metrics-file", file)
	text := string(mustRead(t, file))
	for _, want := range []string{`sluice_run_exit_code{pipeline="main"} 0`, `sluice_last_success_timestamp_seconds{pipeline="main"}`} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics don't say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, `sluice_last_success_timestamp_seconds{pipeline="wrong"}`) || strings.Contains(text, `sluice_run_exit_code{pipeline="wrong"} 0`) {
		t.Errorf("the other's run counts as a good one:\n%s", text)
	}
}
