package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
)

// table is what one interleaved run measured: samples[i][n] is case i in the n-th round in which it ran.
type table struct {
	title        string
	cases        []benchCase
	samples      [][]sample
	bytes, lines int64 // of the log
}

// Indexes of the cases that others are compared with: see cases.
const (
	caseCurl = iota
	caseRaw
	caseNDJSON
	briefCases // those before it stand without their repetitions
)

// spread is the distribution of one figure over the rounds.
type spread struct{ min, median, max float64 }

func newSpread(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return spread{}
	}
	return spread{v[0], (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[len(v)-1]}
}

func (s spread) format(verb string) string {
	return fmt.Sprintf(verb+" ("+verb+"-"+verb+")", s.median, s.min, s.max)
}

func (t table) spread(i int, of func(sample) float64) spread {
	values := make([]float64, len(t.samples[i]))
	for n, s := range t.samples[i] {
		values[n] = of(s)
	}
	return newSpread(values)
}

// throughput returns MB/s.
func (t table) throughput(s sample) float64 { return float64(t.bytes) / 1e6 / s.Wall.Seconds() }

// ratios returns the throughput of case i as a share of case of's in the same round.
func (t table) ratios(i, of int) spread {
	values := make([]float64, len(t.samples[i]))
	for n, s := range t.samples[i] {
		values[n] = t.samples[of][n].Wall.Seconds() / s.Wall.Seconds()
	}
	return newSpread(values)
}

// perGB returns CPU seconds per GB.
func (t table) perGB(seconds float64) float64 { return seconds / (float64(t.bytes) / 1e9) }

// peak returns the sum of the peaks of all processes.
func (s sample) peak() (sum int64) {
	for _, p := range s.Processes {
		sum += p.PeakRSS
	}
	return sum
}

// processes returns the names of a case's processes.
func (t table) processes(i int) []string {
	var names []string
	for _, s := range t.samples[i] {
		for _, p := range s.Processes {
			if !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	return names
}

// of returns a figure of one process in a sample, 0 if it was too short to be seen.
func (s sample) of(name string, figure func(usage) float64) float64 {
	for _, p := range s.Processes {
		if p.Name == name {
			return figure(p)
		}
	}
	return 0
}

func (t table) write(w *bytes.Buffer) {
	rounds := len(t.samples[0])
	fmt.Fprintf(w, "## %s\n\n", t.title)
	fmt.Fprintf(w, "%d lines of %.0f bytes on average, %.2f GB in all; %d interleaved rounds: median (least-most). \"of curl\" is the throughput "+
		"as a share of the first row's in the same round.\n\n", t.lines, float64(t.bytes)/float64(t.lines), float64(t.bytes)/1e9, rounds)
	w.WriteString("| work | MB/s | of curl | CPU-s/GB | of it, by process: user + system | peak RSS, MiB | simulator, CPU-s/GB |\n|---|---|---|---|---|---|---|\n")
	for i, c := range t.cases {
		var cpu, peaks []string
		for _, name := range t.processes(i) {
			user := t.spread(i, func(s sample) float64 { return s.of(name, func(u usage) float64 { return u.User.Seconds() }) })
			system := t.spread(i, func(s sample) float64 { return s.of(name, func(u usage) float64 { return u.System.Seconds() }) })
			peak := t.spread(i, func(s sample) float64 { return s.of(name, func(u usage) float64 { return float64(u.PeakRSS >> 20) }) })
			cpu = append(cpu, fmt.Sprintf("%s %.1f + %.1f", name, t.perGB(user.median), t.perGB(system.median)))
			peaks = append(peaks, fmt.Sprintf("%s %.0f", name, peak.max))
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %.2f |\n", c.Title,
			t.spread(i, t.throughput).format("%.0f"), t.ratios(i, caseCurl).format("%.2f"),
			t.spread(i, func(s sample) float64 { return t.perGB(s.cpu().Seconds()) }).format("%.1f"),
			strings.Join(cpu, ", "), strings.Join(peaks, ", "),
			t.perGB(t.spread(i, func(s sample) float64 { return s.Vendor.Seconds() }).median))
	}
	var pairs []string
	for i, c := range t.cases {
		if c.Repeats >= 0 {
			pairs = append(pairs, fmt.Sprintf("%s of its first run %s", strings.TrimSuffix(c.Title, againSuffix), t.ratios(i, c.Repeats).format("%.2f")))
		}
	}
	if len(pairs) > 0 {
		fmt.Fprintf(w, "\nNoise, A/A: %s.\n", strings.Join(pairs, "; "))
	}
}

// report is the whole output.
type report struct {
	notes  string
	tables []table
	fixed  fixedCosts
}

// write writes the report to a file, or to stdout if name is empty.
func (r report) write(name string) error {
	var w bytes.Buffer
	if r.notes != "" {
		w.WriteString(strings.TrimRight(r.notes, "\n") + "\n\n")
	}
	for i, t := range r.tables {
		if i > 0 {
			w.WriteByte('\n')
		}
		t.write(&w)
	}
	if len(r.fixed.whole) > 0 {
		w.WriteByte('\n')
		r.fixed.write(&w)
	}
	if name == "" {
		_, err := os.Stdout.Write(w.Bytes())
		return err
	}
	return os.WriteFile(name, w.Bytes(), 0o666)
}
