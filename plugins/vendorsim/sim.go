package vendorsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Sim is a simulated vendor. Its methods are safe for concurrent use.
type Sim struct {
	opts    Options
	clock   *Clock
	faults  faults
	journal journal
	done    chan struct{} // closed by Close: nothing waits any longer

	mu         sync.Mutex
	logs       map[string]*logContent
	order      []string
	meters     map[meterKey]*meter
	pending    map[string]*pendingQuery // running queries by the ID of their link
	queryCount uint64
	projects   map[string]*elsaProject // of ELSA by key
	servers    []*http.Server
	trapURL    string
	closed     bool

	background sync.WaitGroup // Serve loops
	handlers   handlerCount
}

type meterKey struct{ key, namespace string }

// New returns a simulator that serves nothing yet: see [Sim.Start] and [Sim.Handler]. The error lists every problem
// of the options.
func New(o Options) (*Sim, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("vendorsim: %w", err)
	}
	s := &Sim{
		opts:    o,
		clock:   o.Clock,
		journal: journal{mono: o.Clock.Monotonic, keep: max(10, o.RequestLog)},
		done:    make(chan struct{}),
		logs:    make(map[string]*logContent),
		meters:  make(map[meterKey]*meter),
	}
	s.faults.set(o.Faults)
	for _, l := range o.Logs {
		if err := s.PutLog(l); err != nil {
			return nil, err
		}
	}
	s.opts.Logs = nil
	for _, p := range o.Elsa.Projects {
		if err := s.PutProject(p); err != nil {
			return nil, err
		}
	}
	s.opts.Elsa.Projects = nil
	return s, nil
}

// Clock is the vendor's clock; move it as a test needs.
func (s *Sim) Clock() *Clock { return s.clock }

// PutLog adds a log, or replaces the one with its ID. Answers in progress go on with what they began with.
func (s *Sim) PutLog(l Log) error {
	c, err := newLogContent(l)
	if err != nil {
		return fmt.Errorf("vendorsim: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.logs[c.ID]; !ok {
		s.order = append(s.order, c.ID)
	}
	s.logs[c.ID] = c
	return nil
}

// RemoveLog deletes a log: from now on it is unknown.
func (s *Sim) RemoveLog(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = strings.ToLower(id)
	delete(s.logs, id)
	s.order = slices.DeleteFunc(s.order, func(o string) bool { return o == id })
}

// SetFaults replaces the script; its counts begin anew.
func (s *Sim) SetFaults(script Script) error {
	if err := script.Validate(); err != nil {
		return fmt.Errorf("vendorsim: %w", err)
	}
	s.faults.set(script)
	return nil
}

// AddFault adds a rule behind the others.
func (s *Sim) AddFault(r Rule) error {
	if err := (Script{Rules: []Rule{r}}).Validate(); err != nil {
		return fmt.Errorf("vendorsim: %w", err)
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.append([]Rule{r})
	return nil
}

// LogIDs returns the IDs of all logs, in the order they were added.
func (s *Sim) LogIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// Lines yields what a log holds in [from, to), oldest first, each line without its line feed and valid until the
// next: what a client that misses and doubles nothing must have. The clock doesn't matter here. An unknown log
// holds nothing.
func (s *Sim) Lines(id string, from, to time.Time) iter.Seq[[]byte] {
	c := s.log(id)
	if c == nil {
		return func(func([]byte) bool) {}
	}
	return lines(c.pages(c.span(from.UnixMilli(), to.UnixMilli())))
}

// WriteLines writes what [Sim.Lines] yields to w, a line feed behind each line.
func (s *Sim) WriteLines(w io.Writer, id string, from, to time.Time) (count, size int64, err error) {
	c := s.log(id)
	if c == nil {
		return 0, 0, nil
	}
	lo, hi := c.span(from.UnixMilli(), to.UnixMilli())
	for page := range c.pages(lo, hi) {
		n, err := w.Write(page)
		size += int64(n)
		if err != nil {
			return 0, size, fmt.Errorf("vendorsim: write lines of log %s: %w", id, err)
		}
	}
	return hi - lo, size, nil
}

// Count returns how many records a log holds in [from, to).
func (s *Sim) Count(id string, from, to time.Time) int64 {
	c := s.log(id)
	if c == nil {
		return 0
	}
	lo, hi := c.span(from.UnixMilli(), to.UnixMilli())
	return hi - lo
}

func (s *Sim) log(id string) *logContent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs[strings.ToLower(id)]
}

// Handler serves the API over any HTTP/1.1 server that can be hijacked (cuts need it).
func (s *Sim) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Start listens on addr (host:port, port 0 for any) and returns the base URL. It may be called several times: all
// addresses serve the same vendor.
func (s *Sim) Start(addr string) (baseURL string, err error) {
	return s.listen(addr, s.Handler(), true)
}

func (s *Sim) listen(addr string, h http.Handler, secure bool) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("vendorsim: %w", err)
	}
	server := &http.Server{
		Handler:           s.handlers.count(h),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // resets and broken handshakes are what tests provoke
		Protocols:         new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if tcp := tcpConn(c); tcp != nil && s.opts.SendBufferBytes > 0 {
				// A buffer of another size only makes a paused reader visible later.
				_ = tcp.SetWriteBuffer(s.opts.SendBufferBytes)
			}
			return ctx
		},
	}
	server.Protocols.SetHTTP1(true) // cuts and resets mean a connection to one request
	scheme, serve := "http", server.Serve
	if secure && s.opts.TLS != nil {
		server.TLSConfig = s.opts.TLS.Clone()
		scheme = "https"
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", errors.Join(errors.New("vendorsim: closed"), l.Close())
	}
	s.servers = append(s.servers, server)
	s.background.Go(func() {
		// Serve ends when Close closes the server; a listener that fails earlier shows as refused connections.
		_ = serve(l)
	})
	return scheme + "://" + l.Addr().String(), nil
}

