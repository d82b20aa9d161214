package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// bench is one interleaved run of all cases in one folder.
type bench struct {
	sluice string
	folder string
	vendor *vendor
	peers  peers
	broker *broker  // nil: no case needs one
	wrap   []string // command that runs Sluice, as a profiler does

	reference    string // what curl got first
	bytes, lines int64  // of it
}

// sample is one case in one round.
type sample struct {
	run
	Vendor time.Duration // CPU of the simulator meanwhile
	Broker time.Duration // CPU of the broker meanwhile
}

// table measures all cases in a folder of its own below parent, which it removes.
func (o options) table(ctx context.Context, v *vendor, p peers, parent string, disk bool) (t table, err error) {
	folder, err := os.MkdirTemp(parent, "sluice-bench-")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b := &bench{sluice: o.sluice, folder: folder, vendor: v, peers: p}
	if err := b.fetchReference(ctx); err != nil {
		return t, err
	}
	if !disk && !o.brief {
		t.missing = p.missing
		k, missing, err := startBroker(ctx, o.parts, parent)
		if err != nil {
			return t, err
		}
		if b.broker = k; k != nil {
			defer func() { err = errors.Join(err, k.stop()) }()
			if err := k.prepare(ctx, b); err != nil {
				return t, err
			}
		} else {
			t.missing = append(t.missing, missing)
		}
	}
	t.cases, t.bytes, t.lines = o.cases(b, disk), b.bytes, b.lines
	t.samples = make([][]sample, len(t.cases))
	return t, o.rounds(ctx, b, &t, disk)
}

// rounds runs every case once a round. Every round begins with another case, so that none profits from its neighbour.
func (o options) rounds(ctx context.Context, b *bench, t *table, disk bool) error {
	for _, c := range t.cases {
		if c.Warm && c.Repeats == "" {
			if _, err := b.once(ctx, c, disk); err != nil {
				return fmt.Errorf("%s: %w", c.Title, err)
			}
		}
	}
	failed := map[int]bool{}
	for round := range o.repeat {
		for i := range t.cases {
			i = (i + round) % len(t.cases)
			if failed[i] {
				continue
			}
			s, err := b.once(ctx, t.cases[i], disk)
			if err != nil && t.cases[i].Optional && ctx.Err() == nil {
				failed[i] = true
				words, _, _ := strings.Cut(err.Error(), "\n")
				t.missing = append(t.missing, fmt.Sprintf("%s, which failed: %s", t.cases[i].Title, words))
				fmt.Fprintf(os.Stderr, "%s: %v\n", t.cases[i].Title, err)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", t.cases[i].Title, round+1, err)
			}
			t.samples[i] = append(t.samples[i], s)
			fmt.Fprintf(os.Stderr, "round %d/%d  %-56s %6.0f MB/s\n", round+1, o.repeat, t.cases[i].Title, s.throughput())
		}
	}
	t.without(failed)
	return nil
}

// without leaves out cases.
func (t *table) without(failed map[int]bool) {
	var cases []benchCase
	var samples [][]sample
	for i := range t.cases {
		if !failed[i] {
			cases, samples = append(cases, t.cases[i]), append(samples, t.samples[i])
		}
	}
	t.cases, t.samples = cases, samples
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

// optionalTime is the most that a peer may take. The slowest known moves 17 MB a second.
const optionalTime = 3 * time.Minute

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
	if c.Optional {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, optionalTime)
		defer cancel()
	}
	before, err := b.others()
	if err != nil {
		return s, err
	}
	if s.run, err = c.run(ctx, b, folder); err != nil {
		return s, err
	}
	after, err := b.others()
	if err != nil {
		return s, err
	}
	s.Vendor, s.Broker = after[0]-before[0], after[1]-before[1]
	if s.Bytes == 0 {
		s.Bytes = b.bytes
	}
	return s, c.check(ctx, b, folder)
}

// others returns the CPU of the processes that the cases talk to: the simulator and the broker.
func (b *bench) others() (cpu [2]time.Duration, err error) {
	if cpu[0], err = b.vendor.cpu(); err != nil || b.broker == nil {
		return cpu, err
	}
	cpu[1], err = b.broker.cpu()
	return cpu, err
}
