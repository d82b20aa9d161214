//go:build darwin || freebsd

package supervisor

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// peer is who holds the other end of a unix socket.
type peer struct {
	uid int
	pid int // 0: the system doesn't tell
}

func peerOf(raw syscall.RawConn) (peer, error) {
	var cred *unix.Xucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	}); err != nil {
		return peer{}, err
	}
	if credErr != nil {
		return peer{}, os.NewSyscallError("getsockopt LOCAL_PEERCRED", credErr)
	}
	return peer{uid: int(cred.Uid)}, nil
}
