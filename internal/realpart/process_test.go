package realpart

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// group returns the stat lines of a process group's processes that aren't dead and only waiting to be reaped.
func group(t *testing.T, id int) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended since
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 2 && f[2] == strconv.Itoa(id) && f[0] != "Z" && f[0] != "X" {
			out = append(out, string(b))
		}
	}
	return out
}

func TestStart(t *testing.T) {
	var p *Process
	t.Run("ready", func(t *testing.T) {
		asked := 0
		var err error
		p, err = Start(t, exec.Command("sh", "-c", "echo hello; sleep 600 & sleep 600"), time.Minute, func(context.Context) error {
			if asked++; asked < 3 {
				return errors.New("not yet")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); !strings.Contains(p.Log(), "hello"); {
			if time.Now().After(deadline) {
				t.Fatalf("log %q", p.Log())
			}
			<-time.After(10 * time.Millisecond)
		}
	})
	// The test has ended: so has the whole group.
	<-p.Exited()
	if alive := group(t, p.Pid()); len(alive) > 0 {
		t.Errorf("of the process group there live %q", alive)
	}
	if _, err := Start(t, exec.Command("sh", "-c", "echo broken; exit 3"), time.Minute, func(context.Context) error {
		return errors.New("not yet")
	}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a program that ends at once: %v, want what it printed", err)
	}
	if _, err := Start(t, exec.Command("sleep", "600"), 100*time.Millisecond, func(context.Context) error {
		return errors.New("not yet")
	}); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("a program that is never ready: %v", err)
	}
}
