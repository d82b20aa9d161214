package vendorsim

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// downloadQuery is a download request, understood.
type downloadQuery struct {
	ids      []string
	from, to int64 // half-open, Unix milliseconds
	limit    int64
	match    filter
}

func splitIDs(path string) []string {
	list := strings.TrimPrefix(path, "/download/logs/")
	return strings.Split(strings.ToLower(strings.ReplaceAll(list, ";", ":")), ":")
}

// parseDownload reads a request as the vendor does; now is the vendor's clock. Its errors are the text of a 400.
func (s *Sim) parseDownload(path string, rawQuery string, now time.Time) (q downloadQuery, err error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return q, fmt.Errorf("invalid query parameters: %w", err)
	}
	q.ids = splitIDs(path)
	if len(q.ids) > maxLogsPerRequest {
		return q, fmt.Errorf("invalid logs: at most %d logs can be downloaded in one request, got %d", maxLogsPerRequest, len(q.ids))
	}
	for _, id := range q.ids {
		if id == "" || strings.Contains(id, "/") {
			return q, fmt.Errorf("invalid logs: %q is not a log ID", id)
		}
	}
	if err := q.setRange(values, now, s.opts.ToInclusive); err != nil {
		return q, err
	}
	q.limit = s.opts.MaxLines
	if values.Has("limit") {
		n, err := strconv.ParseInt(values.Get("limit"), 10, 64)
		if err != nil || n <= 0 {
			return q, fmt.Errorf("invalid limit: %q must be a number greater than 0", values.Get("limit"))
		}
		q.limit = min(n, q.limit) // "0 is the only invalid limit": more than the maximum is the maximum
	}
	leql := s.opts.DefaultQuery
	if values.Has("query") {
		leql = values.Get("query")
	}
	q.match, err = parseLEQL(leql)
	return q, err
}

func (q *downloadQuery) setRange(values url.Values, now time.Time, toInclusive bool) error {
	if values.Has("time_range") {
		if values.Has("from") || values.Has("to") {
			return errors.New("invalid time range: time_range can't be combined with from or to")
		}
		from, to, err := parseTimeRange(values.Get("time_range"), now)
		q.from, q.to = from.UnixMilli(), to.UnixMilli()
		return err
	}
	if !values.Has("from") {
		return errors.New("invalid time range: from or time_range is required")
	}
	var err error
	if q.from, err = parseMillis("from", values); err != nil {
		return err
	}
	q.to = now.UnixMilli()
	if values.Has("to") {
		if q.to, err = parseMillis("to", values); err != nil {
			return err
		}
	}
	if q.from > q.to {
		return fmt.Errorf("invalid time range: from %d is after to %d", q.from, q.to)
	}
	if toInclusive {
		q.to++
	}
	return nil
}

func parseMillis(name string, values url.Values) (int64, error) {
	text := values.Get(name)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n >= 1<<53 {
		return 0, fmt.Errorf("invalid time range: %s %q is not a timestamp in milliseconds", name, text)
	}
	return n, nil
}

var lastRange = regexp.MustCompile(`(?i)^last\s+(\d{1,6})\s+(min|minute|hr|hour|day|week|month|year)s?$`)

// parseTimeRange reads the vendor's relative time ranges, by the vendor's clock.
func parseTimeRange(text string, now time.Time) (from, to time.Time, err error) {
	text = strings.TrimSpace(text)
	midnight := now.UTC().Truncate(24 * time.Hour)
	switch strings.ToLower(text) {
	case "today":
		return midnight, now, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), midnight, nil
	}
	m := lastRange.FindStringSubmatch(text)
	if m == nil {
		return now, now, fmt.Errorf("invalid time range: %q", text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return now, now, fmt.Errorf("invalid time range: %w", err)
	}
	switch strings.ToLower(m[2]) {
	case "min", "minute":
		from = now.Add(-time.Duration(n) * time.Minute)
	case "hr", "hour":
		from = now.Add(-time.Duration(n) * time.Hour)
	case "day":
		from = now.AddDate(0, 0, -n)
	case "week":
		from = now.AddDate(0, 0, -7*n)
	case "month":
		from = now.AddDate(0, -n, 0)
	default:
		from = now.AddDate(-n, 0, 0)
	}
	return from, now, nil
}

// selection is what an answer holds: pages of whole lines.
type selection struct {
	logs      []*logContent
	q         downloadQuery
	lines     int64 // so far
	truncated bool
}

// all yields the lines that match, up to the limit, in blocks that are valid until the next.
func (sel *selection) all() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		sel.lines, sel.truncated = 0, false
		for _, l := range sel.logs {
			lo, hi := l.span(sel.q.from, sel.q.to)
			if sel.q.match != nil {
				if !sel.matching(l.pages(lo, hi), yield) {
					return
				}
				continue
			}
			if left := sel.q.limit - sel.lines; hi-lo > left {
				sel.truncated = true
				hi = lo + left
			}
			sel.lines += hi - lo
			for page := range l.pages(lo, hi) {
				if !yield(page) {
					return
				}
			}
		}
	}
}

