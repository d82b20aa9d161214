package main

import (
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
		{"deadline", nil, []string{"--deadline", "4s"}, "25s", 3, true},
		{"SIGINT twice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, nil, "25s", 130, false},
		{"SIGTERM twice", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, nil, "25s", 3, false},
		{"SIGTERM, grace over", []syscall.Signal{syscall.SIGTERM}, nil, "200ms", 3, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
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
			mustEnd(t, pid, 2*time.Second)
			if took := time.Since(stopped); !test.drain && took > 3*time.Second {
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

// active counts the downloads in progress.
func (r *rig) active() (n int) {
	for _, q := range r.sim.Active() {
		if q.Budgeted {
			n++
		}
	}
	return n
}
