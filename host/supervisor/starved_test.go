package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runStarvedHost is the test binary as a host that may open few files: it starts a plugin with a limit that is one higher each time, until one
// starts, and prints how each start ended.
func runStarvedHost(dir string) {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	s, err := New(Options{RuntimeDir: dir})
	if err != nil {
		panic(err)
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		panic(err)
	}
	for most := uint64(3); most < 64; most++ {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: before.Max}); err != nil {
			panic(err)
		}
		p, err := s.Start(context.Background(), Spec{Name: "fake", Path: self, Args: []string{"fake-plugin", "serve"}})
		fmt.Printf("%d files: %v\n", most, err)
		s.loops = newCrashLoops(s.opts.CrashLoop) // each start is a try of its own
		if err == nil {
			_ = p.Stop(context.Background())
			break
		}
	}
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	fmt.Println("close:", s.Close())
}

// TestStartWithTooFewFiles: wherever a start meets the limit on open files, it ends with an error that says so, and the host can end.
func TestStartWithTooFewFiles(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, fakeSpec(t, "").Path, "starved-host", shortDir(t)).CombinedOutput()
	text := string(out)
	if err != nil || ctx.Err() != nil {
		t.Fatalf("%v: it hangs, or worse:\n%s", err, text)
	}
	if !strings.Contains(text, "files: <nil>\nclose: <nil>\n") {
		t.Errorf("no plugin started at last:\n%s", text)
	}
	if n := strings.Count(text, "too many open files"); n < 3 {
		t.Errorf("%d starts say that there are too many open files:\n%s", n, text)
	}
	t.Log("most starts: " + strconv.Itoa(strings.Count(text, " files: ")))
}
