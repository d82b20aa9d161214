package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCountCalls(t *testing.T) {
	const table = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 73.47    0.005460           4      1191         2 fsync
 26.53    0.001864           9         3           fdatasync
------ ----------- ----------- --------- --------- ----------------
100.00    0.007324           5      1194         2 total
`
	if n, err := countCalls([]byte(table)); n != 1194 || err != nil {
		t.Errorf("%g calls, %v, want 1194", n, err)
	}
	if n, err := countCalls([]byte("strace: ptrace: Operation not permitted\n")); err == nil {
		t.Errorf("%g calls of nothing", n)
	}
}

func TestFixedCostsTable(t *testing.T) {
	var w bytes.Buffer
	f := fixedCosts{first: []float64{90, 100, 120}, whole: []float64{200}, slice: []float64{3.25}, sliceCPU: []float64{4}, syncs: 12, runSyncs: 48}
	f.write(&w)
	f.syncs = -1
	f.write(&w)
	for _, want := range []string{"first request for lines, ms | 100 (90-120) | 150 |", "| each slice more, ms | 3.2 (3.2-3.2) | 20 |", "| fsyncs of each slice more | 12.0 |", "strace isn't installed"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("no %q in\n%s", want, &w)
		}
	}
}
