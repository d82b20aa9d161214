package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/flow"
)

// wholeMetrics is what every metric has a sample in, parsed.
func wholeMetrics(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	a := &app{}
	l, err := ledger.Open(t.Context(), t.TempDir(), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.RecordRun(t.Context(), ledger.Run{Pipeline: "prod", Start: march, End: march.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	p := partitionStatus{
		Stream: "events", Partition: "a\"b\\c\nd", Name: "we\"b", want: flow.Ranges{days(0, 2)}, Behind: 1.5, firstMissing: march, lastCommit: march,
		Asked: 10, Covered: 7, Missing: 2, Unavailable: 1, Rows: 3, Bytes: 4, Dead: 1, deadTotal: 2, States: map[string]uint64{"committed": 5},
	}
	gone := p
	gone.Partition, gone.Dropped = "gone", true
	s := pipelineStatus{
		Pipeline: "prod", open: true, horizon: days(2, 3).From, LastRun: &lastRun{stamp(march), stamp(march.Add(time.Hour)), 0, []byte(`{"rows": 7}`)},
		Sinks: []sinkStatus{
			{Name: "lake", Remembers: true, Partitions: []partitionStatus{p, gone}, unknown: []partitionStatus{{Stream: "users"}}},
			{Name: "out", Partitions: []partitionStatus{p}},
		},
	}
	set := a.baseMetrics()
	if err := a.addMetrics(t.Context(), set, l, &s); err != nil {
		t.Fatal(err)
	}
	addLive(set, control.Snapshot{
		Pipelines: []control.Pipeline{{
			Name: "prod", State: "running", Sinks: []control.Sink{{Name: "lake", State: pipeline.SinkDown}}, Slices: []control.Slice{{State: "waiting"}, {State: "waiting"}},
		}},
		Budgets: []control.Budget{{Key: "k", Namespace: "n", LimitRequests: 10, UsedRequests: 12, LimitBytes: 100, UsedBytes: 40}},
	})
	var b bytes.Buffer
	if _, err := set.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	return families
}

// TestMetricNames holds the conventions of names, that docs/monitoring.md has every metric, and that nothing else is named there or in the
// rules of the example.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	families := wholeMetrics(t)
	documented := map[string]bool{}
	name := regexp.MustCompile(`sluice_[a-z_]+`)
	for _, path := range []string{"docs/monitoring.md", "examples/monitoring/alerts.yml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range name.FindAllString(string(text), -1) {
			if families[n] == nil {
				t.Errorf("%s names %s, which isn't written", path, n)
			}
			documented[n] = true
		}
		var rules any
		if err := yaml.Unmarshal(text, &rules); strings.HasSuffix(path, ".yml") && err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(families)) {
		f := families[n]
		counter := f.GetType() == dto.MetricType_COUNTER
		switch {
		case !documented[n]:
			t.Errorf("docs/monitoring.md doesn't tell of %s", n)
		case counter != strings.HasSuffix(n, "_total"):
			t.Errorf("%s is a %s", n, f.GetType())
		case f.GetHelp() == "":
			t.Errorf("%s has no help", n)
		}
		seen := map[string]bool{}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				key += l.GetName() + "=" + l.GetValue() + "\x00"
			}
			if seen[key] {
				t.Errorf("%s has two samples with %q", n, key)
			}
			seen[key] = true
		}
	}
}

func TestMetricValues(t *testing.T) {
	t.Parallel()
	families := wholeMetrics(t)
	got := map[string]float64{}
	for _, n := range []string{
		"sluice_behind_seconds", "sluice_covered_until_timestamp_seconds", "sluice_rows_total", "sluice_dead_letters_total", "sluice_slices_in_hand",
		"sluice_budget_requests_left", "sluice_budget_left_bytes", "sluice_sink_up", "sluice_run_rows", "sluice_last_success_timestamp_seconds",
	} {
		for _, m := range families[n].GetMetric() {
			key := n
			for _, l := range m.GetLabel() {
				if l.GetName() == "sink" || l.GetName() == "partition" {
					key += " " + l.GetValue()
				}
			}
			got[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	odd := "a\"b\\c\nd"
	want := map[string]float64{
		"sluice_behind_seconds lake " + odd: 1.5, "sluice_behind_seconds lake ": 0,
		"sluice_covered_until_timestamp_seconds lake " + odd: float64(march.Unix()), "sluice_covered_until_timestamp_seconds lake ": float64(days(2, 3).From.Unix()),
		"sluice_rows_total lake " + odd: 3, "sluice_rows_total lake gone": 3, "sluice_rows_total out " + odd: 3,
		"sluice_dead_letters_total lake " + odd: 2, "sluice_dead_letters_total lake gone": 2, "sluice_dead_letters_total out " + odd: 2,
		"sluice_slices_in_hand": 2, "sluice_budget_requests_left": 0, "sluice_budget_left_bytes": 60, "sluice_sink_up lake": 0, "sluice_run_rows": 7,
		"sluice_last_success_timestamp_seconds": float64(march.Add(time.Hour).Unix()),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
