package vendorsim

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var day = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func frozen(t time.Time) *Clock {
	c := NewClock(0)
	c.Freeze(t)
	return c
}

// start runs a simulator with the small log "one": ten lines a second apart, three of them with "error".
func start(t *testing.T, o Options) (*Sim, string) {
	t.Helper()
	if o.Clock == nil {
		o.Clock = frozen(day.AddDate(0, 0, 10))
	}
	if o.Logs == nil {
		var records []Record
		for i := range 10 {
			line := fmt.Sprintf("line %d", i)
			if i%4 == 1 {
				line += " ERRor seen"
			}
			records = append(records, Record{day.Add(time.Duration(i) * time.Second), []byte(line)})
		}
		o.Logs = []Log{{ID: "ONE", Name: "first log", Records: records}, {ID: "two", Name: "two"}}
	}
	sim, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	base, err := sim.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim, base
}

// get asks once, on a connection of its own, following nothing.
func get(t *testing.T, url string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", DemoKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func mustGet(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	resp, body, err := get(t, url, header...)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func rangeQuery(from, to time.Time) string {
	return fmt.Sprintf("from=%d&to=%d", from.UnixMilli(), to.UnixMilli())
}

const everything = "&query=" + "where%28%2F.%2A%2F%29"

func numbers(body string) string {
	var out []string
	for line := range strings.Lines(body) {
		out = append(out, strings.Fields(line)[1])
	}
	return strings.Join(out, "")
}

