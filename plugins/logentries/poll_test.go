package logentries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// readWhole reads a range whatever it takes: truncated slices are cut, as a host does.
func readWhole(t *testing.T, s *source, slices ...flow.Slice) (rows []row, lines []string) {
	t.Helper()
	for len(slices) > 0 {
		out, err := read(t, s, slices[0])
		var cut *flow.Truncated
		switch {
		case errors.As(err, &cut):
			if len(cut.Into) < 2 {
				t.Fatalf("cut into %v", cut.Into)
			}
			slices = append(cut.Into, slices[1:]...)
			continue
		case err != nil:
			t.Fatalf("%s: %v", slices[0], err)
		}
		rows, lines = append(rows, out.rows...), append(lines, out.lines...)
		slices = slices[1:]
	}
	return rows, lines
}

// numbered returns a log of n records in one millisecond after the other, some of them in the same.
func numbered(n, each int) vendorsim.Log {
	l := vendorsim.Log{ID: vendorsim.SeedWebID, Name: "web"}
	for i := range n {
		l.Records = append(l.Records, vendorsim.Record{
			Time: firstDay.Add(time.Duration(i/each) * time.Millisecond), Line: fmt.Appendf(nil, "line %d", i),
		})
	}
	return l
}

var hour = sliceOf(streamEvents, vendorsim.SeedWebID, firstDay, firstDay.Add(time.Hour))

func TestBrokenPagesAreAskedAgain(t *testing.T) {
	t.Parallel()
	isPoll := func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/query/logs/") }
	tests := []struct {
		name   string
		rule   vendorsim.Rule
		starts int // how many queries in all; 4 pages
		why    string
	}{
		{"nothing", vendorsim.Rule{Path: "/nowhere"}, 4, ""},
		{"an expired link", vendorsim.Rule{When: isPoll, Nth: []int{3}, Fault: vendorsim.Fault{Status: 404}}, 5, "no longer knows the query"},
		{"the limit while polling", vendorsim.Rule{When: isPoll, Nth: []int{1, 4}, Fault: vendorsim.Fault{Status: 429, RetryAfter: "0"}}, 6, "API rate limit exceeded"},
		{"503 while polling", vendorsim.Rule{When: isPoll, Nth: []int{2}, Fault: vendorsim.Fault{Status: 503}}, 5, "503"},
		{"a cut page", vendorsim.Rule{When: isPoll, Nth: []int{2, 4}, Fault: vendorsim.Fault{CutAfter: vendorsim.At(70)}}, 6, "cut after 70 bytes"},
		{"a spoilt page", vendorsim.Rule{When: isPoll, Nth: []int{4}, Fault: vendorsim.Fault{Status: 200, Body: "{"}}, 5, "documented JSON"},
		{"the limit between pages", vendorsim.Rule{Path: "/query/logs/", Nth: []int{2}, Fault: vendorsim.Fault{Status: 429, RetryAfter: "0"}}, 5, "API rate limit exceeded"},
		{"500 at a start", vendorsim.Rule{Path: "/query/logs/", Nth: []int{1, 2, 3}, Fault: vendorsim.Fault{Status: 500}}, 7, "500"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.rule.Path == "" {
				tt.rule.Path = "/query/"
			}
			sim, base := newSim(t, func(o *vendorsim.Options) {
				o.Logs = []vendorsim.Log{numbered(40, 100)} // all in one millisecond
				o.Faults.Rules = []vendorsim.Rule{tt.rule}
				o.Query.Polls = 1
			})
			s := newSource(t, nil, simSettings(base))
			s.perPage = 10
			out, err := read(t, s, hour)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(served(sim, hour.Key, hour.From, hour.To), out.lines); diff != "" {
				t.Errorf("lines (-served +read):\n%s", diff)
			}
			starts := started(sim)
			// The last page is full: that nothing follows takes another.
			if starts != tt.starts+1 || out.counters[countRetried] != uint64(tt.starts-4) {
				t.Errorf("%d queries, %d asked again, want %d", starts, out.counters[countRetried], tt.starts+1)
			}
			if waits := strings.Join(out.waits, "\n"); !strings.Contains(waits, "vendor") {
				t.Errorf("waits: %s", waits)
			}
		})
	}
}

func TestWhatCanNotBeRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*vendorsim.Options)
		rule   vendorsim.Rule
		kind   fault.Kind
		text   string
		hint   string
	}{
		{"a vendor that shows the first page for ever", func(o *vendorsim.Options) { o.Query.NextRepeats = true }, vendorsim.Rule{}, fault.Corrupt, "shows a page of 10 events again", ""},
		{"no sequence numbers", func(o *vendorsim.Options) { o.Query.Sequence = "none" }, vendorsim.Rule{}, fault.Corrupt, "without a sequence number", ""},
		{"always expired", nil, vendorsim.Rule{Path: "/query/c2f0", Fault: vendorsim.Fault{Status: 404}}, fault.Transient, "no longer knows", ""},
		{"the limit at once", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 429, RetryAfter: "850"}}, fault.Throttled, "API rate limit", ""},
		{"unknown log", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 404}}, fault.NotFound, "404", "isn't at base_url"},
		{"wrong key", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 401}}, fault.Auth, "401", "api_key"},
		{"key may not", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 403}}, fault.Auth, "403", "may not"},
		{"refused", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 400, Body: `{"message":"invalid LEQL ` + vendorsim.DemoKey + `"}`}}, fault.Config, "invalid LEQL ***", "check query"},
		{"redirect", nil, vendorsim.Rule{Fault: vendorsim.Fault{Redirect: "trap"}}, fault.Config, "redirect", "base_url"},
		{"statistic", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 200, Body: `{"statistics":{"stats":{}},"links":[]}`}}, fault.Config, "statistics", "calculations"},
		{"202 without a link", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 202, Body: `{"events":[],"links":[]}`}}, fault.Corrupt, "no link", ""},
		{"an error as 200", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 200, Body: `{"message":"Unauthorized: ` + vendorsim.DemoKey + `"}`}}, fault.Corrupt, `no list of events: {"message":"Unauthorized: ***"}`, "proxy"},
		{"an error as a later page", nil, vendorsim.Rule{Nth: []int{2, 3}, Fault: vendorsim.Fault{Status: 200, Body: `{"errorCode":"100","message":"busy"}`}}, fault.Corrupt, "no list of events", "proxy"},
		{"a running query without a link", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 200, Body: `{"id":"a","progress":40,"events":[]}`}}, fault.Corrupt, "at 40 %, but there is no link", ""},
		{"a running later page without a link", nil, vendorsim.Rule{Nth: []int{2, 3}, Fault: vendorsim.Fault{Status: 200, Body: `{"id":"a","progress":40,"events":[{"timestamp":1793491200000,"sequence_number":99999,"message":"partial"}]}`}}, fault.Corrupt, "at 40 %, but there is no link", ""},
		{"a link to nowhere", nil, vendorsim.Rule{Fault: vendorsim.Fault{Status: 200, Body: `{"events":[],"links":[{"rel":"Self","href":null}]}`}}, fault.Corrupt, "leads nowhere", ""},
		{"a link to elsewhere", func(o *vendorsim.Options) { o.Query.LinkBase = "https://rapid7.com.evil.example" }, vendorsim.Rule{}, fault.Config, "leads to https://rapid7.com.evil.example", "base_url"},
		{"a link over plain HTTP", func(o *vendorsim.Options) { o.Query.LinkBase = "http://us.api.insight.rapid7.com" }, vendorsim.Rule{}, fault.Config, "leads to http://us.api.insight.rapid7.com", ""},
		{"beyond retention", func(o *vendorsim.Options) { o.Query.Retention = firstDay.AddDate(0, 0, 1) }, vendorsim.Rule{}, fault.Unavailable, "beyond its retention: The time range is partly", ""},
		{"silence", nil, vendorsim.Rule{Path: "/query/", Fault: vendorsim.Fault{Delay: 30 * time.Second}}, fault.Transient, "no answer came within 200ms", "http.timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim, base := newSim(t, func(o *vendorsim.Options) {
				o.Logs = []vendorsim.Log{numbered(40, 100)}
				if tt.change != nil {
					tt.change(o)
					return
				}
				if tt.rule.Path == "" {
					tt.rule.Path = "/query/logs/"
				}
				o.Faults.Rules = []vendorsim.Rule{tt.rule}
			})
			budget := &fakeBudget{}
			timeout := "30s" // a busy machine is no silence of the vendor's
			if tt.rule.Fault.Delay > 0 {
				timeout = "200ms"
			}
			s := newSource(t, budget, simSettings(base, "http", map[string]any{"timeout": timeout}))
			s.perPage = 10
			_, err := read(t, s, hour)
			if got := fault.KindOf(err); got != tt.kind {
				t.Fatalf("kind = %v, want %v: %v", got, tt.kind, err)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(fault.HintOf(err), tt.hint) {
				t.Errorf("error = %v\nhint = %s\nwant %q and %q", err, fault.HintOf(err), tt.text, tt.hint)
			}
			if shown := err.Error() + fault.HintOf(err); strings.Contains(shown, vendorsim.DemoKey) {
				t.Errorf("the key is in %s", shown)
			}
			if leaked := sim.Stats().KeysLeaked; leaked != 0 || budget.open != 0 {
				t.Errorf("the key reached another origin %d times, %d reservations are open", leaked, budget.open)
			}
		})
	}
}

