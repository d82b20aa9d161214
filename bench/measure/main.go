// Command measure runs `curl > file` and `sluice run` interleaved over one simulated log and prints a Markdown table:
// throughput, CPU and memory of each process, and how far two runs of the same thing differ. bench/run.sh builds what it
// needs and calls it.
//
// It needs Linux's /proc, curl and sync. GB are 10^9 bytes of lines as they were downloaded, whatever a format makes of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// bench is one interleaved run of all cases in one folder.
type bench struct {
	sluice string
	folder string
	vendor *vendor
	under  []string // a program that sluice is run below, with its arguments; nil: none

	reference    string // what curl got first
	bytes, lines int64  // of it
}

// sample is one case in one round.
type sample struct {
	run
	Vendor time.Duration // CPU of the simulator meanwhile
}

func main() {
	var o options
	flag.StringVar(&o.sluice, "sluice", "bin/sluice", "the binary to measure")
	flag.Int64Var(&o.size, "size", 1<<30, "bytes of lines")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	flag.StringVar(&o.memory, "memory", "/dev/shm", "folder on a memory file system")
	flag.StringVar(&o.disk, "disk", "", "folder on a disk; empty: leave the second table out")
	flag.StringVar(&o.out, "out", "", "file for the tables; empty: stdout")
	flag.StringVar(&o.notes, "notes", "", "lines of Markdown to stand before the tables")
	flag.Float64Var(&o.floor, "floor", 0, "fail if sluice raw never reaches this share of curl's throughput")
	flag.BoolVar(&o.brief, "brief", false, "curl, raw and ndjson once a round: no A/A pairs")
	flag.Int64Var(&o.peak, "peak", 256<<20, "fail if host and plugin together take more bytes of memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.measure(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	sluice       string
	size         int64
	rounds       int
	memory, disk string
	out, notes   string
	floor        float64
	brief        bool
	peak         int64
}

func (o options) measure(ctx context.Context) (err error) {
	if o.size < 1 || o.rounds < 1 {
		return errors.New("-size and -rounds must be positive")
	}
	v, err := startVendor(o.sluice, o.size, time.Now())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	var r report
	r.notes = o.notes
	for _, where := range []struct {
		title, folder string
		disk          bool
	}{{"Memory file system", o.memory, false}, {"On disk, durable", o.disk, true}} {
		if where.folder == "" {
			continue
		}
		t, err := o.table(ctx, v, where.folder, where.disk)
		if err != nil {
			return err
		}
		t.title = where.title
		r.tables = append(r.tables, t)
	}
	if !o.brief {
		if r.fixed, err = measureFixed(ctx, o.sluice, o.memory); err != nil {
			return fmt.Errorf("fixed costs: %w", err)
		}
	}
	if err := r.write(o.out); err != nil {
		return err
	}
	return o.judge(r.tables[0])
}

// table measures all cases in a folder of its own below parent, which it removes.
func (o options) table(ctx context.Context, v *vendor, parent string, disk bool) (t table, err error) {
	folder, err := os.MkdirTemp(parent, "sluice-bench-")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b := &bench{sluice: o.sluice, folder: folder, vendor: v}
	if err := b.fetchReference(ctx); err != nil {
		return t, err
	}
	t = table{cases: cases(disk), bytes: b.bytes, lines: b.lines}
	if o.brief {
		t.cases = t.cases[:briefCases]
	}
	t.samples = make([][]sample, len(t.cases))
	for round := range o.rounds {
		for i := range t.cases {
			// Every round begins with another case, so that none profits from its neighbour.
			i = (i + round) % len(t.cases)
			s, err := b.once(ctx, t.cases[i], disk)
			if err != nil {
				return t, fmt.Errorf("%s, round %d: %w", t.cases[i].Title, round+1, err)
			}
			t.samples[i] = append(t.samples[i], s)
			fmt.Fprintf(os.Stderr, "round %d/%d  %-40s %6.0f MB/s\n", round+1, o.rounds, t.cases[i].Title, t.throughput(s))
		}
	}
	return t, nil
}

// fetchReference downloads once, which also warms up the simulator.
func (b *bench) fetchReference(ctx context.Context) error {
	folder := filepath.Join(b.folder, "reference")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if _, err := runCurl(ctx, b, folder); err != nil {
		return err
	}
	b.reference = filepath.Join(folder, curlOutput)
	info, err := os.Stat(b.reference)
	if err != nil {
		return err
	}
	b.bytes = info.Size()
	b.lines, err = countLines(b.reference)
	return err
}

// once runs a case in a fresh folder and checks what it made.
func (b *bench) once(ctx context.Context, c benchCase, disk bool) (s sample, err error) {
	folder := filepath.Join(b.folder, "case")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if disk {
		syscall.Sync() // what others left to be written isn't this case's
	}
	before, err := b.vendor.cpu()
	if err != nil {
		return s, err
	}
	if s.run, err = c.run(ctx, b, folder); err != nil {
		return s, err
	}
	after, err := b.vendor.cpu()
	if err != nil {
		return s, err
	}
	s.Vendor = after - before
	return s, c.check(b, folder)
}

// judge fails on a cliff: a throughput or a memory that no noise explains.
func (o options) judge(t table) error {
	var errs []error
	if best := t.ratios(caseRaw, caseCurl).max; best < o.floor {
		errs = append(errs, fmt.Errorf("sluice raw reached %.2f of curl > file at best, want at least %.2f", best, o.floor))
	}
	for i, c := range t.cases {
		if peak := int64(t.spread(i, func(s sample) float64 { return float64(s.peak()) }).max); peak > o.peak {
			errs = append(errs, fmt.Errorf("%s: %d MiB of memory, want at most %d", c.Title, peak>>20, o.peak>>20))
		}
	}
	return errors.Join(errs...)
}
