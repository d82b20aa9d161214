package vendorsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The query API's documented limits.
const (
	DefaultQueries = 1500  // queries started per window; each page is one
	DefaultPolls   = 10000 // polls of running queries per window
	DefaultLinkTTL = 20 * time.Second
	defaultPerPage = 50
	maxPerPage     = 500
)

// QueryOptions say how the query API behaves where the vendor's documents leave it open or contradict each other. The zero
// value answers a start with 202 and a Self link, the first poll with the events.
type QueryOptions struct {
	Immediate  bool          // the start answers 200 with the events
	Polls      int           // polls that find the query still running, before the one with the events
	LinkTTL    time.Duration // a link that nobody asks for so long expires (404); 0: 20 s
	Partial    bool          // polls that find the query running show some of its events
	LowerCase  bool          // rel: "self" and "next" instead of "Self" and "Next"
	Related    bool          // further links before and behind those that count
	NextAlways bool          // a finished query shows a Next link although nothing follows
	NextNever  bool          // full pages have no Next link either
	// NextRepeats leaves the position out of the Next link and ignores it in requests: every page is the first.
	NextRepeats bool
	// Sequence is how events tell their sequence number: "" (a rounded number, and the exact one as text), "number" (both as
	// exact numbers), "bare" (only the exact number) or "none".
	Sequence string
	LinkBase string // scheme, host and path prefix of links; "": as the request came
	// Vary draws Immediate, Polls (up to the given), Partial, LowerCase, Related and NextAlways anew for each answer.
	Vary      uint64
	Retention time.Time // what was received before is beyond retention: left out, and told by a header
	Unescaped bool      // texts hold all characters but the necessary ones as they are; else some as \u escapes
}

// pendingQuery is a query that runs, under the ID that the next poll must name.
type pendingQuery struct {
	q       eventQuery
	polls   int
	started int
	expires time.Duration
}

// eventQuery is a query, understood.
type eventQuery struct {
	logs      []*logContent
	from, to  int64 // half-open, Unix milliseconds
	sentTo    int64 // as the client said
	sequence  uint64
	after     bool // only what follows sequence in the millisecond `from`
	perPage   int
	match     filter
	statement string
	path      string // of the start
}

// sequenceBase makes sequence numbers as large as the vendor's: beyond what a double holds exactly.
const sequenceBase = 3_237_201_778_429_120_512

// answerStyle is what QueryOptions decide for one answer.
type answerStyle struct{ immediate, partial, lower, related, nextAlways bool }

func (s *Sim) queryStyle() (answerStyle, int) {
	o := s.opts.Query
	st, polls := answerStyle{o.Immediate, o.Partial, o.LowerCase, o.Related, o.NextAlways}, o.Polls
	if o.Vary == 0 {
		return st, polls
	}
	s.mu.Lock()
	s.queryCount++
	r := random(o.Vary ^ s.queryCount<<20)
	s.mu.Unlock()
	bits := r.next()
	bit := func(n int) bool { return bits>>n&1 == 1 }
	return answerStyle{bit(1), bit(2), bit(3), bit(4), bit(5)}, int(bits >> 8 % uint64(polls+1))
}

// queryNamespace is the budget that a path of the query API falls under.
func queryNamespace(path string) string {
	if isPoll(path) {
		return pollSpace
	}
	return querySpace
}

func isPoll(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/query/"), "/")
	return strings.HasPrefix(path, "/query/") && !slices.Contains([]string{"logs", "logsets", "saved_query", "saved_queries", "context", "live"}, first)
}

// query answers what lies under /query/.
func (c *call) query() {
	s := c.sim
	if len(c.r.RequestURI) > maxURLBytes {
		s.fail(c.w, c.x, http.StatusRequestURITooLong, "HTTP 414 URI Too Long")
		return
	}
	if t := c.r.Header.Get("Content-Type"); t != "" && !strings.HasPrefix(t, jsonType) {
		s.fail(c.w, c.x, http.StatusUnsupportedMediaType, "HTTP 415 Unsupported Media Type")
		return
	}
	switch {
	case c.path == "/query/saved_queries" || strings.HasPrefix(c.path, "/query/saved_queries/"):
		c.savedQueries()
	case isPoll(c.path) && c.r.Method == http.MethodGet:
		c.poll()
	case c.r.Method == http.MethodGet && strings.HasPrefix(c.path, "/query/logs/"):
		c.start(strings.TrimPrefix(c.path, "/query/logs/"))
	case c.r.Method == http.MethodPost && c.path == "/query/logs":
		c.start("")
	case c.r.Method == http.MethodGet && strings.HasPrefix(c.path, "/query/logsets/"):
		id := strings.TrimPrefix(c.path, "/query/logsets/")
		for _, set := range s.opts.Logsets {
			if strings.EqualFold(set.ID, id) {
				c.start(strings.Join(set.Logs, ":"))
				return
			}
		}
		s.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
	default:
		s.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
	}
}

