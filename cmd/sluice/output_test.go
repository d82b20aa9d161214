package main

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// failing is a standard output that can't be written to.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestOutputThatCanNotBeWritten ends a command as a failure, whatever prints; that a reader has seen enough is none.
func TestOutputThatCanNotBeWritten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		code int
		says string
	}{
		{"full", &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}, exitFailed, "no space left"},
		{"any other", errors.New("torn"), exitFailed, "standard output: torn"},
		{"nobody reads", &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}, exitOK, ""},
	} {
		for _, args := range [][]string{{"version"}, {"version", "--json"}, {"schema"}, {"plugin", "list"}, {"init", "-o", "-", "--offline"}} {
			t.Run(tt.name+"/"+strings.Join(args, " "), func(t *testing.T) {
				var stderr bytes.Buffer
				code := execute(t.Context(), args, strings.NewReader(""), failing{tt.err}, &stderr)
				if code != tt.code || !strings.Contains(stderr.String(), tt.says) || strings.Contains(stderr.String(), "broken pipe") {
					t.Errorf("exit %d, want %d; %q", code, tt.code, stderr.String())
				}
			})
		}
	}
}