// Close ends all connections and waits until nothing runs. It is idempotent.
func (s *Sim) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	servers := s.servers
	s.servers = nil
	s.mu.Unlock()
	var errs []error
	for _, server := range servers {
		errs = append(errs, server.Close())
	}
	s.background.Wait()
	s.handlers.wait()
	return errors.Join(errs...)
}

// handlerCount waits for the handlers of servers that were closed: http.Server.Close doesn't.
type handlerCount struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil if nobody waits
}

func (c *handlerCount) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.n++
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.n--
			if c.n == 0 && c.idle != nil {
				close(c.idle)
				c.idle = nil
			}
		}()
		h.ServeHTTP(w, r)
	})
}

func (c *handlerCount) wait() {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	<-idle
}

// trap returns the base URL of an origin that only counts who comes with a key.
func (s *Sim) trap() (string, error) {
	s.mu.Lock()
	url := s.trapURL
	s.mu.Unlock()
	if url != "" {
		return url, nil
	}
	url, err := s.listen("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.journal.mu.Lock()
		s.journal.sums.Trapped++
		if r.Header.Get("X-Api-Key") != "" || r.Header.Get("Authorization-Api-Key") != "" || r.Header.Get(elsaKeyHeader) != "" {
			s.journal.sums.KeysLeaked++
		}
		s.journal.mu.Unlock()
		w.Header().Set("Content-Type", textType)
		_, _ = io.WriteString(w, "error: this line comes from another origin and belongs to no log\n")
	}), false)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trapURL == "" { // two redirects at once may both have made one; either will do
		s.trapURL = url
	}
	return s.trapURL, nil
}

func (s *Sim) meter(key, namespace string) *meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := meterKey{key, namespace}
	m := s.meters[k]
	if m == nil {
		m = &meter{budget: s.opts.Download, mono: s.clock.Monotonic}
		switch namespace {
		case managementSpace:
			m.budget = s.opts.Management
		case querySpace:
			m.budget = s.opts.Queries
		case pollSpace:
			m.budget = s.opts.Polls
		case usageSpace:
			m.budget = s.opts.Usage.Budget
		case elsaSpace:
			m.budget = s.opts.Elsa.Budget
		}
		s.meters[k] = m
	}
	return m
}

func (s *Sim) allMeters() []*meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*meter, 0, len(s.meters))
	for _, m := range s.meters {
		out = append(out, m)
	}
	return out
}

// Namespaces of budgets.
const (
	downloadSpace   = "/download"
	managementSpace = "/management"
	querySpace      = "/query"
	pollSpace       = "/query/{id}"
)

const (
	textType = "text/plain; charset=UTF-8"
	jsonType = "application/json"
)

// setRateHeaders shows the budget; the byte headers belong to downloads alone.
func (s *Sim) setRateHeaders(h http.Header, m *meter, namespace string) standing {
	st := m.standing()
	reset := seconds(st.reset)
	if s.opts.Reset == ResetEpoch {
		reset += ceilSecond(s.clock.Now())
	}
	h.Set("X-RateLimit-Limit", strconv.FormatInt(m.budget.Requests, 10))
	h.Set("X-RateLimit-Remaining", strconv.FormatInt(st.requests, 10))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset, 10))
	if namespace == downloadSpace {
		h.Set("R7-RateLimit-LimitBytes", strconv.FormatInt(m.budget.Bytes, 10))
		h.Set("R7-RateLimit-RemainingBytes", strconv.FormatInt(st.bytes, 10))
	}
	return st
}

func ceilSecond(t time.Time) int64 { return (t.UnixMilli() + 999) / 1000 }

func (s *Sim) setRetryAfter(h http.Header, st standing) {
	wait := max(1, seconds(st.retry))
	switch s.opts.RetryAfter {
	case RetrySeconds:
		h.Set("Retry-After", strconv.FormatInt(wait, 10))
	case RetryDate:
		h.Set("Retry-After", time.Unix(ceilSecond(s.clock.Now())+wait, 0).UTC().Format(http.TimeFormat))
	}
}

// fail answers with a JSON error as the vendor words it.
func (s *Sim) fail(w http.ResponseWriter, x *exchange, status int, message string) {
	body := struct {
		ErrorCode string `json:"errorCode,omitempty"`
		Message   string `json:"message"`
	}{Message: message}
	if status == http.StatusBadRequest {
		body.ErrorCode = "100000"
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // two strings always encode
	}
	s.answer(w, x, status, jsonType, text)
}

// answer sends a small body that no fault touches.
func (s *Sim) answer(w http.ResponseWriter, x *exchange, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	x.update(func(r *Request) { r.Status = status })
	x.beginWrite()
	n, err := w.Write(body)
	x.endWrite(n)
	x.update(func(r *Request) { r.Complete = err == nil })
}

// pause waits for d (negative: for ever) or until one of the others happens, and reports whether to go on.
func (s *Sim) pause(ctx context.Context, d time.Duration, release <-chan struct{}) bool {
	var after <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		after = timer.C
	}
	select {
	case <-after:
		return true
	case <-release:
		return true
	case <-ctx.Done():
		return false
	case <-s.done:
		return false
	}
}
