package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/sending"
)

// client speaks to the nodes of one cluster. It may be used concurrently.
type client struct {
	urls    []string
	auth    func(*http.Request)
	http    *http.Client
	current atomic.Uint64 // the node that is asked
}

func newClient(s settings, base string) (*client, error) {
	secured, err := s.TLS.Config(base)
	if err != nil {
		return nil, fault.New(fault.Config, "read the opensearch sink's settings", "", err)
	}
	c := &client{urls: s.URLs, auth: func(*http.Request) {}}
	switch {
	case s.APIKey != "":
		c.auth = func(r *http.Request) { r.Header.Set("Authorization", "ApiKey "+s.APIKey) }
	case s.Username != "":
		c.auth = func(r *http.Request) { r.SetBasicAuth(s.Username, s.Password) }
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig: secured, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
			ForceAttemptHTTP2: false, DisableCompression: true,
		},
		// A redirect would take the credentials elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// node returns the address that is asked now.
func (c *client) node() string { return c.urls[c.current.Load()%uint64(len(c.urls))] }

// failed turns to the next node, unless another did.
func (c *client) failed(node string) {
	at := c.current.Load()
	if c.urls[at%uint64(len(c.urls))] == node {
		c.current.CompareAndSwap(at, at+1)
	}
}

// request is one question to the cluster.
type request struct {
	method, path string
	body         []byte
	gzipped      bool
	lines        bool // the body is NDJSON
}

// answer is a response whose status is any; its body must be closed.
type answer struct {
	*http.Response
	node string
}

// send asks the current node once. Errors are those of the connection.
func (c *client) send(ctx context.Context, q request) (answer, error) {
	node := c.node()
	r, err := http.NewRequestWithContext(ctx, q.method, node+q.path, bytes.NewReader(q.body))
	if err != nil {
		return answer{}, fault.New(fault.Config, "ask "+node, "", errors.New("the address isn't one"))
	}
	c.auth(r)
	r.Header.Set("Accept", "application/json")
	if len(q.body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.lines {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	if q.gzipped {
		r.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := c.http.Do(r) //nolint:bodyclose // whoever takes the answer closes it
	if err != nil {
		c.failed(node)
		return answer{}, connectionError(node, err)
	}
	return answer{resp, node}, nil
}

func connectionError(node string, err error) error {
	op := "ask " + node
	if errors.Is(err, context.Canceled) {
		return err
	}
	if e := secure.Explain(op, err); e != nil {
		return e
	}
	return fault.New(fault.Transient, op, "is the node up, and can it be reached from here?", err)
}

// maxText is how much of an answer is shown or looked at when it is no document that we know.
const maxText = 2000

// refusal makes an error of an answer that isn't a success, and closes it. What the server says of it is in the text.
func (a answer) refusal(op string) error {
	defer a.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(a.Body, maxText))
	err := fmt.Errorf("%s: %s: %s", a.node, a.Status, bytes.TrimSpace(b))
	switch a.StatusCode {
	case http.StatusUnauthorized:
		return fault.New(fault.Auth, op, "check username and password, or api_key", err)
	case http.StatusForbidden:
		return fault.New(fault.Auth, op, "the user lacks a privilege; docs/sinks/opensearch.md lists what it needs", err)
	case http.StatusNotFound:
		return fault.New(fault.Config, op, "check index, and that urls lead to OpenSearch or Elasticsearch", err)
	}
	if retryable(a.StatusCode) {
		return fault.New(fault.Transient, op, "the cluster is busy or being started; its own logs tell", err).After(a.retryAfter())
	}
	return fault.New(fault.Config, op, "do urls lead to OpenSearch or Elasticsearch itself?", err)
}

// retryable says whether the same request may succeed later.
func retryable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads the header, in seconds or as a date; 0 without.
func (a answer) retryAfter() time.Duration {
	d, _ := sending.RetryAfter(a.Header.Get("Retry-After"), time.Now())
	return d
}

// get asks for a document, of each node until one answers. ok is false if there is none (404).
func (c *client) get(ctx context.Context, op, path string, into any) (ok bool, err error) {
	var errs []error
	for range c.urls {
		a, err := c.send(ctx, request{method: http.MethodGet, path: path})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch {
		case a.StatusCode == http.StatusNotFound:
			return false, a.Body.Close()
		case a.StatusCode != http.StatusOK:
			if err := a.refusal(op); !retryable(a.StatusCode) {
				return false, err
			} else {
				c.failed(a.node)
				errs = append(errs, err)
			}
			continue
		}
		err = json.NewDecoder(io.LimitReader(a.Body, maxDocument)).Decode(into)
		_ = a.Body.Close()
		if foreign(err) {
			return false, fault.New(fault.Config, op, "do urls lead to OpenSearch or Elasticsearch itself?", fmt.Errorf("%s answers as neither does: %w", a.node, err))
		}
		if err != nil {
			return false, fault.New(fault.Transient, op, "do urls lead to OpenSearch or Elasticsearch itself?", fmt.Errorf("%s: %w", a.node, err))
		}
		return true, nil
	}
	return false, errors.Join(errs...)
}

// foreign reports an answer of success that isn't JSON at all, as a login page is, and not one that was cut.
func foreign(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax)
}

// maxDocument bounds what get reads.
const maxDocument = 16 << 20
