package vendorsim

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Keys that ELSA accepts when Options name none. They open nothing but a simulator.
const (
	DemoAccessKey = "simAccessKey00000001"
	DemoSecretKey = "simSecretKey0123456789abcdefABCDEF000001"
)

// Orders of the records in a download, which the vendor doesn't document.
const (
	OldestFirst = "oldest first" // the default
	NewestFirst = "newest first" // as the vendor's search has it
	MixedOrder  = "mixed"
)

// Forms of a search's answer, which the vendor doesn't document.
const (
	SearchTotal = "total" // the default: totalItems beside data
	SearchHits  = "hits"  // hits.total with value and relation
	SearchNone  = "none"  // data alone
	SearchEnds  = "ends"  // the count ends at 10,000
)

// Layouts of an entry in the JSON format.
const (
	LayoutArray = "array" // the default
	LayoutLines = "lines"
)

// Elsa says what the simulated NAVER Cloud ELSA serves and how.
type Elsa struct {
	AccessKey, SecretKey string // none: DemoAccessKey and DemoSecretKey
	Projects             []Project

	Budget      Budget        // zero: no limit, as none is documented
	MaxSkew     time.Duration // of a signature's timestamp; 0: 5 minutes
	ToInclusive bool          // records of the millisecond `to` are served too

	Order       string // OldestFirst, NewestFirst or MixedOrder
	Layout      string // LayoutArray or LayoutLines
	Entries     int    // of an archive; 0: 1
	BOM         bool   // each entry begins with a byte order mark
	NumberCodes bool   // error codes as numbers instead of texts
	XMLErrors   bool   // errors as XML
	Search      string // how a search tells what it found: SearchTotal (the default), SearchHits, SearchNone or SearchEnds
}

// The vendor's documented bounds of a download.
const (
	elsaMaxLimit     = 1000
	elsaMaxCount     = 200_000
	elsaDefaultLimit = 100
	elsaDefaultCount = 100_000
	elsaMaxKey       = 53
)

func (e *Elsa) setDefaults() {
	e.AccessKey = cmp.Or(e.AccessKey, DemoAccessKey)
	e.SecretKey = cmp.Or(e.SecretKey, DemoSecretKey)
	e.MaxSkew = cmp.Or(e.MaxSkew, 5*time.Minute)
	e.Order = cmp.Or(e.Order, OldestFirst)
	e.Layout = cmp.Or(e.Layout, LayoutArray)
	e.Entries = cmp.Or(e.Entries, 1)
	e.Search = cmp.Or(e.Search, SearchTotal)
	e.Budget.setDefaults(1<<62, 1<<62)
}

func (e *Elsa) validate(bad func(field, format string, args ...any)) {
	if b := e.Budget; b.Requests < 0 || b.Bytes < 0 || b.Window < 0 {
		bad("Elsa.Budget", "requests, bytes and window must not be negative")
	}
	if e.MaxSkew < 0 || e.Entries < 0 {
		bad("Elsa.MaxSkew, Elsa.Entries", "must not be negative")
	}
	if !slices.Contains([]string{OldestFirst, NewestFirst, MixedOrder}, e.Order) {
		bad("Elsa.Order", "want %s, %s or %s, got %q", OldestFirst, NewestFirst, MixedOrder, e.Order)
	}
	if !slices.Contains([]string{SearchTotal, SearchHits, SearchNone, SearchEnds}, e.Search) {
		bad("Elsa.Search", "want total, hits, none or ends, got %q", e.Search)
	}
	if !slices.Contains([]string{LayoutArray, LayoutLines}, e.Layout) {
		bad("Elsa.Layout", "want array or lines, got %q", e.Layout)
	}
}

// Names of the API.
const (
	elsaSpace           = "/api/v1"
	elsaDownload        = elsaSpace + "/logs/download"
	elsaFields          = elsaSpace + "/fields"
	elsaSearch          = elsaSpace + "/logs/search"
	elsaKeyHeader       = "X-Ncp-Iam-Access-Key"
	elsaTimeHeader      = "X-Ncp-Apigw-Timestamp"
	elsaSignatureHeader = "X-Ncp-Apigw-Signature-V2"
)

func isElsa(path string) bool { return strings.HasPrefix(path, elsaSpace+"/") }

// The gateway's errors.
var elsaErrors = map[int]struct {
	status  int
	message string
}{
	100: {400, "Bad Request Exception"},
	200: {401, "Authentication Failed"},
	210: {401, "Permission Denied"},
	300: {404, "Not Found Exception"},
	400: {429, "Quota Exceeded"},
	410: {429, "Throttle Limited"},
	420: {429, "Rate Limited"},
	430: {413, "Request Entity Too Large"},
	500: {503, "Endpoint Error"},
	510: {504, "Endpoint Timeout"},
	900: {500, "Unexpected Error"},
}

