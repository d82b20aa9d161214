// Package sinks measures `sluice run` into each sink against the real server: throughput, CPU and memory, in interleaved rounds.
// It has benchmarks alone, and they write the table that bench/SINKS.md holds:
//
//	make bench-sinks
package sinks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// sizeEnv is how many bytes of lines a run moves; roundsEnv how often each case runs; outEnv a file for the table.
	sizeEnv   = "SLUICE_BENCH_SIZE"
	roundsEnv = "SLUICE_BENCH_ROUNDS"
	outEnv    = "SLUICE_BENCH_OUT"
	// sluiceEnv is the binary to measure.
	sluiceEnv = "SLUICE_BENCH_BINARY"
)

// row is one case: a sink's part of the config, which may name a fresh target by %d, the run's number.
type row struct {
	title string
	sink  string
	pipe  bool // it prints records, which are read and thrown away
}

// sample is what one run took.
type sample struct {
	wall         time.Duration
	cpu          time.Duration // of the host and the plugins
	host, plugin int64         // bytes, the peak of each
}

func fromEnv(b *testing.B, name string, otherwise int64) int64 {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		b.Fatalf("%s=%q is no positive number", name, text)
	}
	return n
}

// vendor is the simulator, a process of its own that serves one log.
type vendor struct {
	base, key, log string
	day            time.Time
}

func startVendor(b *testing.B, sluice string, size int64) vendor {
	b.Helper()
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -2)
	cmd := exec.Command(sluice, "sim", "--json", "--bulk", strconv.FormatInt(size, 10)+"B", "--days", "1",
		"--start", day.Format(time.DateOnly), "--requests", "1000000000", "--bytes", "1000000GB")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	var started struct {
		BaseURL string `json:"base_url"`
		APIKey  string `json:"api_key"`
		Logs    []struct {
			ID string `json:"id"`
		} `json:"logs"`
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &started)
	}
	if err != nil || len(started.Logs) != 1 {
		b.Fatalf("the simulator: %v, %d logs", err, len(started.Logs))
	}
	return vendor{base: started.BaseURL, key: started.APIKey, log: started.Logs[0].ID, day: day}
}

const configText = `state: ./state
pipelines:
  - name: bench
    source:
      type: rapid7-download
      config: {base_url: "%s", api_key: "${env:BENCH_API_KEY}", logs: ["%s"]}
    range: {from: %s, to: %s}
    sinks:
      - %s
`

// run carries the log into one sink, from a fresh state.
func (v vendor) run(b *testing.B, sluice, sink string, pipe bool) sample {
	b.Helper()
	folder, err := os.MkdirTemp(memory(b), "sluice-sinks-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "sluice.yaml")
	text := fmt.Sprintf(configText, v.base, v.log, v.day.Format(time.DateOnly), v.day.AddDate(0, 0, 1).Format(time.DateOnly), sink)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	var output bytes.Buffer
	cmd := exec.Command(sluice, "-f", file, "run", "--first-run")
	cmd.Env = append(os.Environ(), "BENCH_API_KEY="+v.key)
	cmd.Stdout, cmd.Stderr = &output, &output
	if pipe {
		cmd.Stdout = io.Discard // no file: there is a pipe, and it is read
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var host, plugin int64
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				b.Fatalf("%s: %v\n%s", sink, err, &output)
			}
			running = false
		case <-time.After(20 * time.Millisecond):
			host = max(host, peakOf(cmd.Process.Pid))
			for _, pid := range children(cmd.Process.Pid) {
				plugin = max(plugin, peakOf(pid))
			}
		}
	}
	state := cmd.ProcessState
	return sample{
		wall: time.Since(began),
		cpu:  state.UserTime() + state.SystemTime(), // with those of the children that were waited for
		host: host, plugin: plugin,
	}
}

// peakOf returns the peak resident set of a living process in bytes, of its own program: what wait4 tells may be its parent's, of before the exec.
func peakOf(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // none: it has just ended
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}

// children returns the processes that any thread of a process has started.
func children(pid int) []int {
	var out []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well formed
	for _, f := range files {
		text, _ := os.ReadFile(f) // none: the thread has ended
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// memory returns a folder on a memory file system where there is one.
func memory(b *testing.B) string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return b.TempDir()
}

// spread is median (least-most).
func spread(all []sample, of func(sample) float64) string {
	values := make([]float64, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	slices.Sort(values)
	return fmt.Sprintf("%.1f (%.1f-%.1f)", values[len(values)/2], values[0], values[len(values)-1])
}

func BenchmarkSinks(b *testing.B) {
	sluice := os.Getenv(sluiceEnv)
	if sluice == "" {
		b.Fatalf("%s names no binary: run make bench-sinks", sluiceEnv)
	}
	size, rounds := fromEnv(b, sizeEnv, 256<<20), int(fromEnv(b, roundsEnv, 3))
	v := startVendor(b, sluice, size)
	all := rows(b)
	samples := make([][]sample, len(all))
	for round := range rounds {
		for i := range all {
			i = (i + round) % len(all) // no case profits from its neighbour
			sink := strings.ReplaceAll(all[i].sink, "%d", strconv.Itoa(round))
			samples[i] = append(samples[i], v.run(b, sluice, sink, all[i].pipe))
			b.Logf("round %d, %s: %.0f MB/s", round+1, all[i].title, float64(size)/1e6/samples[i][round].wall.Seconds())
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d MB of lines, %d interleaved rounds, %d cores: median (least-most). CPU is of the host and the plugin, not of the server.\n\n",
		size/1e6, rounds, runtime.NumCPU())
	out.WriteString("| sink | MB/s | CPU-s/GB | peak RSS, MiB: host | plugin |\n|---|---|---|---|---|\n")
	gb := float64(size) / 1e9
	for i, r := range all {
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", r.title,
			spread(samples[i], func(s sample) float64 { return gb * 1000 / s.wall.Seconds() }),
			spread(samples[i], func(s sample) float64 { return s.cpu.Seconds() / gb }),
			spread(samples[i], func(s sample) float64 { return float64(s.host) / (1 << 20) }),
			spread(samples[i], func(s sample) float64 { return float64(s.plugin) / (1 << 20) }))
	}
	if name := os.Getenv(outEnv); name != "" {
		if err := os.WriteFile(name, []byte(out.String()), 0o666); err != nil {
			b.Fatal(err)
		}
	}
	b.Log("\n" + out.String())
}
