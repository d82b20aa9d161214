package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

// kindOfStatus is the table from an HTTP status to the decision it asks for.
func kindOfStatus(status int) fault.Kind {
	switch {
	case status >= 300 && status <= 399:
		return fault.Config // the origin is another: a person must decide to trust it
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Auth
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.NotFound
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return fault.Transient
	case status == http.StatusTooManyRequests:
		return fault.Throttled
	case status >= 400 && status <= 499:
		return fault.Config // the request itself is wrong: 400, 413, 415
	}
	return fault.Transient
}

// StatusError is in the chain of the error of each answer whose status isn't of the 200s.
type StatusError struct {
	Status int
	Text   string    // the vendor's body: at most 2 KiB, printable, without secrets; or why it can't be shown
	Date   time.Time // the vendor's clock in the answer; zero without one
	Told   bool      // the answer told how long to wait, perhaps not at all: that is the error's RetryAfter
}

// Error implements error.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("the vendor answers %d %s", e.Status, http.StatusText(e.Status))
	if e.Text == "" {
		return text
	}
	return text + ": " + e.Text
}

// refusal is the error of an answer whose status isn't of the 200s.
func (a *Answer) refusal() error {
	kind := kindOfStatus(a.Status)
	cause := &StatusError{Status: a.Status, Date: a.Date}
	e := fault.New(kind, a.lease.op, "", cause)
	if a.Status >= 300 && a.Status <= 399 {
		cause.Text = a.redirect()
		return e.WithHint("nothing was sent there, the key neither; if you trust that host, set base_url to it")
	}
	cause.Text = a.excerpt()
	if a.Status == http.StatusProxyAuthRequired {
		e.Hint = "give the proxy's user and password in http.proxy"
	}
	// An answer that asks for patience is obeyed whatever its status: 429 and 503 both may.
	if kind == fault.Throttled || kind == fault.Transient {
		after, said := retryAfter(a.Header, a.lease.client.serverTime(a.Date))
		if !said && kind == fault.Throttled {
			after, said = a.Vendor.Reset, a.Vendor.Reset > 0
		}
		if most := bound(a.lease.limit.Window); said && after > most {
			cause.Text += fmt.Sprintf(" (it asks to wait %v, which is taken as %v)", after, most)
			after = most
		}
		e.RetryAfter, cause.Told = after, said
	}
	return e
}

// redirect says where a redirect points: its origin only, since the rest may repeat secrets.
func (a *Answer) redirect() string {
	target, err := a.response.Location()
	if err != nil {
		return "a redirect without a target"
	}
	if target.Host == "" {
		return "a redirect to no host"
	}
	return "a redirect to " + a.lease.client.redact.text(Origin(&url.URL{Scheme: target.Scheme, Host: target.Host}))
}

// Texts of vendors are cut to excerptSize bytes; more is read, since blanks in them are not shown.
const (
	excerptSize = 2 << 10
	excerptRead = 8 << 10
	drainSize   = 64 << 10 // of a refusal, so that its connection is kept
	excerptTime = 5 * time.Second
)

// excerpt reads the vendor's text of an answer that isn't data.
func (a *Answer) excerpt() string {
	if a.decode() != nil {
		return "(its text is compressed)"
	}
	limit := time.AfterFunc(excerptTime, func() { a.cancel(errStall) })
	defer limit.Stop()
	// Whatever comes is shown; a broken text changes nothing about the status.
	text, err := io.ReadAll(io.LimitReader(a, excerptRead))
	_, _ = io.CopyN(io.Discard, a, drainSize)
	return a.lease.client.redact.excerpt(text, excerptSize, err != nil || len(text) == excerptRead || a.endsByClosing())
}

// ended is the error of a context that ended, with its cause.
func ended(ctx context.Context, op string) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, ctx.Err()) || fault.KindOf(cause) != fault.Unknown {
		return fmt.Errorf("%s: %w", op, cause)
	}
	return fmt.Errorf("%s: %w (%w)", op, ctx.Err(), cause)
}

// broken classifies what kept an answer from coming.
func (c *Client) broken(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ended(ctx, op) // the caller's end, or the budget's failure between two attempts
	}
	var (
		own   *fault.Error
		cert  *tls.CertificateVerificationError
		dns   *net.DNSError
		plain tls.RecordHeaderError
	)
	shown := fmt.Errorf("%s: %w", c.origin, c.redact.err(err))
	var dialled *net.OpError
	switch {
	case errors.As(err, &own):
		return fault.New(own.Kind, op, own.Hint, own)
	case errors.As(err, &dialled) && strings.HasPrefix(dialled.Op, "socks"):
		return fault.New(fault.Transient, op, "the proxy doesn't open the connection: check user and password in http.proxy, and whether it lets this host through", shown)
	case errors.As(err, &dialled) && dialled.Op == "proxyconnect":
		return fault.New(fault.Transient, op, "the proxy can't be reached: check http.proxy, or HTTPS_PROXY in the environment of sluice", shown)
	case errors.As(err, &cert):
		return fault.New(fault.Config, op, "if a proxy of your organisation opens TLS, name its certificate in http.ca_file", shown)
	case errors.As(err, &plain):
		return fault.New(fault.Config, op, "check the scheme and port of base_url or http.proxy", shown)
	case errors.As(err, &dns):
		return fault.New(fault.Transient, op, "check region or base_url, and this machine's DNS", shown)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		shown = fmt.Errorf("%s: the connection was closed without an answer", c.origin)
	}
	if strings.Contains(err.Error(), "timeout awaiting response headers") { // net/http's words, which no type tells
		return fault.New(fault.Transient, op, "raise http.timeout if the vendor needs longer",
			fmt.Errorf("%s: no answer came within %v", c.origin, c.opts.Stall))
	}
	hint := "check the network; a machine behind a proxy needs http.proxy"
	if c.opts.HTTP.Proxy != "" {
		hint = "check the network, and whether the proxy lets this host through"
	}
	return fault.New(fault.Transient, op, hint, shown)
}
