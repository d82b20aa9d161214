package commitlog

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameAbsent is for file systems without hard links; linkErr is why a link wasn't possible.
func renameAbsent(oldname, newname string, linkErr error) error {
	err := unix.Renameat2(unix.AT_FDCWD, oldname, unix.AT_FDCWD, newname, unix.RENAME_NOREPLACE)
	switch err {
	case nil:
		return nil
	case unix.EINVAL, unix.ENOSYS, unix.ENOTSUP, unix.EPERM: // neither is possible: the first refusal says more
		return linkErr
	}
	return &os.LinkError{Op: "renameat2", Old: oldname, New: newname, Err: err}
}

// startWriteback asks the kernel to begin writing out a range; it promises nothing, so its failure means nothing.
func startWriteback(f *os.File, offset, n int64) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SyncFileRange(int(fd), offset, n, unix.SYNC_FILE_RANGE_WRITE) })
}

func flock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
