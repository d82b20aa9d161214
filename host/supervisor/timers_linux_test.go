package supervisor

import (
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestEaseTimers: what is started has the slack, the thread has its own again afterwards.
func TestEaseTimers(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack := func() string {
		out, err := exec.Command("cat", "/proc/self/timerslack_ns").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	before := slack()
	restore := easeTimers()
	eased := slack()
	restore()
	if want := strconv.Itoa(timerSlack); eased != want || before == want {
		t.Errorf("slack of a process %s, before %s, want %s", eased, before, want)
	}
	if after := slack(); after != before {
		t.Errorf("slack after it %s, want %s", after, before)
	}
}
