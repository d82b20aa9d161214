package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// testTable has two rounds of 1 GB: curl takes 1 s and 2 s, Kafka's tool 5 s of which one is its start, all else 4 s.
func testTable() table {
	o := options{}
	b := &bench{peers: peers{python: "python"}, broker: &broker{}}
	t := table{cases: o.cases(b, false), bytes: 1e9, lines: 5e6}
	t.samples = make([][]sample, len(t.cases))
	for i, c := range t.cases {
		for round := range 2 {
			s := sample{Vendor: 250 * time.Millisecond}
			s.Wall, s.Bytes = 4*time.Second, 1e9
			switch c.Key {
			case keyCurl:
				s.Wall = time.Duration(round+1) * time.Second
				s.add(usage{Name: "curl", System: time.Second, PeakRSS: 10 << 20})
			case keyKafkaTool:
				s.Wall, s.Own = 5*time.Second, 4*time.Second
				s.add(usage{Name: "tool", User: 8 * time.Second, PeakRSS: 500 << 20})
			default:
				s.add(usage{Name: "host", User: 2 * time.Second, System: time.Second, PeakRSS: 100 << 20})
				s.add(usage{Name: "plugin", User: time.Second, PeakRSS: 50 << 20})
			}
			t.samples[i] = append(t.samples[i], s)
		}
	}
	return t
}

func contains(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestTable(t *testing.T) {
	all := testTable()
	all.missing = []string{"Fluent Bit (not here)"}
	var w bytes.Buffer
	all.write(&w)
	contains(t, w.String(),
		"| `curl > file` | 750 (500-1000) | 1.00 (1.00-1.00) |",
		"| `sluice run`, raw | 250 (250-250) | 0.38 (0.25-0.50) | 4.0 (4.0-4.0) | host 2.0 + 1.0, plugin 1.0 + 0.0 | host 100, plugin 50 | 0.25 |",
		"| `kafka-producer-perf-test` | 200 (200-200) | 1.00",
		"| the same by its own account, without its start | 250 (250-250) |",
		"`sluice run`, raw 1.00 (1.00-1.00) in throughput",
		"Left out, because this machine hasn't got them or they failed: Fluent Bit (not here).",
	)
}

// TestCases: keys are the cases' own, what others name is there, and each group's first is what the rest is compared with.
func TestCases(t *testing.T) {
	all := testTable()
	seen := map[string]bool{}
	for _, c := range all.cases {
		if seen[c.Key] {
			t.Errorf("two cases are %s", c.Key)
		}
		seen[c.Key] = true
		if c.Repeats != "" && !seen[c.Repeats] {
			t.Errorf("%s repeats %s, which isn't before it", c.Key, c.Repeats)
		}
		if c.Base != "" && !seen[c.Base] || (c.Base == "") != (c.Group == groupJSON) {
			t.Errorf("%s is compared with %q", c.Key, c.Base)
		}
	}
	for _, key := range []string{keyCurl, keyRaw, keyNDJSON, keyParquet, keyRawGzip, keyKafka, keyELSA} {
		if !seen[key+againSuffix] && key != keyCurlGzip {
			t.Errorf("%s has no A/A pair", key)
		}
	}
}

func TestGoals(t *testing.T) {
	all := testTable()
	var w bytes.Buffer
	all.writeGoals(&w)
	contains(t, w.String(),
		"| `sluice run`, raw | at least 0.60 of curl, aim 0.75 | 0.38 (0.25-0.50) | not met |",
		"| `sluice run`, NDJSON | at least 0.45 of curl | 0.38 (0.25-0.50) | not met by the median, met in some round |",
		"| `sluice run`, NDJSON | at most 4.5 CPU-s/GB | 4.0 (4.0-4.0) | met |",
		"| `sluice run`, the same messages | ahead of the broker's own tool, by the tool's own account | 1.00 (1.00-1.00) | met |",
		"| `sluice run`, the same messages | no more CPU than the tool | 0.50 (0.50-0.50) | met |",
		"| `sluice run`, ELSA's zip to NDJSON | at least 100 MB of JSON per CPU-s of the plugin | 1000 (1000-1000) | met |",
		"| `sluice run`, Parquet zstd | host and plugin: at most 256 MiB | 150 (150-150) | met |",
	)
	all.cases = slices.DeleteFunc(all.cases, func(c benchCase) bool { return c.Key == keyPyarrow })
	w.Reset()
	all.writeGoals(&w)
	contains(t, w.String(), "| parquet | at least 1.10 of pyarrow | – | not measured |")
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    cliff
		err  string
	}{
		{"good", cliff{keyRaw, 0.5, 4, 150}, ""},
		{"slow", cliff{keyRaw, 0.51, 4, 150}, "reached 0.500"},
		{"dear", cliff{keyNDJSON, 0.5, 3.9, 150}, "took 4.0 times"},
		{"large", cliff{keyParquet, 0.5, 4, 149}, "150 MiB of memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := judge(testTable(), []cliff{tt.c})
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}

func TestMicro(t *testing.T) {
	all, err := parseMicro(`goos: linux
pkg: github.com/sluice-io/sluice/proto/wire
cpu: some
BenchmarkEncode-2   	     100	   1200000 ns/op	 900.50 MB/s	  64 B/op	  10 allocs/op	  5000 events/op
BenchmarkCSV-2	100	4000 ns/op	2.000 ns/row	0 B/op	20 allocs/op
BenchmarkStart 	       5	  30000000 ns/op	        1.500 fsyncs/op
PASS
`)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d benchmarks, %v", len(all), err)
	}
	if each, ok := all[0].allocsPerEvent(); !ok || each != 0.002 || all[0].name != "Encode" || all[0].values[unitRate] != 900.5 {
		t.Errorf("%+v: %v, %t", all[0], each, ok)
	}
	if each, ok := all[1].allocsPerEvent(); !ok || each != 0.01 {
		t.Errorf("%+v: %v, %t", all[1], each, ok)
	}
	if _, ok := all[2].allocsPerEvent(); ok || all[2].name != "Start" {
		t.Errorf("%+v tells allocations", all[2])
	}
	if _, err := parseMicro("BenchmarkX 1 fast ns/op\n"); err == nil {
		t.Error("a word passes for a number")
	}
}
