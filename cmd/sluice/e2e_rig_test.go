package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// The end-to-end tests run the real program as real processes, the host and its plugin, against the simulator in the test's own
// process. A rig is one such arrangement.

// seedStart is the first of the seven days that seeded logs cover; it lies in the past of every clock that the tests use.
var seedStart = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

var seedEnd = seedStart.AddDate(0, 0, 7)

// secretKey is the API key of the rigs; it must turn up nowhere.
const secretKey = "f00dfeed-5ec2-4e7a-8b1d-0a1b2c3d4e5f"

type rig struct {
	t    testing.TB
	dir  string
	sim  *vendorsim.Sim
	url  string
	logs []string
	from time.Time
	to   time.Time // zero: none in the config

	source   map[string]any // further settings of the source
	pipeline map[string]any // further keys of the pipeline
	config   map[string]any // further keys of the file
	second   map[string]any // another pipeline of the same source, where it differs
	sinks    []map[string]any
	env      []string
	plain    bool // see program
}

type obj = map[string]any

// newRig starts a simulator. Its budget is small and fast, and the source is told the same.
func newRig(t testing.TB, o vendorsim.Options) *rig {
	t.Helper()
	o.Keys = []string{secretKey}
	if o.Download == (vendorsim.Budget{}) {
		o.Download = vendorsim.Budget{Requests: 100, Bytes: 1 << 40, Window: time.Second}
	}
	sim, err := vendorsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	url, err := sim.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, dir: fastDir(t), sim: sim, url: url, logs: sim.LogIDs(), from: seedStart, to: seedEnd,
		source: obj{"budget": obj{
			"requests": o.Download.Requests, "bytes": o.Download.Bytes, "window": o.Download.Window.String(), "share": 1,
		}},
		pipeline: obj{"retry": obj{"attempts": 30, "max_backoff": "50ms"}},
		config:   obj{},
	}
	return r
}

// fastDir returns a folder for a test, in memory where there is such a file system: what these tests end is processes, not the
// machine. Those that move much data get one on disk.
func fastDir(t testing.TB) string {
	t.Helper()
	if strings.HasPrefix(t.Name(), "TestNoRace") {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "sluice-e2e-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// seededRig serves four seeded logs, one awkward and one empty.
func seededRig(t testing.TB, o vendorsim.Options, lines int) *rig {
	t.Helper()
	o.Logs = vendorsim.Seeded(vendorsim.SeedOptions{Seed: 7, Start: seedStart, Lines: lines})
	return newRig(t, o)
}

// fileSink adds a file sink and returns its root.
func (r *rig) fileSink(name, format, compression string) string {
	root := filepath.Join(r.dir, name)
	r.sinks = append(r.sinks, obj{
		"name": name, "type": "file", "config": obj{"path": root, "format": format, "compression": compression},
	})
	return root
}

// write writes the config file; JSON is YAML.
func (r *rig) write() {
	r.t.Helper()
	source := obj{"base_url": r.url, "api_key": "${env:E2E_KEY}", "logs": r.logs}
	maps.Copy(source, r.source)
	asked := obj{"from": r.from.Format(time.RFC3339Nano)}
	if !r.to.IsZero() {
		asked["to"] = r.to.Format(time.RFC3339Nano)
	}
	p := obj{"name": "main", "source": obj{"type": "rapid7-download", "config": source}, "range": asked, "sinks": r.sinks}
	maps.Copy(p, r.pipeline)
	all := []any{p}
	if r.second != nil {
		other := maps.Clone(p)
		maps.Copy(other, r.second)
		all = append(all, other)
	}
	c := obj{"pipelines": all}
	maps.Copy(c, r.config)
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.configPath(), text, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) configPath() string { return filepath.Join(r.dir, "sluice.yaml") }

// command is a sluice that was started.
type command struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout lockedBuffer
	stderr lockedBuffer
	ended  chan struct{}
	code   int // valid after ended: -1 for a signal
	signal syscall.Signal
}

// lockedBuffer is a buffer that may be looked at while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// prepare returns a sluice that is ready to start; environment entries come first in args, as NAME=VALUE.
func (r *rig) prepare(args ...string) *command {
	r.t.Helper()
	// Neither this machine's proxy nor its authorities, which each plugin would read anew, are of use here.
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(strings.ToUpper(v), "HTTP") || strings.HasPrefix(v, "SSL_CERT_")
	})
	env = append(env, asSluiceEnv+"=1", "E2E_KEY="+secretKey, "GOTRACEBACK=all")
	env = append(env, r.env...)
	for len(args) > 0 && strings.Contains(args[0], "=") && !strings.HasPrefix(args[0], "-") {
		env, args = append(env, args[0]), args[1:]
	}
	c := &command{t: r.t, cmd: exec.Command(program(r.t, r.plain), append(args, "-f", r.configPath())...), ended: make(chan struct{})}
	c.cmd.Env, c.cmd.Dir = env, r.dir
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	c.cmd.WaitDelay = 5 * time.Second
	return c
}

