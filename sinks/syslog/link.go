package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/secure"
)

// errEarly is a receiver that closes before it has everything.
var errEarly = errors.New("the receiver has closed the connection before it had read everything")

// link is one connection, used for one slice. Its methods are called from one goroutine.
type link struct {
	address string
	timeout time.Duration
	tcp     *net.TCPConn
	conn    net.Conn      // tcp, or TLS over it
	ended   chan struct{} // closed when nothing more can come
	err     error         // what ended it, nil for the receiver's own end; valid after ended is closed
}

// dial connects and, with TLS, shakes hands.
func dial(ctx context.Context, address string, timeout time.Duration, secured *tls.Config) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fault.New(fault.Transient, "connect to syslog receiver "+address, "is it running, and does a firewall let TCP through?", err)
	}
	l := &link{address: address, timeout: timeout, tcp: c.(*net.TCPConn), conn: c, ended: make(chan struct{})}
	if secured != nil {
		if secured.ServerName == "" {
			secured = secured.Clone()
			secured.ServerName, _, _ = net.SplitHostPort(address)
		}
		t := tls.Client(c, secured)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, handshakeError(address, err)
		}
		l.conn = t
	}
	// The receiver says nothing, so what comes is the end; with TLS reading also serves its own messages.
	go func() {
		defer close(l.ended)
		_, l.err = io.Copy(io.Discard, l.conn)
	}()
	return l, nil
}

func handshakeError(address string, err error) error {
	op := "TLS handshake with syslog receiver " + address
	if e := secure.Explain(op, err); e != nil {
		return e
	}
	return fault.New(fault.Transient, op, "does the port speak TLS? Plain receivers wait and say nothing", err)
}

// write sends bytes; it fails early when the receiver has closed.
func (l *link) write(ctx context.Context, b []byte) error {
	select {
	case <-l.ended:
		return l.broken(early(l.err))
	default:
	}
	defer l.watch(ctx)()
	_ = l.conn.SetWriteDeadline(time.Now().Add(l.timeout))
	if _, err := l.conn.Write(b); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return l.broken(err)
	}
	return nil
}

// watch lets the end of ctx end reads and writes, until the returned function is called.
func (l *link) watch(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { _ = l.tcp.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// early is why the receiver's end came before ours.
func early(err error) error {
	if err == nil {
		return errEarly
	}
	return fmt.Errorf("%w: %w", errEarly, err)
}

func (l *link) broken(err error) error {
	if e := secure.Explain("send to syslog receiver "+l.address, err); e != nil {
		return e // with TLS 1.3 a receiver refuses a client's certificate after the handshake
	}
	hint := "the slice is sent again from its beginning"
	if errors.Is(err, errEarly) {
		hint += "; a receiver that closes at once may expect TLS, another framing or a client that it knows: its log tells"
	}
	return fault.New(fault.Transient, "send to syslog receiver "+l.address, hint, err)
}

// finish closes our end and waits until the receiver has closed its own. That it did after everything, and our end too, had been
// acknowledged means that it has read everything: with bytes unread its machine would have reset the connection.
func (l *link) finish(ctx context.Context, byClose bool) error {
	defer l.watch(ctx)()
	deadline := time.Now().Add(l.timeout)
	_ = l.conn.SetDeadline(deadline)
	// Asked of the system, for the reader may not have seen yet what has come.
	if ended, err := peerEnded(l.tcp); ended || err != nil {
		return l.broken(early(err))
	}
	if t, ok := l.conn.(*tls.Conn); ok {
		if err := t.CloseWrite(); err != nil {
			return l.broken(err)
		}
	}
	if err := l.tcp.CloseWrite(); err != nil {
		return l.broken(err)
	}
	if !byClose {
		return l.acknowledged(ctx, deadline)
	}
	timeout := time.NewTimer(time.Until(deadline))
	defer timeout.Stop()
	select {
	case <-l.ended:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var late net.Error
		switch {
		case errors.As(l.err, &late) && late.Timeout():
		case l.err != nil:
			return l.broken(early(l.err))
		default:
			return l.whole()
		}
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
	}
	return fault.New(fault.Transient, "confirm with syslog receiver "+l.address, "a receiver that never closes needs `confirm: sent`, which proves less",
		fmt.Errorf("it has not closed the connection %s after everything was sent", l.timeout))
}

// whole checks, after the receiver's end has come, that it came after everything. With TLS our end is the alert that says so, and the
// receiver may close before it has seen the connection's own end, which counts as one byte.
func (l *link) whole() error {
	left, known, err := unacknowledged(l.tcp)
	if err != nil {
		return l.broken(early(err))
	}
	most := 0
	if l.conn != net.Conn(l.tcp) {
		most = 1
	}
	if known && left > most {
		return l.broken(errEarly)
	}
	return nil
}

// acknowledged waits until the receiver's machine has acknowledged every byte.
func (l *link) acknowledged(ctx context.Context, deadline time.Time) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		left, known, err := unacknowledged(l.tcp)
		switch {
		case err != nil:
			return l.broken(err)
		case !known || left == 0:
			return nil
		case time.Now().After(deadline):
			return l.broken(fmt.Errorf("%d bytes are not acknowledged after %s", left, l.timeout))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ended:
			if l.err != nil {
				return l.broken(l.err)
			}
			return l.whole()
		case <-tick.C:
		}
	}
}

// close ends the connection and waits for its reader. Idempotent, and the one method that may be called beside others.
func (l *link) close() {
	_ = l.tcp.Close()
	<-l.ended
}

// abort closes a connection whose records will be sent again: a reset needs no goodbye, and a receiver doesn't take half a message that
// ends with the stream for a whole one.
func (l *link) abort() {
	_ = l.tcp.SetLinger(0)
	l.close()
}
