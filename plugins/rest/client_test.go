package rest

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
)

const secret = "7h15-15-s3cr3t"

var limit = plugins.Limit{Namespace: "download", Requests: 10, Bytes: 1 << 20, Window: time.Minute}

// fakeBudget grants at once, except that it answers each of the first calls with the next of refusals.
type fakeBudget struct {
	mu       sync.Mutex
	refusals []error
	acquired []plugins.BudgetRequest
	settled  []plugins.BudgetSettlement
}

func (b *fakeBudget) Acquire(_ context.Context, r plugins.BudgetRequest) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Reservation != "" && (r.Requests > 0 || r.Bytes == 0) {
		return "", fault.Errorf(fault.Bug, "acquire budget", "only bytes can be topped up") // as the host has it
	}
	if len(b.refusals) > 0 {
		err := b.refusals[0]
		b.refusals = b.refusals[1:]
		if err != nil {
			return "", err
		}
	}
	b.acquired = append(b.acquired, r)
	return "r1", nil
}

func (b *fakeBudget) Settle(_ context.Context, s plugins.BudgetSettlement) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = append(b.settled, s)
	return nil
}

func newClient(t *testing.T, base string, change func(*Options)) *Client {
	t.Helper()
	o := Options{BaseURL: base, PlainHTTP: true, Header: http.Header{"X-Api-Key": {secret}}, Key: secret, Stall: 2 * time.Second}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, c *Client) (string, error) {
	t.Helper()
	a, err := c.Do(t.Context(), Request{Op: "get", Path: "/x", Limit: limit})
	if err != nil {
		return "", err
	}
	defer a.Close()
	body, err := io.ReadAll(a)
	return string(body), err
}

func TestStatuses(t *testing.T) {
	want := map[int]fault.Kind{
		301: fault.Config, 307: fault.Config, 400: fault.Config, 401: fault.Auth, 403: fault.Auth, 404: fault.NotFound, 405: fault.Config,
		407: fault.Config, 408: fault.Transient, 410: fault.NotFound, 413: fault.Config, 415: fault.Config, 425: fault.Transient,
		429: fault.Throttled, 500: fault.Transient, 502: fault.Transient, 503: fault.Transient, 504: fault.Transient, 599: fault.Transient,
	}
	for status, kind := range want {
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "key "+r.Header.Get("X-Api-Key")+strings.Repeat(" words", 10_000))
		})
		budget := &fakeBudget{}
		_, err := get(t, newClient(t, base, func(o *Options) { o.Budget = budget }))
		var refused *StatusError
		if fault.KindOf(err) != kind || !errors.As(err, &refused) || refused.Status != status {
			t.Errorf("%d: %v is of kind %v, want %v", status, err, fault.KindOf(err), kind)
			continue
		}
		if len(refused.Text) > excerptSize || strings.Contains(err.Error(), secret) {
			t.Errorf("%d: text of %d bytes: %.100s", status, len(refused.Text), refused.Text)
		}
		if last := budget.settled[len(budget.settled)-1]; !last.Done || last.Requests != 1 {
			t.Errorf("%d: settled %+v", status, budget.settled)
		}
	}
}

// TestCutRefusal: the text of a refusal that is cut within the key doesn't show a part of it.
func TestCutRefusal(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nno such key: " + secret[:len(secret)-2],
		"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nno such key: " + secret[:len(secret)-2],
		"HTTP/1.1 400 Bad Request\r\n\r\nno such key: " + secret[:len(secret)-2],
	} {
		_, err := get(t, newClient(t, rawServer(t, answer), nil))
		if err == nil || !strings.HasSuffix(err.Error(), "no such key:…") && !strings.HasSuffix(err.Error(), "no such key: …") {
			t.Errorf("%v", err)
		}
	}
}

func TestRedirectIsNeverFollowed(t *testing.T) {
	var reached int
	trap := serve(t, func(http.ResponseWriter, *http.Request) { reached++ })
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, trap+"/path?key="+secret, http.StatusTemporaryRedirect)
	})
	_, err := get(t, newClient(t, base, nil))
	if err == nil || !strings.HasSuffix(err.Error(), "a redirect to "+trap) || fault.HintOf(err) == "" {
		t.Errorf("error = %v", err)
	}
	if reached != 0 {
		t.Error("the redirect was followed")
	}
}

