// Package otelcol starts a real OpenTelemetry Collector for tests: OTLP receivers for gRPC and HTTP on loopback, one for the protocol of
// Splunk's HTTP Event Collector if asked, and an exporter whose target is the test itself, which so keeps what arrives and can refuse it.
package otelcol

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-io/sluice/internal/realpart"
)

// Collector is a collector with a folder of its own.
type Collector struct {
	GRPC string // address of the receiver for gRPC
	HTTP string // URL of the receiver for HTTP
	HEC  string // URL of the receiver of Splunk's protocol, if asked for

	CAFile            string // with TLS
	CertFile, KeyFile string // with TLS: good for clients too

	dir, part string
	process   *realpart.Process
	target    *httptest.Server

	drop bool

	mu   sync.Mutex
	got  []*logs.ResourceLogs
	fail int // status that the target answers; 0: it takes everything
}

// Options are what differs from a plain collector.
type Options struct {
	MemoryLimit string // limit_mib and more of the memory limiter, in YAML; empty: none
	TLS         bool   // both receivers speak it; CAFile is what their certificate is verified by
	MaxReceive  int    // most MiB of a gRPC message, 0: the default
	Drop        bool   // the target keeps nothing: Logs stays empty
	HECToken    string // there is a receiver of Splunk's protocol, with acknowledgements, that wants this token; with TLS also a client certificate
}

// Start starts a collector with its own ports and folder, ended with the test.
func Start(t testing.TB, o Options) *Collector {
	t.Helper()
	c := &Collector{dir: t.TempDir(), part: realpart.Installed(t, "otelcol"), drop: o.Drop}
	c.target = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(c.target.Close)
	var err error
	for range 3 { // someone else may take a port before the collector does
		if err = c.configure(o); err != nil {
			t.Fatal(err)
		}
		if err = c.start(t); err == nil {
			return c
		}
	}
	t.Fatal(err)
	return nil
}

func (c *Collector) configure(o Options) error {
	var address [3]string
	for i := range address {
		port, err := realpart.FreePort()
		if err != nil {
			return err
		}
		address[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	c.GRPC, c.HTTP = address[0], "http://"+address[1]
	processors, limiter, tls, most := "", "", "", ""
	receivers, extensions, splunk, client := "otlp", "", "", ""
	if o.MemoryLimit != "" {
		processors, limiter = "processors: {memory_limiter: {check_interval: 100ms, "+o.MemoryLimit+"}}", "memory_limiter"
	}
	if o.TLS {
		if err := realpart.Certificates(c.dir); err != nil {
			return err
		}
		c.CAFile = filepath.Join(c.dir, "ca.pem")
		tls = fmt.Sprintf("tls: {cert_file: %s/cert.pem, key_file: %s/key.pem}", c.dir, c.dir)
		c.HTTP = "https://" + address[1]
		c.CertFile, c.KeyFile = filepath.Join(c.dir, "cert.pem"), filepath.Join(c.dir, "key.pem")
		client = fmt.Sprintf(", client_ca_file: %s/ca.pem}", c.dir)
	}
	if o.HECToken != "" {
		c.HEC = strings.TrimSuffix(c.HTTP, address[1]) + address[2]
		receivers, extensions = "otlp, splunk_hec", "extensions: [ack, bearertokenauth]"
		splunk = fmt.Sprintf(`
  splunk_hec:
    endpoint: %s
    auth: {authenticator: bearertokenauth}
    ack: {extension: ack}
    %s
extensions:
  ack: {}
  bearertokenauth: {scheme: Splunk, token: %q}`, address[2], strings.Replace(tls, "}", client, 1), o.HECToken)
	}
	if o.MaxReceive > 0 {
		most = fmt.Sprintf("max_recv_msg_size_mib: %d", o.MaxReceive)
	}
	text := fmt.Sprintf(`
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: %s
        %s
        %s
      http:
        endpoint: %s
        %s
%s
exporters:
  otlp_http:
    endpoint: %s
    sending_queue: {enabled: false}
    retry_on_failure: {enabled: false}
%s
service:
  telemetry: {metrics: {level: none}}
  %s
  pipelines:
    logs: {receivers: [%s], processors: [%s], exporters: [otlp_http]}
`, address[0], tls, most, address[1], tls, splunk, c.target.URL, processors, extensions, receivers, limiter)
	return os.WriteFile(filepath.Join(c.dir, "config.yaml"), []byte(text), 0o600)
}

func (c *Collector) start(t testing.TB) error {
	cmd := exec.Command(filepath.Join(c.part, "otelcol"), "--config", "file:"+filepath.Join(c.dir, "config.yaml"))
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=", "HTTP_PROXY=", "http_proxy=")
	all := func(ctx context.Context) error {
		if err := realpart.Listens(c.GRPC)(ctx); err != nil {
			return err
		}
		for _, url := range []string{c.HTTP, c.HEC} {
			if _, address, ok := strings.Cut(url, "://"); ok {
				if err := realpart.Listens(address)(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var err error
	c.process, err = realpart.Start(t, cmd, time.Minute, all)
	return err
}

// Kill ends the collector with SIGKILL.
func (c *Collector) Kill() { c.process.Kill() }

// Restart starts it again, on the same ports.
func (c *Collector) Restart(t testing.TB) {
	t.Helper()
	if err := c.start(t); err != nil {
		t.Fatal(err)
	}
}

// Fail lets the collector's own target answer with a status; 0: it takes everything again.
func (c *Collector) Fail(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = status
}

// Logs returns what has arrived behind the collector.
func (c *Collector) Logs() []*logs.ResourceLogs {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*logs.ResourceLogs(nil), c.got...)
}

// Log returns the end of what the collector printed.
func (c *Collector) Log() string { return c.process.Log() }

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	if c.drop {
		_, _ = io.Copy(io.Discard, r.Body) // a sender that has left needs no answer
		w.Header().Set("Content-Type", "application/x-protobuf")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != 0 {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(c.fail)
		return
	}
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		in = z
	}
	body, err := io.ReadAll(in)
	var request collogs.ExportLogsServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.got = append(c.got, request.GetResourceLogs()...)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(http.StatusOK)
}