func TestPartlyBeyondRetention(t *testing.T) {
	t.Parallel()
	edge := firstDay.Add(7 * time.Hour).Add(123 * time.Millisecond)
	sim, base := newSim(t, func(o *vendorsim.Options) { o.Query.Retention = edge })
	s := newSource(t, nil, simSettings(base))
	var rows []row
	var lost time.Duration
	todo := []flow.Slice{sliceOf(streamEvents, vendorsim.SeedWebID, firstDay, firstDay.AddDate(0, 0, 1))}
	for ; len(todo) > 0; todo = todo[1:] {
		out, err := read(t, s, todo[0])
		var cut *flow.Truncated
		switch {
		case errors.As(err, &cut):
			todo = append(todo[:1:1], append(cut.Into, todo[1:]...)...)
		case fault.KindOf(err) == fault.Unavailable:
			lost += todo[0].To.Sub(todo[0].From)
		case err != nil:
			t.Fatal(err)
		default:
			rows = append(rows, out.rows...)
		}
	}
	if want := sim.Count(vendorsim.SeedWebID, edge, firstDay.AddDate(0, 0, 1)); int64(len(rows)) != want {
		t.Errorf("%d events, want %d", len(rows), want)
	}
	if d := lost - edge.Sub(firstDay); d < 0 || d > 10*time.Minute {
		t.Errorf("%v are unavailable, the edge lies at %v", lost, edge)
	}
}

// What the vendor says of its retention beside an empty page with a link counts for the events behind it, and for an end without any.
func TestBeyondRetentionOnAnEmptyPage(t *testing.T) {
	t.Parallel()
	half := hour.From.Add(30 * time.Minute)
	for _, tt := range []struct {
		name   string
		event  string // of the second page
		marked int    // the page with the header
		want   string
	}{
		{"an event later", fmt.Sprintf(`{"timestamp":%d,"sequence_number":5,"message":"a"}`, half.UnixMilli()), 1, "cut at " + half.Format(time.TimeOnly)},
		{"an event later, told then", fmt.Sprintf(`{"timestamp":%d,"sequence_number":5,"message":"a"}`, half.UnixMilli()), 2, "cut at " + half.Format(time.TimeOnly)},
		{"no event", "", 1, "unavailable"},
		{"not told", "", 0, "0 lines"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var pages atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/query/logs/") {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				n := int(pages.Add(1))
				if n == tt.marked {
					w.Header().Set("X-Beyond-Retention", "true")
				}
				if n == 1 {
					_, _ = fmt.Fprintf(w, `{"events":[],"links":[{"rel":"Next","href":"/query/logs/x?from=%d"}]}`, half.UnixMilli())
					return
				}
				_, _ = fmt.Fprintf(w, `{"events":[%s],"links":[]}`, tt.event)
			}))
			defer server.Close()
			out, err := read(t, newSource(t, nil, simSettings(server.URL)), hour)
			var cut *flow.Truncated
			got := fmt.Sprintf("%d lines", len(out.lines))
			switch {
			case errors.As(err, &cut):
				got = "cut at " + cut.Into[1].From.Format(time.TimeOnly)
			case fault.KindOf(err) == fault.Unavailable:
				got = "unavailable"
			case err != nil:
				t.Fatal(err)
			}
			if got != tt.want || pages.Load() != 2 {
				t.Errorf("%s after %d pages, want %s", got, pages.Load(), tt.want)
			}
		})
	}
}

