package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// benchCase is one way to bring the log to files.
type benchCase struct {
	Title   string
	Repeats int // index of the case that this one repeats, for the A/A pair; -1 if it repeats none
	run     func(ctx context.Context, b *bench, folder string) (run, error)
	check   func(b *bench, folder string) error
}

// cases returns the cases on a memory file system, or on disk, where what counts is that data is durable.
func cases(disk bool) []benchCase {
	curl := benchCase{Title: "`curl > file`", Repeats: -1, run: runCurl, check: checkCurl}
	if disk {
		curl.Title, curl.run = "`curl > file && sync file`", runCurlSync
	}
	raw := sluiceCase("`sluice run`, raw", "raw", "slice: 24h", checkRaw)
	ndjson := sluiceCase("`sluice run`, ndjson", "ndjson", "slice: 24h", checkNDJSON)
	return []benchCase{
		curl, raw, ndjson,
		sluiceCase("`sluice run`, raw, default slices", "raw", "", checkRaw),
		again(curl, caseCurl), again(raw, caseRaw), again(ndjson, caseNDJSON),
	}
}

// againSuffix marks the second of an A/A pair.
const againSuffix = ", again"

func again(c benchCase, index int) benchCase {
	c.Title += againSuffix
	c.Repeats = index
	return c
}

func sluiceCase(title, format, slice string, check func(*bench, string) error) benchCase {
	return benchCase{
		Title: title, Repeats: -1, check: check,
		run: func(ctx context.Context, b *bench, folder string) (run, error) {
			return runSluice(ctx, b, folder, format, slice)
		},
	}
}

// command returns a command that ends when ctx does: politely first.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

const curlOutput = "curl.log"

// runCurl is what a shell's `curl > file` does.
func runCurl(ctx context.Context, b *bench, folder string) (r run, err error) {
	out, err := os.Create(filepath.Join(folder, curlOutput))
	if err != nil {
		return r, err
	}
	defer out.Close()
	var stderr bytes.Buffer
	cmd := command(ctx, "curl", append([]string{"--silent", "--show-error", "--fail", "--header", "x-api-key: " + b.vendor.key}, b.vendor.urls()...)...)
	cmd.Stdout, cmd.Stderr = out, &stderr
	if err := r.execute(cmd, "curl"); err != nil {
		return r, fmt.Errorf("curl: %w\n%s", err, &stderr)
	}
	return r, nil
}

func runCurlSync(ctx context.Context, b *bench, folder string) (run, error) {
	r, err := runCurl(ctx, b, folder)
	if err != nil {
		return r, err
	}
	if err := r.execute(command(ctx, "sync", filepath.Join(folder, curlOutput)), "sync"); err != nil {
		return r, fmt.Errorf("sync: %w", err)
	}
	return r, nil
}

const configText = `state: ./state
pipelines:
  - name: bench
    source:
      type: rapid7-download
      config: {base_url: "%s", api_key: "${env:BENCH_API_KEY}", logs: ["%s"]}
    range: {from: %s, to: %s}
    flow: {%s}
    sinks:
      - {name: files, type: file, config: {path: ./out, format: %s}}
`

func runSluice(ctx context.Context, b *bench, folder, format, flow string) (r run, err error) {
	file := filepath.Join(folder, "sluice.yaml")
	v := b.vendor
	text := fmt.Sprintf(configText, v.base, v.log, v.start.Format(time.DateOnly), v.end.Format(time.DateOnly), flow, format)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return r, err
	}
	var output bytes.Buffer
	args := append(slices.Clone(b.under), b.sluice, "-f", file, "run")
	cmd := command(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "BENCH_API_KEY="+v.key)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := r.execute(cmd, "host"); err != nil {
		return r, fmt.Errorf("sluice run: %w\n%s", err, &output)
	}
	return r, nil
}
