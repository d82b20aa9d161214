package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/proto/fault"
)

// checkClosed refuses to print records on a standard output that was closed when the process started, where they would be lost without an
// error: see closedAtStart.
func (a *app) checkClosed(pipelines []*config.Pipeline, sel selection) error {
	if out, ok := a.stdout.(*os.File); !ok || !printsRecords(pipelines, sel) || !closedAtStart(out) {
		return nil
	}
	return failedError(fault.New(fault.Config, "print records", "give it a file, a pipe or, to throw the records away, >/dev/null",
		errors.New("standard output is closed")))
}

// printsRecords reports whether a chosen sink is standard output.
func printsRecords(pipelines []*config.Pipeline, sel selection) bool {
	for _, p := range pipelines {
		for _, s := range p.Sinks {
			if s.Type == "stdout" && chosen(sel.sinks, s.Name) {
				return true
			}
		}
	}
	return false
}

// closedAtStart reports whether a standard stream was closed when the process started. Go opens the null device in its place, so that no
// other file gets its number: for reading and writing, where a shell's >/dev/null is for writing alone. A parent that opens it for both
// is taken for one that closed it.
func closedAtStart(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = conn.Control(func(fd uintptr) {
		var is, null unix.Stat_t
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil || unix.Fstat(int(fd), &is) != nil {
			closed = errors.Is(err, unix.EBADF)
			return
		}
		closed = unix.Stat(os.DevNull, &null) == nil && is.Mode&unix.S_IFMT == unix.S_IFCHR && is.Rdev == null.Rdev &&
			flags&unix.O_ACCMODE == unix.O_RDWR
	})
	return closed || err != nil
}
