package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
)

// ErrNotRunning says that no host answers for the state; a socket that a killed host left behind is no host.
var ErrNotRunning = errors.New("no run holds this state")

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// Query asks the host that holds stateDir what it is doing, for at most 5 s. ErrNotRunning if there is none.
func Query(ctx context.Context, stateDir string) (Snapshot, error) {
	var snap Snapshot
	err := ask(ctx, stateDir, http.MethodGet, statusPath, &snap)
	return snap, err
}

// Retry tells the host that holds stateDir to end quarantine and backoff of the named pipelines, of all without a name.
// ErrNotRunning if there is no host.
func Retry(ctx context.Context, stateDir string, pipelines []string) ([]Retried, error) {
	var all []Retried
	err := ask(ctx, stateDir, http.MethodPost, retryPath+"?"+url.Values{"pipeline": pipelines}.Encode(), &all)
	return all, err
}

// ask asks a question and decodes the answer into out.
func ask(ctx context.Context, stateDir, method, path string, out any) error {
	text, err := os.ReadFile(filepath.Join(stateDir, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	var a address
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("control socket: %s: %w", fileName, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, a.Socket)
		},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://sluice"+path, nil)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if gone(err) {
		return ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("control socket %s: %w", a.Socket, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("control socket %s: %s", a.Socket, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("control socket %s: answer: %w", a.Socket, err)
	}
	return nil
}

// dial connects and makes sure that the other end is ours: a path in a folder for all could be taken by someone else after our host
// has gone.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	uid, err := peerUID(conn)
	if err == nil && uid != os.Getuid() && os.Getuid() != 0 && uid != 0 {
		err = fmt.Errorf("it is served by user %d", uid)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// gone reports whether nobody listens: no file, or one that a killed host left behind.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
