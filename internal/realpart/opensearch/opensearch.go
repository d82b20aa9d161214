// Package opensearch starts OpenSearch for tests: one node on a free loopback port, with a data folder of its own. It takes half a
// minute, so a test binary starts one. `.ci/parts.sh opensearch` installs it.
//
//	s := opensearch.Start(t)
//	resp, err := http.Get(s.URL)
//	s.Kill()
//	s.Restart(t)
//
// It imports testing and is for test files only.
package opensearch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-io/sluice/internal/realpart"
)

// readyWithin is generous: a loaded machine with two cores takes a minute and a half.
const readyWithin = 5 * time.Minute

// Server is a running node. Its methods are for one goroutine at a time.
type Server struct {
	URL string

	t    testing.TB // the server ends with it
	part string
	java string
	dir  string
	port int
	proc *realpart.Process
}

// Start starts a server that ends with the test, or ends the test as realpart.Need does if OpenSearch isn't installed.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, part: realpart.Installed(t, "opensearch"), java: realpart.Need(t, "java", "apt-get install openjdk-17-jdk-headless"), dir: t.TempDir()}
	var err error
	for range 3 { // a port may be taken between its choice and the start
		if s.port, err = realpart.FreePort(); err != nil {
			t.Fatal(err)
		}
		s.URL = "http://127.0.0.1:" + strconv.Itoa(s.port)
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func (s *Server) start() error {
	cmd := exec.Command(s.java, append(realpart.Java(s.part), "-Xms512m", "-Xmx512m",
		"-cp", filepath.Join(s.part, "libs", "*"), "Node", s.dir, strconv.Itoa(s.port))...)
	cmd.Dir = s.dir
	var err error
	s.proc, err = realpart.Start(s.t, cmd, readyWithin, func(ctx context.Context) error {
		var health struct {
			Cluster string `json:"cluster_name"`
			Status  string `json:"status"`
		}
		if err := s.get(ctx, "/_cluster/health", &health); err != nil {
			return err
		}
		if health.Cluster != "sluice-test" || health.Status == "red" {
			return fmt.Errorf("cluster %s is %s", health.Cluster, health.Status)
		}
		return nil
	})
	return err
}

func (s *Server) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() { s.proc.Kill() }

// Restart starts a server that was killed, on the same port. It ends with the test that it was first started for.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	var err error
	for range 3 { // another process may have the port for a moment
		if err = s.start(); err == nil {
			return
		}
	}
	t.Fatal(err)
}