func TestDenseSliceIsCutEarly(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, func(o *vendorsim.Options) { o.Logs = []vendorsim.Log{numbered(4000, 1)} })
	s := newSource(t, nil, simSettings(base, "budget", map[string]any{"requests": 20}))
	s.perPage = 10 // a slice should stay below 200 events
	slice := sliceOf(streamEvents, vendorsim.SeedWebID, firstDay, firstDay.Add(4*time.Second))
	_, err := read(t, s, slice)
	var cut *flow.Truncated
	if !errors.As(err, &cut) || len(cut.Into) < 20 || cut.Rows > 40 {
		t.Fatalf("not cut early: %v", err)
	}
	rows, lines := readWhole(t, s, slice)
	if diff := cmp.Diff(served(sim, slice.Key, slice.From, slice.To), lines); diff != "" || len(rows) != 4000 {
		t.Errorf("lines (-served +read):\n%.500s", diff)
	}
}

// A link that isn't asked for 20 s is dead.
func TestPaceKeepsLinksAlive(t *testing.T) {
	t.Parallel()
	p := defaultPace()
	if p.first <= 0 || p.most < p.first || p.most > vendorsim.DefaultLinkTTL/2 {
		t.Errorf("first after %v, then at most %v: want some room to %v", p.first, p.most, vendorsim.DefaultLinkTTL)
	}
}

// A sink that takes its time doesn't let a link expire: the query that runs meanwhile is polled, and then waits for nothing.
func TestSlowSinkDoesNotStopPolling(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, func(o *vendorsim.Options) {
		o.Logs = []vendorsim.Log{numbered(60, 7)}
		o.Query.Polls = 8
	})
	s := newSource(t, nil, simSettings(base))
	s.perPage, s.limits.FrameTarget = 10, 1 // each event a batch
	s.pace.first, s.pace.most = 20*time.Millisecond, 20*time.Millisecond
	out := newCollector(t)
	defer out.release()
	// The sink takes its first batch when the second page has been started and polled to its end.
	const ofAPage = 1 + 9
	var once sync.Once
	out.onBatch = func() { once.Do(func() { awaitQueries(t, sim, 2*ofAPage) }) }
	if err := s.Read(t.Context(), hour, out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(served(sim, hour.Key, hour.From, hour.To), out.lines); diff != "" {
		t.Errorf("lines (-served +read):\n%s", diff)
	}
	for _, r := range sim.Requests() {
		if r.Status == http.StatusNotFound {
			t.Errorf("a link expired: %+v", r)
		}
	}
}

// awaitQueries waits until the simulator has answered so many starts and polls of queries.
func awaitQueries(t *testing.T, sim *vendorsim.Sim, want int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for {
		n := 0
		for _, r := range sim.Requests() {
			if strings.HasPrefix(r.Path, "/query/") {
				n++
			}
		}
		if n >= want {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Errorf("%d starts and polls within half a minute, want %d: a slow sink keeps the running query from being polled", n, want)
			return
		}
	}
}

func TestCancelEndsAReadAtOnce(t *testing.T) {
	t.Parallel()
	_, base := newSim(t, func(o *vendorsim.Options) {
		o.Logs = []vendorsim.Log{numbered(60, 7)}
		o.Query.Polls = 1 << 30
	})
	budget := &fakeBudget{}
	s := newSource(t, budget, simSettings(base))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	out := newCollector(t)
	start := time.Now()
	err := s.Read(ctx, hour, out)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Minute || budget.open != 0 {
		t.Errorf("after %v: %v, %d reservations are open", time.Since(start), err, budget.open)
	}
}

func TestStuckQueryIsGivenUp(t *testing.T) {
	t.Parallel()
	_, base := newSim(t, func(o *vendorsim.Options) { o.Query.Polls = 1 << 30 })
	s := newSource(t, nil, simSettings(base))
	s.pace.stuck, s.pace.backoff = 5*time.Millisecond, 0
	if _, err := read(t, s, hour); fault.KindOf(err) != fault.Transient || !strings.Contains(err.Error(), "stood at") {
		t.Errorf("error = %v", err)
	}
}

