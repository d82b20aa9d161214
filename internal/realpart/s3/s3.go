// Package s3 starts an S3 server for tests: the Versity S3 Gateway over a folder of its own, on a free loopback port.
// `.ci/parts.sh versitygw` installs it.
//
//	s := s3.Start(t, "bucket")
//	s.Kill()
//	s.Restart(t)
//
// It imports testing and is for test files only.
package s3

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-io/sluice/internal/realpart"
)

// AccessKey and SecretKey are what the server takes, Region is where it says to be.
const (
	AccessKey = "sluice-test"
	SecretKey = "not-a-secret"
	Region    = "eu-central-1"
)

// readyWithin is generous: a loaded machine takes seconds.
const readyWithin = 2 * time.Minute

// Server is a running server. Its methods are for one goroutine at a time.
type Server struct {
	Endpoint string // http://127.0.0.1:PORT

	program, dir, address string
	proc                  *realpart.Process
}

// Start starts a server with one bucket that ends with the test, or ends the test as realpart.Need does if none is installed.
func Start(t testing.TB, bucket string) *Server {
	t.Helper()
	s := &Server{program: filepath.Join(realpart.Installed(t, "versitygw"), "versitygw"), dir: folder(t)}
	if err := os.MkdirAll(s.Data(bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 3 { // a port may be taken between its choice and the start
		var port int
		if port, err = realpart.FreePort(); err != nil {
			t.Fatal(err)
		}
		s.address = fmt.Sprintf("127.0.0.1:%d", port)
		s.Endpoint = "http://" + s.address
		if err = s.start(t); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// Data returns the folder in which a bucket's objects lie as files, for tests that read them past the server.
func (s *Server) Data(bucket string) string { return filepath.Join(s.dir, "data", bucket) }

// folder returns one on a file system with extended attributes: the server keeps there what an object has beside its bytes, and makes
// both visible in one step. Without them a server that is killed leaves objects that are there and can't be read.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if unix.Setxattr(dir, "user.sluice.probe", []byte("x"), 0) == nil {
		return dir
	}
	dir, err := os.MkdirTemp("/dev/shm", "sluice-s3-")
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		err = unix.Setxattr(dir, "user.sluice.probe", []byte("x"), 0)
	}
	if err != nil {
		realpart.Missing(t, "a file system with extended attributes", "set TMPDIR to a folder of ext4, xfs or btrfs")
	}
	return dir
}

func (s *Server) start(t testing.TB) (err error) {
	t.Helper()
	cmd := exec.Command(s.program, "--port", s.address, "--region", Region, "--quiet", "posix", s.Data(""))
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	s.proc, err = realpart.Start(t, cmd, readyWithin, s.ready)
	return err
}

// ready asks for anything: that the request isn't signed is told by a server that is up.
func (s *Server) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() { s.proc.Kill() }

// Pid returns the server's process ID.
func (s *Server) Pid() int { return s.proc.Pid() }

// Restart starts a server that has ended, on the same port and data, and returns when it takes requests.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.Again(t); err != nil {
		t.Fatal(err)
	}
}

// Again is Restart for a goroutine that isn't the test's own.
func (s *Server) Again(t testing.TB) error {
	t.Helper()
	return s.start(t)
}