func TestAnswersThatProveNothing(t *testing.T) {
	tests := []struct {
		name, answer string
		kind         fault.Kind
		text         string
	}{
		{"close-delimited", "HTTP/1.1 200 OK\r\n\r\nline\n", fault.Corrupt, "ends by closing"},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nline\n", fault.Corrupt, "ends by closing"},
		{"short of its length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nline\n", fault.Transient, "cut after 5 bytes"},
		{"no final chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nline\n\r\n", fault.Transient, "cut after 5 bytes"},
		{"cut chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nline\n", fault.Transient, "cut after 5 bytes"},
		{"broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nline\nxx", fault.Transient, "cut after"},
		{"web page", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlogin", fault.Corrupt, "web page"},
		{"unknown encoding", "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd", fault.Corrupt, `"br"`},
		{"empty gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", fault.Corrupt, "gzip"},
		{"no answer", "", fault.Transient, "closed without an answer"},
		{"no HTTP", "220 smtp.example.com\r\n", fault.Transient, "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := rawServer(t, tt.answer)
			budget := &fakeBudget{}
			_, err := get(t, newClient(t, base, func(o *Options) { o.Budget = budget }))
			if fault.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("error = %v of kind %v, want %q of kind %v", err, fault.KindOf(err), tt.text, tt.kind)
			}
			if strings.Contains(tt.text, "cut") && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v isn't io.ErrUnexpectedEOF", err)
			}
			if last := budget.settled[len(budget.settled)-1]; !last.Done || last.Requests != 1 {
				t.Errorf("settled %+v", last)
			}
		})
	}
}

// rawServer answers every connection with the same bytes and closes it.
func rawServer(t *testing.T, answer string) string {
	t.Helper()
	return "http://" + listen(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 64<<10))
		_, _ = io.WriteString(conn, answer)
		_ = conn.Close()
	})
}

// listen hands each connection to its address to talk, one after the other, until the test ends.
func listen(t *testing.T, talk func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talk(conn)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		done.Wait()
	})
	return l.Addr().String()
}