func TestGoldenRequests(t *testing.T) {
	t.Parallel()
	var got []string
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/x/management") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, strings.TrimSpace(r.Method+" "+strings.ReplaceAll(r.RequestURI, strings.Repeat("x", 8192), "xx")+" "+
			r.Header.Get("Content-Type")+" "+strings.ReplaceAll(string(body), strings.Repeat("x", 8192), "xx")))
		if r.Header.Get("X-Api-Key") != "key" {
			t.Errorf("headers %v", r.Header)
		}
		link := ""
		switch asked.Add(1) {
		case 1:
			link = `{"rel":"next","href":"https://elsewhere.example/"},{"rel":"sElf","href":"/x/query/a:%2B:1:?per_page=500"}`
		case 2:
			_, _ = io.WriteString(w, `{"events":[{"timestamp":1793491200001,"sequence_number_str":"18446744073709551615","message":{"a": 1},"new":[1, "x"]}],
				"links":[{"rel":"Next","href":"https://elsewhere.example/"}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"events":[],"links":[`+link+`]}`)
	}))
	defer server.Close()
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"", []string{
			"GET /x/query/logs/" + hour.Key + "?from=1793491200000&per_page=500&query=where%28%2F.%2A%2F%29&to=1793494800000",
			"GET /x/query/a:%2B:1:?per_page=500",
			"GET /x/query/logs/" + hour.Key + "?from=1793491200001&per_page=500&query=where%28%2F.%2A%2F%29&sequence_number=18446744073709551615&to=1793494800000",
		}},
		{"where(" + strings.Repeat("x", 8192) + ")", []string{
			`POST /x/query/logs?per_page=500 application/json {"logs":["` + hour.Key + `"],"leql":{"statement":"where(xx)","during":{"from":1793491200000,"to":1793494800000}}}`,
			"GET /x/query/a:%2B:1:?per_page=500",
			`POST /x/query/logs?per_page=500&sequence_number=18446744073709551615 application/json {"logs":["` + hour.Key + `"],"leql":{"statement":"where(xx)","during":{"from":1793491200001,"to":1793494800000}}}`,
		}},
	} {
		got = nil
		asked.Store(0)
		settings := simSettings(server.URL+"/x", "api_key", "key", "query", tt.query)
		if tt.query == "" {
			delete(settings, "query")
		}
		out, err := read(t, newSource(t, nil, settings), hour)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]row{{1793491200001, 1<<64 - 1, `{"a": 1}`}}, out.rows); diff != "" || !strings.Contains(out.batches[0], `"value":"[1, \"x\"]"`) {
			t.Errorf("rows (-want +got):\n%s%s", diff, out.batches)
		}
	}
}

// started counts the queries that were started.
func started(sim *vendorsim.Sim) (n int) {
	for _, r := range sim.Requests() {
		if strings.HasPrefix(r.Path, "/query/logs/") {
			n++
		}
	}
	return n
}

// fat is numbered with so many bytes more in each line.
func fat(n, bytes int) vendorsim.Log {
	l := numbered(n, 2)
	for i := range l.Records {
		l.Records[i].Line = append(l.Records[i].Line, strings.Repeat("x", bytes)...)
	}
	return l
}

// A page that was too large tells what the next ones weigh: they aren't asked for in vain first.
func TestPagesOfFatEventsAreAskedForOnce(t *testing.T) {
	t.Parallel()
	l := fat(1000, 4000)
	for i := range 1000 {
		l.Records = append(l.Records, vendorsim.Record{Time: firstDay.Add(time.Minute + time.Duration(i)*time.Millisecond), Line: []byte("small")})
	}
	sim, base := newSim(t, func(o *vendorsim.Options) { o.Logs = []vendorsim.Log{l} })
	s := newSource(t, nil, simSettings(base))
	s.sizes = sizes{page: 1 << 20, single: 3 << 20}
	out, err := read(t, s, hour)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(served(sim, hour.Key, hour.From, hour.To), out.lines); diff != "" {
		t.Errorf("lines (-served +read):\n%.500s", diff)
	}
	// 500 in vain, 62, and seven times 124; then the last fat ones, 124, 248 and the rest, for pages may grow again.
	if n := started(sim); n != 13 {
		t.Errorf("%d queries for %d events, want 13", n, len(l.Records))
	}
}

