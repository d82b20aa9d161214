package rest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
)

// Answer is a vendor's answer whose headers have come. Read and Close are for one goroutine at a time.
type Answer struct {
	Status int
	Header http.Header
	Date   time.Time // the vendor's clock; zero without a Date header
	Vendor plugins.VendorBudget

	ctx      context.Context //nolint:containedctx // the caller's: an answer lives inside one call of its owner
	inner    context.Context //nolint:containedctx // ends with silence, too
	cancel   context.CancelCauseFunc
	lease    *lease
	response *http.Response
	body     io.Reader // decoded
	silence  *time.Timer
	wireErr  error // how the wire ended; io.EOF: proved complete
	err      error // how the body ended
	closed   bool
}

// errStall ends an answer that says nothing.
var errStall = errors.New("the vendor fell silent")

func newAnswer(ctx, inner context.Context, cancel context.CancelCauseFunc, l *lease, r *http.Response) *Answer {
	a := &Answer{
		Status: r.StatusCode, Header: r.Header,
		ctx: ctx, inner: inner, cancel: cancel, lease: l, response: r,
	}
	if date, ok := dateOf(r.Header); ok {
		a.Date = date
		l.date = date
	}
	a.Vendor = vendorBudget(r.Header, l.client.serverTime(a.Date), bound(l.limit.Window))
	a.silence = time.AfterFunc(l.client.opts.Stall, func() { cancel(errStall) })
	a.silence.Stop()
	a.body = wire{a}
	return a
}

// endsByClosing says that nothing but the connection's end tells the end of the answer (RFC 9112, 6.3).
func (a *Answer) endsByClosing() bool {
	r := a.response
	return r.ProtoMajor == 1 && r.ContentLength < 0 && len(r.TransferEncoding) == 0 && r.Body != http.NoBody
}

// accept returns the error of an answer that can't be read to a proved end.
func (a *Answer) accept() error {
	if a.Status < 200 || a.Status > 299 {
		return a.refusal()
	}
	if a.endsByClosing() {
		return fault.New(fault.Corrupt, a.lease.op, "a proxy between here and the vendor may have rewritten the answer: see http.proxy",
			errors.New("the answer ends by closing the connection, so a cut can't be told from its end"))
	}
	if strings.HasPrefix(strings.ToLower(a.response.Header.Get("Content-Type")), "text/html") {
		return fault.New(fault.Corrupt, a.lease.op, "check base_url, and whether a proxy or login page answers in the vendor's place",
			fmt.Errorf("%d with a web page instead of data: %s", a.Status, a.excerpt()))
	}
	return a.decode()
}

// decode puts a decompressor before the wire if the answer needs one.
func (a *Answer) decode() error {
	switch coding := strings.ToLower(strings.TrimSpace(a.Header.Get("Content-Encoding"))); coding {
	case "", "identity":
	case "gzip", "x-gzip":
		a.body = &gunzip{answer: a}
	default:
		return fault.Errorf(fault.Corrupt, a.lease.op, "the answer's encoding is %q, which wasn't asked for", coding)
	}
	return nil
}

// Read reads the decoded body. It returns io.EOF only after completeness was proved; any other error is a *fault.Error or
// the context's, and final.
func (a *Answer) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.body.Read(p)
	if err != nil {
		a.err = err
	}
	return n, err
}

// WireBytes returns how many bytes of the body were read from the wire, before decompression: what the vendor counts.
func (a *Answer) WireBytes() uint64 { return a.lease.bytes }

// Excerpt reads the start of an answer that isn't what was asked for, and makes it fit for an error: printable, one line, without
// secrets. The answer is of no use afterwards.
func (a *Answer) Excerpt() string { return a.excerpt() }

// Close gives up what wasn't read and settles the budget. Idempotent.
func (a *Answer) Close() error {
	if a.closed {
		return nil
	}
	a.closed = true
	a.silence.Stop()
	a.cancel(nil)
	// The connection is kept if the body was read to its end, else closed: neither can fail in a way that matters.
	_ = a.response.Body.Close()
	a.lease.settle(a.ctx, plugins.VendorBudget{}, true) // what the headers said was told when they came, and may be long past now
	if a.err == nil {
		a.err = fault.Errorf(fault.Bug, a.lease.op, "read of a closed answer")
	}
	return nil
}

// wire is the body as the vendor sent it: counted, paid for, and watched for silence.
type wire struct{ *Answer }

func (w wire) Read(p []byte) (int, error) {
	a := w.Answer
	if a.wireErr != nil {
		return 0, a.wireErr
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := a.lease.topUp(a.ctx); err != nil {
		a.wireErr = err
		return 0, err
	}
	if left := a.lease.reserved - a.lease.bytes; !a.lease.unlimited() && a.lease.limit.Bytes > 0 && uint64(len(p)) > left {
		p = p[:left]
	}
	a.silence.Reset(a.lease.client.opts.Stall)
	n, err := a.response.Body.Read(p)
	a.silence.Stop()
	a.lease.bytes += uint64(n)
	if err != nil {
		if err != io.EOF {
			err = a.cut(err)
		}
		a.wireErr = err
	}
	return n, err
}

// cut says how a body ended before its end.
func (a *Answer) cut(err error) error {
	op := a.lease.op
	switch {
	case a.ctx.Err() != nil:
		return ended(a.ctx, op)
	case errors.Is(context.Cause(a.inner), errStall):
		return fault.New(fault.Transient, op, "", fmt.Errorf("%w: no byte for %v, %d bytes in", errStall, a.lease.client.opts.Stall, a.lease.bytes))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Transient, op, "", fmt.Errorf("the answer was cut after %d bytes: %w", a.lease.bytes, io.ErrUnexpectedEOF))
	}
	return fault.New(fault.Transient, op, "", fmt.Errorf("the answer was cut after %d bytes: %w (%w)", a.lease.bytes, io.ErrUnexpectedEOF, a.lease.client.redact.err(err)))
}

// gunzip decompresses the wire. Its end is proved by gzip's trailer and the wire's own end.
type gunzip struct {
	answer *Answer
	z      *gzip.Reader
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.z == nil {
		// A buffer of its own kind: the decompressor would make one of 4 KiB, and each read of the wire sets clocks.
		z, err := gzip.NewReader(bufio.NewReaderSize(wire{g.answer}, readBuffer))
		if err != nil {
			return 0, g.spoilt(err)
		}
		g.z = z
	}
	n, err := g.z.Read(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF && g.answer.wireErr == io.EOF {
		return n, io.EOF
	}
	return n, g.spoilt(err)
}

// spoilt tells what the wire did from what the compressed text is.
func (g *gunzip) spoilt(err error) error {
	if w := g.answer.wireErr; w != nil && w != io.EOF {
		return w
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the wire ended before the first header, or the decompressor before the wire
	}
	return fault.New(fault.Corrupt, g.answer.lease.op, "leave out `gzip` if this happens again", errors.New("gzip: "+err.Error()))
}
