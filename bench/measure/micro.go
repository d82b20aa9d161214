package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// python is the interpreter that .ci/parts.sh installs the readers for.
func (o options) python() string { return filepath.Join(o.parts, "python", "bin", "python") }

// Units of go test -bench. A benchmark that handles many events in one operation says how many by ReportMetric.
const (
	unitTime   = "ns/op"
	unitRate   = "MB/s"
	unitBytes  = "B/op"
	unitAllocs = "allocs/op"
	unitEvents = "events/op"
	unitRow    = "ns/row"
	perEvent   = "allocs/event"
)

// microBench is one line of what go test -bench printed.
type microBench struct {
	pkg, name string
	values    map[string]float64
	units     []string // in the order in which they were printed
}

// parseMicro reads what go test -bench printed for several packages.
func parseMicro(text string) ([]microBench, error) {
	var out []microBench
	pkg := ""
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 2 && words[0] == "pkg:" {
			pkg = words[1]
			continue
		}
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") || len(words)%2 != 0 {
			continue
		}
		b := microBench{pkg: pkg, name: strings.TrimPrefix(words[0], "Benchmark"), values: map[string]float64{}}
		if at := strings.LastIndexByte(b.name, '-'); at > 0 { // GOMAXPROCS
			if _, err := strconv.Atoi(b.name[at+1:]); err == nil {
				b.name = b.name[:at]
			}
		}
		for i := 2; i < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark %s: %w", b.name, err)
			}
			b.values[words[i+1]] = v
			b.units = append(b.units, words[i+1])
		}
		out = append(out, b)
	}
	return out, nil
}

// allocsPerEvent returns the allocations per event, if the benchmark tells.
func (b microBench) allocsPerEvent() (float64, bool) {
	if v, ok := b.values[perEvent]; ok {
		return v, true
	}
	allocs, counted := b.values[unitAllocs]
	events, told := b.values[unitEvents]
	if row := b.values[unitRow]; !told && row > 0 {
		events, told = b.values[unitTime]/row, true
	}
	return allocs / events, counted && told && events > 0
}

// microTable reads a file with the output of go test -bench and returns it as a table.
func microTable(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	all, err := parseMicro(string(text))
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", fmt.Errorf("%s holds no benchmark", name)
	}
	var w bytes.Buffer
	w.WriteString("## Parts\n\nBy `go test -bench`, one process, one goroutine unless the benchmark says otherwise. Allocations per event are those of an operation, " +
		"shared by the events in it.\n\n| package | benchmark | time per operation | MB/s | allocations per operation | per event | more |\n|---|---|---|---|---|---|---|\n")
	for _, b := range all {
		cell := func(unit, verb string) string {
			v, ok := b.values[unit]
			if !ok {
				return "–"
			}
			return fmt.Sprintf(verb, v)
		}
		each := "–"
		if v, ok := b.allocsPerEvent(); ok {
			each = fmt.Sprintf("%.4f", v)
		}
		var more []string
		for _, unit := range b.units {
			switch unit {
			case unitTime, unitRate, unitBytes, unitAllocs, unitEvents, unitRow, perEvent:
			default:
				more = append(more, fmt.Sprintf("%.4g %s", b.values[unit], unit))
			}
		}
		_, pkg, _ := strings.Cut(b.pkg, "/sluice/")
		fmt.Fprintf(&w, "| %s | %s | %s | %s | %s | %s | %s |\n", pkg, b.name, duration(b.values[unitTime]), cell(unitRate, "%.0f"), cell(unitAllocs, "%.0f"), each, strings.Join(more, ", "))
	}
	return w.String(), nil
}

// duration writes nanoseconds as people read them.
func duration(ns float64) string {
	switch {
	case ns == 0:
		return "–"
	case ns < 1e3:
		return fmt.Sprintf("%.1f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.1f ms", ns/1e6)
	default:
		return fmt.Sprintf("%.2f s", ns/1e9)
	}
}