// queryBody is what a POST carries.
type queryBody struct {
	Logs []string `json:"logs"`
	LEQL struct {
		Statement string `json:"statement"`
		During    struct {
			From      *int64 `json:"from"`
			To        *int64 `json:"to"`
			TimeRange string `json:"time_range"`
		} `json:"during"`
	} `json:"leql"`
}

// start answers the start of a query over logs, joined by colons; "" means that they stand in the body.
func (c *call) start(logs string) {
	s := c.sim
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err == nil && logs == "" {
		logs, err = bodyIntoValues(c.r.Body, values)
	}
	var q eventQuery
	if err == nil {
		q, err = s.parseQuery(values)
	}
	ids := strings.Split(strings.ToLower(strings.ReplaceAll(logs, ";", ":")), ":")
	c.x.update(func(r *Request) { r.Logs, r.From, r.To, r.Limit = ids, q.from, q.to, int64(q.perPage) })
	if err != nil {
		s.fail(c.w, c.x, http.StatusBadRequest, err.Error())
		return
	}
	for _, id := range ids {
		l := s.log(id)
		if l == nil {
			s.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
			return
		}
		q.logs = append(q.logs, l)
	}
	q.path = "/query/logs/" + strings.Join(ids, ":")
	q.to = min(q.to, s.clock.Now().Add(-s.opts.IndexLag).UnixMilli()+1)
	st, polls := s.queryStyle()
	if st.immediate {
		c.finished(&q, st)
		return
	}
	c.running(http.StatusAccepted, &pendingQuery{q: q, polls: polls, started: polls}, st)
}

func bodyIntoValues(r io.Reader, values url.Values) (logs string, err error) {
	var body queryBody
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return "", fmt.Errorf("invalid body: %w", err)
	}
	set := func(name, value string, given bool) {
		if given {
			values.Set(name, value)
		}
	}
	set("query", body.LEQL.Statement, body.LEQL.Statement != "")
	set("time_range", body.LEQL.During.TimeRange, body.LEQL.During.TimeRange != "")
	if from, to := body.LEQL.During.From, body.LEQL.During.To; from != nil && to != nil {
		set("from", strconv.FormatInt(*from, 10), true)
		set("to", strconv.FormatInt(*to, 10), true)
	}
	return strings.Join(body.Logs, ":"), nil
}

// parseQuery reads the parameters of a start. Its errors are the text of a 400.
func (s *Sim) parseQuery(values url.Values) (q eventQuery, err error) {
	if values.Has("from") != values.Has("to") {
		return q, errors.New("invalid time range: from and to must be given together")
	}
	var d downloadQuery
	if err := d.setRange(values, s.clock.Now(), s.opts.ToInclusive); err != nil {
		return q, err
	}
	q.from, q.to, q.sentTo = d.from, d.to, d.to
	if s.opts.ToInclusive && values.Has("to") {
		q.sentTo--
	}
	q.perPage = defaultPerPage
	if values.Has("per_page") {
		q.perPage, err = strconv.Atoi(values.Get("per_page"))
		if err != nil || q.perPage < 1 || q.perPage > maxPerPage {
			return q, fmt.Errorf("invalid per_page: %q must lie between 1 and %d", values.Get("per_page"), maxPerPage)
		}
	}
	if values.Has("sequence_number") {
		if q.sequence, err = strconv.ParseUint(values.Get("sequence_number"), 10, 64); err != nil {
			return q, fmt.Errorf("invalid sequence_number: %q", values.Get("sequence_number"))
		}
		q.after = !s.opts.Query.NextRepeats
	}
	q.statement = values.Get("query")
	q.match, err = parseLEQL(q.statement)
	return q, err
}

