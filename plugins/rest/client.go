package rest

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
)

// Defaults of Options.
const (
	DefaultStall = 60 * time.Second // silence after which an answer is given up
	DefaultBlock = 64 << 20         // bytes reserved at a time
)

const (
	dialTimeout = 15 * time.Second
	tlsTimeout  = 15 * time.Second
	// connectTimeout bounds all that comes before a connection can be used: a proxy may take it and say nothing.
	connectTimeout = 60 * time.Second
	idleConn       = 90 * time.Second
	readBuffer     = 64 << 10 // bytes of a connection's read buffer: fewer system calls for small chunks; larger ones go past it
	// settleTimeout bounds what settling adds to the end of a read, which must come within a second of its context's.
	settleTimeout = 500 * time.Millisecond
)

// Options says what a Client talks to and how.
type Options struct {
	// BaseURL is the vendor's scheme and host, perhaps with a path in front of all others. Plain http needs PlainHTTP.
	BaseURL   string
	PlainHTTP bool
	HTTP      plugins.HTTP
	// Header is sent with every request but Now's; credentials belong here.
	Header http.Header
	// Key is the credential that names the budget; it is a secret. Secrets are further texts that no error may hold. The
	// values of Header and the proxy's password are secrets without being named.
	Key     string
	Secrets []string
	// BudgetOrigin names the budget in place of BaseURL's origin: for a vendor that answers a key at several. Empty: BaseURL's.
	BudgetOrigin string
	Gzip         bool          // ask for gzip instead of identity
	Stall        time.Duration // longest silence before and within an answer; 0: DefaultStall
	// Budget is asked before each request with a Limit. Nil: never.
	Budget plugins.Budget
	Share  float64 // of each limit, in (0, 1]; 0: all of it
	Block  uint64  // bytes reserved at a time; 0: DefaultBlock, less for a small limit
	Log    *slog.Logger
	Now    func() time.Time // this machine's clock; nil: time.Now
}

// Client sends requests to one origin. Safe for concurrent use.
type Client struct {
	opts      Options
	base      *url.URL // without a trailing slash in its path
	origin    string
	budgetKey string
	transport *http.Transport
	redact    redactor
}

// New returns a client. It asks nobody. Its errors are of kind Config.
func New(o Options) (*Client, error) {
	if o.Stall == 0 {
		o.Stall = DefaultStall
	}
	if o.Share == 0 {
		o.Share = 1
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	base, err := ParseBaseURL(o.BaseURL, o.PlainHTTP)
	if err != nil {
		return nil, fault.New(fault.Config, "open the vendor's API", "", err)
	}
	c := &Client{opts: o, base: base, origin: Origin(base)}
	c.budgetKey = plugins.BudgetKey(cmp.Or(o.BudgetOrigin, c.origin), o.Key)
	secrets := append([]string{o.Key}, o.Secrets...)
	for _, values := range o.Header {
		secrets = append(secrets, values...)
	}
	proxy, err := parseProxy(o.HTTP.Proxy)
	if err != nil {
		return nil, fault.New(fault.Config, "set the proxy", "http.proxy is a URL such as http://proxy.example.com:3128", err)
	}
	if proxy != nil {
		password, _ := proxy.User.Password()
		secrets = append(secrets, password)
	}
	c.redact = newRedactor(secrets)
	roots, err := roots(o.HTTP.CAPEM)
	if err != nil {
		return nil, fault.New(fault.Config, "trust the certificates of http.ca_file", "the file must hold certificates in PEM", err)
	}
	c.transport = newTransport(o, roots, connectTimeout)
	return c, nil
}

// newTransport returns a transport whose new connections have a deadline, which ready takes away: net/http bounds the handshake with
// a SOCKS proxy only by the request's own.
func newTransport(o Options, pool *x509.CertPool, connect time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(connect)) // fails only if the connection is gone, which its use tells
		}
		return conn, err
	}
	proxy := (&httpproxy.Config{HTTPProxy: o.HTTP.Proxy, HTTPSProxy: o.HTTP.Proxy, NoProxy: o.HTTP.NoProxy}).ProxyFunc()
	return &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		OnProxyConnectResponse: proxyAnswer,
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
		TLSHandshakeTimeout:    tlsTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: o.Stall / 2, PingTimeout: 15 * time.Second},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        idleConn,
		ResponseHeaderTimeout:  o.Stall,
		ReadBufferSize:         readBuffer,
	}
}

