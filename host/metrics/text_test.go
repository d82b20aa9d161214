package metrics

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// awkward label values and help texts, as users may name things.
var awkward = []string{"", "plain", `back\slash`, `"quoted"`, "new\nline", "tab\t", "ünïcödé 日本", "{a=\"b\"}", "broken \xff UTF-8", `\n`, `trailing\`}

// TestParses reads what is written with Prometheus's own parser: every sample comes back as it went in.
func TestParses(t *testing.T) {
	var s Set
	values := []float64{0, 1, -1, 0.5, 1e21, 123456789012345, math.MaxUint64, math.Inf(1), math.Inf(-1), 1795972020.373}
	type point struct {
		Name, Label string
		Value       float64
	}
	var want []point
	for i, v := range values {
		label := awkward[i%len(awkward)]
		s.Gauge("sluice_b_seconds", "Help with a \\ and a\nnew line.").Add(v, "pipeline", "p", "name", label, "n", string(rune('a'+i)))
		want = append(want, point{"sluice_b_seconds", strings.ToValidUTF8(label, "\uFFFD"), v})
	}
	s.Counter("sluice_a_total", "A.").Add(7)
	s.Gauge("sluice_empty", "It has no samples.")
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "sluice_empty") || !strings.HasPrefix(b.String(), "# HELP sluice_a_total A.\n# TYPE sluice_a_total counter\nsluice_a_total 7\n") {
		t.Errorf("got %s", b.String())
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&b)
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 2 || families["sluice_a_total"].GetMetric()[0].GetCounter().GetValue() != 7 {
		t.Errorf("got %v", families)
	}
	if got := families["sluice_b_seconds"].GetHelp(); got != "Help with a \\ and a\nnew line." {
		t.Errorf("help %q", got)
	}
	var got []point
	for _, m := range families["sluice_b_seconds"].GetMetric() {
		got = append(got, point{"sluice_b_seconds", m.GetLabel()[1].GetValue(), m.GetGauge().GetValue()})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.prom")
	if err := Writable(path); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("asking whether it can be written left %v, %v", left, err)
	}
	var s Set
	for range 2 { // the second replaces the first
		s.Gauge("sluice_x", "X.").Add(1)
		if err := WriteFile(path, &s); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "# HELP sluice_x X.\n# TYPE sluice_x gauge\nsluice_x 1\nsluice_x 1\n" {
		t.Errorf("%v: %s", err, text)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("beside it is %v, %v", left, err)
	}
	// A reader of another user, such as node_exporter, may read it, less the umask.
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o600 != 0o600 || st.Mode().Perm()&0o111 != 0 {
		t.Errorf("%v, %v", st.Mode(), err)
	}

	for _, bad := range []string{dir, filepath.Join(dir, "none", "x.prom"), filepath.Join(path, "x.prom")} {
		if err := Writable(bad); err == nil {
			t.Errorf("%s passes for writable", bad)
		}
		if err := WriteFile(bad, &s); err == nil {
			t.Errorf("%s was written", bad)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("what failed left %v, %v", left, err)
	}
}
