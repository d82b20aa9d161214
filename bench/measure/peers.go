package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peers are the other programs that do the same work. An empty path: not there.
type peers struct {
	python       string // with pyarrow and duckdb
	connect      []string
	connectName  string // Redpanda Connect, or what stands in for it
	connectKafka bool   // it has an output for Kafka, which isn't among the engine's own
	fluentBit    string
	missing      []string // what is left out, and why
}

//go:embed peers/*.py
var scripts embed.FS

// findPeers looks for the peers; python is where .ci/parts.sh has put the readers.
func findPeers(python string) peers {
	p := peers{}
	if err := exec.Command(python, "-c", "import duckdb, numpy, pyarrow").Run(); err == nil {
		p.python = python
	} else {
		p.missing = append(p.missing, "pyarrow and DuckDB (.ci/parts.sh python installs them)")
	}
	p.findConnect()
	if path, err := exec.LookPath("fluent-bit"); err == nil {
		p.fluentBit = path
	} else {
		p.missing = append(p.missing, "Fluent Bit (no fluent-bit on the PATH)")
	}
	return p
}

// findConnect looks for Redpanda Connect, else for its engine, which bench/run.sh builds.
func (p *peers) findConnect() {
	for _, known := range []struct {
		name  string
		words []string
	}{
		{"Redpanda Connect", []string{"redpanda-connect"}},
		{"Redpanda Connect", []string{"rpk", "connect"}},
		{"Benthos, Redpanda Connect's engine", []string{"benthos"}},
	} {
		path, err := exec.LookPath(known.words[0])
		if err != nil {
			continue
		}
		words := append([]string{path}, known.words[1:]...)
		outputs, err := exec.Command(words[0], append(words[1:], "list", "outputs")...).Output()
		if err != nil {
			continue
		}
		p.connect, p.connectName, p.connectKafka = words, known.name, bytes.Contains(outputs, []byte(connectKafkaOutput))
		break
	}
	switch {
	case p.connect == nil:
		p.missing = append(p.missing, "Redpanda Connect (no redpanda-connect, rpk or benthos on the PATH)")
	case !p.connectKafka:
		p.missing = append(p.missing, fmt.Sprintf("Redpanda Connect to Kafka (%s has no %s)", filepath.Base(p.connect[0]), connectKafkaOutput))
	}
}

// connectKafkaOutput is Redpanda Connect's output for Kafka, by the same library as Sluice's.
const connectKafkaOutput = "kafka_franz"

// lines returns the cases of the peers that read a download.
func (p peers) lines() []benchCase {
	var out []benchCase
	add := func(key, title, extension string, count func(string) (int64, error), run func(context.Context, *bench, string) (run, error)) {
		out = append(out, benchCase{Key: key, Title: title, Group: groupLines, Optional: true, run: run, check: func(_ context.Context, b *bench, folder string) error {
			n, err := count(filepath.Join(folder, peerOutput+extension))
			if err == nil && n != b.lines {
				err = fmt.Errorf("%d records came, %d were served", n, b.lines)
			}
			return err
		}})
	}
	if p.python != "" {
		add(keyPyarrow, "pyarrow, streaming, Parquet zstd", parquetExtension, countRows, p.runPyarrow)
		add(keyDuckParquet, "`curl > file`, DuckDB COPY, Parquet zstd", parquetExtension, countRows, p.duckdb("parquet"))
		add(keyDuckJSON, "`curl > file`, DuckDB COPY, NDJSON", ndjsonExtension, countLines, p.duckdb("ndjson"))
	}
	if p.connect != nil {
		add(keyConnect, p.connectName+", by lines, raw", rawExtension, countLines, p.runConnect)
	}
	if p.fluentBit != "" {
		add(keyFluentBit, "`curl > file`, Fluent Bit tail, NDJSON", ndjsonExtension, countLines, p.runFluentBit)
	}
	return out
}

// peerOutput is the name, without its extension, of what a peer writes.
const peerOutput = "peer"

