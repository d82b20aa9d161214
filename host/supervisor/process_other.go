//go:build !linux

package supervisor

import (
	"os"
	"syscall"
)

// processAttributes puts a plugin into a process group of its own. These systems have no parent-death signal: a plugin sees
// the end of its standard input instead.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// awaitExit returns false: the child's number can't be kept while its group is killed.
func awaitExit(int) bool { return false }

func selfPath() (string, error) { return os.Executable() }

// easeTimers does nothing: a timer's slack is Linux's.
func easeTimers() (restore func()) { return func() {} }
