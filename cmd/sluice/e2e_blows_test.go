package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-io/sluice/internal/realpart/toxiproxy"
)

// everyBlow returns what hits any run, whatever its sinks are.
func everyBlow() []blow {
	return []blow{
		{name: "host killed", strike: killHost, kills: true},
		{name: "plugin killed", strike: killPlugin, kills: true, begun: true},
		{name: "plugin stopped for longer than it may be silent", strike: stopPlugin, env: silenceEnv + "=1500ms", begun: true},
		{name: "host stopped, another begins", strike: stopHost, begun: true},
		{name: "host stopped, one elsewhere writes", strike: stopHostElsewhere, ends: []int{exitFailed, exitStopped}},
		{name: "files may not grow", strike: limitFiles, ends: []int{exitFailed}},
		{name: "vendor's clock steps", strike: stepClock, ends: []int{exitStopped}},
		{name: "vendor's network", strike: func(g *game) func() { return g.poison(g.vendor) }},
		{name: "vendor's network again", strike: func(g *game) func() { return g.poison(g.vendor) }},
	}
}

// serverBlows are those of a sink with a server that is reached through a proxy.
func serverBlows(proxy *toxiproxy.Proxy, kill func(), restart func() error) []blow {
	return []blow{
		{name: "server killed", kills: true, strike: func(g *game) func() {
			kill()
			return func() {
				if err := restart(); err != nil {
					g.t.Fatal(err)
				}
			}
		}},
		{name: "server's network", strike: func(g *game) func() { return g.poison(proxy) }},
		{name: "server's network again", strike: func(g *game) func() { return g.poison(proxy) }},
	}
}

func killHost(g *game) func() {
	plugins := g.run.plugins()
	g.run.kill()
	for _, pid := range plugins {
		mustEnd(g.t, pid)
	}
	return nil
}

func killPlugin(g *game) func() {
	for _, pid := range g.run.plugins() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended since
	}
	return nil
}

// stopPlugin stops the plugin until the host has taken it for one that hangs, and has killed it.
func stopPlugin(g *game) func() {
	stopped := g.run.plugins()
	for _, pid := range stopped {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return func() {
		g.run.awaitOrEnd("the end of a stopped plugin", func() bool { return !slices.ContainsFunc(stopped, alive) })
	}
}

// stopHost stops the host, as a machine that sleeps does. Another that is started with the same state is told so.
func stopHost(g *game) func() {
	return g.stop(func() { g.r.run(exitLocked, "run") })
}

// stopHostElsewhere stops the host for so long that another, with a state of its own, takes its place and may be killed there. When the
// first goes on, what it had begun mustn't be committed twice.
func stopHostElsewhere(g *game) func() {
	patience := 500*time.Millisecond + g.millis(1500)
	return g.stop(func() {
		other := *g.r
		other.dir = filepath.Join(g.r.dir, "elsewhere")
		if err := os.MkdirAll(other.dir, 0o700); err != nil {
			g.t.Fatal(err)
		}
		other.config = obj{"state": filepath.Join(other.dir, "state")}
		other.write()
		c := other.prepare("run").start()
		if !c.endsWithin(patience) {
			c.kill()
		}
		g.say("  the other ended with %d: %s", c.code, lastLine(c.stderr.String()))
		mustRemove(g.t, other.dir)
	})
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// stop stops the host; what is returned calls do and lets it go on.
func (g *game) stop(do func()) func() {
	if err := g.run.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		g.t.Fatal(err)
	}
	return func() {
		do()
		_ = g.run.cmd.Process.Signal(syscall.SIGCONT)
	}
}

// limitFiles lets the host's files, the ledger's too, not grow beyond a few KiB, as a full disk or quota does.
func limitFiles(g *game) func() {
	pid := g.run.cmd.Process.Pid
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &before); err != nil {
		g.t.Fatal(err)
	}
	most := uint64(g.IntN(64 << 10))
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: most, Max: before.Max}, nil); err != nil {
		g.t.Fatal(err)
	}
	g.say("  beyond %d bytes", most)
	return func() {
		if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &before, nil); err != nil && !g.run.endsWithin(time.Second) {
			g.t.Fatal(err)
		}
	}
}

// stepClock steps the vendor's clock, and back.
func stepClock(g *game) func() {
	step := time.Duration(g.Int64N(int64(72*time.Hour))) - 36*time.Hour
	g.say("  by %s", step)
	g.clock.Jump(step)
	return func() { g.clock.Jump(-step) }
}

// poison does something to what flows through a proxy. To heal is to close what went through it.
func (g *game) poison(p *toxiproxy.Proxy) func() {
	toxics := []toxiproxy.Toxic{
		{}, // cut
		{Type: "latency", Attributes: obj{"latency": 50 + g.IntN(250), "jitter": g.IntN(50)}},
		{Type: "bandwidth", Attributes: obj{"rate": 5 + g.IntN(100)}}, // KB/s
		{Type: "reset_peer", Attributes: obj{"timeout": g.IntN(200)}},
		{Type: "timeout", Attributes: obj{"timeout": 0}}, // nothing comes through, and nobody says so
		{Type: "limit_data", Attributes: obj{"bytes": g.IntN(20_000)}},
		{Type: "slicer", Attributes: obj{"average_size": 64, "size_variation": 32, "delay": 500}},
	}
	x := toxics[g.IntN(len(toxics))]
	x.Upstream = g.IntN(2) == 0
	if x.Type == "" {
		g.say("  cut")
		p.Cut(g.t)
	} else {
		g.say("  %s %v, to the server: %t", x.Type, x.Attributes, x.Upstream)
		p.Poison(g.t, x)
	}
	return func() { p.Heal(g.t) }
}
