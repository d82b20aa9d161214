package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// childEnv makes the test binary a host of the state folder that it names, until it is killed.
const childEnv = "CONTROL_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if _, err := Serve(dir, Host{Snapshot: func() Snapshot { return Snapshot{PID: os.Getpid()} }}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("ready")
		select {}
	}
	goleak.VerifyTestMain(m)
}

func TestQuery(t *testing.T) {
	state, runtime := t.TempDir(), shortDir(t)
	t.Setenv("RUNTIME_DIRECTORY", runtime+":/other")
	if _, err := Query(t.Context(), state); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("before: %v", err)
	}
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	want := Snapshot{
		PID: os.Getpid(), Version: "v1", Started: at, At: at.Add(time.Minute),
		Pipelines: []Pipeline{{Name: "prod", State: "running", Slices: []Slice{{
			ID: "00", Pipeline: "prod", Source: "rapid7-download", Stream: "events", Partition: "log-1", From: at, To: at.Add(time.Hour),
			Attempt: 2, State: "backoff", WaitsFor: "budget until 14:15", Rows: 1, Bytes: 2, LastByte: at, CreditUsed: 3, CreditSize: 4,
			Sinks: []string{"lake"}, Error: "reset",
		}}}},
		Budgets: []Budget{{Key: "k", Namespace: "download", Window: time.Minute, UsedRequests: 5, LimitRequests: 6}},
	}
	s, err := Serve(state, Host{Snapshot: func() Snapshot { return want }})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Query(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	if rel, err := filepath.Rel(runtime, s.Socket()); err != nil || strings.HasPrefix(rel, "..") {
		t.Errorf("the socket is %s, want it under %s", s.Socket(), runtime)
	}
	for path, mode := range map[string]os.FileMode{
		s.Socket(): 0o700, filepath.Dir(s.Socket()): 0o700, filepath.Join(state, fileName): 0o600,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", path, st, err, mode)
		}
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Query(t.Context(), state); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after: %v", err)
	}
	left, err := os.ReadDir(runtime)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestRetry: the question carries the names, and a host that can't is told from one that did.
func TestRetry(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", shortDir(t))
	state := t.TempDir()
	if _, err := Retry(t.Context(), state, nil); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("without a host: %v", err)
	}
	var asked []string
	for _, host := range []Host{
		{Snapshot: func() Snapshot { return Snapshot{} }},
		{Snapshot: func() Snapshot { return Snapshot{} }, Retry: func(_ context.Context, names []string) []Retried {
			asked = names
			return []Retried{{Pipeline: "a&b", Quarantined: 1, Waits: 2, Partitions: 3, Sinks: 4}}
		}},
	} {
		s, err := Serve(state, host)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Retry(t.Context(), state, []string{"a&b", "c"})
		if (err == nil) != (host.Retry != nil) {
			t.Errorf("got %v, %v", got, err)
		}
		if host.Retry != nil && (len(got) != 1 || got[0].Sinks != 4 || !cmp.Equal(asked, []string{"a&b", "c"})) {
			t.Errorf("asked for %q, got %+v", asked, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestKilledHost: a socket without a host is no host, and the next one takes its place.
func TestKilledHost(t *testing.T) {
	state := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("XDG_RUNTIME_DIR", shortDir(t))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+state)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil {
		t.Fatal(err)
	}
	got, err := Query(t.Context(), state)
	if err != nil || got.PID != cmd.Process.Pid {
		t.Errorf("child: %+v, %v", got, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if _, err := Query(t.Context(), state); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the kill: %v", err)
	}
	s, err := Serve(state, Host{Snapshot: func() Snapshot { return Snapshot{PID: 7} }})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Query(t.Context(), state); err != nil || got.PID != 7 {
		t.Errorf("the next host: %+v, %v", got, err)
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "sluice-*")); err != nil || len(left) != 1 {
		t.Errorf("folders of sockets: %v, %v, want the next host's alone", left, err)
	}
	// Of a copy of the state folder the socket isn't one's own to remove, while its host lives.
	copied := t.TempDir()
	if err := os.WriteFile(filepath.Join(copied, fileName), must(os.ReadFile(filepath.Join(state, fileName))), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := Serve(copied, Host{Snapshot: func() Snapshot { return Snapshot{PID: 8} }})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Query(t.Context(), state); err != nil || got.PID != 7 {
		t.Errorf("beside a copy: %+v, %v", got, err)
	}
	if err := errors.Join(other.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestQueryErrors(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket) // it never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, tt := range []struct{ name, file string }{
		{"not JSON", "socket"},
		{"no answer", `{"socket":"` + socket + `"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := t.TempDir()
			if err := os.WriteFile(filepath.Join(state, fileName), []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := Query(ctx, state); err == nil || errors.Is(err, ErrNotRunning) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFolderForLongPaths(t *testing.T) {
	long := filepath.Join(shortDir(t), strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	short := shortDir(t)
	t.Setenv("RUNTIME_DIRECTORY", "/nowhere")
	t.Setenv("XDG_RUNTIME_DIR", long)
	t.Setenv("TMPDIR", short)
	dir, err := makeFolder()
	if err != nil || filepath.Dir(dir) != short {
		t.Errorf("got %q, %v, want it in %s", dir, err, short)
	}
	if left, err := os.ReadDir(long); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPeerUID(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := samePeer{l}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if uid, err := peerUID(conn); err != nil || uid != os.Getuid() {
		t.Errorf("peer is %d, %v", uid, err)
	}
}

// shortDir is a folder whose path leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "slc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
