package secure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

// pair returns a certificate for localhost that is good from one time to another, signed by itself.
func pair(t *testing.T, from, to time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: c}
}

func trusting(c tls.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Leaf)
	return p
}

// TestExplain makes each error by a real handshake, as its type and as text alone.
func TestExplain(t *testing.T) {
	now := time.Now()
	good, expired, unborn := pair(t, now.Add(-time.Hour), now.Add(time.Hour)), pair(t, now.Add(-2*time.Hour), now.Add(-time.Hour)), pair(t, now.Add(time.Hour), now.Add(2*time.Hour))
	client := func(c tls.Certificate) *tls.Config { return &tls.Config{RootCAs: trusting(c), ServerName: "localhost"} }
	mutual := func(c tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusting(c)}
	}
	with := func(c tls.Certificate) *tls.Config {
		all := client(good)
		all.Certificates = []tls.Certificate{c}
		return all
	}
	name := client(good)
	name.ServerName = "splunk.example.com"
	address := client(good)
	address.ServerName = "127.0.0.1"
	old := &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}
	strict := client(good)
	strict.MinVersion = tls.VersionTLS13
	for _, tt := range []struct {
		name           string
		server, client *tls.Config
		want           string
	}{
		{"expired", &tls.Config{Certificates: []tls.Certificate{expired}}, client(expired), "isn't valid at this time"},
		{"not yet valid", &tls.Config{Certificates: []tls.Certificate{unborn}}, client(unborn), "isn't valid at this time"},
		{"other name", &tls.Config{Certificates: []tls.Certificate{good}}, name, "tls.server_name"},
		{"address", &tls.Config{Certificates: []tls.Certificate{good}}, address, "tls.server_name"},
		{"unknown authority", &tls.Config{Certificates: []tls.Certificate{good}}, &tls.Config{RootCAs: trusting(expired), ServerName: "localhost"}, "tls.ca_file"},
		{"plain port", nil, client(good), "doesn't speak TLS"},
		{"no client certificate", mutual(good), client(good), "tls.cert_file and tls.key_file"},
		{"unknown client", mutual(expired), with(good), "tls.cert_file and tls.key_file"},
		{"expired client", mutual(expired), with(expired), "tls.cert_file"},
		{"version", old, strict, "version of TLS"},
		{"no certificate of that name", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}, client(good), "tls.server_name"},
	} {
		err := talk(t, tt.server, tt.client)
		for _, err := range []error{err, errors.New("rpc error: " + err.Error())} {
			got := Explain("connect", err)
			if fault.KindOf(got) != fault.Config || !strings.Contains(fault.HintOf(got), tt.want) {
				t.Errorf("%s: %v: hint %q, want %q", tt.name, err, fault.HintOf(got), tt.want)
			}
		}
	}
	// A server that is in trouble says so by an alert too, and no setting is to blame.
	trouble := talk(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("too busy") }}, client(good))
	for _, err := range []error{nil, io.EOF, errors.New("connect: connection refused"), trouble, errors.New("remote error: tls: bad record MAC")} {
		if got := Explain("connect", err); got != nil {
			t.Errorf("%v: %v, want nothing", err, got)
		}
	}
}

// talk has a client ask a server over TLS and returns the client's error; a server without settings speaks plain HTTP.
func talk(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if server == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		} else if s := tls.Server(c, server); s.Handshake() == nil {
			_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		_, _ = io.Copy(io.Discard, c) // what is left unread would reset the connection, and the answer with it
	}()
	transport := &http.Transport{TLSClientConfig: client}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("they understand each other")
	}
	_ = l.Close()
	<-done
	return err
}
