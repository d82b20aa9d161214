package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/sluice-io/sluice/proto/fault"
)

// request is one of a store's that speaks plain HTTP: sent anew, from the same bytes, for each try.
type request struct {
	method, url string
	header      http.Header
	body        []byte
}

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	unsure bool // an earlier try was answered by nothing that tells what became of it
}

// ok reports whether the status is one of success.
func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// rangeOf returns what an answer has of an object from off on, and how large the object is. err is what the answer's status means.
func (a answer) rangeOf(op string, off, n int64, err error) ([]byte, int64, error) {
	switch {
	case a.status == http.StatusRequestedRangeNotSatisfiable && a.header.Get("Content-Range") != "":
		a.body = nil
	case err != nil:
		return nil, 0, err
	}
	b, size, err := rangeOf(a.header, a.body, off, n)
	if err != nil {
		return nil, 0, fault.New(fault.Transient, op, "", err)
	}
	return b, size, nil
}

// sender sends requests, again while the store is busy or a connection breaks.
type sender struct {
	http *http.Client
	sign func(ctx context.Context, r *http.Request, body []byte) error
}

func newSender(p Place, sign func(ctx context.Context, r *http.Request, body []byte) error) sender {
	return sender{
		http: &http.Client{Transport: transport(p.TLS), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		sign: sign,
	}
}

func (s sender) close() error {
	s.http.CloseIdleConnections()
	return nil
}

// send returns the last answer. An error is of a connection, of the credentials or of ctx.
func (s sender) send(ctx context.Context, op string, q request) (a answer, err error) {
	var sent bodies
	for n, unsure := 1, false; n <= tries && backoff(ctx, n); n++ {
		a, err = s.once(ctx, q, &sent)
		a.unsure = unsure
		if fault.KindOf(err) == fault.Auth {
			return a, err
		}
		if err == nil && !busy(a.status) {
			sent.open.Wait()
			return a, nil
		}
		unsure = true
	}
	if cerr := ctx.Err(); cerr != nil {
		return a, fmt.Errorf("%s: %w", op, errors.Join(cerr, err))
	}
	if err != nil {
		return a, unreachable(op, origin(q.url), err)
	}
	return a, nil
}

// bodies waits for the transports that read what was sent: they may do so when the answer is there already, as that of a busy store
// is, and until then nobody may fill the buffer anew.
type bodies struct{ open sync.WaitGroup }

// of returns r as a body that is waited for until it is closed, which every transport does.
func (b *bodies) of(r io.ReadCloser) io.ReadCloser {
	b.open.Add(1)
	return sentBody{r, sync.OnceFunc(b.open.Done)}
}

type sentBody struct {
	io.ReadCloser
	done func()
}

// Close implements io.Closer.
func (b sentBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

func busy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (s sender) once(ctx context.Context, q request, sent *bodies) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, q.url, bytes.NewReader(q.body))
	if err != nil {
		return answer{}, withoutURL(err)
	}
	for name, v := range q.header {
		r.Header[name] = v
	}
	if s.sign != nil {
		if err := s.sign(ctx, r, q.body); err != nil {
			return answer{}, err
		}
	}
	if body := r.GetBody; len(q.body) > 0 {
		r.GetBody = func() (io.ReadCloser, error) {
			again, err := body()
			return sent.of(again), err
		}
		r.Body = sent.of(r.Body)
	}
	res, err := s.http.Do(r)
	if err != nil {
		return answer{}, withoutURL(err)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxObject+1))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return answer{}, err
	}
	if len(body) > maxObject {
		return answer{}, fault.Errorf(fault.Config, "read an object", "it is larger than %d bytes: no entry is", maxObject)
	}
	return answer{status: res.StatusCode, header: res.Header, body: body}, nil
}

// origin is a URL without what may be secret in it.
func origin(raw string) string {
	r, err := http.NewRequest(http.MethodGet, raw, nil) //nolint:noctx // it isn't sent
	if err != nil {
		return "the store"
	}
	return r.URL.Scheme + "://" + r.URL.Host
}

// short is the beginning of an answer that isn't understood.
func short(b []byte) string {
	const most = 200
	if len(b) > most {
		b = b[:most]
	}
	return string(bytes.ToValidUTF8(bytes.Join(bytes.Fields(b), []byte(" ")), nil))
}
