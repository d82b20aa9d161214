package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// job is a pipeline for `sluice run`, in the words of its config.
type job struct {
	source, flow, sink string
	summary            string // file for the run's summary; empty: none
}

const configText = `state: ./state
pipelines:
  - name: bench
    source: {%s}
    range: {from: %s, to: %s}
    flow: {%s}
    sinks:
      - {name: out, %s}
`

// source fills in a source's part of a config.
func (v *vendor) source(format string) string {
	return fmt.Sprintf(format, v.BaseURL, v.ReplayURL, v.Log)
}

// writeConfig writes the job's config into a folder and returns its path.
func (j job) writeConfig(v *vendor, folder string) (string, error) {
	file := filepath.Join(folder, "sluice.yaml")
	text := fmt.Sprintf(configText, j.source, v.start.Format(time.DateOnly), v.end.Format(time.DateOnly), j.flow, j.sink)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

func runSluice(ctx context.Context, b *bench, folder string, j job) (r run, err error) {
	file, err := j.writeConfig(b.vendor, folder)
	if err != nil {
		return r, err
	}
	var output bytes.Buffer
	args := []string{"-f", file, "run"}
	if j.summary != "" {
		args = append(args, "--summary", j.summary)
	}
	args = append(append(slices.Clone(b.wrap), b.sluice), args...)
	cmd := command(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "BENCH_API_KEY="+b.vendor.APIKey, "BENCH_SECRET_KEY="+b.vendor.SecretKey)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := r.execute(cmd, "host"); err != nil {
		return r, fmt.Errorf("sluice run: %w\n%s", err, &output)
	}
	return r, nil
}
