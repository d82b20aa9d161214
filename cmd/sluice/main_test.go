package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluice-io/sluice/internal/testsize"
)

// asSluiceEnv set to 1 makes the test binary a sluice with the hooks that tests need: see hooked.
const asSluiceEnv = "SLUICE_TEST_AS_SLUICE"

// silenceEnv is after how long a sluice with hooks takes a silent plugin for one that hangs.
const silenceEnv = "SLUICE_TEST_SILENCE"

// metricsEnv is how often a run writes its metrics, as a duration; unset: as often as it does for users.
const metricsEnv = "SLUICE_TEST_METRICS_EVERY"

// programEnv names this package's test binary without the race detector, under which each start of sluice costs five times as much. Tests that
// start it hundreds of times take that one, but for a part of their cases. Unset: they take this binary.
const programEnv = "SLUICE_TEST_PROGRAM"

// program is the path of this test binary, or of the one without the race detector.
func program(t testing.TB, plain bool) string {
	t.Helper()
	if path := os.Getenv(programEnv); plain && path != "" {
		return path
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// TestMain lets the test binary be sluice: as a plugin, started by a host that is this binary too; as a host with hooks
// (asSluiceEnv); and as the command of scripts.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "plugin" && os.Args[2] == "serve" {
		os.Exit(Main())
	}
	if os.Getenv(asSluiceEnv) == "1" {
		tuneCollector(os.Getenv)
		a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
		a.step = killStep(os.Getenv(killEnv))
		a.silence, _ = time.ParseDuration(os.Getenv(silenceEnv))
		a.metricsEvery, _ = time.ParseDuration(os.Getenv(metricsEnv))
		os.Exit(a.execute(context.Background(), os.Args[1:]))
	}
	if signal.Ignored(syscall.SIGHUP) { // by nohup, which the processes of tests would take over
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	testsize.Crowd()
	testscript.Main(m, map[string]func(){"sluice": func() { os.Exit(Main()) }})
}

// TestCollectorIsTuned shows that the heap's start is over with the first collection.
func TestCollectorIsTuned(t *testing.T) {
	t.Parallel()
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	percent := func() uint64 {
		m := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(m)
		return m[0].Value.Uint64()
	}
	tuneCollector(func(string) string { return "70" })
	if got := percent(); got != 100 {
		t.Errorf("%d with GOGC set, want what it says", got)
	}
	tuneCollector(func(string) string { return "" })
	for deadline := time.Now().Add(time.Minute); percent() != gcPercent; {
		if time.Now().After(deadline) {
			t.Fatalf("%d, want %d", percent(), gcPercent)
		}
		runtime.GC()
	}
}
