package vendorsim

import (
	"net/http"
	"slices"
	"strings"
)

// call is one request on its way through the simulator.
type call struct {
	sim   *Sim
	w     http.ResponseWriter
	r     *http.Request
	x     *exchange
	meter *meter   // of the key and namespace; nil outside budgets
	fault *Fault   // never nil
	path  string   // without /log_search
	about []string // what the request is about, for rules that name a log
}

func isDownload(path string) bool { return strings.HasPrefix(path, downloadSpace+"/") }

func (s *Sim) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if p, ok := strings.CutPrefix(path, "/log_search"); ok && strings.HasPrefix(p, "/") {
		path = p
	}
	key := r.Header.Get("X-Api-Key")
	if isElsa(path) {
		key = r.Header.Get(elsaKeyHeader)
	}
	c := &call{sim: s, w: w, r: r, path: path, fault: &Fault{}}
	c.x = s.journal.begin(Request{
		Key: KeyName(key), Method: r.Method, Path: path, Query: r.URL.RawQuery, At: s.clock.Now(),
	})
	defer func() {
		done := c.x.end()
		if s.opts.Observe != nil {
			s.opts.Observe(done)
		}
	}()
	c.setDate()
	if isElsa(path) {
		c.elsa(key)
		return
	}
	if !c.admit(key) {
		return
	}
	if !c.suffer() {
		return
	}
	switch {
	case isDownload(path):
		c.x.beginDownload()
		c.download()
	case path == "/management/logs" || strings.HasPrefix(path, "/management/logs/"):
		c.listLogs()
	case path == "/management/logsets" || strings.HasPrefix(path, "/management/logsets/"):
		c.listLogsets()
	case strings.HasPrefix(path, "/management/labels/"):
		c.listLabels()
	case strings.HasPrefix(path, accountsPath):
		c.accounts()
	case strings.HasPrefix(path, querySpace+"/"):
		c.query()
	case isUsage(path):
		c.usage()
	case path == "/validate":
		c.validate(key)
	case path == "/":
		s.answer(w, c.x, http.StatusOK, textType, []byte("ok\n"))
	default:
		s.fail(w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
	}
}

func (c *call) setDate() {
	if c.sim.opts.NoDate {
		c.w.Header()["Date"] = nil // keeps net/http from adding the host's
		return
	}
	c.w.Header().Set("Date", c.sim.clock.Now().Format(http.TimeFormat))
}

// admit checks key and budget and answers the request if it goes no further.
func (c *call) admit(key string) bool {
	s := c.sim
	var namespace string
	switch {
	case isDownload(c.path):
		namespace = downloadSpace
	case strings.HasPrefix(c.path, managementSpace+"/"):
		namespace = managementSpace
	case strings.HasPrefix(c.path, querySpace+"/"):
		namespace = queryNamespace(c.path)
	case isUsage(c.path):
		namespace = usageSpace
	default:
		return true
	}
	readOnly := slices.Contains(s.opts.ReadOnlyKeys, key)
	switch {
	case strings.HasPrefix(c.path, accountsPath):
		if !c.signedByOwner() {
			return false
		}
		key = s.opts.Owner.KeyID
	case !readOnly && !slices.Contains(s.opts.Keys, key):
		if s.opts.WrongKeyStatus == http.StatusUnauthorized {
			s.fail(c.w, c.x, http.StatusUnauthorized, "Unauthorized")
		} else {
			s.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
		}
		return false
	case readOnly && (namespace == downloadSpace || namespace == usageSpace):
		s.fail(c.w, c.x, http.StatusForbidden, "Forbidden")
		return false
	}
	c.meter = s.meter(key, namespace)
	ok := c.meter.admit()
	c.x.update(func(r *Request) { r.Budgeted, r.Beyond = ok, !ok })
	st := s.setRateHeaders(c.w.Header(), c.meter, namespace)
	if !ok {
		s.setRetryAfter(c.w.Header(), st)
		s.answer(c.w, c.x, http.StatusTooManyRequests, "text/plain", []byte(rateLimitText))
	}
	return ok
}

const rateLimitText = "API rate limit exceeded"

// suffer chooses the request's fault and does what comes before a good answer; false if it was answered.
func (c *call) suffer() bool {
	s := c.sim
	about := c.about
	if isDownload(c.path) {
		for _, id := range splitIDs(c.path) {
			about = append(about, id)
			if l := s.log(id); l != nil {
				about = append(about, l.Name)
			}
		}
	}
	name, fault := s.faults.choose(c.r, c.path, about)
	if fault == nil {
		return true
	}
	c.fault = fault
	c.x.update(func(r *Request) { r.Fault = name })
	if fault.Delay > 0 && !s.pause(c.r.Context(), fault.Delay, nil) ||
		fault.Hold != nil && !s.pause(c.r.Context(), -1, fault.Hold) {
		c.drop(false)
		return false
	}
	c.setDate()
	for k, v := range fault.Header {
		c.w.Header().Set(k, v)
	}
	if fault.Redirect != "" {
		return c.redirect()
	}
	if fault.Status == 0 {
		return true
	}
	if fault.RetryAfter != "" {
		c.w.Header().Set("Retry-After", fault.RetryAfter)
	}
	body, contentType := fault.Body, jsonType
	switch {
	case isElsa(c.path) && body == "":
		c.elsaFail(fault.Status, 0)
		return false
	case isElsa(c.path) && strings.HasPrefix(body, "<"):
		contentType = "application/xml"
	case fault.Status == http.StatusTooManyRequests:
		contentType = "text/plain"
		if body == "" {
			body = rateLimitText
		}
	case body == "":
		body = `{"message":"HTTP ` + http.StatusText(fault.Status) + `"}`
	case !strings.HasPrefix(body, "{"):
		contentType = textType
	}
	s.answer(c.w, c.x, fault.Status, contentType, []byte(body))
	return false
}

func (c *call) redirect() bool {
	target := c.fault.Redirect
	if target == "trap" {
		var err error
		if target, err = c.sim.trap(); err != nil {
			c.sim.fail(c.w, c.x, http.StatusInternalServerError, err.Error())
			return false
		}
	}
	status := c.fault.Status
	if status == 0 {
		status = http.StatusFound
	}
	c.w.Header().Set("Location", strings.TrimSuffix(target, "/")+c.r.URL.RequestURI())
	c.sim.answer(c.w, c.x, status, textType, nil)
	return false
}