// runScript runs one of the scripts beside this file.
func (p peers) runScript(ctx context.Context, b *bench, r *run, folder, name string, args ...string) error {
	text, err := scripts.ReadFile("peers/" + name)
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd := command(ctx, p.python, append([]string{"-c", string(text)}, args...)...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "BENCH_API_KEY="+b.vendor.APIKey)
	cmd.Stderr = &stderr
	if err := r.execute(cmd, "python"); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, &stderr)
	}
	return nil
}

func (p peers) runPyarrow(ctx context.Context, b *bench, folder string) (r run, err error) {
	args := append([]string{peerOutput + parquetExtension, b.vendor.Log}, b.vendor.urls(b.vendor.BaseURL)...)
	return r, p.runScript(ctx, b, &r, folder, "pyarrow_parquet.py", args...)
}

// duckdb downloads with curl and then converts: from a file DuckDB reads with all cores, from a pipe with one.
func (p peers) duckdb(format string) func(context.Context, *bench, string) (run, error) {
	return func(ctx context.Context, b *bench, folder string) (run, error) {
		r, err := runCurl(ctx, b, folder)
		if err != nil {
			return r, err
		}
		return r, p.runScript(ctx, b, &r, folder, "duckdb_copy.py", curlOutput, peerOutput+"."+format, b.vendor.Log)
	}
}

// runConnect streams the response line by line into a file.
func (p peers) runConnect(ctx context.Context, b *bench, folder string) (run, error) {
	return p.connectTo(ctx, b, folder, b.vendor.Log, fmt.Sprintf("file: {path: %s, codec: lines}", peerOutput+rawExtension))
}

// connectTo streams a log line by line to an output. Without auto_replay_nacks, which doubles its throughput.
func (p peers) connectTo(ctx context.Context, b *bench, folder, log, output string) (r run, err error) {
	of := *b.vendor
	of.Log = log
	var inputs strings.Builder
	for _, url := range of.urls(of.BaseURL) {
		fmt.Fprintf(&inputs, `
      - http_client:
          url: '%s'
          verb: GET
          headers: {x-api-key: "${BENCH_API_KEY}", Content-Type: application/json}
          timeout: 1h
          auto_replay_nacks: false
          stream: {enabled: true, reconnect: false, scanner: {lines: {}}}`, url)
	}
	text := fmt.Sprintf(`http: {enabled: false}
logger: {level: ERROR}
input:
  sequence:
    inputs: %s
output:
  %s
`, inputs.String(), output)
	if err := os.WriteFile(filepath.Join(folder, "connect.yaml"), []byte(text), 0o600); err != nil {
		return r, err
	}
	var printed bytes.Buffer
	args := append(append([]string{}, p.connect[1:]...), "run", "connect.yaml")
	cmd := command(ctx, p.connect[0], args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "BENCH_API_KEY="+b.vendor.APIKey)
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := r.execute(cmd, "connect"); err != nil {
		return r, fmt.Errorf("%s: %w\n%s", p.connect[0], err, &printed)
	}
	return r, nil
}

// runFluentBit reads a downloaded file, for it has no input that downloads, and ends with it.
func (p peers) runFluentBit(ctx context.Context, b *bench, folder string) (run, error) {
	r, err := runCurl(ctx, b, folder)
	if err != nil {
		return r, err
	}
	text := fmt.Sprintf(`service: {flush: 0.2, log_level: error}
pipeline:
  inputs: [{name: tail, path: %s, read_from_head: true, exit_on_eof: true, buffer_chunk_size: 1M, buffer_max_size: 16M, mem_buf_limit: 256M}]
  outputs: [{name: file, match: "*", path: ., file: %s, format: plain}]
`, filepath.Join(folder, curlOutput), peerOutput+ndjsonExtension)
	if err := os.WriteFile(filepath.Join(folder, "fluent-bit.yaml"), []byte(text), 0o600); err != nil {
		return r, err
	}
	var output bytes.Buffer
	cmd := command(ctx, p.fluentBit, "-c", "fluent-bit.yaml")
	cmd.Dir = folder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := r.execute(cmd, "fluent-bit"); err != nil {
		return r, fmt.Errorf("fluent-bit: %w\n%s", err, &output)
	}
	return r, nil
}