// What is held of answers stays within what one large event may take: while such a one is emitted, no other page is asked for.
func TestOneLargePageAtATime(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, func(o *vendorsim.Options) { o.Logs = []vendorsim.Log{fat(4, 150<<10)} })
	s := newSource(t, nil, simSettings(base))
	s.sizes = sizes{page: 64 << 10, single: 192 << 10}
	s.perPage, s.limits.FrameTarget = 2, 1 // each event a batch
	out := newCollector(t)
	defer out.release()
	var ahead []int
	out.onBatch = func() {
		time.Sleep(50 * time.Millisecond) // in which the pager may go on, if it does
		ahead = append(ahead, started(sim))
	}
	if err := s.Read(t.Context(), hour, out); err != nil {
		t.Fatal(err)
	}
	// Two events in vain, then one after the other.
	if diff := cmp.Diff([]int{2, 3, 4, 5}, ahead); diff != "" {
		t.Errorf("queries started by the time of each batch (-want +got):\n%s", diff)
	}
	if want := served(sim, hour.Key, hour.From, hour.To); !slices.Equal(want, out.lines) {
		t.Errorf("%d lines, want %d", len(out.lines), len(want))
	}
}

// An event that is longer than any answer may be fails its slice, and says so.
func TestEventTooLargeForAnAnswer(t *testing.T) {
	t.Parallel()
	_, base := newSim(t, func(o *vendorsim.Options) { o.Logs = []vendorsim.Log{fat(4, 150<<10)} })
	s := newSource(t, nil, simSettings(base))
	s.sizes = sizes{page: 64 << 10, single: 128 << 10}
	_, err := read(t, s, hour)
	if fault.KindOf(err) != fault.Oversize || !strings.Contains(err.Error(), "one event") || !strings.Contains(err.Error(), "2026-11-01T00:00:00Z") {
		t.Errorf("%v: %v", fault.KindOf(err), err)
	}
}

// asked gives as many bytes as it is asked for, and remembers how many those were.
type asked struct {
	left  int64
	reads []int64
}

func (a *asked) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	n := min(a.left, int64(len(p)))
	a.left -= n
	a.reads = append(a.reads, int64(len(p)))
	return int(n), nil
}

// An answer grows in a buffer that never takes more than the stream says: half as much again as the answer may have.
func TestReadAllTakesNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	for _, most := range []int64{1, 1000, 64 << 10, 1 << 20, 1<<20 + 1, pageBytes} {
		for _, size := range []int64{0, 1, most / 3, most / 2, most - 1, most, most + 1} {
			r := &asked{left: size}
			body, err := readAll(r, "op", most)
			if tooLarge := size > most; errors.Is(err, errLarge) != tooLarge || err == nil && int64(len(body)) != size {
				t.Fatalf("%d bytes of at most %d: %d, %v", size, most, len(body), err)
			}
			var room int64 // of the buffer so far
			for _, n := range r.reads {
				if held := 2*room + n; held > most+most/2+1<<10 && room > 0 {
					t.Errorf("%d bytes of at most %d: %d are held while the buffer grows to %d", size, most, held, room+n)
				}
				room += n
			}
		}
	}
}

func TestLargeEvents(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		bytes     int // of a line; six of them and a small one
		recordMax int64
		dead      int
	}{{"more than a page should weigh", 3 << 20, 0, 0}, {"more than a record may weigh", 4000, 3000, 6}} {
		t.Run(tt.name, func(t *testing.T) {
			l := fat(6, tt.bytes)
			l.Records = append(l.Records, vendorsim.Record{Time: firstDay.Add(time.Second), Line: []byte("small")})
			sim, base := newSim(t, func(o *vendorsim.Options) { o.Logs = []vendorsim.Log{l} })
			s := newSource(t, nil, simSettings(base))
			s.limits.RecordMax = tt.recordMax
			out, err := read(t, s, hour)
			if err != nil {
				t.Fatal(err)
			}
			want := served(sim, hour.Key, hour.From, hour.To)
			if strings.Join(want, "|") != strings.Join(out.lines, "|") || len(out.dead) != tt.dead {
				t.Errorf("%d lines, want %d; dead letters %q", len(out.lines), len(want), out.dead)
			}
		})
	}
}
