// Package toxiproxy starts Toxiproxy for tests: proxies on free loopback ports that cut, slow and break the connections through them.
// `.ci/parts.sh toxiproxy` installs it.
//
//	s := toxiproxy.Start(t)
//	p := s.Proxy(t, "127.0.0.1:9092")
//	p.Poison(t, toxiproxy.Toxic{Type: "latency", Attributes: map[string]any{"latency": 200}})
//	p.Heal(t)
//
// It imports testing and is for test files only.
package toxiproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-io/sluice/internal/realpart"
)

// Server is a running server. Its methods may be called concurrently.
type Server struct {
	api string // http://127.0.0.1:PORT
}

// Start starts a server that ends with the test, or ends the test as realpart.Need does if none is installed.
func Start(t testing.TB) *Server {
	t.Helper()
	program := filepath.Join(realpart.Installed(t, "toxiproxy"), "toxiproxy")
	var err error
	for range 3 { // a port may be taken between its choice and the start
		var port int
		if port, err = realpart.FreePort(); err != nil {
			t.Fatal(err)
		}
		s := &Server{api: fmt.Sprintf("http://127.0.0.1:%d", port)}
		cmd := exec.Command(program, "-host", "127.0.0.1", "-port", strconv.Itoa(port))
		cmd.Env = []string{"LOG_LEVEL=error"}
		_, err = realpart.Start(t, cmd, time.Minute, func(ctx context.Context) error { return s.call(ctx, http.MethodGet, "/version", nil, nil) })
		if err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// call makes a call of the server's API.
func (s *Server) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.api+path, &body)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy of the environment's
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// Proxy is a way to a server. Its methods are for one goroutine at a time.
type Proxy struct {
	Address string // 127.0.0.1:PORT, where it listens

	server   *Server
	name     string
	upstream string
}

// made counts proxies: a port may be used again, and with it an upstream's address, while the proxy to its last user is there.
var made atomic.Int64

// Proxy makes a way to upstream.
func (s *Server) Proxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{Address: "127.0.0.1:0", server: s, name: fmt.Sprintf("%d-to-%s", made.Add(1), upstream), upstream: upstream}
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Proxy) open() error {
	var made struct{ Listen string }
	in := map[string]any{"name": p.name, "listen": p.Address, "upstream": p.upstream, "enabled": true}
	if err := p.server.call(context.Background(), http.MethodPost, "/proxies", in, &made); err != nil {
		return err
	}
	p.Address = made.Listen
	return nil
}

func (p *Proxy) do(t testing.TB, method, path string, in, out any) {
	t.Helper()
	if err := p.server.call(context.Background(), method, path, in, out); err != nil {
		t.Fatal(err)
	}
}

// Toxic is what is done to what flows through a proxy; Toxiproxy's documentation has the types and their attributes.
type Toxic struct {
	Type       string         `json:"type"`
	Upstream   bool           `json:"-"` // to the server instead of from it
	Attributes map[string]any `json:"attributes"`
}

// Poison adds a toxic, for the connections that there are too.
func (p *Proxy) Poison(t testing.TB, x Toxic) {
	t.Helper()
	stream := "downstream"
	if x.Upstream {
		stream = "upstream"
	}
	name := x.Type + "-" + stream
	p.do(t, http.MethodPost, "/proxies/"+p.name+"/toxics", map[string]any{
		"name": name, "type": x.Type, "stream": stream, "attributes": x.Attributes,
	}, nil)
}

// Cut closes all connections and refuses others, until Heal.
func (p *Proxy) Cut(t testing.TB) {
	t.Helper()
	p.do(t, http.MethodPost, "/proxies/"+p.name, map[string]any{"enabled": false}, nil)
}

// Heal closes all connections and makes the way anew, at the same address: those that have lost bytes must not go on without them. (Toxics
// that are taken away one by one wait for what is on its way through them, which may take longer than the server answers calls for.)
func (p *Proxy) Heal(t testing.TB) {
	t.Helper()
	p.do(t, http.MethodDelete, "/proxies/"+p.name, nil, nil)
	var err error
	for range 20 { // the port may be another's for a moment: that of a client's connection
		if err = p.open(); err == nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatal(err)
}
