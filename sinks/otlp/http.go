package otlp

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/sending"
)

// answerLimit bounds what is read of an answer.
const answerLimit = 64 << 10

type httpClient struct {
	settings settings
	agent    string
	client   *http.Client
}

func newHTTP(s settings, secured *tls.Config, version string) client {
	return &httpClient{settings: s, agent: "sluice/" + version, client: sending.Client(secured)}
}

func (c *httpClient) close() { c.client.CloseIdleConnections() }

func (c *httpClient) export(ctx context.Context, message []byte) (answer, error) {
	op := "send logs to " + c.settings.url
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.settings.Timeout))
	defer cancel()
	if c.settings.Compression == "gzip" {
		message = sending.Pack(message)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.settings.url, bytes.NewReader(message))
	if err != nil {
		return answer{}, fault.New(fault.Config, op, "", err)
	}
	for name, value := range c.settings.Headers {
		r.Header.Set(name, string(value))
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", c.agent)
	}
	if c.settings.Compression == "gzip" {
		r.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return answer{}, ended(ctx, op, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return answer{}, ended(ctx, op, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, answerLimit)) // so that the connection is used again
	if resp.StatusCode/100 == 2 {
		return parseHTTP(op, resp, body)
	}
	return answer{}, statusError(op, resp, body)
}

// ended is a request without an answer: the caller's own stop stays one.
func ended(ctx context.Context, op string, err error) error {
	if ctx.Err() == context.Canceled { // ctx.Err returns exactly this
		return ctx.Err()
	}
	return connectError(op, err)
}

func parseHTTP(op string, resp *http.Response, body []byte) (answer, error) {
	if kind := resp.Header.Get("Content-Type"); len(body) > 0 && !strings.HasPrefix(kind, "application/x-protobuf") {
		return answer{}, fault.New(fault.Config, op, "does the endpoint lead to an OTLP receiver?", fmt.Errorf("it answers %s with %q", resp.Status, kind))
	}
	a, err := parseAnswer(body)
	if err != nil {
		return answer{}, fault.New(fault.Transient, op, "", fmt.Errorf("the answer is no ExportLogsServiceResponse: %w", err))
	}
	return a, nil
}

// statusError is what an answer other than 2xx asks for.
func statusError(op string, resp *http.Response, body []byte) error {
	err := fmt.Errorf("it answers %s", resp.Status)
	if message := parseStatus(body); message != "" && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-protobuf") {
		err = fmt.Errorf("%w: %q", err, message)
	}
	after, timed := sending.RetryAfter(resp.Header.Get("Retry-After"), time.Now())
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && timed:
		return fault.New(fault.Throttled, op, "", err).After(after)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fault.New(fault.Auth, op, hintAuth, err)
	case (code == http.StatusBadRequest || code == http.StatusUnprocessableEntity) && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html"):
		return fault.New(fault.Config, op, "does the endpoint lead to an OTLP receiver? A web server or a proxy answers", err)
	case code == http.StatusBadRequest, code == http.StatusUnprocessableEntity:
		return fault.New(fault.Corrupt, op, "", fmt.Errorf("%w: %w", errRefused, err))
	case code == http.StatusRequestEntityTooLarge:
		return fault.New(fault.Config, op, "make batch_size smaller, or the receiver's limit larger", fmt.Errorf("%w: %w", errTooLarge, err))
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusUnsupportedMediaType, code/100 == 3:
		return fault.New(fault.Config, op, "does the endpoint lead to an OTLP receiver for HTTP? Its path is /v1/logs by custom", err)
	case code/100 == 4 && code != http.StatusRequestTimeout:
		return fault.New(fault.Config, op, "", err)
	}
	return fault.New(fault.Transient, op, "", err).After(after)
}
