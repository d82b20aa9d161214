// Command measure runs `sluice run` and its peers interleaved over one simulated vendor and prints Markdown tables: throughput, CPU and
// memory of each process, how far two runs of the same thing differ, and what the goals are. bench/run.sh builds what it needs and calls it.
//
// It needs Linux's /proc, curl and sync; peers that aren't there are named in the output. GB are 10^9 bytes of lines as they were downloaded,
// whatever a format makes of them, or of JSON where the vendor sends that.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func start(args []string) error {
	if len(args) > 0 && args[0] == vendorCommand {
		return serveVendor(args[1:])
	}
	var o options
	flag.StringVar(&o.sluice, "sluice", "bin/sluice", "the binary to measure")
	flag.StringVar(&o.parts, "parts", ".tools/parts", "where .ci/parts.sh puts readers and servers")
	flag.Int64Var(&o.size, "size", 1<<30, "bytes of lines")
	flag.Int64Var(&o.events, "events", 256<<20, "bytes of lines for Kafka and for Logentries")
	flag.Int64Var(&o.records, "records", 500_000, "records of ELSA")
	flag.IntVar(&o.repeat, "rounds", 5, "interleaved rounds")
	flag.StringVar(&o.memory, "memory", "/dev/shm", "folder on a memory file system")
	flag.StringVar(&o.disk, "disk", "", "folder on a disk; empty: leave the second table out")
	flag.StringVar(&o.out, "out", "", "file for the tables; empty: stdout")
	flag.StringVar(&o.notes, "notes", "", "lines of Markdown to stand before the tables")
	flag.StringVar(&o.micro, "micro", "", "file with the output of go test -bench, to be told as a table")
	flag.BoolVar(&o.brief, "brief", false, "curl, raw, ndjson and parquet once a round, and fail on a cliff")
	flag.Func("peaks", "measure memory alone, each case once for each of these sizes in bytes, with commas between them; what is committed is removed", func(text string) error {
		for word := range strings.SplitSeq(text, ",") {
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is no size", word)
			}
			o.sizes = append(o.sizes, n)
		}
		return nil
	})
	flag.BoolVar(&o.profiles, "profiles", false, "run each of Sluice's cases once under perf and tell where the CPU goes")
	flag.StringVar(&o.only, "only", "", "with -peaks or -profiles: cases whose title has this text alone")
	if err := flag.CommandLine.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return o.measure(ctx)
}

// diskRounds is the most rounds on a disk, whose table says less: a disk is noisier than all else.
const diskRounds = 3

type options struct {
	sluice, parts         string
	size, events, records int64
	repeat                int
	memory, disk          string
	out, notes, micro     string
	brief, profiles       bool
	sizes                 []int64
	only                  string
}

func (o options) measure(ctx context.Context) (err error) {
	if o.size < 1 || o.repeat < 1 {
		return errors.New("-size and -rounds must be positive")
	}
	if o.parts, err = filepath.Abs(o.parts); err != nil {
		return err
	}
	if len(o.sizes) > 0 {
		return o.measurePeaks(ctx)
	}
	if o.profiles {
		return o.measureProfiles(ctx)
	}
	if o.brief {
		o.events, o.records = 0, 0
	}
	v, err := startVendor(goods{size: o.size, events: o.events, records: o.records}, time.Now())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	r := report{notes: o.notes}
	if o.micro != "" {
		if r.micro, err = microTable(o.micro); err != nil {
			return err
		}
	}
	var p peers
	if !o.brief {
		p = findPeers(o.python())
	}
	for _, where := range []struct {
		title, folder string
		disk          bool
	}{{"Memory file system", o.memory, false}, {"On disk, durable", o.disk, true}} {
		if where.folder == "" {
			continue
		}
		if where.disk {
			o.repeat = min(o.repeat, diskRounds)
		}
		t, err := o.table(ctx, v, p, where.folder, where.disk)
		if err != nil {
			return err
		}
		t.title = where.title
		r.tables = append(r.tables, t)
	}
	if !o.brief && o.memory != "" {
		if r.fixed, err = measureFixed(ctx, o.sluice, o.memory); err != nil {
			return fmt.Errorf("fixed costs: %w", err)
		}
	}
	if err := r.write(o.out); err != nil {
		return err
	}
	if o.brief {
		return judge(r.tables[0], cliffs)
	}
	return nil
}
