//go:build unix && !linux

package commitlog

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameAbsent has no portable form: the link's refusal stands.
func renameAbsent(_, _ string, linkErr error) error { return linkErr }

func startWriteback(*os.File, int64, int64) {}

func flock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
