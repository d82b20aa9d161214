package otlp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/sending"
)

// client sends one request, whose bytes it may keep, and returns what the receiver said. It is safe for concurrent use. Errors have a
// kind; those that blame the request itself wrap errRefused or errTooLarge.
type client interface {
	export(ctx context.Context, request []byte) (answer, error)
	close()
}

var (
	// errRefused is a receiver that doesn't want these data, now or later.
	errRefused = errors.New("the receiver refuses the data")
	// errTooLarge is a request beyond the receiver's limit.
	errTooLarge = errors.New("the request is too large for the receiver")
)

// open returns the client for settings; it connects when it is used.
func (s settings) open(base, version string) (client, error) {
	var secured *tls.Config
	if s.https {
		var err error
		if secured, err = s.TLS.Config(base); err != nil {
			return nil, err
		}
	}
	if s.Protocol == "http" {
		return newHTTP(s, secured, version), nil
	}
	return newGRPC(s, secured, version)
}

// Hints of errors that both protocols have.
const (
	hintDown = "is the receiver running there, and does a firewall let it through?"
	hintAuth = "do the headers hold the token that the receiver wants?"
)

// connectError is a request that got no answer. gRPC's errors hold their causes as text alone, so that is looked at.
func connectError(op string, err error) error {
	if e := secure.Explain(op, err); e != nil {
		return e
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "looked like an HTTP/1.1 header"), strings.Contains(text, "http2: frame too large"):
		return fault.New(fault.Config, op, "the port speaks HTTP: set `protocol: http`, or the port for gRPC (4317 by custom)", err)
	case strings.Contains(text, "malformed HTTP response"), strings.Contains(text, "readLoopPeekFailLocked: %!w(<nil>)"):
		// The second: the other side spoke first, as HTTP/2 does. net/http has no better word for it.
		return fault.New(fault.Config, op, "the port doesn't speak HTTP/1.1: set `protocol: grpc`, or the port for HTTP (4318 by custom)", err)
	}
	return fault.New(fault.Transient, op, hintDown, err)
}

// deliver sends a request, again while the receiver is busy.
func deliver(ctx context.Context, c client, busy *sending.Busy, message []byte) (answer, error) {
	// A client may be sending a request still when its answer has come; the caller's buffer is used again then.
	return sending.Patiently(ctx, busy, func() (answer, error) { return c.export(ctx, bytes.Clone(message)) })
}
