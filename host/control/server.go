package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

const (
	// fileName is the file in the state folder that names the socket.
	fileName   = "control.json"
	socketName = "control.sock"
	// maxSocketPath is what every system's sockaddr_un holds, with its NUL.
	maxSocketPath = 103
	// statusPath has a version: what is added under another path can't be misread.
	statusPath = "/v1/status"
	retryPath  = "/v1/retry"
	timeout    = 5 * time.Second
)

// address is what control.json holds.
type address struct {
	Socket string `json:"socket"`
	PID    int    `json:"pid"`
}

// Server answers on the control socket until it is closed.
type Server struct {
	http   *http.Server
	dir    string // the socket's folder, made by Serve
	file   string
	socket string
	done   chan struct{}
	err    error // of Serve; valid once done is closed
	close  func() error
}

// Host is what answers. Its functions are called for each question, from any goroutine, and must be quick.
type Host struct {
	Snapshot func() Snapshot
	// Retry ends quarantine and backoff of the named pipelines, of all without a name. nil: the host can't.
	Retry func(ctx context.Context, pipelines []string) []Retried
}

// Serve opens the control socket of the host that holds stateDir's lock. A file or socket that a killed host left behind is replaced. The caller closes the Server.
func Serve(stateDir string, host Host) (*Server, error) {
	dir, err := makeFolder()
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s := &Server{dir: dir, file: filepath.Join(stateDir, fileName), socket: filepath.Join(dir, socketName), done: make(chan struct{})}
	s.close = sync.OnceValue(s.closeAll)
	listener, err := net.Listen("unix", s.socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), os.RemoveAll(dir))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(host.Snapshot()) // the asker may have gone
	})
	if host.Retry != nil {
		mux.HandleFunc("POST "+retryPath, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), timeout/2)
			defer cancel()
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(host.Retry(ctx, r.URL.Query()["pipeline"])) // the asker may have gone
		})
	}
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: timeout, WriteTimeout: timeout, IdleTimeout: timeout}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(samePeer{listener}); !errors.Is(err, http.ErrServerClosed) {
			s.err = err
		}
	}()
	err = os.Chmod(s.socket, 0o700)
	if err == nil {
		removeLeftover(s.file)
		err = writeAddress(s.file, address{Socket: s.socket, PID: os.Getpid()})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), s.Close())
	}
	return s, nil
}

// Socket returns the path of the socket.
func (s *Server) Socket() string { return s.socket }

// Close stops answering and removes the socket. Idempotent.
func (s *Server) Close() error { return s.close() }

func (s *Server) closeAll() error {
	// The file first: who finds it finds the socket too.
	err := os.Remove(s.file)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, s.http.Close())
	<-s.done
	return errors.Join(err, s.err, os.RemoveAll(s.dir))
}

// removeLeftover removes the socket and the folder of a host that was killed, by what it said of them. Whatever else the file may name stays: it
// must be a folder that makeFolder made, of ours and with nothing but a socket in it.
func removeLeftover(file string) {
	text, err := os.ReadFile(file)
	var old address
	if err != nil || json.Unmarshal(text, &old) != nil {
		return
	}
	if !errors.Is(syscall.Kill(old.PID, 0), syscall.ESRCH) {
		return // it lives: the state folder is a copy
	}
	dir, name := filepath.Split(old.Socket)
	info, err := os.Lstat(old.Socket)
	if err != nil || name != socketName || info.Mode().Type() != os.ModeSocket || !strings.HasPrefix(filepath.Base(dir), folderPrefix) {
		return
	}
	if os.Remove(old.Socket) == nil { // others' can't be removed
		_ = os.Remove(dir) // not if it holds more
	}
}

// folderPrefix begins the names of the folders that makeFolder makes.
const folderPrefix = "sluice-"

// makeFolder makes a new folder of our own, 0700, where sockets belong and their paths are short enough.
func makeFolder() (string, error) {
	candidates := []string{os.Getenv("RUNTIME_DIRECTORY"), os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"}
	var errs []error
	for _, base := range candidates {
		base, _, _ = strings.Cut(base, ":") // systemd gives a list when a unit has several
		if !filepath.IsAbs(base) {
			continue
		}
		dir, err := os.MkdirTemp(base, folderPrefix)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(filepath.Join(dir, socketName)) <= maxSocketPath {
			return dir, nil
		}
		errs = append(errs, fmt.Errorf("%s: too long for a socket's path", dir), os.Remove(dir))
	}
	return "", fault.New(fault.Config, "make a folder", "set XDG_RUNTIME_DIR to a short path that can be written", errors.Join(errs...))
}

// writeAddress replaces the file in one step: whoever reads it beside us reads all of the old or the new.
func writeAddress(file string, a address) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	part := file + ".part"
	if err := os.WriteFile(part, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// samePeer accepts connections of the same user (and of root) only.
type samePeer struct{ net.Listener }

// Accept implements net.Listener. Others are hung up on.
func (l samePeer) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(conn)
		if err == nil && (uid == os.Getuid() || uid == 0) {
			return conn, nil
		}
		_ = conn.Close()
	}
}
