package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Bytes that one record takes in each form in which the vendor sends it, about: they make the cases alike in size.
const (
	lineBytes  = 213
	eventBytes = 560
	elsaBytes  = 410
)

// peakCase is a pipeline whose memory is measured over several sizes.
type peakCase struct {
	title string
	job   func(b *bench) job
	count func(v *vendor) int64 // of records, which the summary must say; nil: not known beforehand
}

// peakCases are all cases of the goals, with the default slices: those overlap, which takes more memory than one after the other.
func peakCases() []peakCase {
	lines := func(source, flow, sink string) func(*bench) job {
		return func(b *bench) job { return job{source: b.vendor.source(source), flow: flow, sink: sink} }
	}
	const (
		elsa   = `type: elsa, config: {base_url: "%s", access_key: %s, secret_key: "${env:BENCH_SECRET_KEY}", project_key: %s, project_id: %d}`
		events = `type: logentries, config: {base_url: "%s", api_key: "${env:BENCH_API_KEY}", logs: ["%s"], budget: {requests: 1000000000}}`
	)
	return []peakCase{
		{"raw", lines(sourceDownload, "", sinkRaw), nil},
		{"NDJSON", lines(sourceDownload, "", sinkNDJSON), nil},
		{"Parquet zstd", lines(sourceDownload, "", sinkParquet), nil},
		{"Parquet zstd, a slice a day", lines(sourceDownload, wholeDay, sinkParquet), nil},
		{"raw, from a gzip'd answer", lines(sourceDownloadMade, "", sinkRaw), nil},
		{"Kafka, transactions", func(b *bench) job {
			b.broker.runs++
			sink := fmt.Sprintf(`type: kafka, config: {brokers: ["%s"], topic: %s, create_topics: {partitions: %d, replication: 1}, value: raw, key: none, headers: [], compression: none}`,
				b.broker.address, b.broker.topic(), kafkaPartitions)
			return job{source: b.vendor.source(sourceDownload), sink: sink}
		}, nil},
		{"ELSA's zip to NDJSON", func(b *bench) job {
			v := b.vendor
			return job{source: fmt.Sprintf(elsa, v.BaseURL, v.AccessKey, v.ProjectKey, v.ProjectID), flow: "slice: 30m", sink: sinkNDJSON}
		}, func(v *vendor) int64 { return v.ProjectCount }},
		{"Logentries' pages to NDJSON", func(b *bench) job {
			return job{source: fmt.Sprintf(events, b.vendor.BaseURL, b.vendor.Events), flow: "slice: 6h", sink: sinkNDJSON}
		}, func(v *vendor) int64 { return v.EventCount }},
	}
}

// measurePeaks runs each case once for each size and writes a table. What is committed is removed as soon as it is there, as a reader that
// takes files away does, so that little room is needed.
func (o options) measurePeaks(ctx context.Context) error {
	cases := peakCases()
	results := make([][]run, len(cases))
	for _, size := range o.sizes {
		if err := o.peaksOf(ctx, size, cases, results); err != nil {
			return err
		}
	}
	var w bytes.Buffer
	w.WriteString(strings.TrimRight(o.notes, "\n") + "\n\n")
	writePeaks(&w, o.sizes, cases, results)
	if o.out == "" {
		_, err := os.Stdout.Write(w.Bytes())
		return err
	}
	return os.WriteFile(o.out, w.Bytes(), 0o666)
}

func (o options) peaksOf(ctx context.Context, size int64, cases []peakCase, results [][]run) (err error) {
	v, err := startVendor(goods{size: size, events: size / eventBytes * lineBytes, records: max(size/elsaBytes, heldRecords+1)}, time.Now())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	folder, err := os.MkdirTemp(o.memory, "sluice-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	disk := o.disk
	if disk == "" {
		disk = os.TempDir()
	}
	k, missing, err := startBroker(ctx, o.parts, disk)
	if err != nil {
		return err
	}
	if k == nil {
		return errors.New(missing)
	}
	defer func() { err = errors.Join(err, k.stop()) }()
	b := &bench{sluice: o.sluice, folder: folder, vendor: v, broker: k}
	for i, c := range cases {
		if o.only != "" && !strings.Contains(c.title, o.only) {
			continue
		}
		begin := time.Now()
		r, records, err := b.peak(ctx, c)
		if err != nil {
			return fmt.Errorf("%s, %d bytes: %w", c.title, size, err)
		}
		results[i] = append(results[i], r)
		fmt.Fprintf(os.Stderr, "%4.0f GB  %-32s %12d records  %4.0f s  %3.0f + %3.0f MiB\n", float64(size)/1e9, c.title, records,
			time.Since(begin).Seconds(), r.mib("host"), r.mib("plugin"))
	}
	return nil
}

// peak runs a case once.
func (b *bench) peak(ctx context.Context, c peakCase) (r run, records int64, err error) {
	folder := filepath.Join(b.folder, "case")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return r, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	done := make(chan struct{})
	reaped := make(chan error, 1)
	go func() { reaped <- reap(filepath.Join(folder, "out"), done) }()
	j := c.job(b)
	j.summary = filepath.Join(folder, "summary.json")
	r, err = runSluice(ctx, b, folder, j)
	close(done)
	if err = errors.Join(err, <-reaped); err != nil {
		return r, 0, err
	}
	text, err := os.ReadFile(j.summary)
	if err != nil {
		return r, 0, err
	}
	var s struct {
		Records int64 `json:"rows"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return r, 0, err
	}
	switch {
	case s.Records == 0:
		return r, 0, errors.New("no record came")
	case c.count != nil && s.Records != c.count(b.vendor):
		return r, 0, fmt.Errorf("%d records came, %d were served", s.Records, c.count(b.vendor))
	}
	return r, s.Records, nil
}

// reap removes the parts below a folder, which have their last name once they are committed, until done is closed.
func reap(folder string, done <-chan struct{}) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist): // not yet, or not any more
				return nil
			case err != nil || d.IsDir():
				return err
			}
			switch filepath.Ext(path) {
			case rawExtension, ndjsonExtension, parquetExtension:
				return os.Remove(path)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
	}
}

// mib returns the peak of a process in MiB.
func (r run) mib(name string) float64 {
	return sample{run: r}.of(name, func(u usage) float64 { return float64(u.PeakRSS) / (1 << 20) })
}

func writePeaks(w *bytes.Buffer, sizes []int64, cases []peakCase, results [][]run) {
	w.WriteString("Peak resident memory in MiB: host + plugin = both, as if both peaked at once and shared nothing. The goal is at most 256 for every size.\n\n| `sluice run` |")
	for _, size := range sizes {
		fmt.Fprintf(w, " %.0f GB |", float64(size)/1e9)
	}
	w.WriteString(" goal |\n|---|" + strings.Repeat("---|", len(sizes)) + "---|\n")
	for i, c := range cases {
		if len(results[i]) == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s |", c.title)
		words := "met"
		for _, r := range results[i] {
			both := sample{run: r}.peakMiB()
			fmt.Fprintf(w, " %.0f + %.0f = %.0f |", r.mib("host"), r.mib("plugin"), both)
			if both > maxPeakMiB {
				words = "not met"
			}
		}
		fmt.Fprintf(w, " %s |\n", words)
	}
}
