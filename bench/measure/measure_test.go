package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestExecute: a shell whose child burns CPU. Both are told apart, and nothing is counted twice.
func TestExecute(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Fatalf("the benchmark needs /proc: %v", err)
	}
	var r run
	cmd := exec.Command("sh", "-c", "head -c 300000000 /dev/zero | sha256sum >/dev/null; exit 0")
	if err := r.execute(cmd, "root"); err != nil {
		t.Fatal(err)
	}
	var names []string
	var total time.Duration
	for _, p := range r.Processes {
		names = append(names, p.Name)
		total += p.cpu()
		if p.Name == "sha256sum" && (p.cpu() == 0 || p.PeakRSS < 1<<20) {
			t.Errorf("sha256sum: %+v", p)
		}
	}
	if diff := cmp.Diff("head root sha256sum", strings.Join(names, " ")); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
	if want := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); total != want {
		t.Errorf("the processes took %s, the kernel says %s", total, want)
	}
	if r.Wall <= 0 {
		t.Errorf("wall %s", r.Wall)
	}
	if err := r.execute(exec.Command("false"), "root"); err == nil {
		t.Error("a command that failed was measured")
	}
}

func TestParse(t *testing.T) {
	user, system, err := parseStat([]byte("12 (a) b ( c) S 1 12 12 0 -1 4194304 90 0 0 0 250 7 1 2 20 0 1 0 100 200 300"))
	if err != nil || user != 2500*time.Millisecond || system != 70*time.Millisecond {
		t.Errorf("stat: %s, %s, %v", user, system, err)
	}
	for _, bad := range []string{"", "12 (a", "12 (a) S 1", "12 (a) S 1 12 12 0 -1 4194304 90 0 0 0 x 7"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("stat %q was read", bad)
		}
	}
	peak, err := parsePeak([]byte("Name:\ta\nVmPeak:\t  900 kB\nVmHWM:\t   12 kB\nVmRSS:\t 8 kB\n"))
	if err != nil || peak != 12<<10 {
		t.Errorf("peak: %d, %v", peak, err)
	}
	if _, err := parsePeak([]byte("Name:\ta\nState:\tZ (zombie)\n")); err == nil {
		t.Error("a zombie has a peak")
	}
}

func TestProcessName(t *testing.T) {
	for cmdline, want := range map[string]string{
		"/tmp/sluice\x00-f\x00x.yaml\x00run\x00":                  "sluice",
		"/tmp/sluice\x00plugin\x00serve\x00rapid7-download\x00":   "plugin",
		"/usr/bin/curl\x00--silent\x00http://127.0.0.1:1/a/b\x00": "curl",
		"sync\x00": "sync",
		"":         ".",
	} {
		if got := processName(cmdline); got != want {
			t.Errorf("%q: %q, want %q", cmdline, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := file("want", "one\ntwo\nthree\n")
	for _, tt := range []struct {
		name  string
		parts []string
		err   string
	}{
		{"same", []string{"one\n", "two\nthree\n"}, ""},
		{"short", []string{"one\n", "two\n"}, "curl got more"},
		{"long", []string{"one\n", "two\nthree\nfour\n"}, "is longer"},
		{"changed", []string{"one\n", "twO\nthree\n"}, "differs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var parts []string
			for i, text := range tt.parts {
				parts = append(parts, file(tt.name+string(rune('0'+i)), text))
			}
			err := compare(want, parts)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
	if n, err := countLines(want); n != 3 || err != nil {
		t.Errorf("%d lines, %v", n, err)
	}
}
