package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// planOf is what `plan --json` says of the pipeline.
func (r *rig) planOf(args ...string) planLine {
	r.t.Helper()
	c := r.run(0, append([]string{"plan", "--json"}, args...)...)
	var line planLine
	for text := range strings.Lines(c.stdout.String()) {
		if strings.Contains(text, `"event":"plan"`) {
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return line
}

func summaryOf(t *testing.T, path string) runSummary {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s runSummary
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestForecastHolds: what plan says before a run into a narrow budget is what the run then takes, and its summary has both.
func TestForecastHolds(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{Download: vendorsim.Budget{Requests: 10, Bytes: 1 << 40, Window: 400 * time.Millisecond}}, 20_000)
	root := r.fileSink("out", "raw", "none")
	r.source["budget"].(obj)["share"] = 0.5
	r.write()
	r.run(0, "run", "--to", seedStart.AddDate(0, 0, 2).Format(time.RFC3339))
	p := r.planOf()
	if p.Budget == nil || p.Budget.MayRequests != 5 || p.Budget.PeakRequests != 5 || *p.Budget.LeftRequests != 5 || p.Slices != 20 || p.Requests != 20 {
		t.Errorf("planned %d slices, %d requests, %+v", p.Slices, p.Requests, p.Budget)
	}
	if p.Bytes == nil || p.Offline || p.Basis.Runs != 1 || p.Seconds < 3*0.4-0.1 || p.Estimate.Seconds.Mid < p.Seconds {
		t.Errorf("planned %+v", p)
	}
	before := len(r.sim.Requests())
	summary := filepath.Join(r.dir, "summary.json")
	r.run(0, "run", "--summary", summary).mustSay("forecast 20 requests", "it took 20 requests")
	if n := len(r.downloads(before)); n != p.Requests {
		t.Errorf("%d downloads, %d were foreseen", n, p.Requests)
	}
	got := summaryOf(t, summary).Pipelines[0]
	h := got.Forecast
	if h == nil || !h.Known || h.Estimate.Slices != 20 || h.Actual.Slices != 20 || h.Actual.Requests != 20 || h.Actual.Bytes != got.Bytes {
		t.Fatalf("forecast %+v", h)
	}
	// By the hour of the week, of two days of one: what the seeded logs hold differs little from day to day.
	if off := math.Abs(float64(got.Bytes)-h.Estimate.Bytes.Mid) / float64(got.Bytes); off > 0.5 {
		t.Errorf("%d bytes, %.0f were foreseen", got.Bytes, h.Estimate.Bytes.Mid)
	}
	if h.Actual.Seconds < p.Seconds-0.1 {
		t.Errorf("it took %.2f s, and the budget makes it take at least %.2f", h.Actual.Seconds, p.Seconds)
	}
	r.mustHold(root, "raw", seedStart, seedEnd)
	r.mustKeepBudget()
}

var halfDone = regexp.MustCompile(`so far [3-8][0-9] % of bytes after [0-9]+ % of the time: `)

// TestForecastInStatus: a run that stands still is held against its forecast.
func TestForecastInStatus(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 2000)
	r.logs, r.to = r.logs[:1], seedStart.AddDate(0, 0, 4)
	r.fileSink("out", "raw", "none")
	r.pipeline["flow"] = obj{"parallel": 1, "slice": "1d"}
	r.write()
	r.run(0, "run", "--to", seedStart.AddDate(0, 0, 2).Format(time.RFC3339))
	hold := make(chan struct{})
	if err := r.sim.AddFault(vendorsim.Rule{Nth: []int{2}, Fault: vendorsim.Fault{Hold: hold}}); err != nil {
		t.Fatal(err)
	}
	c := r.prepare("run").start()
	said := ""
	c.await("a forecast of which half is done", func() bool {
		said = r.run(0, "status").stdout.String()
		return strings.Contains(said, "forecast: done by") && halfDone.MatchString(said)
	})
	var host hostStatus
	for text := range strings.Lines(r.run(0, "status", "--json").stdout.String()) {
		if strings.Contains(text, `"event":"host_status"`) {
			if err := json.Unmarshal([]byte(text), &host); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(hold)
	c.wait().mustExit(0)
	if host.Host == nil || host.Host.Pipelines[0].Forecast == nil {
		t.Fatalf("no forecast in %+v", host)
	}
	f := host.Host.Pipelines[0].Forecast
	if f.LogDone != 0.5 || f.Bytes == nil || f.BytesDone == nil || *f.BytesDone < 0.3 || *f.BytesDone > 0.8 || f.Requests != 2 {
		t.Errorf("forecast %+v", f)
	}
}
