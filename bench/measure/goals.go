package main

import (
	"bytes"
	"fmt"
)

// goal is one sentence about a table. It is told in words and fails nothing: what fails is a cliff, see judge.
type goal struct {
	Case string // key
	What string
	// reached returns the figure, with its verb, and whether it is good enough. ok is false if a case that it needs didn't run.
	reached func(t table) (figure spread, verb string, good func(float64) bool, ok bool)
}

const maxPeakMiB = 256

// ratioGoal wants a figure of one case to be at least (or, with most, at most) so much of another's in the same round.
func ratioGoal(key, of, what string, limit float64, figure func(sample) float64, most bool) goal {
	return goal{Case: key, What: what, reached: func(t table) (spread, string, func(float64) bool, bool) {
		i, base := t.find(key), t.find(of)
		if i < 0 || base < 0 {
			return spread{}, "", nil, false
		}
		return t.ratios(i, base, figure), "%.2f", bound(limit, most), true
	}}
}

// figureGoal wants a figure of a case to be at least (or at most) so much.
func figureGoal(key, what, verb string, limit float64, figure func(sample) float64, most bool) goal {
	return goal{Case: key, What: what, reached: func(t table) (spread, string, func(float64) bool, bool) {
		i := t.find(key)
		if i < 0 {
			return spread{}, "", nil, false
		}
		return t.spread(i, figure), verb, bound(limit, most), true
	}}
}

func bound(limit float64, most bool) func(float64) bool {
	if most {
		return func(x float64) bool { return x <= limit }
	}
	return func(x float64) bool { return x >= limit }
}

// pluginRate returns MB of JSON that a CPU second of the plugin decodes, with all else that the plugin does.
func pluginRate(s sample) float64 {
	return float64(s.Bytes) / 1e6 / s.of("plugin", func(u usage) float64 { return u.cpu().Seconds() })
}

// goals are those of memory; on disk there are none.
func goals(t table) []goal {
	out := []goal{
		ratioGoal(keyRaw, keyCurl, "at least 0.60 of curl, aim 0.75", 0.6, sample.throughput, false),
		figureGoal(keyRaw, "at most 2.8 CPU-s/GB", "%.1f", 2.8, sample.cpuPerGB, true),
		ratioGoal(keyNDJSON, keyCurl, "at least 0.45 of curl", 0.45, sample.throughput, false),
		figureGoal(keyNDJSON, "at most 4.5 CPU-s/GB", "%.1f", 4.5, sample.cpuPerGB, true),
		ratioGoal(keyParquet, keyPyarrow, "at least 1.10 of pyarrow", 1.1, sample.throughput, false),
		figureGoal(keyParquet, "at most 8.0 CPU-s/GB", "%.1f", 8, sample.cpuPerGB, true),
		ratioGoal(keyParquet, keyPyarrow, "under half of pyarrow's memory", 0.5, sample.peakMiB, true),
		ratioGoal(keyKafka, keyKafkaTool, "ahead of the broker's own tool, by the tool's own account", 1, sample.own, false),
		ratioGoal(keyKafka, keyKafkaTool, "no more CPU than the tool", 1, sample.cpuPerGB, true),
		ratioGoal(keyKafka, keyConnectKafka, "six times Redpanda Connect", 6, sample.throughput, false),
		ratioGoal(keyRawGzip, keyCurlGzip, "at least 0.90 of curl --compressed", 0.9, sample.throughput, false),
		figureGoal(keyELSA, "at least 100 MB of JSON per CPU-s of the plugin", "%.0f", 100, pluginRate, false),
		figureGoal(keyLogentries, "at least 100 MB of JSON per CPU-s of the plugin", "%.0f", 100, pluginRate, false),
	}
	for _, c := range t.cases {
		if c.Peak && c.Repeats == "" {
			out = append(out, figureGoal(c.Key, "host and plugin: at most 256 MiB", "%.0f", maxPeakMiB, sample.peakMiB, true))
		}
	}
	return out
}

// verdict is met or not met by the median, and says if some round was on the other side.
func verdict(s spread, good func(float64) bool) string {
	words := "not met"
	if good(s.median) {
		words = "met"
	}
	if good(s.min) != good(s.median) || good(s.max) != good(s.median) {
		words += " by the median, not in every round"
		if !good(s.median) {
			words = "not met by the median, met in some round"
		}
	}
	return words
}

// writeGoals writes each goal beside what was reached.
func (t table) writeGoals(w *bytes.Buffer) {
	w.WriteString("## Goals\n\nRatios are of the same round; median (least-most). What was reached is that of this run on this machine.\n\n" +
		"| work | goal | reached | |\n|---|---|---|---|\n")
	for _, g := range goals(t) {
		s, verb, good, ok := g.reached(t)
		if !ok {
			fmt.Fprintf(w, "| %s | %s | – | not measured |\n", g.Case, g.What)
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", t.cases[t.find(g.Case)].Title, g.What, s.format(verb), verdict(s, good))
	}
	w.WriteByte('\n')
}
