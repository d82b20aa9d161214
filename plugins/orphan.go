package plugins

import (
	"io"
	"os"
)

// endWithHost ends this process when the host has gone, however it went: the host holds the other end of stdin open and
// writes nothing. Where the system has a parent-death signal this comes second; elsewhere, and behind a wrapper script,
// it is what leaves no orphan. A stdin that isn't a pipe says nothing about a host.
func endWithHost(stdin *os.File, exit func(code int)) {
	info, err := stdin.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	go func() { // lives as long as the process
		_, _ = io.Copy(io.Discard, stdin)
		exit(1)
	}()
}
