package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/sinktest"
	"github.com/sluice-io/sluice/sinks/textfile"
)

// childEnv makes the test binary a process that carries the suite's work and dies at a step: "STEP ROOT". childSize limits
// its files, in bytes.
const (
	childEnv  = "SLUICE_TEST_FILE_CHILD"
	childSize = "SLUICE_TEST_FILE_SIZE"
)

// child runs the child's part and reports whether this process is one. It prints the number of steps.
func child() bool {
	what, ok := os.LookupEnv(childEnv)
	if !ok {
		return false
	}
	at, root, _ := strings.Cut(what, " ")
	step, err := strconv.Atoi(at)
	if err == nil {
		err = carryAndDie(step, root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func carryAndDie(step int, root string) error {
	if n, err := strconv.ParseUint(os.Getenv(childSize), 10, 64); err == nil {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	f := &sinktest.Faults{FS: commitlog.OS{}}
	f.At = func(s sinktest.Step, do func() error) error {
		if s.N == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal may take a moment; the step must not
		}
		return do()
	}
	k, err := driver(encode.NDJSON, textfile.Zstd).Open(f, root)
	if err != nil {
		return err
	}
	_, err = sinktest.Carry(context.Background(), k)
	if cerr := k.Close(); err == nil {
		err = cerr
	}
	fmt.Println(f.Steps())
	return err
}

func runChild(t *testing.T, step int, root string, env ...string) (steps int, stderr string, err error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), fmt.Sprintf("%s=%d %s", childEnv, step, root)), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	steps, _ = strconv.Atoi(strings.TrimSpace(out.String()))
	return steps, errs.String(), err
}

// TestKilled kills a real process before one in five of its steps (the suite has them all), starts again, and looks at the files.
func TestKilled(t *testing.T) {
	t.Parallel()
	steps, stderr, err := runChild(t, 0, t.TempDir())
	if err != nil || steps < 50 {
		t.Fatalf("%d steps, %v\n%s", steps, err, stderr)
	}
	want := sinktest.CarriedBodies()
	slices.Sort(want)
	for step := 1; step <= steps; step += 5 {
		root := t.TempDir()
		_, stderr, err := runChild(t, step, root)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v\n%s", step, err, stderr)
		}
		if _, stderr, err := runChild(t, 0, root); err != nil {
			t.Fatalf("started again after a kill before step %d: %v\n%s", step, err, stderr)
		}
		got, err := visible(commitlog.OS{}, root)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("killed before step %d: %d records are visible, want %d, %v", step, len(got), len(want), err)
		}
	}
}

// TestFileSizeLimit has a process that may write no file larger than a few KB: the error names the limit, nothing is visible.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	_, stderr, err := runChild(t, 0, root, childSize+"=300")
	if err == nil || !strings.Contains(stderr, "file too large") {
		t.Errorf("%v\n%s", err, stderr)
	}
	if got, err := visible(commitlog.OS{}, root); err != nil || len(got) > 0 {
		t.Errorf("visible %q, %v", got, err)
	}
	if _, stderr, err := runChild(t, 0, root); err != nil {
		t.Errorf("without the limit: %v\n%s", err, stderr)
	}
}