// elsaFail answers with an error as the gateway words it. Status or code may be 0: the first code of the status, the status
// of the code.
func (c *call) elsaFail(status, code int, details ...string) {
	if code == 0 {
		code = 900
		for known, e := range elsaErrors {
			if e.status == status && (code == 900 || known < code) {
				code = known
			}
		}
	}
	if status == 0 {
		status = elsaErrors[code].status
	}
	text, contentType := c.elsaError(code, strings.Join(details, "; "))
	c.sim.answer(c.w, c.x, status, contentType, text)
}

func (c *call) elsaError(code int, details string) (text []byte, contentType string) {
	message := elsaErrors[code].message
	if c.sim.opts.Elsa.XMLErrors {
		return fmt.Appendf(nil, "<?xml version=\"1.0\"?><Error><errorCode>%d</errorCode><message><![CDATA[%s]]></message></Error>", code, message), "application/xml"
	}
	e := map[string]any{"errorCode": strconv.Itoa(code), "message": message}
	if c.sim.opts.Elsa.NumberCodes {
		e["errorCode"] = code
	}
	if details != "" {
		e["details"] = details
	}
	text, err := json.Marshal(map[string]any{"error": e})
	if err != nil {
		panic(err) // texts and numbers always encode
	}
	return text, jsonType
}

// elsa answers a request to the gateway.
func (c *call) elsa(key string) {
	const maxBody = 1 << 20
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody))
	if err != nil {
		c.drop(false)
		return
	}
	if problem := c.elsaSigned(key); problem != "" {
		c.elsaFail(0, 200)
		return
	}
	c.meter = c.sim.meter(key, elsaSpace)
	ok := c.meter.admit()
	c.x.update(func(r *Request) { r.Budgeted, r.Beyond = ok, !ok })
	if !ok {
		c.sim.setRetryAfter(c.w.Header(), c.meter.standing())
		c.elsaFail(0, 420)
		return
	}
	q, err := parseElsa(c.r.Method, c.path, body, c.r.URL.Query(), c.sim.clock.Now())
	c.about = []string{q.ProjectKey}
	c.x.update(func(r *Request) { r.Logs, r.From, r.To, r.Limit = c.about, q.From, *cmp.Or(q.To, new(int64)), q.Count })
	if !c.suffer() {
		return
	}
	switch {
	case errors.Is(err, errNoSuchCall):
		c.elsaFail(0, 300)
	case err != nil:
		c.elsaFail(0, 100, err.Error())
	case c.path == elsaFields:
		c.elsaListFields(q)
	case c.path == elsaSearch:
		c.elsaCount(q)
	default:
		c.x.beginDownload()
		c.elsaServe(q)
	}
}

// elsaSigned checks a request's signature and says what is wrong with it; the gateway itself never tells.
func (c *call) elsaSigned(key string) (problem string) {
	o := &c.sim.opts.Elsa
	stamp := c.r.Header.Get(elsaTimeHeader)
	ms, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "timestamp"
	}
	if skew := c.sim.clock.Now().Sub(time.UnixMilli(ms)); skew > o.MaxSkew || skew < -o.MaxSkew {
		return "skew"
	}
	mac := hmac.New(sha256.New, []byte(o.SecretKey))
	fmt.Fprintf(mac, "%s %s\n%s\n%s", c.r.Method, c.r.RequestURI, stamp, key)
	want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if key != o.AccessKey || !hmac.Equal([]byte(want), []byte(c.r.Header.Get(elsaSignatureHeader))) {
		return "signature"
	}
	return ""
}

// elsaQuery is a request's parameters.
type elsaQuery struct {
	ProjectKey    string   `json:"projectKey"`
	ProjectID     int64    `json:"projectId"`
	From          int64    `json:"from"`
	To            *int64   `json:"to"`
	Format        string   `json:"format"`
	Limit         int64    `json:"limit"`
	Count         int64    `json:"count"`
	IncludeFields []string `json:"includeFields"`
}

var errNoSuchCall = errors.New("no such call")

