package splunkhec

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/sluice-io/sluice/proto/fault"
)

// answerLimit bounds what is read of an answer.
const answerLimit = 1 << 20

// patience is how long a request is held back in all because the collector is busy, before its slice gives up and comes again.
const patience = 30 * time.Second

// Codes of the collector that something is decided by.
const (
	codeNoData      = 5
	codeInvalid     = 6
	codeIndex       = 7
	codeNoChannel   = 10
	codeNoEvent     = 12
	codeBlank       = 13
	codeAckDisabled = 14
	codeFields      = 15
)

// errRefused is a request with an event that the collector doesn't take; errTooLarge is one beyond its limit.
var (
	errRefused  = errors.New("the collector refuses an event")
	errTooLarge = errors.New("the request is too large for the collector")
)

// client talks to one collector. It is safe for concurrent use.
type client struct {
	settings settings
	agent    string
	http     *http.Client
}

func newClient(s settings, base, version string) (*client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	if s.https {
		var err error
		if t.TLSClientConfig, err = s.TLS.Config(base); err != nil {
			return nil, err
		}
	}
	jar, err := cookiejar.New(nil) // a load balancer's stickiness: acknowledgements are asked where the events went
	if err != nil {
		return nil, err
	}
	return &client{settings: s, agent: "sluice/" + version, http: &http.Client{
		Transport: t, Jar: jar,
		// A redirect would take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// reply is an answer of the collector.
type reply struct {
	Text  string          `json:"text"`
	Code  int             `json:"code"`
	AckID *int64          `json:"ackId"`
	Event *int            `json:"invalid-event-number"`
	Acks  map[string]bool `json:"acks"`
}

// post sends a body to a path and returns the answer; one other than 200 is an error too.
func (c *client) post(ctx context.Context, path, channel string, body []byte, pack bool) (reply, error) {
	op := "send to the collector " + c.settings.base
	var out reply
	limited, cancel := context.WithTimeout(ctx, time.Duration(c.settings.Timeout))
	defer cancel()
	if pack = pack && c.settings.Compression == "gzip"; pack {
		var packed bytes.Buffer
		z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // a level that there is
		_, _ = z.Write(body)                                 // a buffer takes everything
		_ = z.Close()
		body = packed.Bytes()
	} else {
		body = bytes.Clone(body) // it may be read still when the answer has come
	}
	r, err := http.NewRequestWithContext(limited, http.MethodPost, c.settings.base+path, bytes.NewReader(body))
	if err != nil {
		return out, fault.New(fault.Config, op, "endpoint is https://HOST:PORT", err)
	}
	r.Header.Set("Authorization", "Splunk "+string(c.settings.Token))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", c.agent)
	if channel != "" {
		r.Header.Set("X-Splunk-Request-Channel", channel)
	}
	if pack {
		r.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		return out, connectError(op, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		return out, connectError(op, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		out = reply{}
		if resp.StatusCode/100 == 2 {
			return out, fault.New(fault.Config, op, "does the endpoint lead to a Splunk HTTP Event Collector (port 8088 by custom)?", fmt.Errorf("it answers %s without JSON", resp.Status))
		}
	}
	if resp.StatusCode == http.StatusOK {
		return out, nil
	}
	return out, statusError(op, resp, out)
}

func connectError(op string, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "x509: certificate is valid for"), strings.Contains(text, "x509: certificate is not valid for"):
		return fault.New(fault.Config, op, "tls.server_name is the name that the certificate must have", err)
	case strings.Contains(text, "x509:"):
		return fault.New(fault.Config, op, "tls.ca_file names the certificates that are trusted", err)
	case strings.Contains(text, "server gave HTTP response to HTTPS client"), strings.Contains(text, "first record does not look like a TLS handshake"):
		return fault.New(fault.Config, op, "the port doesn't speak TLS: the endpoint begins with http:// then", err)
	}
	var alert tls.AlertError
	if errors.As(err, &alert) {
		return fault.New(fault.Config, op, "the collector wants another client certificate: tls.cert_file and tls.key_file", err)
	}
	return fault.New(fault.Transient, op, "is Splunk running there with the collector enabled, and does a firewall let it through?", err)
}

// statusError is what an answer other than 200 asks for.
func statusError(op string, resp *http.Response, r reply) error {
	err := fmt.Errorf("it answers %s, code %d: %q", resp.Status, r.Code, r.Text)
	var after time.Duration
	if n, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && n >= 0 {
		after = time.Duration(min(n, 24*60*60)) * time.Second
	}
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.New(fault.Auth, op, "is the token right, of this collector, and enabled?", err)
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return fault.New(fault.Throttled, op, "", err).After(after)
	case status == http.StatusRequestEntityTooLarge:
		return fault.New(fault.Config, op, "make batch_size smaller, or the collector's max_content_length larger", fmt.Errorf("%w: %w", errTooLarge, err))
	case status/100 == 5, status == http.StatusRequestTimeout:
		return fault.New(fault.Transient, op, "", err).After(after)
	}
	switch r.Code {
	case codeInvalid, codeNoEvent, codeBlank, codeFields:
		return fault.New(fault.Corrupt, op, "", fmt.Errorf("%w: %w", errRefused, err))
	case codeIndex:
		return fault.New(fault.Config, op, "does the index exist, and is it among the token's indexes?", err)
	case codeNoChannel:
		return fault.New(fault.Config, op, "the token has indexer acknowledgement on: set `ack: true`", err)
	case codeAckDisabled:
		return fault.New(fault.Config, op, "turn indexer acknowledgement on for the token, or set `ack: false`, which promises less", err)
	}
	return fault.New(fault.Config, op, "does the endpoint lead to a Splunk HTTP Event Collector (port 8088 by custom)?", err)
}

// send sends events, again while the collector is busy.
func (c *client) send(ctx context.Context, channel string, events []byte) (reply, error) {
	var waited time.Duration
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		r, err := c.post(ctx, "/services/collector/event", channel, events, true)
		wait := max(pause, fault.RetryAfterOf(err))
		if fault.KindOf(err) != fault.Throttled || waited+wait > patience {
			return r, err
		}
		waited += wait
		if err := sleep(ctx, wait); err != nil {
			return r, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// acks asks which requests are indexed; a true is said once.
func (c *client) acks(ctx context.Context, channel string, ids []int64) (map[string]bool, error) {
	body, err := json.Marshal(map[string][]int64{"acks": ids})
	if err != nil {
		return nil, err
	}
	r, err := c.post(ctx, "/services/collector/ack", channel, body, false)
	return r.Acks, err
}

// newChannel returns a channel's name, a random GUID.
func newChannel() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