// running answers that a query runs, under a new ID.
func (c *call) running(status int, p *pendingQuery, st answerStyle) {
	s := c.sim
	ttl := s.opts.Query.LinkTTL
	if ttl == 0 {
		ttl = DefaultLinkTTL
	}
	p.expires = s.clock.Monotonic() + ttl
	s.mu.Lock()
	s.queryCount++
	// As the vendor's: with colons, one at the end, and a character that some clients would escape anew.
	id := fmt.Sprintf("c2f0%08x:%d:%%2B7:", s.queryCount, p.polls)
	if s.pending == nil {
		s.pending = make(map[string]*pendingQuery)
	}
	s.pending[id] = p
	s.mu.Unlock()
	progress := 0
	if p.started > 0 {
		progress = 99 * (p.started - p.polls) / p.started
	}
	body := fmt.Appendf(nil, `{"id":%s,"progress":%d,`, quote(id), progress)
	var events []queryEvent
	if status == http.StatusOK && st.partial {
		events, _ = s.page(&p.q)
		events = events[:len(events)/2]
	}
	body = s.appendEvents(body, &p.q, events, st, []logLink{{"Self", s.linkBase(c.r) + "/query/" + id}})
	c.answerQuery(status, body, 0, false)
}

// linkBase is what stands before the path in a link of this answer.
func (s *Sim) linkBase(r *http.Request) string {
	if s.opts.Query.LinkBase != "" {
		return s.opts.Query.LinkBase
	}
	scheme, prefix := "http", ""
	if r.TLS != nil {
		scheme = "https"
	}
	if strings.HasPrefix(r.URL.Path, "/log_search/") {
		prefix = "/log_search"
	}
	return scheme + "://" + r.Host + prefix
}

// poll answers GET /query/{continuation}.
func (c *call) poll() {
	s := c.sim
	_, id, _ := strings.Cut(c.r.URL.EscapedPath(), "/query/") // verbatim: an ID that was escaped anew is unknown
	s.mu.Lock()
	p := s.pending[id]
	delete(s.pending, id)
	s.mu.Unlock()
	if p == nil || s.clock.Monotonic() > p.expires {
		s.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
		return
	}
	st, _ := s.queryStyle()
	if p.polls > 0 {
		p.polls--
		c.running(http.StatusOK, p, st)
		return
	}
	c.finished(&p.q, st)
}

// finished answers with a page of events.
func (c *call) finished(q *eventQuery, st answerStyle) {
	s := c.sim
	events, more := s.page(q)
	var links []logLink
	if (more || st.nextAlways) && !s.opts.Query.NextNever {
		next := url.Values{
			"from": {strconv.FormatInt(q.from, 10)}, "to": {strconv.FormatInt(q.sentTo, 10)},
			"per_page": {strconv.Itoa(q.perPage)}, "next_page": {"true"},
		}
		if n := len(events); n > 0 && !s.opts.Query.NextRepeats {
			next.Set("from", strconv.FormatInt(events[n-1].at, 10))
			next.Set("sequence_number", strconv.FormatUint(events[n-1].sequence, 10))
		} else if q.after {
			next.Set("sequence_number", strconv.FormatUint(q.sequence, 10))
		}
		if q.statement != "" {
			next.Set("query", q.statement)
		}
		links = append(links, logLink{"Next", s.linkBase(c.r) + q.path + "?" + next.Encode()})
	}
	if r := s.opts.Query.Retention; !r.IsZero() && q.from < r.UnixMilli() {
		c.w.Header().Set("x-beyond-retention", "true")
		c.w.Header().Set("x-beyond-retention-message", "The time range is partly beyond the retention of "+r.UTC().Format(time.DateOnly))
	}
	body := s.appendEvents([]byte{'{'}, q, events, st, links)
	c.answerQuery(http.StatusOK, body, len(events), more)
}

// answerQuery sends a body that faults may cut.
func (c *call) answerQuery(status int, body []byte, events int, more bool) {
	c.w.Header().Set("Content-Type", jsonType)
	if status != http.StatusOK { // small, and never cut
		c.sim.answer(c.w, c.x, status, jsonType, body)
		return
	}
	c.stream(func(yield func([]byte) bool) { yield(body) })
	c.x.update(func(r *Request) { r.Lines, r.Truncated = int64(events), more })
}

type queryEvent struct {
	at       int64
	sequence uint64
	log      *logContent
	line     []byte
}

