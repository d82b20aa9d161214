package syslog

import (
	"net"

	"golang.org/x/sys/unix"
)

// control asks the system about a connection. A connection that was reset answers with that error.
func control(c *net.TCPConn, ask func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var asked error
	err = raw.Control(func(fd uintptr) {
		var errno int
		if errno, asked = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); asked == nil && errno != 0 {
			asked = unix.Errno(errno)
		}
		if asked == nil {
			asked = ask(int(fd))
		}
	})
	if err != nil {
		return err
	}
	return asked
}

// unacknowledged returns how many of the bytes sent, the end of the stream counted as one, the other machine has not acknowledged. An
// error is the connection's own, such as a reset.
func unacknowledged(c *net.TCPConn) (n int, known bool, err error) {
	err = control(c, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n, true, err
}

// peerEnded reports whether the other machine has sent its end of the stream.
func peerEnded(c *net.TCPConn) (ended bool, err error) {
	err = control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		ended = err == nil && info.State != unix.BPF_TCP_ESTABLISHED
		return err
	})
	return ended, err
}
