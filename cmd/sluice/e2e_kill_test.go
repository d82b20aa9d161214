package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/sluice-io/sluice/host/pipeline"
)

// killEnv holds where a sluice with hooks ends itself with SIGKILL, as STEP:N: when the step is reached for the Nth time.
const killEnv = "SLUICE_TEST_KILL"

// killStep returns the hook that killEnv asks for, nil for an empty one.
func killStep(at string) func(pipeline.Step) {
	if at == "" {
		return nil
	}
	name, count, _ := strings.Cut(at, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s=%s: %v\n", killEnv, at, err)
		os.Exit(99)
	}
	var reached atomic.Int64
	return func(s pipeline.Step) {
		if string(s) == name && reached.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal comes at any moment
		}
	}
}
