package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write golden files")

func testRegistry(t testing.TB) Registry {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", "schemas", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return Registry{
		Sources: map[string]SourceType{"rapid7-download": {Schema: read("rapid7-download"), Streams: []string{"events", "logs"}, Main: []string{"events"}}},
		Sinks:   map[string]SinkType{"file": {Schema: read("file")}, "stdout": {Schema: read("stdout")}},
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", path, diff)
	}
}

// TestBadFiles pairs each bad file with all its messages.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	reg := testRegistry(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), data, reg)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v, want Problems", err)
			}
			for _, p := range problems {
				if p.Message == "" || p.Line > 0 && p.Col < 1 {
					t.Errorf("incomplete: %+v", p)
				}
			}
			got := problems.Error() + "\n"
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
		})
	}
}

func TestLoad(t *testing.T) {
	c, err := Load("testdata/good/example.yaml", testRegistry(t))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	to := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	want := &Config{
		Path: filepath.Join(dir, "example.yaml"), Dir: dir, State: filepath.Join(dir, "state"), ShutdownTimeout: 40 * time.Second,
		Pipelines: []Pipeline{
			{
				Name:    "prod",
				Source:  Source{Type: "rapid7-download"},
				Streams: []string{"events"},
				Range:   Range{From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
				Lag:     5 * time.Minute, Priority: PriorityOldest,
				Flow: Flow{Window: 64 << 20, Parallel: 2, Slice: Slice{Auto: true}},
				Sinks: []Sink{
					{Name: "lake", Type: "file", Streams: []string{"events"}, OnFailure: "block", DetachAfter: 30 * time.Second, Position: Position{19, 9}},
					{Name: "stdout", Type: "stdout", Streams: []string{"events"}, OnFailure: "block", DetachAfter: 30 * time.Second, Position: Position{23, 9}},
				},
				Retry:      Retry{Attempts: 8, MaxBackoff: 2 * time.Minute},
				DeadLetter: DeadLetter{Path: filepath.Join(dir, "dead"), MaxRecord: 1 << 30},
				Position:   Position{5, 5},
			},
			{
				Name:       "audit",
				Source:     Source{Type: "rapid7-download", Account: "${env:ACCOUNT:-main}"},
				Streams:    []string{"events"},
				Range:      Range{From: time.Date(2026, 10, 31, 21, 30, 0, 250e6, time.UTC), To: &to},
				Lag:        5 * time.Minute,
				Clock:      "host",
				Follow:     10 * time.Minute,
				Priority:   PriorityTail,
				Flow:       Flow{Window: 12 << 20, Parallel: 3, Slice: Slice{Bytes: 500e6}},
				Labels:     map[string]string{"tenant": "Acme GmbH", "env_2": "prod"},
				Sinks:      []Sink{{Name: "file", Type: "file", Streams: []string{"events"}, OnFailure: "detach", DetachAfter: 5 * time.Second, Position: Position{42, 9}}},
				Retry:      Retry{Attempts: 8, MaxBackoff: 2 * time.Minute},
				DeadLetter: DeadLetter{Path: filepath.Join(dir, "dead", "audit"), Max: 5, MaxRecord: 2 << 30},
				Position:   Position{26, 5},
			},
		},
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreTypes(Settings{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	settings := c.Pipelines[0].Source.Config
	if got, want := string(settings.JSON), `{"region":"eu","api_key":"${env:R7_API_KEY}","logs":["aee00b66-a543-43dc-b093-53963c2e8f41"],`+
		`"budget":{"requests":100,"bytes":"70GB","window":"15m","share":0.5},"limit":20000000}`; got != want {
		t.Errorf("settings:\n got %s\nwant %s", got, want)
	}
	for path, want := range map[string]Position{"": {8, 15}, "logs[0]": {11, 16}, "budget.window": {12, 54}, "budget.nothing": {12, 17}, "query": {8, 15}} {
		if got := settings.Position(path); got != want {
			t.Errorf("position of %q: got %v, want %v", path, got, want)
		}
	}
	if got := string(c.Pipelines[0].Sinks[1].Config.JSON); got != "{}" {
		t.Errorf("settings of a sink without any: got %s", got)
	}
	if c.Pipeline("audit") != &c.Pipelines[1] || c.Pipeline("none") != nil {
		t.Error("Pipeline finds the wrong one")
	}
}

func TestWarnings(t *testing.T) {
	c, err := Parse("w.yaml", []byte(`
pipelines:
  - name: a
    priority: tail
    range: {last: 1d}
    sinks: [{type: stdout}]
    source:
      type: rapid7-download
      config:
        region: eu
        api_key: hunter2
        logs: [aee00b66-a543-43dc-b093-53963c2e8f41]
        flavour: fanci
        place: eu1
        http: {proxy: "http://me:hunter2@proxy:3128"}
        tunnel: http://proxy:3128
`), testRegistry(t))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/warnings.txt", Problems(c.Warnings).Error()+"\n")
	if strings.Contains(Problems(c.Warnings).Error(), "hunter2") {
		t.Error("a secret is shown")
	}
}

func TestLoadErrors(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), Registry{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	for name, schema := range map[string]string{
		"not JSON":            `{`,
		"not a schema":        `{"type": 5}`,
		"a list":              `[]`,
		"refers to a file":    `{"$ref": "file:///etc/passwd"}`,
		"secret in selection": `{"properties": {"a": {"x-sluice-secret": true, "x-sluice-selection": true}}}`,
	} {
		reg := Registry{
			Sources: map[string]SourceType{"x": {Schema: []byte(schema)}}, Sinks: map[string]SinkType{"y": {Schema: []byte(schema)}},
		}
		_, bySource := Parse("x.yaml", []byte("pipelines: [{source: {type: x}}]"), reg)
		_, bySink := Parse("x.yaml", []byte("pipelines: [{sinks: [{type: y}]}]"), reg)
		_, bySchema := Schema(reg)
		for _, err := range []error{bySource, bySink, bySchema} {
			var problems Problems
			if err == nil || errors.As(err, &problems) {
				t.Errorf("%s: got %v, want an error that isn't the file's", name, err)
			}
		}
	}
}

// manyPipelines is a file of n pipelines, each with a folder of its own.
func manyPipelines(n int) string {
	var b strings.Builder
	b.WriteString("pipelines:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: p%d, range: {last: 1d}, source: {type: x}, sinks: [{type: file, config: {path: l%d}}]}\n", i, i)
	}
	return b.String()
}

// BenchmarkManyPipelines has the time that each of some and of many pipelines takes: the same, where no step is quadratic.
func BenchmarkManyPipelines(b *testing.B) {
	for _, n := range []int{1000, 9000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			data, reg := []byte(manyPipelines(n)), testRegistry(b)
			for b.Loop() {
				_, _ = Parse("x.yaml", data, reg)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/pipeline")
		})
	}
}

// TestCostlyFiles shows that a small file can't take the memory of a machine, nor fill a screen.
func TestCostlyFiles(t *testing.T) {
	var bomb, keys strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9))
	}
	for i := range 60_000 {
		fmt.Fprintf(&keys, "key%d: 1\n", i)
	}
	for name, data := range map[string]string{
		"aliases":   bomb.String(),
		"deep":      "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"large":     strings.Repeat("# comment\n", maxFileBytes/10+1),
		"number":    "pipelines: 1" + strings.Repeat("0", 1<<20),
		"keys":      keys.String(),
		"one key":   strings.Repeat("k", 1<<20) + ": 1",
		"pipelines": manyPipelines(4000),
	} {
		_, err := Parse("x.yaml", []byte(data), testRegistry(t))
		var problems Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s: got %v", name, err)
		} else if len(problems.Error()) > 200*maxProblems {
			t.Errorf("%s: a message of %d bytes", name, len(problems.Error()))
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, glob := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml"} {
		files, err := filepath.Glob(glob)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	reg := testRegistry(f)
	env := Environment{LookupEnv: func(string) (string, bool) { return "x", true }, ReadFile: func(string) ([]byte, error) { return []byte("y"), nil }}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f.yaml", data, reg)
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("got %v", err)
			}
			return
		}
		for _, p := range c.Pipelines {
			if p.Name == "" || len(p.Sinks) == 0 || len(p.Streams) == 0 || p.Flow.Window/int64(p.Flow.Parallel) < MinShare {
				t.Fatalf("accepted: %+v", p)
			}
			if p.Range.From.IsZero() == (p.Range.Last == 0) {
				t.Fatalf("accepted a range: %+v", p.Range)
			}
			if _, _, err := p.Source.Config.Resolve(env); err != nil && strings.Contains(err.Error(), "JSON") {
				t.Fatal(err)
			}
		}
	})
}
