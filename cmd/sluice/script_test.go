package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// baseConfig is written as base.yaml for each script, and as sluice.yaml for those that have none.
const baseConfig = `state: ./state
pipelines:
  - name: prod
    source:
      type: rapid7-download
      config:
        base_url: ${env:SIM_URL}
        api_key: ${env:R7_API_KEY}
        logs: [` + vendorsim.SeedWebID + `, ` + vendorsim.SeedAwkwardID + `]
    range: {from: 2024-03-01, to: 2024-03-03}
    retry: {attempts: 2, max_backoff: 10ms}
    sinks:
      - name: lake
        type: file
        config: {path: ./lake, format: ndjson}
`

// pollTime bounds how long poll tries.
const pollTime = time.Minute

// TestScripts runs the command lines of testdata/script. Beside testscript's own commands there are:
//
//	sim FLAGS            starts a simulator with the flags of `sluice sim` and sets SIM_URL
//	requests N           fails unless the simulator was asked for N downloads
//	exits CODE COMMAND   runs a command that must end with that code
//	poll REGEXP COMMAND  runs a command until its output matches
//
// Those that run pipelines at length are also looked at by the race detector, if it is on; see program.
func TestScripts(t *testing.T) {
	plain := t.TempDir()
	if err := os.Symlink(program(t, true), filepath.Join(plain, "sluice")); err != nil {
		t.Fatal(err)
	}
	raced := []string{"run", "running", "demo"}
	long := []string{"rebuild", "named", "targets"}
	for _, name := range slices.Concat(raced, long) {
		if _, err := os.Stat(filepath.Join("testdata", "script", name+".txtar")); err != nil {
			t.Error(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			// A script's own temporary folder lies deep, and the paths of sockets may not be long.
			sockets, err := os.MkdirTemp("", "s")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(sockets) })
			env.Setenv("XDG_RUNTIME_DIR", sockets)
			name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
			if slices.Contains(long, name) && !testsize.Full() {
				env.T().Skip("one of the longest scripts: make unit")
			}
			if !slices.Contains(raced, name) {
				env.Setenv("PATH", plain+string(filepath.ListSeparator)+env.Getenv("PATH"))
			}
			env.Setenv("R7_API_KEY", vendorsim.DemoKey)
			env.Setenv("WEB", vendorsim.SeedWebID)
			env.Setenv("AWKWARD", vendorsim.SeedAwkwardID)
			for _, name := range []string{"base.yaml", "sluice.yaml"} {
				path := filepath.Join(env.WorkDir, name)
				if _, err := os.Stat(path); err == nil {
					continue
				}
				if err := os.WriteFile(path, []byte(baseConfig), 0o666); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sim": scriptSim, "requests": scriptRequests, "exits": scriptExits, "poll": scriptPoll,
		},
	})
}

func scriptSim(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("sim can't be negated")
	}
	var f simFlags
	flags := pflag.NewFlagSet("sim", pflag.ContinueOnError)
	f.add(flags)
	ts.Check(flags.Parse(append([]string{"--start", "2024-03-01", "--days", "2", "--lines", "400"}, args...)))
	if f.faults != "" {
		f.faults = ts.MkAbs(f.faults)
	}
	options, err := f.options(time.Now())
	ts.Check(err)
	sim, err := vendorsim.New(options)
	ts.Check(err)
	ts.Defer(func() { _ = sim.Close() })
	base, err := sim.Start(f.listen)
	ts.Check(err)
	ts.Setenv("SIM_URL", base)
	sims.Store(ts, sim)
}

// sims holds the *vendorsim.Sim of each *testscript.TestScript that has one. Scripts run side by side.
var sims sync.Map

func scriptRequests(ts *testscript.TestScript, neg bool, args []string) {
	sim, ok := sims.Load(ts)
	if neg || len(args) != 1 || !ok {
		ts.Fatalf("usage: requests N, after sim")
	}
	if got := fmt.Sprint(sim.(*vendorsim.Sim).Stats().Budgeted); got != args[0] {
		ts.Fatalf("the simulator was asked for %s downloads, want %s", got, args[0])
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("%v ended with code %d, want %d", args[1:], code, want)
	}
}

func scriptPoll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: poll REGEXP COMMAND...")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	program := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, args[1]); program == "" {
			if st, err := os.Stat(path); err == nil && !st.IsDir() {
				program = path
			}
		}
	}
	var out []byte
	for end := time.Now().Add(pollTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		cmd := exec.Command(program, args[2:]...) // not ts.Exec, which prints every try
		cmd.Dir = ts.MkAbs(".")
		for _, name := range []string{"PATH", "HOME", "TMPDIR", "SIM_URL", "R7_API_KEY"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		if out, err = cmd.CombinedOutput(); err == nil && want.Match(out) {
			return
		}
	}
	ts.Logf("%s", out)
	ts.Fatalf("%v: output never matched %s", args[1:], want)
}