func (c *command) start() *command {
	c.t.Helper()
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait() // the state says it better
		c.code = c.cmd.ProcessState.ExitCode()
		if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			c.signal = ws.Signal()
		}
		close(c.ended)
	}()
	c.t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.ended
	})
	return c
}

// endTime bounds how long any one sluice may run.
const endTime = 240 * time.Second

func (c *command) wait() *command {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(endTime):
		said := c.stderr.String()
		_ = c.cmd.Process.Signal(syscall.SIGQUIT)
		<-c.ended
		c.t.Fatalf("sluice %v did not end within %s\n%s\n%s", c.cmd.Args[1:], endTime, tail(said), tail(c.stderr.String()))
	}
	return c
}

// run runs sluice to its end and requires an exit code.
func (r *rig) run(want int, args ...string) *command {
	r.t.Helper()
	c := r.prepare(args...).start().wait()
	c.mustExit(want)
	return c
}

func (c *command) mustExit(want int) {
	c.t.Helper()
	if c.code != want {
		c.t.Fatalf("sluice %v: exit %d (signal %v), want %d\n%s", c.cmd.Args[1:], c.code, c.signal, want, tail(c.stderr.String()))
	}
}

func (c *command) mustSay(words ...string) {
	c.t.Helper()
	for _, w := range words {
		if !strings.Contains(c.stderr.String(), w) {
			c.t.Errorf("sluice %v didn't say %q:\n%s", c.cmd.Args[1:], w, tail(c.stderr.String()))
		}
	}
}

// tail is the end of an output, enough to see what went wrong; of a crash it is where that begins.
func tail(s string) string {
	const most = 2500
	for _, crash := range []string{"\npanic: ", "\nfatal error: "} {
		if at := strings.Index(s, crash); at >= 0 {
			return "..." + s[at:min(len(s), at+most)]
		}
	}
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}

// kill ends a sluice with SIGKILL.
func (c *command) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// plugins returns the process IDs of the plugins that a host has now.
func (c *command) plugins() []int { return childrenOf(c.cmd.Process.Pid) }

func childrenOf(pid int) []int {
	// Every thread has a list of its own of those that it started.
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var out []int
	for _, l := range lists {
		text, err := os.ReadFile(l)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// awaitPlugin returns the process ID of the host's plugin once there is one.
func (c *command) awaitPlugin() int {
	c.t.Helper()
	var pid int
	c.await("a plugin process", func() bool {
		if all := c.plugins(); len(all) > 0 {
			pid = all[0]
		}
		return pid != 0
	})
	return pid
}

// await waits until a condition holds while the command runs.
func (c *command) await(what string, holds func() bool) {
	c.t.Helper()
	for began := time.Now(); ; {
		if holds() {
			return
		}
		select {
		case <-c.ended:
			if holds() {
				return
			}
			c.t.Fatalf("sluice ended with %d before there was %s\n%s", c.code, what, tail(c.stderr.String()))
		case <-time.After(5 * time.Millisecond):
		}
		if time.Since(began) > time.Minute {
			c.t.Fatalf("no %s within a minute\n%s", what, tail(c.stderr.String()))
		}
	}
}

// alive reports whether a process runs; a zombie doesn't.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// mustEnd requires that a process, whose parent has ended, ends too: at once, but this machine may be busy.
func mustEnd(t testing.TB, pid int) {
	t.Helper()
	const within = 20 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for alive(pid) {
		select {
		case <-ctx.Done():
			t.Fatalf("process %d still runs after %s", pid, within)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func mustRemove(t testing.TB, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			t.Fatal(err)
		}
	}
}
