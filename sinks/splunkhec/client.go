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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/sending"
)

// answerLimit bounds what is read of an answer.
const answerLimit = 1 << 20

// Codes of the collector that something is decided by, as Splunk lists them ("Troubleshoot HTTP Event Collector", possible error codes).
// Some come with statuses that say less: 21 and 22 with 400, 24 and 25, which only warn, with 200.
const (
	codeSuccess       = 0
	codeDisabled      = 1
	codeNoToken       = 2
	codeAuthorization = 3
	codeToken         = 4
	codeNoData        = 5
	codeInvalid       = 6
	codeIndex         = 7
	codeNoChannel     = 10
	codeChannel       = 11
	codeNoEvent       = 12
	codeBlank         = 13
	codeAckDisabled   = 14
	codeFields        = 15
	codeQueryToken    = 16
	codeToken2        = 21
	codeDisabled2     = 22
	codeQueueNearFull = 24
	codeAckNearFull   = 25
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
	busy     *sending.Busy
}

func newClient(s settings, c sinks.Config) (*client, error) {
	var secured *tls.Config
	if s.https {
		var err error
		if secured, err = s.TLS.Config(c.Base); err != nil {
			return nil, err
		}
	}
	jar, err := cookiejar.New(nil) // a load balancer's stickiness: acknowledgements are asked where the events went
	if err != nil {
		return nil, err
	}
	k := sending.Client(secured)
	k.Jar = jar
	return &client{settings: s, agent: "sluice/" + c.Sluice, http: k, busy: &sending.Busy{Log: c.Log}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// reply is an answer of the collector.
type reply struct {
	Text  string          `json:"text"`
	Code  *int            `json:"code"` // nil: it has none
	AckID *int64          `json:"ackId"`
	Event *int            `json:"invalid-event-number"`
	Acks  map[string]bool `json:"acks"`
}

// is reports whether the collector answered with one of some codes.
func (r reply) is(codes ...int) bool { return r.Code != nil && slices.Contains(codes, *r.Code) }

// post sends a body to a path and returns the answer; one other than 200 is an error too.
func (c *client) post(ctx context.Context, path, channel string, body []byte, pack bool) (reply, error) {
	op := "send to the collector " + c.settings.base
	var out reply
	limited, cancel := context.WithTimeout(ctx, time.Duration(c.settings.Timeout))
	defer cancel()
	if pack = pack && c.settings.Compression == "gzip"; pack {
		body = sending.Pack(body)
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
		return out, c.connectError(op, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		return out, c.connectError(op, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		out = reply{}
	}
	// Some servers say what they were sent, and errors say what they answer.
	token := string(c.settings.Token)
	out.Text, text = strings.ReplaceAll(out.Text, token, "***"), bytes.ReplaceAll(text, []byte(token), []byte("***"))
	if resp.StatusCode/100 == 2 {
		return out, accepted(op, resp, out, text)
	}
	return out, statusError(op, resp, out, text)
}

// accepted checks an answer of success: a load balancer, a login page and a collector's refusal say 200 too.
func accepted(op string, resp *http.Response, r reply, text []byte) error {
	switch {
	case resp.StatusCode == http.StatusOK && (r.Acks != nil || r.is(codeSuccess, codeQueueNearFull, codeAckNearFull)):
		return nil
	case r.Code != nil:
		return statusError(op, resp, r, text)
	}
	return fault.New(fault.Config, op, hintEndpoint, fmt.Errorf("it answers %s as no collector does: %s", resp.Status, said(r, text)))
}

const hintEndpoint = "does the endpoint lead to a Splunk HTTP Event Collector (port 8088 by custom)?"

// said is what an answer says, not too much of it.
func said(r reply, text []byte) string {
	if r.Code != nil {
		return fmt.Sprintf("code %d, %q", *r.Code, r.Text)
	}
	const most = 200
	if len(text) > most {
		return fmt.Sprintf("%q ...", text[:most])
	}
	return fmt.Sprintf("%q", text)
}

func (c *client) connectError(op string, err error) error {
	if e := secure.Explain(op, err); e != nil {
		return e
	}
	hint := "is Splunk running there with the collector enabled, and does a firewall let it through?"
	if !c.settings.https && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		hint = "does the port want TLS? The endpoint begins with https:// then"
	}
	return fault.New(fault.Transient, op, hint, err)
}

// statusError is what an answer that isn't a success asks for.
func statusError(op string, resp *http.Response, r reply, text []byte) error {
	err := fmt.Errorf("it answers %s: %s", resp.Status, said(r, text))
	after, _ := sending.RetryAfter(resp.Header.Get("Retry-After"), time.Now())
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden,
		r.is(codeDisabled, codeNoToken, codeAuthorization, codeToken, codeQueryToken, codeToken2, codeDisabled2):
		return fault.New(fault.Auth, op, "is the token right, of this collector, and enabled?", err)
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return fault.New(fault.Throttled, op, "Splunk's queues are full, or it is being restarted; splunkd.log tells", err).After(after)
	case status == http.StatusRequestEntityTooLarge:
		return fault.New(fault.Config, op, "make batch_size smaller, or the collector's max_content_length larger", fmt.Errorf("%w: %w", errTooLarge, err))
	case status/100 == 5, status == http.StatusRequestTimeout:
		return fault.New(fault.Transient, op, "splunkd.log tells, or the log of what stands before it", err).After(after)
	case r.is(codeInvalid, codeNoEvent, codeBlank, codeFields):
		return fault.New(fault.Corrupt, op, "", fmt.Errorf("%w: %w", errRefused, err))
	case r.is(codeIndex):
		return fault.New(fault.Config, op, "does the index exist, and is it among the token's indexes?", err)
	case r.is(codeNoChannel):
		return fault.New(fault.Config, op, "the token has indexer acknowledgement on: set `ack: true`", err)
	case r.is(codeChannel):
		return fault.New(fault.Config, op, "does a proxy change the header X-Splunk-Request-Channel?", err)
	case r.is(codeAckDisabled):
		return fault.New(fault.Config, op, "turn indexer acknowledgement on for the token, or set `ack: false`, which promises less", err)
	case status/100 == 3:
		return fault.New(fault.Config, op, "redirects aren't followed, for the token's sake: write the address that it leads to", fmt.Errorf("%w to %q", err, resp.Header.Get("Location")))
	}
	if bytes.Contains(text, []byte("HTTPS")) { // so do most servers speak to a plain request on a port for TLS
		return fault.New(fault.Config, op, "the port wants TLS: the endpoint begins with https:// then", err)
	}
	return fault.New(fault.Config, op, hintEndpoint, err)
}

// send sends events, again while the collector is busy.
func (c *client) send(ctx context.Context, channel string, events []byte) (reply, error) {
	return sending.Patiently(ctx, c.busy, func() (reply, error) { return c.post(ctx, "/services/collector/event", channel, events, true) })
}

// acks asks which requests are indexed; a true is said once.
func (c *client) acks(ctx context.Context, channel string, ids []int64) (map[string]bool, error) {
	body, err := json.Marshal(map[string][]int64{"acks": ids})
	if err != nil {
		return nil, err
	}
	r, err := c.post(ctx, "/services/collector/ack", channel, body, false)
	if err == nil && r.Acks == nil {
		err = fault.Errorf(fault.Config, "ask the collector "+c.settings.base, "it doesn't say what is indexed").WithHint(hintEndpoint)
	}
	return r.Acks, err
}

// newChannel returns a channel's name, a random GUID.
func newChannel() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
