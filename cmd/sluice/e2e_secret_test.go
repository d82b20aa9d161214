package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// forms are the ways in which a secret may travel.
func forms(secret string) []string {
	return []string{
		secret, strings.ToUpper(secret), base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		hex.EncodeToString([]byte(secret)),
	}
}

func mustNotHold(t *testing.T, what, text string) {
	t.Helper()
	for _, f := range forms(secretKey) {
		if at := strings.Index(text, f); at >= 0 {
			t.Errorf("%s holds the key: ...%s...", what, text[max(0, at-200):min(len(text), at+len(f)+50)])
			return
		}
	}
}

// mustKeepSecret requires that the key is in no output of a command and in no file of the rig.
func (r *rig) mustKeepSecret(t *testing.T, c *command) {
	t.Helper()
	mustNotHold(t, "stdout", c.stdout.String())
	mustNotHold(t, "stderr", c.stderr.String())
	for _, f := range forms(secretKey) {
		for _, path := range contains(t, r.dir, []byte(f)) {
			t.Errorf("%s holds the key", path)
		}
	}
	if n := r.sim.Stats().KeysLeaked; n != 0 {
		t.Errorf("%d requests took the key to another origin", n)
	}
}

// TestKeyIsNowhere looks for the key in everything that a run shows and keeps, while the vendor repeats it in its errors, sends
// the client elsewhere, and the plugin dies with a dump of its goroutines.
func TestKeyIsNowhere(t *testing.T) {
	t.Parallel()
	echo := "the key " + secretKey + " (" + base64.StdEncoding.EncodeToString([]byte(secretKey)) + ") is not welcome"
	for _, format := range []string{"text", "json"} {
		t.Run("run/"+format, func(t *testing.T) {
			t.Parallel()
			r := seededRig(t, vendorsim.Options{}, 2000)
			r.fileSink("out", "ndjson", "none")
			hold := make(chan struct{})
			for _, rule := range []vendorsim.Rule{
				{Nth: []int{2}, Fault: vendorsim.Fault{Status: 503, Body: echo}},
				{Nth: []int{4}, Fault: vendorsim.Fault{Status: 429, Body: echo, RetryAfter: "1"}},
				{Nth: []int{6}, Fault: vendorsim.Fault{Hold: hold}},
				{Nth: []int{8}, Fault: vendorsim.Fault{Header: map[string]string{"X-Echo": secretKey, "X-RateLimit-Reset": secretKey}}},
			} {
				if err := r.sim.AddFault(rule); err != nil {
					t.Fatal(err)
				}
			}
			r.write()
			c := r.prepare("run", "--log-level", "debug", "--log-format", format, "--summary", r.dir+"/summary.json").start()
			c.await("a held request", func() bool {
				for _, q := range r.sim.Active() {
					if q.Fault != "" && q.Status == 0 {
						return true
					}
				}
				return false
			})
			pid := c.awaitPlugin() // the one that asked: on a busy machine an earlier one may have taken too long to start
			for _, p := range []int{pid, c.cmd.Process.Pid} {
				for _, file := range []string{"environ", "cmdline"} {
					text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p, file))
					if err != nil {
						t.Fatal(err)
					}
					if p == c.cmd.Process.Pid && file == "environ" {
						continue // the user put it there
					}
					mustNotHold(t, fmt.Sprintf("%s of process %d", file, p), string(text))
				}
			}
			if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
				t.Fatal(err)
			}
			c.await("a fresh plugin", func() bool { all := c.plugins(); return len(all) > 0 && all[0] != pid })
			if err := syscall.Kill(c.awaitPlugin(), syscall.SIGABRT); err != nil {
				t.Fatal(err)
			}
			close(hold)
			c.wait().mustExit(0)
			if !strings.Contains(c.stderr.String(), "goroutine ") {
				t.Error("no dump of goroutines reached the log: nothing was shown")
			}
			r.mustKeepSecret(t, c)
		})
	}
	for _, status := range []int{400, 401, 403, 404, 302, 307, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			r := seededRig(t, vendorsim.Options{}, 100)
			r.fileSink("out", "raw", "none")
			r.pipeline["retry"] = obj{"attempts": 2, "max_backoff": "10ms"}
			fault := vendorsim.Fault{Status: status, Body: echo}
			if status/100 == 3 {
				fault = vendorsim.Fault{Status: status, Redirect: "trap"}
			}
			if err := r.sim.AddFault(vendorsim.Rule{Fault: fault}); err != nil {
				t.Fatal(err)
			}
			r.write()
			c := r.prepare("run", "--log-level", "debug").start().wait()
			if c.code != 1 && c.code != 2 {
				t.Errorf("exit %d\n%s", c.code, tail(c.stderr.String()))
			}
			c.mustSay(fmt.Sprint(status))
			r.mustKeepSecret(t, c)
		})
	}
}

// TestWrongKey is told apart from nothing else by the vendor: the error says all that a 404 can mean.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			r := seededRig(t, vendorsim.Options{WrongKeyStatus: status}, 100)
			root := r.fileSink("out", "raw", "none")
			r.write()
			began := time.Now()
			c := r.run(1, "E2E_KEY=another-key-altogether", "run")
			c.mustSay("key", "base_url")
			if len(commits(t, root)) != 0 {
				t.Error("something was committed")
			}
			if n := len(r.sim.Requests()); n > 20 {
				t.Errorf("%d requests with a wrong key", n)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s to say so", took)
			}
		})
	}
}