func TestBudgetIsToppedUpInBlocks(t *testing.T) {
	body := strings.Repeat("0123456789", 1000)
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	spent := fault.Errorf(fault.Throttled, "budget", "spent").After(time.Millisecond)
	budget := &fakeBudget{refusals: []error{spent, nil, nil, spent, nil}}
	c := newClient(t, base, func(o *Options) { o.Budget, o.Block = budget, 4000 })
	var waits []string
	a, err := c.Do(t.Context(), Request{Op: "get", Path: "/x", Limit: limit, Waiting: func(_ time.Time, why string) error {
		waits = append(waits, strings.TrimRight(why, "0123456789:"))
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(a)
	if err != nil || string(got) != body {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	a.Close()
	a.Close()
	var asked []string
	for _, r := range budget.acquired {
		asked = append(asked, fmt.Sprint(r.Requests, " ", r.Bytes, " ", r.Reservation))
	}
	if diff := cmp.Diff([]string{"1 4000 ", "0 4000 r1", "0 4000 r1"}, asked); diff != "" {
		t.Errorf("acquired (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"budget until ", "vendor", "budget until "}, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	var settled []string
	for _, s := range budget.settled {
		settled = append(settled, fmt.Sprint(s.Requests, " ", s.Bytes, " ", s.Done))
	}
	if diff := cmp.Diff([]string{"1 0 false", "1 4000 false", "1 8000 false", "1 10000 true"}, settled); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}
}

func TestBudgetOfWhatWasNeverSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	l.Close()
	budget := &fakeBudget{}
	_, err = get(t, newClient(t, base, func(o *Options) { o.Budget = budget }))
	if fault.KindOf(err) != fault.Transient {
		t.Errorf("error = %v", err)
	}
	if s := budget.settled; len(s) != 1 || s[0].Requests != 0 || !s[0].Done {
		t.Errorf("settled %+v", s)
	}
}

func TestReplayedRequestHasItsOwnBudget(t *testing.T) {
	var served int
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if served++; served == 2 { // on the kept connection: no byte of an answer, which net/http takes for a race
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		_, _ = io.WriteString(w, "ok")
	})
	budget := &fakeBudget{}
	c := newClient(t, base, func(o *Options) { o.Budget = budget })
	for range 2 {
		if body, err := get(t, c); body != "ok" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
	}
	var acquired, settled uint64
	for _, r := range budget.acquired {
		acquired += r.Requests
	}
	for _, s := range budget.settled {
		if s.Done {
			settled += s.Requests
		}
	}
	if served != 3 || acquired != 3 || settled != 3 {
		t.Errorf("served %d, acquired %d, settled %d requests, want 3 each", served, acquired, settled)
	}
}

func TestSilence(t *testing.T) {
	for _, where := range []string{"before the headers", "in the body"} {
		t.Run(where, func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if where == "in the body" {
					_, _ = io.WriteString(w, "some")
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			})
			start := time.Now()
			_, err := get(t, newClient(t, base, func(o *Options) { o.Stall = 100 * time.Millisecond }))
			if fault.KindOf(err) != fault.Transient || !strings.Contains(err.Error(), "100ms") || strings.Contains(err.Error(), "net/http") {
				t.Errorf("error = %v", err)
			}
			if took := time.Since(start); took < 100*time.Millisecond || took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestSlowReaderIsNoSilence(t *testing.T) {
	t.Parallel()
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 4<<20)) })
	const stall = time.Second // a busy machine is no silence of the vendor's
	c := newClient(t, base, func(o *Options) { o.Stall = stall })
	a, err := c.Do(t.Context(), Request{Op: "get", Path: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	pause := time.NewTimer(stall + stall/4)
	<-pause.C
	if n, err := io.Copy(io.Discard, a); n != 4<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestEndOfTheCaller(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	reason := errors.New("the host stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := newClient(t, base, nil)
	a, err := c.Do(ctx, Request{Op: "get", Path: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	time.AfterFunc(20*time.Millisecond, func() { cancel(reason) })
	if _, err = io.ReadAll(a); fault.KindOf(err) != fault.Canceled || !errors.Is(err, reason) {
		t.Errorf("error = %v", err)
	}
	if _, err := c.Do(ctx, Request{Op: "get", Path: "/x"}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("error of a request after the end = %v", err)
	}
}

func TestTLSAndHTTP2(t *testing.T) {
	var protocols []string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols = append(protocols, r.Proto)
		_, _ = io.WriteString(w, "over TLS")
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	_, err := get(t, newClient(t, s.URL, nil))
	if fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "ca_file") {
		t.Errorf("an unknown authority: %v, hint %q", err, fault.HintOf(err))
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	c := newClient(t, s.URL, func(o *Options) { o.HTTP.CAPEM = ca })
	if body, err := get(t, c); body != "over TLS" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	a, err := c.Do(t.Context(), Request{Op: "get", Path: "/cut"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := io.ReadAll(a); fault.KindOf(err) != fault.Transient || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut HTTP/2 stream: %v", err)
	}
	if diff := cmp.Diff([]string{"HTTP/2.0", "HTTP/2.0"}, protocols); diff != "" {
		t.Errorf("protocols (-want +got):\n%s", diff)
	}
	if _, err := New(Options{BaseURL: s.URL, HTTP: plugins.HTTP{CAPEM: []byte("nothing")}}); fault.KindOf(err) != fault.Config {
		t.Errorf("a CA file without certificates: %v", err)
	}
	// Plain text where TLS is expected.
	base := serve(t, func(http.ResponseWriter, *http.Request) {})
	if _, err := get(t, newClient(t, strings.Replace(base, "http:", "https:", 1), nil)); fault.KindOf(err) != fault.Config {
		t.Errorf("TLS to a plain server: %v", err)
	}
}

func TestProxy(t *testing.T) {
	var seen []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		_, _ = io.WriteString(w, "by proxy")
	}))
	defer proxy.Close()
	through, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	through.User = url.UserPassword("user", "pass")
	set := func(o *Options) { o.HTTP.Proxy, o.HTTP.NoProxy = through.String(), "direct.invalid" }
	if body, err := get(t, newClient(t, "http://vendor.invalid", set)); body != "by proxy" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	_, err = get(t, newClient(t, "https://vendor.invalid", set))
	if fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "http.proxy") {
		t.Errorf("a proxy that wants credentials: %v", err)
	}
	if _, err := get(t, newClient(t, "http://direct.invalid", set)); err == nil {
		t.Error("no_proxy isn't obeyed")
	}
	want := []string{"GET http://vendor.invalid/x Basic dXNlcjpwYXNz", "CONNECT vendor.invalid:443 Basic dXNlcjpwYXNz"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("the proxy saw (-want +got):\n%s", diff)
	}
}

func TestNow(t *testing.T) {
	var asked []string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("X-Api-Key"))
		w.Header().Set("Date", "Sun, 01 Nov 2026 12:00:00 GMT")
		w.WriteHeader(http.StatusForbidden)
	})
	got, err := newClient(t, base+"/log_search", nil).Now(t.Context())
	if want := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC); !got.Equal(want) || err != nil {
		t.Errorf("now = %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"HEAD / "}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestBaseURLs(t *testing.T) {
	for text, want := range map[string]string{
		"https://EU.example.com":       "https://eu.example.com",
		"https://eu.example.com:443/a": "https://eu.example.com",
		"http://[::1]:8080/":           "http://[::1]:8080",
		"HTTP://Host:80":               "http://host",
	} {
		u, err := ParseBaseURL(text, true)
		if err != nil || Origin(u) != want {
			t.Errorf("origin of %q = %v, %v", text, u, err)
		}
	}
	for _, text := range []string{"", "eu.example.com", "https://", "https://u:p4ss@x", "https://x?q=1", "https://x#f", "ftp://x", "https:x", "http://x\x00", "http://plain"} {
		_, err := ParseBaseURL(text, false)
		if err == nil || strings.Contains(err.Error(), "p4ss") {
			t.Errorf("ParseBaseURL(%q) = %v", text, err)
		}
	}
}

func TestSignSeesWhatIsSent(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("X-Signed"), r.Method+" "+r.RequestURI)
		w.Header().Set("Date", "Sun, 01 Nov 2026 00:00:00 GMT")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	c, err := New(Options{BaseURL: server.URL + "/v1/", PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Do(t.Context(), Request{
		Op: "sign", Method: http.MethodPost, Path: "/a%20b", Query: url.Values{"k": {"v w/+"}},
		Sign: func(r *http.Request) { r.Header.Set("X-Signed", r.Method+" "+r.URL.RequestURI()) },
	})
	if len(got) != 2 || got[0] != got[1] {
		t.Errorf("signed and sent: %q", got)
	}
	var refused *StatusError
	if !errors.As(err, &refused) || !refused.Date.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("error = %v, want the answer's Date in it", err)
	}
}

func TestProxyOutOfReach(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close() // its port is free, so that connections are refused
	for _, base := range []string{"http://vendor.invalid", "https://vendor.invalid"} {
		_, err := get(t, newClient(t, base, func(o *Options) { o.HTTP.Proxy = gone.URL }))
		if fault.KindOf(err) != fault.Transient || !strings.Contains(fault.HintOf(err), "the proxy can't be reached") {
			t.Errorf("%s: %v; %s", base, err, fault.HintOf(err))
		}
	}
}

// TestProxyThatSaysNothing: a proxy takes connections and never answers. A read's context has no deadline, and nothing else would end it.
func TestProxyThatSaysNothing(t *testing.T) {
	proxy := listen(t, func(net.Conn) {})
	for _, scheme := range []string{"socks5", "http", "https"} {
		var o Options
		c := newClient(t, "https://vendor.invalid", func(used *Options) {
			used.HTTP.Proxy = scheme + "://" + proxy
			o = *used
		})
		c.transport = newTransport(o, nil, 100*time.Millisecond)
		done := make(chan error, 1)
		go func() {
			_, err := get(t, c)
			done <- err
		}()
		select {
		case err := <-done:
			if fault.KindOf(err) != fault.Transient || !strings.Contains(fault.HintOf(err), "proxy") {
				t.Errorf("%s: %v; %s", scheme, err, fault.HintOf(err))
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: it waits still", scheme)
		}
	}
}

// TestProxyThatRefuses: a proxy that answers, but doesn't open the connection, isn't one that can't be reached.
func TestProxyThatRefuses(t *testing.T) {
	refuses := listen(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, 3)); err == nil { // the greeting
			_, _ = c.Write([]byte{5, 0})
			_, _ = c.Read(make([]byte, 1024))
			_, _ = c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0}) // connection refused (RFC 1928, 6)
		}
		_ = c.Close()
	})
	for proxy, want := range map[string]string{
		"socks5://" + refuses: "doesn't open the connection", "http://127.0.0.1:1": "can't be reached", "socks5://127.0.0.1:1": "proxy",
	} {
		_, err := get(t, newClient(t, "https://vendor.invalid", func(o *Options) { o.HTTP.Proxy = proxy }))
		if fault.KindOf(err) != fault.Transient || !strings.Contains(fault.HintOf(err), want) {
			t.Errorf("%s: %v; %s", proxy, err, fault.HintOf(err))
		}
	}
}

