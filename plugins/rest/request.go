package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
)

// Request is one request to the client's origin.
type Request struct {
	Op     string // what is being done, for errors: "download log 1234"
	Method string // GET by default
	Path   string // behind the base URL's path, with a slash in front, escaped
	Query  url.Values
	Header http.Header // beside Options.Header
	Body   []byte
	// Sign, if not nil, adds to the request what depends on the moment or on the bytes of its URL (r.URL.RequestURI()), such as
	// a signature. It is called once all headers are set, after any wait for the budget and right before sending.
	Sign func(r *http.Request)
	// Limit is the vendor's budget that the request falls under; without a namespace it falls under none.
	Limit plugins.Limit
	// Waiting is told what the request and later its body wait for, from the goroutine that calls Do or Read. May be nil.
	Waiting func(until time.Time, why string) error
}

// Do reserves the budget, waiting for it if it is spent, sends the request and returns the answer once its headers have
// come, if its status is of the 200s; the caller must close it. Other statuses, redirects too, are a *fault.Error by the
// table of classify; so is whatever kept an answer from coming. What the request cost is settled in any case.
func (c *Client) Do(ctx context.Context, r Request) (*Answer, error) {
	l := &lease{client: c, op: r.Op, limit: r.Limit, waiting: r.Waiting}
	if err := l.acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := l.wait(time.Time{}, "vendor"); err != nil {
		l.settle(ctx, plugins.VendorBudget{}, true)
		return nil, err
	}
	// The request's own context ends a silent answer and, at the latest, with Close.
	inner, cancel := context.WithCancelCause(ctx)
	var sent atomic.Uint64
	request, err := c.newRequest(trace(inner, cancel, l, &sent), r)
	if err != nil {
		cancel(nil)
		l.settle(ctx, plugins.VendorBudget{}, true)
		return nil, fault.New(fault.Config, r.Op, "check base_url", c.redact.err(err))
	}
	response, err := c.transport.RoundTrip(request) //nolint:bodyclose // Answer.Close closes it
	l.requests = sent.Load()
	if err != nil {
		err = c.broken(inner, r.Op, err)
		cancel(nil)
		l.settle(ctx, plugins.VendorBudget{}, true)
		return nil, err
	}
	a := newAnswer(ctx, inner, cancel, l, response)
	l.settle(ctx, a.Vendor, false)
	if err := a.accept(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (c *Client) newRequest(ctx context.Context, r Request) (*http.Request, error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.URL(r.Path, r.Query), body)
	if err != nil {
		return nil, errors.New("the request's path can't be part of a URL")
	}
	c.setHeader(request.Header, c.opts.Header, r.Header)
	if r.Sign != nil {
		r.Sign(request)
	}
	return request, nil
}

// URL returns the URL of a request: values are escaped with %20 for a blank, which every server reads alike.
func (c *Client) URL(path string, query url.Values) string {
	u := c.origin + c.base.EscapedPath() + path
	if len(query) > 0 {
		u += "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
	}
	return u
}

// trace counts what is really sent. net/http sends a request again by itself when a kept-alive connection turns out to
// be closed; since the vendor may have counted the first, the second needs a budget of its own.
func trace(ctx context.Context, cancel context.CancelCauseFunc, l *lease, sent *atomic.Uint64) context.Context {
	connections := 0
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			ready(i)
			if connections++; connections > 1 {
				if err := l.acquireAgain(ctx); err != nil {
					cancel(err)
				}
			}
		},
		WroteHeaders: func() { sent.Add(1) },
	})
}