func TestDownload(t *testing.T) {
	ms := func(d time.Duration) string { return strconv.FormatInt(day.Add(d).UnixMilli(), 10) }
	all := "from=" + ms(0) + "&to=" + ms(time.Hour)
	q := func(leql string) string { return all + "&query=" + url.QueryEscape(leql) }
	eleven := strings.TrimSuffix(strings.Repeat("one:", 11), ":")
	tests := []struct {
		name   string
		opts   Options
		path   string
		query  string
		header []string
		status int
		want   string // line numbers of a 200, part of the body otherwise
	}{
		{name: "no query means errors", query: all, status: 200, want: "159"},
		{name: "configured default query", opts: Options{DefaultQuery: "where()"}, query: all, status: 200, want: "0123456789"},
		{name: "match-all regex", query: q("where(/.*/)"), status: 200, want: "0123456789"},
		{name: "match-all empty where", query: q(" Where( ) "), status: 200, want: "0123456789"},
		{name: "empty query", query: q(""), status: 200, want: "0123456789"},
		{name: "regex", query: q("where(/line [3-5]/)"), status: 200, want: "345"},
		{name: "regex is case-sensitive", query: q("where(/seen|LINE 2/)"), status: 200, want: "159"},
		{name: "regex any case", query: q("where(/LINE 2/i)"), status: 200, want: "2"},
		{name: "text", query: q(`where("line 7")`), status: 200, want: "7"},
		{name: "calculation", query: q("where(x) calculate(count)"), status: 400, want: "calculations are not supported"},
		{name: "groupby", query: q("where(x) GroupBy(y)"), status: 400, want: "calculations are not supported"},
		{name: "calculation in a literal", query: q("where(/calculate(x)/)"), status: 200, want: ""},
		{name: "broken query", query: q("were(x)"), status: 400, want: "invalid LEQL query"},
		{name: "broken regex", query: q("where(/(/)"), status: 400, want: "invalid LEQL query"},
		{name: "gateway prefix", path: "/log_search/download/logs/one", query: q(""), status: 200, want: "0123456789"},
		{name: "from inclusive, to exclusive", query: "from=" + ms(2*time.Second) + "&to=" + ms(5*time.Second) + everything, status: 200, want: "234"},
		{name: "to inclusive", opts: Options{ToInclusive: true}, query: "from=" + ms(2*time.Second) + "&to=" + ms(5*time.Second) + everything, status: 200, want: "2345"},
		{name: "one millisecond before", query: "from=" + ms(2*time.Second+time.Millisecond) + "&to=" + ms(5*time.Second+time.Millisecond) + everything, status: 200, want: "345"},
		{name: "to missing", query: "from=" + ms(8*time.Second) + everything, status: 200, want: "89"},
		{name: "the future is not there", opts: Options{Clock: frozen(day.Add(4 * time.Second))}, query: all + everything, status: 200, want: "01234"},
		{name: "index lag", opts: Options{Clock: frozen(day.Add(4 * time.Second)), IndexLag: time.Second}, query: all + everything, status: 200, want: "0123"},
		{name: "limit cuts silently", query: q("") + "&limit=4", status: 200, want: "0123"},
		{name: "limit with filter", query: all + "&limit=2", status: 200, want: "15"},
		{name: "limit above the maximum", opts: Options{MaxLines: 3}, query: q("") + "&limit=500000000", status: 200, want: "012"},
		{name: "limit default is the maximum", opts: Options{MaxLines: 3}, query: q(""), status: 200, want: "012"},
		{name: "limit zero", query: q("") + "&limit=0", status: 400, want: "invalid limit"},
		{name: "limit word", query: q("") + "&limit=many", status: 400, want: "invalid limit"},
		{name: "no from", query: "to=" + ms(0), status: 400, want: "from or time_range is required"},
		{name: "from after to", query: "from=" + ms(2) + "&to=" + ms(-time.Hour), status: 400, want: "is after to"},
		{name: "from in seconds with fraction", query: "from=1.5&to=2", status: 400, want: "not a timestamp"},
		{name: "time_range", opts: Options{Clock: frozen(day.Add(2*time.Minute + 5*time.Second))}, query: "time_range=" + url.QueryEscape("Last 2 mins") + everything, status: 200, want: "56789"},
		{name: "time_range yesterday", opts: Options{Clock: frozen(day.Add(25 * time.Hour))}, query: "time_range=yesterday" + everything, status: 200, want: "0123456789"},
		{name: "time_range with from", query: "time_range=today&from=1", status: 400, want: "can't be combined"},
		{name: "time_range nonsense", query: "time_range=lately", status: 400, want: "invalid time range"},
		{name: "several logs", path: "/download/logs/two:one", query: q(""), status: 200, want: "0123456789"},
		{name: "several logs by semicolon", path: "/download/logs/one;one", query: q("") + "&limit=12", status: 200, want: "012345678901"},
		{name: "eleven logs", path: "/download/logs/" + eleven, query: q(""), status: 400, want: "at most 10 logs"},
		{name: "unknown log", path: "/download/logs/three", query: q(""), status: 404, want: `{"message":"HTTP 404 Not Found"}`},
		{name: "empty log", path: "/download/logs/two", query: q(""), status: 200, want: ""},
		{name: "wrong key", query: q(""), header: []string{"X-Api-Key", "nope"}, status: 404, want: `{"message":"HTTP 404 Not Found"}`},
		{name: "wrong key as 401", opts: Options{WrongKeyStatus: 401}, query: q(""), header: []string{"X-Api-Key", "nope"}, status: 401, want: "Unauthorized"},
		{name: "read-only key", opts: Options{ReadOnlyKeys: []string{"ro"}}, query: q(""), header: []string{"X-Api-Key", "ro"}, status: 403, want: "Forbidden"},
		{name: "content type", query: q(""), header: []string{"Content-Type", "text/xml"}, status: 415, want: "415"},
		{name: "long URL", query: q(strings.Repeat("x", 9000)), status: 414, want: "414"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, base := start(t, tt.opts)
			path := tt.path
			if path == "" {
				path = "/download/logs/one"
			}
			resp, body := mustGet(t, base+path+"?"+tt.query, tt.header...)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, tt.status, body)
			}
			if tt.status != 200 {
				if !strings.Contains(body, tt.want) {
					t.Errorf("body %q, want %q in it", body, tt.want)
				}
				return
			}
			if diff := cmp.Diff(tt.want, numbers(body)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if resp.ContentLength != -1 || resp.Header.Get("Content-Type") != "text/plain; charset=UTF-8" {
				t.Errorf("length %d, type %q: want chunked text", resp.ContentLength, resp.Header.Get("Content-Type"))
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	at := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	sim, base := start(t, Options{Clock: frozen(at), Download: Budget{Requests: 5, Bytes: 1000, Window: time.Hour}})
	resp, body := mustGet(t, base+"/download/logs/one?"+rangeQuery(day, day.Add(time.Hour))+everything)
	resp2, _ := mustGet(t, base+"/download/logs/one?from=x")
	got := map[string]string{"remaining after": resp2.Header.Get("R7-RateLimit-RemainingBytes")}
	for _, k := range []string{"Date", "Content-Disposition", "R7-RateLimit-LimitBytes", "R7-RateLimit-RemainingBytes", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
		got[k] = resp.Header.Get(k)
	}
	want := map[string]string{
		"Date":                        "Mon, 03 Feb 2031 04:05:06 GMT",
		"Content-Disposition":         "attachment; filename=first_log_2026-11-01_000000_2026-11-01_010000.log",
		"R7-RateLimit-LimitBytes":     "1000",
		"R7-RateLimit-RemainingBytes": "1000",
		"remaining after":             strconv.Itoa(1000 - len(body)),
		"X-RateLimit-Limit":           "5",
		"X-RateLimit-Remaining":       "4",
		"X-RateLimit-Reset":           "3600",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	requests := sim.Requests()
	if len(requests) != 2 || requests[0].Lines != 10 || requests[0].Bytes != int64(len(body)) || !requests[0].Complete || requests[0].Key != KeyName(DemoKey) || requests[1].Status != 400 {
		t.Errorf("requests: %+v", requests)
	}
}

func TestDateCostsNothing(t *testing.T) {
	clock := NewClock(time.Hour)
	sim, base := start(t, Options{Clock: clock})
	for _, path := range []string{"/", "/download/logs/one", "/management/logs"} {
		resp, _ := mustGet(t, base+path, "X-Api-Key", "")
		date, err := http.ParseTime(resp.Header.Get("Date"))
		if ahead := time.Until(date); err != nil || ahead < 59*time.Minute || ahead > time.Hour {
			t.Errorf("%s: Date %q is %s ahead (%v), want an hour", path, resp.Header.Get("Date"), ahead, err)
		}
	}
	resp, err := http.Head(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if s := sim.Stats(); s.Requests != 4 || s.Budgeted != 0 || s.Beyond != 0 {
		t.Errorf("stats %+v: want 4 requests outside the budget", s)
	}

	_, base = start(t, Options{NoDate: true})
	if resp, _ := mustGet(t, base+"/"); resp.Header.Get("Date") != "" {
		t.Errorf("Date %q, want none", resp.Header.Get("Date"))
	}
}

func TestManagement(t *testing.T) {
	sim, base := start(t, Options{ReadOnlyKeys: []string{"ro"}, Keys: []string{DemoKey}})
	if _, body := mustGet(t, base+"/log_search/management/logs", "X-Api-Key", "ro"); !strings.Contains(body, `"id":"one","name":"first log"`) || !strings.Contains(body, `"id":"two"`) {
		t.Errorf("logs: %s", body)
	}
	sim.RemoveLog("ONE")
	if _, body := mustGet(t, base+"/management/logs"); strings.Contains(body, `"one"`) {
		t.Errorf("a removed log is listed: %s", body)
	}
	tests := []struct {
		path, key string
		status    int
	}{
		{"/management/logs/two", DemoKey, 200},
		{"/management/logs/one", DemoKey, 404},
		{"/management/logs", "nope", 404},
		{"/download/logs/one?from=1", DemoKey, 404},
		{"/validate", "ro", 200},
		{"/validate", "", 401},
		{"/else", DemoKey, 404},
	}
	for _, tt := range tests {
		if resp, body := mustGet(t, base+tt.path, "X-Api-Key", tt.key); resp.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.path, resp.StatusCode, tt.status, body)
		}
	}
}

func TestGzip(t *testing.T) {
	sim, base := start(t, Options{Gzip: true})
	u := base + "/download/logs/one?" + rangeQuery(day, day.Add(time.Hour)) + everything
	_, plain := mustGet(t, u, "Accept-Encoding", "gzip;q=0, identity")
	resp, packed := mustGet(t, u, "Accept-Encoding", "br, gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("headers %v", resp.Header)
	}
	r, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != plain || plain == "" {
		t.Errorf("unpacked %q, %v, want %q", got, err, plain)
	}
	if last := sim.Requests()[1]; last.Bytes != int64(len(packed)) {
		t.Errorf("counted %d bytes, want the %d on the wire", last.Bytes, len(packed))
	}
}

// TestGzipOfRing: an answer of kept pages, which begins and ends within the ring and goes round it, is one good stream.
func TestGzipOfRing(t *testing.T) {
	_, base := start(t, Options{Gzip: true, Logs: []Log{{ID: "bulk", Generated: &Generated{From: day, To: day.Add(time.Hour), Bytes: 2 << 20, RingBytes: 256 << 10}}}})
	for _, r := range []string{
		rangeQuery(day, day.Add(time.Hour)), rangeQuery(day.Add(time.Minute), day.Add(50*time.Minute)),
		rangeQuery(day, day.Add(time.Hour)), rangeQuery(day.Add(time.Hour), day.Add(2*time.Hour)),
	} {
		u := base + "/download/logs/bulk?" + r + everything
		_, plain := mustGet(t, u)
		resp, packed := mustGet(t, u, "Accept-Encoding", "gzip")
		if resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: headers %v", r, resp.Header)
		}
		z, err := gzip.NewReader(strings.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		got, err := io.ReadAll(z)
		if err != nil || string(got) != plain {
			t.Errorf("%s: unpacked %d bytes, %v, want %d", r, len(got), err, len(plain))
		}
	}
}

func TestTLSAndHTTPTest(t *testing.T) {
	helper := httptest.NewTLSServer(http.NotFoundHandler())
	config := helper.TLS.Clone()
	client := helper.Client()
	helper.Close()
	_, base := start(t, Options{TLS: config, Faults: Script{Rules: []Rule{{Nth: []int{2}, Fault: Fault{CutAfter: At(5)}}}}})
	for i, want := range []error{nil, io.ErrUnexpectedEOF} {
		req, err := http.NewRequest(http.MethodGet, base+"/download/logs/one?"+rangeQuery(day, day.Add(time.Hour)), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", DemoKey)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if !errors.Is(err, want) {
			t.Errorf("request %d: %v, want %v", i, err, want)
		}
	}
	client.CloseIdleConnections()

	sim, _ := start(t, Options{})
	plain := httptest.NewServer(sim.Handler())
	defer plain.Close()
	if _, body := mustGet(t, plain.URL+"/download/logs/one?"+rangeQuery(day, day.Add(time.Hour))); numbers(body) != "159" {
		t.Errorf("through httptest: %q", body)
	}
}

// A client that doesn't read must show as a blocked write, while it lasts and afterwards.
func TestPausedSocketIsSeen(t *testing.T) {
	sim, base := start(t, Options{
		SendBufferBytes: 64 << 10, ChunkBytes: 64 << 10,
		Logs: []Log{{ID: "bulk", Generated: &Generated{From: day, To: day.Add(time.Hour), Bytes: 32 << 20, RingBytes: 1 << 20}}},
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /download/logs/bulk?%s%s HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nConnection: close\r\n\r\n", rangeQuery(day, day.Add(time.Hour)), everything, DemoKey)
	const pause = 100 * time.Millisecond
	waitFor(t, func() bool {
		a := sim.Active()
		return len(a) == 1 && a[0].Waiting > pause
	})
	if s := sim.Stats(); s.Active != 1 || s.LongestWrite < pause || s.Bytes > 16<<20 {
		t.Errorf("while paused: %+v", s)
	}
	if n, err := io.Copy(io.Discard, conn); err != nil || n < 31<<20 {
		t.Errorf("read %d bytes: %v", n, err)
	}
	waitFor(t, func() bool { return len(sim.Requests()) == 1 })
	if r := sim.Requests()[0]; r.LongestWrite < pause || r.Blocked < pause || !r.Complete {
		t.Errorf("afterwards: %+v", r)
	}
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !what() {
		if time.Now().After(deadline) {
			t.Fatal("timed out")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	line := func(s string) []Log { return []Log{{ID: "x", Records: []Record{{day, []byte(s)}}}} }
	tests := []struct {
		name string
		opts Options
		want string
	}{
		{"status", Options{WrongKeyStatus: 500}, "WrongKeyStatus: want 401 or 404, got 500"},
		{"retry", Options{RetryAfter: "soon"}, "RetryAfter: want seconds"},
		{"reset", Options{Reset: "never"}, "Reset: want seconds"},
		{"query", Options{DefaultQuery: "calculate(count)"}, "DefaultQuery: invalid LEQL"},
		{"twice", Options{Logs: []Log{{ID: "a"}, {ID: "A"}}}, "two logs with the ID a"},
		{"line feed", Options{Logs: line("a\nb")}, "must not hold a line feed"},
		{"ID", Options{Logs: []Log{{ID: "a:b"}}}, "an ID must not be empty"},
		{"negative", Options{Download: Budget{Window: -1}}, "Download: requests"},
		{"fault", Options{Faults: Script{Rules: []Rule{{Fault: Fault{Reset: true}}}}}, "rules[0]: reset needs cut_after"},
		{"no size", Options{Logs: []Log{{ID: "g", Generated: &Generated{From: day}}}}, "give one of Bytes and LinesPerSecond"},
		{"no end", Options{Logs: []Log{{ID: "g", Generated: &Generated{From: day, Bytes: 1}}}}, "Bytes needs To"},
		{"style", Options{Logs: []Log{{ID: "g", Generated: &Generated{From: day, LinesPerSecond: 1, Style: "x"}}}}, "unknown style"},
		{"two problems", Options{WrongKeyStatus: 1, IndexLag: -1}, "IndexLag: must not be negative\nWrongKeyStatus"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestLongLines(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 20<<16)
	sim, base := start(t, Options{Logs: []Log{{ID: "long", Records: []Record{
		{day, []byte("before")}, {day, long}, {day, []byte("after")},
	}}}})
	_, body := mustGet(t, base+"/download/logs/long?"+rangeQuery(day, day.Add(1*time.Millisecond))+everything)
	var want bytes.Buffer
	if n, size, err := sim.WriteLines(&want, "long", day, day.Add(time.Millisecond)); n != 3 || size != int64(20<<20+len("before\n\nafter\n")) || err != nil {
		t.Fatalf("WriteLines: %d lines, %d bytes, %v", n, size, err)
	}
	if body != want.String() {
		t.Errorf("%d bytes differ from the %d expected", len(body), want.Len())
	}
}
