package otlp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/secure"
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
	case strings.Contains(text, "looked like an HTTP/1.1 header"):
		return fault.New(fault.Config, op, "the port speaks HTTP: set `protocol: http`, or the port for gRPC (4317 by custom)", err)
	case strings.Contains(text, "malformed HTTP response"), strings.Contains(text, "readLoopPeekFailLocked: %!w(<nil>)"):
		// The second: the other side spoke first, as HTTP/2 does. net/http has no better word for it.
		return fault.New(fault.Config, op, "the port doesn't speak HTTP/1.1: set `protocol: grpc`, or the port for HTTP (4318 by custom)", err)
	}
	return fault.New(fault.Transient, op, hintDown, err)
}

// patience is how long a request is held back in all because the receiver asks for it, before its slice gives up and comes again later.
const patience = 30 * time.Second

// deliver sends a request, again when the receiver says when.
func deliver(ctx context.Context, c client, request []byte) (answer, error) {
	var waited time.Duration
	for {
		// A client may be sending a request still when its answer has come; the caller's buffer is used again then.
		a, err := c.export(ctx, bytes.Clone(request))
		after := fault.RetryAfterOf(err)
		if fault.KindOf(err) != fault.Throttled || after <= 0 || waited+after > patience {
			return a, err
		}
		waited += after
		wait := time.NewTimer(after)
		select {
		case <-ctx.Done():
			wait.Stop()
			return a, fmt.Errorf("wait until the receiver takes more: %w", ctx.Err())
		case <-wait.C:
		}
	}
}
