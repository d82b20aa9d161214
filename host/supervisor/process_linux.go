package supervisor

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes puts a plugin into a process group of its own and has the kernel kill it when the thread that started it
// ends: the goroutine that starts a plugin stays locked to its thread for the plugin's life.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// timerSlack is how late, in nanoseconds, a plugin's timers may fire. A plugin waits for sockets, not for times that matter to a
// millisecond. But the Go runtime's monitor thread sleeps 20 microseconds at a time while there is work, which with the
// system's slack of 50 makes some ten thousand wake-ups a second: several hundredths of a CPU that carries records.
const timerSlack = 1_000_000

// easeTimers gives processes that this thread starts the timer slack, until restore is called on the same thread: the caller
// holds it by runtime.LockOSThread.
func easeTimers() (restore func()) {
	// Its failure costs only CPU.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0)
	return func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) } // 0: the thread's default
}

// awaitExit returns when the child has ended and isn't reaped yet: its number is still its own, so its group can be killed
// without hitting a stranger. False means that the system can't tell.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

// peer is who holds the other end of a unix socket.
type peer struct {
	uid int
	pid int // 0: the system doesn't tell
}

func peerOf(raw syscall.RawConn) (peer, error) {
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return peer{}, err
	}
	if credErr != nil {
		return peer{}, os.NewSyscallError("getsockopt SO_PEERCRED", credErr)
	}
	return peer{uid: int(cred.Uid), pid: int(cred.Pid)}, nil
}

// selfPath returns a path that runs this very program, even if its file has been replaced or removed since the start.
func selfPath() (string, error) {
	const running = "/proc/self/exe"
	path, err := os.Executable()
	runningInfo, runningErr := os.Stat(running)
	if runningErr != nil {
		return path, err
	}
	if err == nil {
		// The file's own name is kept while it is the right one: it is what people see in ps.
		if info, err := os.Stat(path); err == nil && os.SameFile(info, runningInfo) {
			return path, nil
		}
	}
	return running, nil
}
