package vendorsim

import (
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stream sends a good answer's body, with whatever the fault does to it.
func (c *call) stream(pages iter.Seq[[]byte]) { c.streamKept(pages, nil) }

// streamKept is stream of pages that may be kept compressed; kept is nil for pages that may not.
func (c *call) streamKept(pages iter.Seq[[]byte], kept *packs) {
	h := c.w.Header()
	zip := c.fault.Gzip != "" || c.sim.opts.Gzip && c.fault.Framing != "length" && acceptsGzip(c.r)
	if zip {
		h.Set("Content-Encoding", "gzip")
		c.x.update(func(r *Request) { r.Encoding = "gzip" })
	}
	switch c.fault.Framing {
	case "close":
		// net/http then neither chunks nor keeps the connection.
		h.Set("Transfer-Encoding", "identity")
	case "length":
		var n int64
		for page := range pages {
			n += int64(len(page))
		}
		h.Set("Content-Length", strconv.FormatInt(n, 10))
	}
	c.x.update(func(r *Request) { r.Status = http.StatusOK })
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return
	}
	out := &wire{call: c, control: http.NewResponseController(c.w), cutAt: -1, stallAt: -1}
	if c.fault.CutAfter != nil {
		out.cutAt = *c.fault.CutAfter
	}
	if c.fault.StallAfter != nil {
		out.stallAt = *c.fault.StallAfter
	}
	// The headers go at once: otherwise net/http would give a small answer a Content-Length instead of chunks.
	err := out.control.Flush()
	if err == nil {
		err = writePages(out, pages, zip, c.fault.Gzip, kept)
	}
	if err == nil {
		err = out.finish()
	}
	if err != nil {
		c.drop(errors.Is(err, errCut) && c.fault.Reset)
		return
	}
	c.x.update(func(r *Request) { r.Complete = c.fault.Framing != "close" })
}

func writePages(out io.Writer, pages iter.Seq[[]byte], zip bool, spoil string, kept *packs) error {
	var compressor io.WriteCloser
	switch {
	case zip && spoil == "" && kept != nil:
		compressor = &packedWriter{out: out, packs: kept}
		out = compressor
	case zip && spoil != "plain":
		var err error
		if compressor, err = gzip.NewWriterLevel(&spoiler{out: out, how: spoil}, gzip.BestSpeed); err != nil {
			panic(err) // the level is a constant
		}
		out = compressor
	}
	for page := range pages {
		if _, err := out.Write(page); err != nil {
			return err
		}
	}
	if compressor != nil {
		return compressor.Close()
	}
	return nil
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, quality, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		quality = strings.TrimSpace(quality)
		if strings.TrimSpace(coding) == "gzip" && quality != "q=0" && quality != "q=0.0" {
			return true
		}
	}
	return false
}

// spoiler damages a gzip stream on its way.
type spoiler struct {
	out  io.Writer
	how  string
	sent int64
	tail []byte // held back: the trailer, if nothing follows
}

const (
	gzipHeader  = 10
	gzipTrailer = 8 // CRC-32 and length
)

func (s *spoiler) Write(p []byte) (int, error) {
	switch s.how {
	case "":
		return s.out.Write(p)
	case "garbage":
		bad := append([]byte(nil), p...)
		for i := range bad {
			if at := s.sent + int64(i); at >= gzipHeader && at < gzipHeader+8 {
				bad[i] = 0xff
			}
		}
		s.sent += int64(len(p))
		return s.out.Write(bad)
	}
	// gzip.Writer sends its trailer last, in one piece, so that what is 8 bytes long may be it.
	held := s.tail
	s.tail = nil
	if len(held) > 0 {
		if _, err := s.out.Write(held); err != nil {
			return 0, err
		}
	}
	if len(p) != gzipTrailer {
		return s.out.Write(p)
	}
	if s.how == "checksum" {
		bad := append([]byte(nil), p...)
		bad[0] ^= 0xff
		return s.out.Write(bad)
	}
	s.tail = append([]byte(nil), p...) // "truncated": sent only if more follows
	return len(p), nil
}

// errCut ends a body that the fault cuts.
var errCut = errors.New("cut by a fault")

// errGone ends a body whose client or simulator left.
var errGone = errors.New("the client or the simulator left")

// wire writes a body's bytes to the socket in chunks, counts them and makes them suffer. Offsets that are past
// their moment are -1.
type wire struct {
	*call
	control        *http.ResponseController
	sent           int64
	cutAt, stallAt int64
}

func (o *wire) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := int64(min(len(p), o.sim.opts.ChunkBytes))
		if rate := o.fault.Rate; rate > 0 {
			n = min(n, max(1, rate/20))
		}
		for _, at := range []int64{o.stallAt, o.cutAt} {
			if at > o.sent {
				n = min(n, at-o.sent)
			}
		}
		if err := o.suffer(); err != nil {
			return 0, err
		}
		if err := o.send(p[:n]); err != nil {
			return 0, err
		}
		p = p[n:]
	}
	return total, nil
}

// suffer does what is due at this offset.
func (o *wire) suffer() error {
	if o.stallAt == o.sent {
		o.stallAt = -1
		if err := o.control.Flush(); err != nil {
			return err
		}
		wait := o.fault.StallFor
		if wait == 0 {
			wait = -1
		}
		if !o.sim.pause(o.r.Context(), wait, o.fault.Release) {
			return errGone
		}
	}
	if o.cutAt == o.sent {
		return errCut
	}
	return nil
}

func (o *wire) send(p []byte) error {
	o.x.beginWrite()
	n, err := o.w.Write(p)
	if err == nil && o.fault.Rate > 0 {
		err = o.control.Flush()
	}
	o.x.endWrite(n)
	o.sent += int64(n)
	if o.meter != nil {
		o.meter.serve(int64(n))
	}
	if err != nil {
		return err
	}
	if rate := o.fault.Rate; rate > 0 && !o.sim.pause(o.r.Context(), time.Duration(n)*time.Second/time.Duration(rate), nil) {
		return errGone
	}
	return nil
}

// finish is the end of the body: faults whose offset lies behind it happen now, before the final chunk.
func (o *wire) finish() error {
	if o.stallAt > o.sent {
		o.stallAt = o.sent
	}
	if o.cutAt > o.sent {
		o.cutAt = o.sent
	}
	return o.suffer()
}

// drop closes the connection without a final chunk, after what was written; with reset by a TCP reset.
func (c *call) drop(reset bool) {
	control := http.NewResponseController(c.w)
	if !reset {
		// A failure means that the client has left already.
		_ = control.Flush()
	}
	conn, _, err := control.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the server then closes it for us
	}
	if tcp := tcpConn(conn); tcp != nil {
		if reset {
			_ = tcp.SetLinger(0)
		}
		_ = tcp.Close()
		return
	}
	_ = conn.Close()
}

func tcpConn(c net.Conn) *net.TCPConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	tcp, _ := c.(*net.TCPConn)
	return tcp
}
