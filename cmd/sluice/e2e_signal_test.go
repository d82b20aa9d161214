package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestSignals stops a run in every way while one slice moves bytes and another waits. A run afterwards completes.
func TestSignals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		stop  []syscall.Signal
		args  []string
		grace string
		want  int
		drain bool // the slice that moves bytes is finished
	}{
		{"SIGINT", []syscall.Signal{syscall.SIGINT}, nil, "25s", 130, true},
		{"SIGTERM", []syscall.Signal{syscall.SIGTERM}, nil, "25s", 3, true},
		{"SIGHUP", []syscall.Signal{syscall.SIGHUP}, nil, "25s", 3, true},
		{"deadline", nil, []string{"--deadline", "4s"}, "25s", 3, true},
		{"SIGINT twice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, nil, "25s", 130, false},
		{"SIGTERM twice", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, nil, "25s", 3, false},
		{"SIGTERM, grace over", []syscall.Signal{syscall.SIGTERM}, nil, "200ms", 3, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { // one after the other: they wait, beside tests that don't
			// The web log drips for some seconds, the app log never answers.
			web := vendorsim.Log{ID: vendorsim.SeedWebID, Name: "web", Generated: &vendorsim.Generated{
				From: seedStart, To: seedStart.Add(time.Hour), Bytes: 5 << 20,
			}}
			app := vendorsim.Log{ID: vendorsim.SeedAppID, Name: "app", Records: []vendorsim.Record{{Time: seedStart, Line: []byte("app")}}}
			r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{web, app}})
			hold := make(chan struct{})
			for _, rule := range []vendorsim.Rule{
				{Log: "web", Fault: vendorsim.Fault{Rate: 1 << 20}},
				{Log: "app", Fault: vendorsim.Fault{Hold: hold}},
			} {
				if err := r.sim.AddFault(rule); err != nil {
					t.Fatal(err)
				}
			}
			r.to = seedStart.Add(time.Hour)
			root := r.fileSink("out", "raw", "none")
			r.config["shutdown_timeout"] = test.grace
			r.write()
			c := r.prepare(append([]string{"run"}, test.args...)...).start()
			pid := c.awaitPlugin()
			c.await("bytes that move", func() bool {
				for _, q := range r.sim.Active() {
					if q.Bytes > 2<<20 {
						return true
					}
				}
				return false
			})
			stopped := time.Now()
			for n, s := range test.stop {
				if n > 0 {
					c.await("the drain", func() bool { return r.active() == 1 }) // what waits ends at once
				}
				if err := c.cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			c.wait().mustExit(test.want)
			mustEnd(t, pid)
			if took := time.Since(stopped); !test.drain && took > 15*time.Second {
				t.Errorf("it took %s to end at once", took)
			}
			want := 0
			if test.drain {
				want = 1
			}
			if n := len(commits(t, root)); n != want {
				t.Errorf("%d slices were committed, want %d\n%s", n, want, tail(c.stderr.String()))
			}
			close(hold)
			if err := r.sim.SetFaults(vendorsim.Script{}); err != nil {
				t.Fatal(err)
			}
			r.run(0, "run")
			r.mustHold(root, "raw", seedStart, r.to)
			r.mustKeepBudget()
		})
	}
}

// TestHangUpIgnored lets a terminal go away from a run that nohup started: it goes on.
func TestHangUpIgnored(t *testing.T) {
	t.Parallel()
	web := vendorsim.Log{ID: vendorsim.SeedWebID, Name: "web", Generated: &vendorsim.Generated{
		From: seedStart, To: seedStart.Add(time.Hour), Bytes: 2 << 20,
	}}
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{web}})
	if err := r.sim.AddFault(vendorsim.Rule{Log: "web", Fault: vendorsim.Fault{Rate: 1 << 20}}); err != nil {
		t.Fatal(err)
	}
	r.to = seedStart.Add(time.Hour)
	r.fileSink("out", "raw", "none")
	r.write()
	c := r.prepare("run")
	c.cmd.Path, c.cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, c.cmd.Args...)
	c.start()
	c.await("bytes that move", func() bool { return r.active() == 1 })
	if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.wait().mustExit(0)
}

// TestSecondSignal ends a command that blocks: nobody reads the pipe that it writes to.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web"}}})
	r.fileSink("out", "raw", "none")
	r.write()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	if err := out.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for err == nil { // until it is full
		_, err = out.WriteString(strings.Repeat("x", 512))
	}
	// The command has no way to say that it waits: one that a slow machine hadn't brought so far ends by the first signal, and another is given longer.
	var c *command
	for wait := 2 * time.Second; ; wait *= 2 {
		c = r.prepare("check")
		c.cmd.Stdout = out
		c.start()
		time.Sleep(wait)
		if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		blocks := false
		select {
		case <-c.ended:
		default:
			blocks = true
		}
		if blocks {
			break
		}
		if wait > 15*time.Second {
			t.Fatalf("it ends within %s, whether anybody reads or not: exit %d\n%s", wait, c.code, tail(c.stderr.String()))
		}
	}
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if c.wait(); c.signal != syscall.SIGINT {
		t.Errorf("exit %d (signal %v), want its death by SIGINT", c.code, c.signal)
	}
}

// active counts the downloads in progress.
func (r *rig) active() (n int) {
	for _, q := range r.sim.Active() {
		if q.Budgeted {
			n++
		}
	}
	return n
}