// parseElsa reads a request as the vendor does. Its errors are the details of a 400.
func parseElsa(method, path string, body []byte, values url.Values, now time.Time) (elsaQuery, error) {
	q := elsaQuery{Format: "JSON", Limit: elsaDefaultLimit, Count: elsaDefaultCount}
	switch {
	case (path == elsaDownload || path == elsaSearch) && method == http.MethodPost:
		if err := json.Unmarshal(body, &q); err != nil {
			return q, fmt.Errorf("body: %w", err)
		}
	case path == elsaFields && method == http.MethodGet:
		q.ProjectKey = values.Get("projectKey")
		var errs [3]error
		var to int64
		q.ProjectID, errs[0] = strconv.ParseInt(values.Get("projectId"), 10, 64)
		q.From, errs[1] = strconv.ParseInt(values.Get("from"), 10, 64)
		to, errs[2] = strconv.ParseInt(values.Get("to"), 10, 64)
		q.To = &to
		if err := errors.Join(errs[:]...); err != nil {
			return q, err
		}
	default:
		return q, errNoSuchCall
	}
	if q.To == nil {
		ms := now.UnixMilli()
		q.To = &ms
	}
	switch {
	case q.ProjectKey == "" || len(q.ProjectKey) > elsaMaxKey:
		return q, errors.New("projectKey: want 1 to 53 characters")
	case q.From < 0 || *q.To < q.From:
		return q, errors.New("from, to: want milliseconds in order")
	case q.Format != "JSON" && q.Format != "CSV":
		return q, errors.New("format: want CSV or JSON")
	case q.Limit < 1 || q.Limit > elsaMaxLimit:
		return q, errors.New("limit: want 1 to 1000")
	case q.Count < 1 || q.Count > elsaMaxCount:
		return q, errors.New("count: want 1 to 200000")
	}
	return q, nil
}

// selected returns the project and the numbers of the records that a request is about; nil for an unknown project.
func (c *call) selected(q elsaQuery) (p *elsaProject, lo, hi int64) {
	p = c.sim.project(q.ProjectKey)
	if p == nil || p.ID != q.ProjectID {
		return nil, 0, 0
	}
	to := *q.To
	if c.sim.opts.Elsa.ToInclusive {
		to++
	}
	now := c.sim.clock.Now()
	to = min(to, now.Add(-c.sim.opts.IndexLag).UnixMilli()+1)
	lo, hi = p.span(q.From, to)
	return c.sim.indexedProject(p, lo, hi, now)
}

func (c *call) elsaListFields(q elsaQuery) {
	p, lo, hi := c.selected(q)
	if p == nil {
		c.elsaFail(0, 300)
		return
	}
	type field struct {
		Name string `json:"name"`
		Raw  bool   `json:"raw"`
	}
	fields := []field{}
	for _, name := range p.names(lo, min(hi, lo+1000), nil) {
		fields = append(fields, field{name, !slices.Contains([]string{"projectName", "logTime", "logLevel", "host", "projectVersion"}, name)})
	}
	c.json(http.StatusOK, map[string]any{"fields": fields})
}

// elsaCount answers a search: what was found, without the records themselves.
func (c *call) elsaCount(q elsaQuery) {
	p, lo, hi := c.selected(q)
	if p == nil {
		c.elsaFail(0, 300)
		return
	}
	const end = 10_000
	n := hi - lo
	answer := map[string]any{"data": []any{}}
	switch c.sim.opts.Elsa.Search {
	case SearchHits:
		answer = map[string]any{"hits": map[string]any{"total": map[string]any{"value": n, "relation": "eq"}, "hits": []any{}}}
	case SearchNone:
	case SearchEnds:
		answer["totalItems"] = min(n, end)
	default:
		answer["totalItems"], answer["pageNumber"], answer["pageSize"] = n, 1, q.Limit
	}
	c.json(http.StatusOK, answer)
}

// elsaServe answers a download with an archive.
func (c *call) elsaServe(q elsaQuery) {
	p, lo, hi := c.selected(q)
	if p == nil {
		c.elsaFail(0, 300)
		return
	}
	o := &c.sim.opts.Elsa
	a := &elsaArchive{project: p, query: q, options: o, lo: lo, hi: hi}
	if hi-lo > q.Count {
		if a.truncated = true; o.Order == NewestFirst {
			a.lo = hi - q.Count
		} else {
			a.hi = lo + q.Count
		}
	}
	c.w.Header().Set("Content-Type", "application/zip")
	c.w.Header().Set("Content-Disposition", "attachment; filename="+unsafeInFileName.ReplaceAllString(p.Key, "_")+".zip")
	c.stream(a.pages(c.fault.Zip))
	c.x.update(func(r *Request) { r.Lines, r.Truncated = a.hi-a.lo, a.truncated })
}

// PutProject adds an ELSA project, or replaces the one with its key.
func (s *Sim) PutProject(p Project) error {
	e, err := newElsaProject(p)
	if err != nil {
		return fmt.Errorf("vendorsim: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.projects == nil {
		s.projects = map[string]*elsaProject{}
	}
	s.projects[p.Key] = e
	return nil
}

func (s *Sim) project(key string) *elsaProject {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.projects[key]
}

// ProjectRecords yields what an ELSA project holds in [from, to), oldest first: what a client that misses and doubles
// nothing must have. An unknown project holds nothing.
func (s *Sim) ProjectRecords(key string, from, to time.Time) iter.Seq[ProjectRecord] {
	return func(yield func(ProjectRecord) bool) {
		p := s.project(key)
		if p == nil {
			return
		}
		lo, hi := p.span(from.UnixMilli(), to.UnixMilli())
		for i := lo; i < hi; i++ {
			if !yield(p.record(i)) {
				return
			}
		}
	}
}
