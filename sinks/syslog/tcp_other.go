//go:build !linux

package syslog

import "net"

// unacknowledged isn't known here: what the other end's closing says has to do.
func unacknowledged(*net.TCPConn) (n int, known bool, err error) { return 0, false, nil }

// peerEnded isn't known here beyond what reading tells.
func peerEnded(*net.TCPConn) (bool, error) { return false, nil }