// ready is for each request's httptrace.ClientTrace.GotConn: the connection can be used, and what silence is, is the answer's business.
func ready(i httptrace.GotConnInfo) { _ = i.Conn.SetDeadline(time.Time{}) }

// proxyAnswer turns a proxy's refusal to open a tunnel into an error that says so.
func proxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return fault.New(fault.Config, "open a tunnel", "give the proxy's user and password in http.proxy",
			errors.New("the proxy wants credentials (407)"))
	}
	return fault.New(fault.Transient, "open a tunnel", "ask who runs the proxy whether it lets this host through",
		fmt.Errorf("the proxy answers %d", answer.StatusCode))
}

// ParseBaseURL reads a base URL: https (or http, if plain) and a host, perhaps a port and a path, nothing else.
func ParseBaseURL(text string, plain bool) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		// The parser's error repeats the text, which may hold a password.
		return nil, errors.New("the base URL can't be read: want https://HOST[:PORT][/PATH]")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("the base URL holds a user or password: want https://HOST[:PORT][/PATH]")
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("the base URL %q names no host: want https://HOST[:PORT][/PATH]", text)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the base URL holds a query or fragment: want https://HOST[:PORT][/PATH]")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch {
	case u.Scheme == "https", u.Scheme == "http" && plain:
	case u.Scheme == "http":
		return nil, fmt.Errorf("the base URL %q is plain http, which would show the key to the network", text)
	default:
		return nil, fmt.Errorf("the base URL %q has the scheme %q: want https", text, u.Scheme)
	}
	u.Host = strings.ToLower(u.Host)
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// Origin returns a URL's scheme, host and port in lower case, without a default port: what budgets are kept for.
func Origin(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if port := u.Port(); scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return scheme + "://" + host
}

// parseProxy returns nil for an empty text: a direct connection.
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text // as people write it in HTTPS_PROXY
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("the proxy can't be read as a URL")
	}
	if !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, strings.ToLower(u.Scheme)) {
		return nil, fmt.Errorf("the proxy's scheme is %q: want http, https or socks5", u.Scheme)
	}
	return u, nil
}

// roots returns the system's certificates and those of pem; nil, which means the system's, without any.
func roots(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without certificates of its own
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate found")
	}
	return pool, nil
}

// Origin returns the scheme and host that the client talks to.
func (c *Client) Origin() string { return c.origin }

// Excerpt makes a text of the vendor's fit for an error: printable, one line, without secrets, at most size bytes. The text is whole.
func (c *Client) Excerpt(text []byte, size int) string { return c.redact.excerpt(text, size, false) }

// Close closes connections that no answer uses. The client stays usable.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// Now returns the vendor's clock: the Date of the answer that the origin's root gives, whatever its status, asked without
// credentials or budget. An answer without Date is an error of kind Config.
func (c *Client) Now(ctx context.Context) (time.Time, error) {
	const op = "ask the vendor's clock"
	ctx, cancel := context.WithTimeout(ctx, c.opts.Stall)
	defer cancel()
	hooks := &httptrace.ClientTrace{GotConn: ready}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, hooks), http.MethodHead, c.origin+"/", nil)
	if err != nil {
		return time.Time{}, fault.New(fault.Config, op, "check base_url", errors.New("the origin is no URL"))
	}
	c.setHeader(r.Header, nil)
	answer, err := c.transport.RoundTrip(r)
	if err != nil {
		return time.Time{}, c.broken(ctx, op, err)
	}
	// HEAD has no body; a failure to close nothing tells nothing.
	_ = answer.Body.Close()
	date, ok := dateOf(answer.Header)
	if !ok {
		return time.Time{}, fault.New(fault.Config, op,
			"if this machine's clock is right, set `clock: host` on the pipeline to use it instead",
			fmt.Errorf("%s sends no Date", c.origin))
	}
	return date, nil
}

// setHeader sets what every request carries, then more.
func (c *Client) setHeader(h http.Header, more ...http.Header) {
	h.Set("User-Agent", c.opts.HTTP.UserAgent)
	if c.opts.HTTP.UserAgent == "" {
		h.Set("User-Agent", "sluice")
	}
	h.Set("Accept-Encoding", "identity")
	if c.opts.Gzip {
		h.Set("Accept-Encoding", "gzip")
	}
	for _, m := range more {
		for name, values := range m {
			h[http.CanonicalHeaderKey(name)] = values
		}
	}
}