// kept returns where the pages of an answer may be kept compressed: they are those of one ring as it is, which nobody writes to.
func (sel *selection) kept(changed bool) *packs {
	if changed || len(sel.logs) != 1 || sel.q.match != nil || sel.logs[0].NoFinalNewline {
		return nil
	}
	if r, ok := sel.logs[0].content.(*ring); ok && !r.stamp {
		return &r.packs
	}
	return nil
}

const filteredPage = 64 << 10

// matching gathers the lines of pages that match into blocks; false when the answer is at its end.
func (sel *selection) matching(pages iter.Seq[[]byte], yield func([]byte) bool) bool {
	var block []byte
	for line := range lines(pages) {
		if !sel.q.match(line) {
			continue
		}
		if sel.lines == sel.q.limit {
			sel.truncated = true
			break
		}
		sel.lines++
		block = append(append(block, line...), '\n')
		if len(block) >= filteredPage {
			if !yield(block) {
				return false
			}
			block = block[:0]
		}
	}
	return (len(block) == 0 || yield(block)) && !sel.truncated
}

// upTo ends pages at the last whole line within n bytes.
func upTo(pages iter.Seq[[]byte], n int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for page := range pages {
			if int64(len(page)) > n {
				if end := bytes.LastIndexByte(page[:n], '\n') + 1; end > 0 {
					yield(page[:end])
				}
				return
			}
			n -= int64(len(page))
			if !yield(page) {
				return
			}
		}
	}
}

// withoutFinalNewline leaves out the very last line feed, unless it ends an empty line.
func withoutFinalNewline(pages iter.Seq[[]byte]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		newline := []byte{'\n'}
		owed, empty := false, false
		for page := range pages {
			if owed && !yield(newline) {
				return
			}
			body := page[:len(page)-1]
			owed, empty = true, len(body) == 0 || body[len(body)-1] == '\n'
			if len(body) > 0 && !yield(body) {
				return
			}
		}
		if owed && empty {
			yield(newline)
		}
	}
}

var unsafeInFileName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// download answers GET /download/logs/{ids}.
func (c *call) download() {
	s := c.sim
	now := s.clock.Now()
	switch {
	case c.r.Method != http.MethodGet && c.r.Method != http.MethodHead:
		s.fail(c.w, c.x, http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed")
		return
	case !strings.HasPrefix(c.path, "/download/logs/"):
		s.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
		return
	case len(c.r.RequestURI) > maxURLBytes:
		s.fail(c.w, c.x, http.StatusRequestURITooLong, "HTTP 414 URI Too Long")
		return
	case c.r.Header.Get("Content-Type") != "" && !strings.HasPrefix(c.r.Header.Get("Content-Type"), jsonType):
		s.fail(c.w, c.x, http.StatusUnsupportedMediaType, "HTTP 415 Unsupported Media Type")
		return
	}
	q, err := s.parseDownload(c.path, c.r.URL.RawQuery, now)
	c.x.update(func(r *Request) { r.Logs, r.From, r.To, r.Limit = q.ids, q.from, q.to, q.limit })
	if err != nil {
		s.fail(c.w, c.x, http.StatusBadRequest, err.Error())
		return
	}
	sel := &selection{q: q}
	for _, id := range q.ids {
		l := s.log(id)
		if l == nil {
			s.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
			return
		}
		sel.logs = append(sel.logs, l)
	}
	// What the vendor's clock hasn't reached (and indexing hasn't either) doesn't exist yet.
	sel.q.to = min(q.to, now.Add(-s.opts.IndexLag).UnixMilli()+1)
	for i, l := range sel.logs {
		sel.logs[i] = s.indexed(l, sel.q.from, sel.q.to, now)
	}

	pages := sel.all()
	if c.fault.EndAfter != nil {
		pages = upTo(pages, *c.fault.EndAfter)
	}
	if sel.logs[len(sel.logs)-1].NoFinalNewline {
		pages = withoutFinalNewline(pages)
	}
	const stampForm = "2006-01-02_150405"
	h := c.w.Header()
	h.Set("Content-Type", textType)
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%s_%s_%s.log",
		unsafeInFileName.ReplaceAllString(sel.logs[0].Name, "_"),
		time.UnixMilli(q.from).UTC().Format(stampForm), time.UnixMilli(q.to).UTC().Format(stampForm)))
	c.streamKept(pages, sel.kept(c.fault.EndAfter != nil))
	c.x.update(func(r *Request) { r.Lines, r.Truncated = sel.lines, sel.truncated })
}
