package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Marks between which a file of profiles holds what is made; the rest is written by hand.
const (
	tablesBegin = "<!-- tables: begin -->\n"
	tablesEnd   = "<!-- tables: end -->\n"
)

// profiled is a case with its profile.
type profiled struct {
	benchCase
	profile
	cpu float64 // CPU-s per GB, with perf watching
}

// measureProfiles runs each of Sluice's cases once under perf and writes tables of where the CPU goes.
func (o options) measureProfiles(ctx context.Context) (err error) {
	perf, err := exec.LookPath("perf")
	if err != nil {
		return errors.New("no perf on the PATH: apt-get install linux-perf; without it, go test -bench NAME -cpuprofile FILE ./PACKAGE shows a part")
	}
	symbols, base, err := functions(o.sluice)
	if err != nil {
		return err
	}
	v, err := startVendor(goods{size: o.size, events: o.events, records: o.records}, time.Now())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	folder, err := os.MkdirTemp(o.memory, "sluice-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b := &bench{sluice: o.sluice, folder: folder, vendor: v}
	if err := b.fetchReference(ctx); err != nil {
		return err
	}
	k, missing, err := startBroker(ctx, o.parts, o.memory)
	if err != nil {
		return err
	}
	if b.broker = k; k == nil {
		return errors.New(missing)
	}
	defer func() { err = errors.Join(err, k.stop()) }()
	if err := k.prepare(ctx, b); err != nil {
		return err
	}
	data := filepath.Join(folder, "perf.data")
	var all []profiled
	for _, c := range o.cases(b, false) {
		if !c.Peak || c.Repeats != "" || o.only != "" && !strings.Contains(c.Title, o.only) {
			continue
		}
		if c.Warm || c.Group == groupGzip { // the simulator makes its answer
			if _, err := b.once(ctx, c, false); err != nil {
				return fmt.Errorf("%s: %w", c.Title, err)
			}
		}
		b.wrap = []string{perf, "record", "--quiet", "--call-graph", "fp", "--freq", "499", "--output", data, "--"}
		s, err := b.once(ctx, c, false)
		b.wrap = nil
		if err != nil {
			return fmt.Errorf("%s: %w", c.Title, err)
		}
		p, err := scriptProfile(ctx, perf, data, func(text *bytes.Buffer) (profile, error) { return readProfile(text, symbols, base) })
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%-56s %d samples\n", c.Title, p.total)
		all = append(all, profiled{c, p, s.cpuPerGB()})
	}
	return o.writeProfiles(all)
}

func scriptProfile(ctx context.Context, perf, data string, read func(*bytes.Buffer) (profile, error)) (profile, error) {
	var text, stderr bytes.Buffer
	cmd := command(ctx, perf, "script", "--input", data, "--fields", "comm,pid,ip,sym", "--no-inline")
	cmd.Stdout, cmd.Stderr = &text, &stderr
	if err := cmd.Run(); err != nil {
		return profile{}, fmt.Errorf("perf script: %w\n%s", err, &stderr)
	}
	return read(&text)
}

// writeProfiles puts the tables between their marks in the file, which must be there, or on stdout.
func (o options) writeProfiles(all []profiled) error {
	var w bytes.Buffer
	w.WriteString(strings.TrimRight(o.notes, "\n") + "\n\n")
	profileTables(&w, all)
	if o.out == "" {
		_, err := os.Stdout.Write(w.Bytes())
		return err
	}
	text, err := os.ReadFile(o.out)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), tablesBegin)
	_, after, ended := strings.Cut(rest, tablesEnd)
	if !ok || !ended {
		return fmt.Errorf("%s has no %s and %s", o.out, strings.TrimSpace(tablesBegin), strings.TrimSpace(tablesEnd))
	}
	return os.WriteFile(o.out, []byte(before+tablesBegin+"\n"+w.String()+"\n"+tablesEnd+after), 0o666)
}

// leavesShown is how many functions of each process are named.
const leavesShown = 8

func profileTables(w *bytes.Buffer, all []profiled) {
	w.WriteString("Parts in a hundred of the CPU of host and plugin. A stack counts for the work that the function nearest to its leaf is known to do.\n\n| |")
	for _, p := range all {
		fmt.Fprintf(w, " %s |", strings.TrimPrefix(p.Title, "`sluice run`, "))
	}
	w.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	row := func(name string, cell func(profiled) string) {
		fmt.Fprintf(w, "| %s |", name)
		for _, p := range all {
			fmt.Fprintf(w, " %s |", cell(p))
		}
		w.WriteByte('\n')
	}
	for _, s := range slices.Concat(shares, lastShares, []share{{name: elsewhere}}) {
		row(s.name, func(p profiled) string {
			return fmt.Sprintf("%.0f", 100*float64(p.shares[s.name])/float64(max(1, p.total)))
		})
	}
	row("CPU-s/GB, watched by perf", func(p profiled) string { return fmt.Sprintf("%.1f", p.cpu) })
	row("samples", func(p profiled) string { return fmt.Sprint(p.total) })
	w.WriteString("\nThe functions in which the samples lie, kernel and all, in parts of a hundred of both processes:\n\n| | host | plugin |\n|---|---|---|\n")
	for _, p := range all {
		fmt.Fprintf(w, "| %s | %s | %s |\n", strings.TrimPrefix(p.Title, "`sluice run`, "), p.top("host"), p.top("plugin"))
	}
}

// top names the functions of a process with most samples.
func (p profile) top(process string) string {
	leaves := p.leaves[process]
	names := slices.SortedFunc(maps.Keys(leaves), func(a, b string) int {
		return cmp.Or(cmp.Compare(leaves[b], leaves[a]), cmp.Compare(a, b))
	})
	var out []string
	for _, name := range names[:min(leavesShown, len(names))] {
		short := strings.TrimSuffix(name[strings.LastIndexByte(name, '/')+1:], ".abi0")
		out = append(out, fmt.Sprintf("%s %.1f", short, 100*float64(leaves[name])/float64(p.total)))
	}
	return strings.Join(out, ", ")
}