// page returns the events of a query's page in order of time, and whether more follow.
func (s *Sim) page(q *eventQuery) (events []queryEvent, more bool) {
	from := q.from
	if r := s.opts.Query.Retention; !r.IsZero() {
		from = max(from, r.UnixMilli())
	}
	for _, l := range q.logs {
		lo, hi := l.span(from, q.to)
		if q.after { // its own records of the first millisecond may have been shown already
			for lo < hi && l.at(lo) == q.from && sequenceBase+uint64(lo) <= q.sequence {
				lo++
			}
		}
		n, i := 0, lo
		for line := range lines(l.pages(lo, hi)) {
			if q.match == nil || q.match(line) {
				events = append(events, queryEvent{l.at(i), sequenceBase + uint64(i), l, append([]byte(nil), line...)})
				if n++; n > q.perPage {
					break
				}
			}
			i++
		}
	}
	slices.SortStableFunc(events, func(a, b queryEvent) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return int(int64(a.sequence) - int64(b.sequence))
	})
	if len(events) > q.perPage {
		return events[:q.perPage], true
	}
	return events, false
}

// appendEvents writes the rest of an answer, from the logs to the closing brace.
func (s *Sim) appendEvents(dst []byte, q *eventQuery, events []queryEvent, st answerStyle, links []logLink) []byte {
	dst = append(dst, `"logs":[`...)
	for i, l := range q.logs {
		dst = appendComma(dst, i)
		dst = append(dst, quote(l.ID)...)
	}
	dst = fmt.Appendf(dst, `],"leql":{"statement":%s,"during":{"from":%d,"to":%d}},"events":[`, quote(q.statement), q.from, q.sentTo)
	for i, e := range events {
		dst = appendComma(dst, i)
		dst = s.appendEvent(dst, e)
	}
	dst = append(dst, `],"links":[`...)
	if st.related {
		links = append([]logLink{{"Related", "https://example.com/"}}, append(links, logLink{"Context", "/nowhere"})...)
	}
	for i, l := range links {
		if st.lower {
			l.Rel = strings.ToLower(l.Rel)
		}
		dst = appendComma(dst, i)
		dst = fmt.Appendf(dst, `{"rel":%s,"href":%s}`, quote(l.Rel), quote(l.Href))
	}
	return append(dst, "]}"...)
}

func appendComma(dst []byte, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, ',')
}

func (s *Sim) appendEvent(dst []byte, e queryEvent) []byte {
	dst = append(dst, `{"labels":[`...)
	n := 0
	for _, l := range s.opts.Labels {
		if l.Word != "" && strings.Contains(string(e.line), l.Word) {
			dst = appendComma(dst, n)
			dst = fmt.Appendf(dst, `{"id":%s,"links":[{"rel":"Self","href":"https://example.com/management/labels/%s"}]}`, quote(l.ID), l.ID)
			n++
		}
	}
	dst = fmt.Appendf(dst, `],"timestamp":%d,`, e.at)
	switch s.opts.Query.Sequence {
	case "":
		dst = fmt.Appendf(dst, `"sequence_number":%d,"sequence_number_str":"%d",`, e.sequence/1000*1000, e.sequence)
	case "number":
		dst = fmt.Appendf(dst, `"sequence_number_str":%d,"sequence_number":%d,`, e.sequence, e.sequence)
	case "bare":
		dst = fmt.Appendf(dst, `"sequence_number":%d,`, e.sequence)
	}
	dst = fmt.Appendf(dst, `"log_id":%s,"message":`, quote(e.log.ID))
	dst = appendText(dst, e.line, !s.opts.Query.Unescaped && e.sequence%2 == 0)
	return append(dst, `,"links":[{"rel":"Context","href":"https://example.com/query/context/1?a=b&c=d"}]}`...)
}

// savedQueries answers GET /query/saved_queries[/{id}].
func (c *call) savedQueries() {
	id := strings.TrimPrefix(strings.TrimPrefix(c.path, "/query/saved_queries"), "/")
	list := []SavedQuery{}
	for _, q := range c.sim.opts.SavedQueries {
		if id == "" {
			list = append(list, q)
		} else if strings.EqualFold(q.ID, id) {
			c.json(http.StatusOK, map[string]any{"saved_query": q})
			return
		}
	}
	if id != "" {
		c.sim.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
		return
	}
	c.json(http.StatusOK, map[string]any{"saved_queries": list})
}