// TestConnectionsOutliveTheirBeginning: what bounds the making of a connection doesn't bound its use.
func TestConnectionsOutliveTheirBeginning(t *testing.T) {
	t.Parallel()
	const connect = 300 * time.Millisecond
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", "Sun, 01 Nov 2026 12:00:00 GMT")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(2 * connect)
		_, _ = io.WriteString(w, "late")
	})
	for _, clock := range []bool{false, true} {
		var o Options
		c := newClient(t, base, func(used *Options) { o = *used })
		c.transport = newTransport(o, nil, connect)
		if clock {
			if _, err := c.Now(t.Context()); err != nil { // whose connection is used again
				t.Fatal(err)
			}
			time.Sleep(2 * connect)
		}
		for range 2 {
			if body, err := get(t, c); body != "late" || err != nil {
				t.Errorf("%q, %v", body, err)
			}
		}
	}
}

// TestHeadersAreToldOnce: what remains of the budget is told when the headers come. When the last byte has come it is long past, and others
// have been told something newer.
func TestHeadersAreToldOnce(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", "100")
		w.Header().Set("X-RateLimit-Reset", "30")
		_, _ = io.WriteString(w, "x")
	})
	budget := &fakeBudget{}
	if _, err := get(t, newClient(t, base, func(o *Options) { o.Budget = budget })); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, s := range budget.settled {
		if s.Vendor.RemainingRequests != nil {
			told++
		}
	}
	if told != 1 || budget.settled[0].Vendor.RemainingRequests == nil || len(budget.settled) != 2 {
		t.Errorf("settled %+v", budget.settled)
	}
}

// A signature that holds the time is made when the budget has been waited for.
func TestSignedAfterTheWaitForTheBudget(t *testing.T) {
	base := serve(t, func(http.ResponseWriter, *http.Request) {})
	budget := &fakeBudget{refusals: []error{fault.Errorf(fault.Throttled, "budget", "spent").After(5 * time.Millisecond)}}
	c := newClient(t, base, func(o *Options) { o.Budget = budget })
	signed := 0
	answer, err := c.Do(t.Context(), Request{Op: "sign", Path: "/x", Limit: limit, Sign: func(*http.Request) {
		budget.mu.Lock()
		defer budget.mu.Unlock()
		if signed++; len(budget.acquired) != 1 {
			t.Errorf("signed when %d reservations were granted, want 1", len(budget.acquired))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	answer.Close()
	if signed != 1 {
		t.Errorf("signed %d times", signed)
	}
}

func TestConnectionThatEndsWithoutAnAnswer(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	})
	if _, err := get(t, newClient(t, base, nil)); fault.KindOf(err) != fault.Transient || !strings.HasSuffix(err.Error(), "the connection was closed without an answer") {
		t.Errorf("error = %v", err)
	}
}
