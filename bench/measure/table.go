package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// table is what one interleaved run measured: samples[i][n] is case i in the n-th round.
type table struct {
	title        string
	cases        []benchCase
	samples      [][]sample
	bytes, lines int64    // of the log
	missing      []string // peers that were left out, and why
}

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

// find returns the index of a case, -1 if it didn't run.
func (t table) find(key string) int {
	return slices.IndexFunc(t.cases, func(c benchCase) bool { return c.Key == key })
}

func (t table) spread(i int, of func(sample) float64) spread {
	values := make([]float64, len(t.samples[i]))
	for n, s := range t.samples[i] {
		values[n] = of(s)
	}
	return newSpread(values)
}

// throughput returns MB/s.
func (s sample) throughput() float64 { return float64(s.Bytes) / 1e6 / s.Wall.Seconds() }

// own returns MB/s as the tool says that it had, or those of the whole.
func (s sample) own() float64 {
	if s.Own == 0 {
		return s.throughput()
	}
	return float64(s.Bytes) / 1e6 / s.Own.Seconds()
}

// perGB returns CPU seconds per GB.
func (s sample) perGB(seconds float64) float64 { return seconds / (float64(s.Bytes) / 1e9) }

// cpuPerGB returns the CPU seconds per GB of all the case's processes.
func (s sample) cpuPerGB() float64 { return s.perGB(s.cpu().Seconds()) }

// ratios returns a figure of case i as a share of case of's in the same round.
func (t table) ratios(i, of int, figure func(sample) float64) spread {
	values := make([]float64, len(t.samples[i]))
	for n, s := range t.samples[i] {
		values[n] = figure(s) / figure(t.samples[of][n])
	}
	return newSpread(values)
}

// peak returns the sum of the peaks of all processes.
func (s sample) peak() (sum int64) {
	for _, p := range s.Processes {
		sum += p.PeakRSS
	}
	return sum
}

func (s sample) peakMiB() float64 { return float64(s.peak()) / (1 << 20) }

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
	fmt.Fprintf(w, "## %s\n\n", t.title)
	fmt.Fprintf(w, "%d lines of %.0f bytes on average, %.2f GB in all; %d interleaved rounds: median (least-most). \"of the first\" is the throughput "+
		"as a share of the first row's in the same round.\n", t.lines, float64(t.bytes)/float64(t.lines), float64(t.bytes)/1e9, len(t.samples[0]))
	for _, g := range []group{groupLines, groupGzip, groupKafka, groupJSON} {
		if slices.ContainsFunc(t.cases, func(c benchCase) bool { return c.Group == g }) {
			t.writeGroup(w, g)
		}
	}
	t.writePairs(w)
	if len(t.missing) > 0 {
		fmt.Fprintf(w, "\nLeft out, because this machine hasn't got them or they failed: %s.\n", strings.Join(t.missing, "; "))
	}
}

func (t table) writeGroup(w *bytes.Buffer, g group) {
	fmt.Fprintf(w, "\n### %s\n\n", g)
	w.WriteString("| work | MB/s | of the first | CPU-s/GB | of it, by process: user + system | peak RSS, MiB | simulator, CPU-s/GB |\n|---|---|---|---|---|---|---|\n")
	for i, c := range t.cases {
		if c.Group != g {
			continue
		}
		var cpu, peaks []string
		for _, name := range t.processes(i) {
			user := t.spread(i, func(s sample) float64 { return s.perGB(s.of(name, func(u usage) float64 { return u.User.Seconds() })) })
			system := t.spread(i, func(s sample) float64 {
				return s.perGB(s.of(name, func(u usage) float64 { return u.System.Seconds() }))
			})
			peak := t.spread(i, func(s sample) float64 { return s.of(name, func(u usage) float64 { return float64(u.PeakRSS >> 20) }) })
			cpu = append(cpu, fmt.Sprintf("%s %.1f + %.1f", name, user.median, system.median))
			peaks = append(peaks, fmt.Sprintf("%s %.0f", name, peak.max))
		}
		others := fmt.Sprintf("%.2f", t.spread(i, func(s sample) float64 { return s.perGB(s.Vendor.Seconds()) }).median)
		if g == groupKafka {
			others += fmt.Sprintf(", broker %.1f", t.spread(i, func(s sample) float64 { return s.perGB(s.Broker.Seconds()) }).median)
		}
		share, base := "–", t.find(c.Base)
		if base >= 0 {
			share = t.ratios(i, base, sample.throughput).format("%.2f")
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", c.Title, t.spread(i, sample.throughput).format("%.0f"), share,
			t.spread(i, sample.cpuPerGB).format("%.1f"), strings.Join(cpu, ", "), strings.Join(peaks, ", "), others)
		if t.samples[i][0].Own > 0 {
			fmt.Fprintf(w, "| the same by its own account, without its start | %s | | | | | |\n", t.spread(i, sample.own).format("%.0f"))
		}
	}
}

// writePairs says how far the runs of one thing lie apart.
func (t table) writePairs(w *bytes.Buffer) {
	var pairs []string
	for i, c := range t.cases {
		if first := t.find(c.Repeats); first >= 0 {
			pairs = append(pairs, fmt.Sprintf("%s %s in throughput, %s in CPU", strings.TrimSuffix(c.Title, againTitle),
				t.ratios(i, first, sample.throughput).format("%.2f"), t.ratios(i, first, sample.cpuPerGB).format("%.2f")))
		}
	}
	if len(pairs) > 0 {
		fmt.Fprintf(w, "\nNoise, A/A, the second run as a share of the first in the same round: %s.\n", strings.Join(pairs, "; "))
	}
}
