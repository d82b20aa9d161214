package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/internal/realpart/opensearch"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a real server with what tests want of it.
type rig struct{ *opensearch.Server }

// config returns the config of a sink, with further settings.
func config(address string, more map[string]any) sinks.Config {
	set := map[string]any{"urls": []string{address}, "timeout": "3m"}
	for k, v := range more {
		set[k] = v
	}
	b, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return sinks.Config{Settings: b, Pipeline: "prod", Source: "sinktest", Name: "search", Streams: []sinks.Stream{sinktest.Stream()}, Sluice: "0.0.0-test"}
}

func mustOpen(t testing.TB, c sinks.Config) *Sink {
	t.Helper()
	k, err := open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// do asks the server itself.
func (r rig) do(method, path, body string, into any) error {
	req, err := http.NewRequest(method, r.URL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusNotFound {
		return errNotFound
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(b, into)
}

var errNotFound = errors.New("not found")

type hit struct {
	ID     string         `json:"_id"`
	Index  string         `json:"_index"`
	Source map[string]any `json:"_source"`
}

// hits returns all documents of an index.
func (r rig) hits(index string) ([]hit, error) {
	err := r.do("POST", "/"+index+"/_refresh", "", nil)
	var found struct {
		Hits struct {
			Hits []hit `json:"hits"`
		} `json:"hits"`
	}
	if err == nil {
		err = r.do("POST", "/"+index+"/_search?size=10000", "", &found)
	}
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	return found.Hits.Hits, err
}

func (r rig) bodies(index, key string) ([]string, error) {
	all, err := r.hits(index)
	var out []string
	for _, h := range all {
		out = append(out, h.Source[key].(string))
	}
	return out, err
}

// wantBodies compares what is in an index with bodies, each once.
func (r rig) wantBodies(t testing.TB, index string, want []string) {
	t.Helper()
	got, err := r.bodies(index, "message")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", index, diff)
	}
}

// TestServer runs all that needs a real server, on one.
func TestServer(t *testing.T) {
	testsize.Whole(t, "the server takes half a minute of a processor to start")
	r := rig{opensearch.Start(t)}
	t.Run("side by side", func(t *testing.T) { // each with an index of its own
		for _, tt := range []struct {
			name string
			run  func(*testing.T)
		}{
			{"busy", r.testBusy}, // it waits, so it begins
			{"conformance", r.testConformance},
			{"repeats", r.testRepeats},
			{"ecs", r.testECS},
			{"columns", r.testColumns},
			{"dead letters", r.testDeadLetters},
			{"data stream", r.testDataStream},
			{"online", r.testOnline},
			{"large", r.testLarge},
			{"wrong index", r.testWrongIndex},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				tt.run(t)
			})
		}
	})
	t.Run("killed", r.testKilled) // last: the server starts anew
}

func (r rig) testConformance(t *testing.T) {
	var n int
	sinktest.Run(t, func(t *testing.T) sinktest.Driver {
		var fresh func() sinktest.Driver
		fresh = func() sinktest.Driver {
			n++
			index := fmt.Sprintf("conformance-%d", n)
			return sinktest.Driver{
				AtLeastOnce: true, Fresh: fresh,
				Open: func(commitlog.FS, string) (sinks.Sink, error) {
					return open(context.Background(), config(r.URL, map[string]any{"index": index}))
				},
				Visible: func(commitlog.FS, string) ([]string, error) { return r.bodies(index, "message") },
			}
		}
		return fresh()
	})
}

// testRepeats sends slices again, whole and after half of them, in other cuts: each record is there once, equal lines as often as they came.
func (r rig) testRepeats(t *testing.T) {
	k := mustOpen(t, config(r.URL, map[string]any{"index": "repeats", "batch_bytes": "64KiB"}))
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 200)
	for i := range 30 {
		bodies = append(bodies, fmt.Sprint("alike ", i%3))
	}
	half, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := sinktest.Append(t.Context(), half, s, bodies[:117]); err != nil {
		t.Fatal(err)
	}
	if err := half.Abort(); err != nil {
		t.Fatal(err)
	}
	tx, err := k.Begin(t.Context(), s, 1, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer alloc.AssertSize(t, 0)
	// The suite's rows differ by their place in the batch, so the batches must be the same; where a request ends needn't be.
	k.set.BatchBytes = 1 << 20
	var seq uint64
	for part := range slices.Chunk(bodies, 7) {
		b := sinktest.Batch(alloc, s, seq, part)
		if rejected, err := tx.Append(t.Context(), b); err != nil || len(rejected) > 0 {
			t.Fatal(rejected, err)
		}
		b.Records.Release()
		seq++
	}
	if _, err := tx.Commit(t.Context(), sinktest.Account(bodies)); err != nil {
		t.Fatal(err)
	}
	if _, err := sinktest.Write(t.Context(), mustOpen(t, config(r.URL, map[string]any{"index": "repeats", "compression": "none"})), s, bodies); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t, "repeats", bodies)
}

// write sends one slice of rows and returns what was rejected.
func write(t testing.TB, k *Sink, schema *arrow.Schema, rows string) ([]sinks.Rejected, error) {
	t.Helper()
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer alloc.AssertSize(t, 0)
	rec, _, err := array.RecordFromJSON(alloc, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	s := sinktest.Hours("one", 0, 1)
	tx, err := k.Begin(t.Context(), s, 0, schema)
	if err != nil {
		t.Fatal(err)
	}
	rejected, err := tx.Append(t.Context(), flow.Batch{Slice: s.ID, Records: rec})
	if err != nil {
		return rejected, errors.Join(err, tx.Abort())
	}
	n, dead := uint64(rec.NumRows()), uint64(len(rejected))
	_, err = tx.Commit(t.Context(), sinks.Account{Read: flow.Sum{Rows: n}, Delivered: flow.Sum{Rows: n - dead}, Dead: flow.Sum{Rows: dead}})
	return rejected, err
}

func (r rig) testECS(t *testing.T) {
	c := config(r.URL, map[string]any{"index": "{labels.tenant}-{log_name}-{date}"})
	c.Source, c.Labels, c.Streams[0].Schema = "my-source", map[string]string{"tenant": "Acme/1"}, everySchema
	k := mustOpen(t, c)
	if rejected, err := write(t, k, everySchema, everyRows); err != nil || len(rejected) > 0 {
		t.Fatal(rejected, err)
	}
	all, err := r.hits("acme_1-web_one-2026-11-01")
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	slices.SortFunc(all, func(a, b hit) int { return strings.Compare(a.Source["message"].(string), b.Source["message"].(string)) })
	if diff := cmp.Diff(everyECS, []map[string]any{all[0].Source, all[1].Source}); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
}

func (r rig) testColumns(t *testing.T) {
	c := config(r.URL, map[string]any{"index": "columns", "naming": "columns"})
	if _, err := sinktest.Write(t.Context(), mustOpen(t, c), sinktest.Hours("one", 0, 1), sinktest.Bodies(sinktest.Hours("one", 0, 1), 3)); err != nil {
		t.Fatal(err)
	}
	all, err := r.hits("columns")
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for _, h := range all {
		for _, key := range []string{"@timestamp", "body", "log_id"} {
			if h.Source[key] == nil {
				t.Errorf("%v lacks %s", h.Source, key)
			}
		}
	}
}

// testDeadLetters has fields that the index's mapping refuses: those records are rejected, the others of the request are there.
func (r rig) testDeadLetters(t *testing.T) {
	if err := r.do("PUT", "/strict", `{"mappings": {"dynamic": "strict", "properties": {"@timestamp": {"type": "date"}, "message": {"type": "keyword", "ignore_above": 10},
		"sinktest": {"properties": {"n": {"type": "long"}}}}}}`, nil); err != nil {
		t.Fatal(err)
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "body", Type: arrow.BinaryTypes.String},
		{Name: "n", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "other", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
	}, nil)
	c := config(r.URL, map[string]any{"index": "strict"})
	c.Streams[0].Schema = schema
	rejected, err := write(t, mustOpen(t, c), schema, `[{"body": "a", "n": "1"}, {"body": "b", "n": "no number"}, {"body": "c"}, {"body": "d", "other": 1}]`)
	if err != nil {
		t.Fatal(err)
	}
	var rows []int
	for _, x := range rejected {
		rows = append(rows, x.Row)
	}
	if diff := cmp.Diff([]int{1, 3}, rows); diff != "" || !strings.Contains(rejected[0].Reason, "sinktest.n") || !strings.Contains(rejected[1].Reason, "strict") {
		t.Errorf("rejected %+v (-want +got):\n%s", rejected, diff)
	}
	r.wantBodies(t, "strict", []string{"a", "c"})
}

const template = `{"index_patterns": ["stream-*"], "data_stream": {}, "template": {"settings": {"number_of_replicas": 0}}}`

func (r rig) testDataStream(t *testing.T) {
	c := config(r.URL, map[string]any{"index": "stream-{stream}", "data_stream": true})
	k := mustOpen(t, c)
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 20)
	if _, err := online(t.Context(), c); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "stream-events") {
		t.Errorf("online without a template: %v", err)
	}
	if _, err := sinktest.Write(t.Context(), k, s, bodies); fault.KindOf(err) != fault.Config {
		t.Errorf("without a template: %v", err)
	}
	if err := r.do("PUT", "/_index_template/streams", template, nil); err != nil {
		t.Fatal(err)
	}
	if said, err := online(t.Context(), c); err != nil || !strings.Contains(said, "the index template streams makes it") {
		t.Errorf("%q, %v", said, err)
	}
	for range 2 {
		if _, err := sinktest.Write(t.Context(), k, s, bodies); err != nil {
			t.Fatal(err)
		}
	}
	r.wantBodies(t, "stream-events", bodies)
	if all, err := r.hits("stream-events"); err != nil || !strings.HasPrefix(all[0].Index, ".ds-stream-events") {
		t.Errorf("%v, %v", all, err)
	}
	if said, err := online(t.Context(), c); err != nil || !strings.Contains(said, "the data stream stream-events is there") {
		t.Errorf("%q, %v", said, err)
	}
}

func (r rig) testOnline(t *testing.T) {
	c := config(r.URL, map[string]any{"index": "online-{stream}"})
	said, err := online(t.Context(), c)
	if err != nil || !strings.Contains(said, "OpenSearch 2.") || !strings.Contains(said, "the first record makes it") {
		t.Errorf("%q, %v", said, err)
	}
	if all, err := r.hits("online-events"); err != nil || all != nil {
		t.Fatalf("online has made the index: %v, %v", all, err)
	}
	if err := r.do("GET", "/online-events", "", nil); !errors.Is(err, errNotFound) {
		t.Fatalf("online has made the index: %v", err)
	}
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(t.Context(), mustOpen(t, c), s, sinktest.Bodies(s, 2)); err != nil {
		t.Fatal(err)
	}
	if said, err := online(t.Context(), c); err != nil || !strings.Contains(said, "may be written to") {
		t.Errorf("%q, %v", said, err)
	}
	r.wantBodies(t, "online-events", sinktest.Bodies(s, 2))
	if said, err := online(t.Context(), config(r.URL, map[string]any{"index": "x-{date}"})); err != nil || !strings.Contains(said, "first slice") {
		t.Errorf("%q, %v", said, err)
	}
	// A read-only index is a refusal.
	if err := r.do("PUT", "/online-events/_settings", `{"index.blocks.write": true}`, nil); err != nil {
		t.Fatal(err)
	}
	if said, err := online(t.Context(), c); err == nil {
		t.Errorf("of a blocked index online says %q", said)
	}
}

// faulty stands before the server and does to requests what a test asks for.
type faulty struct {
	*httptest.Server
	mu   sync.Mutex
	bulk int // requests with records
	at   func(n int, w http.ResponseWriter, q *http.Request, pass http.Handler)
}

func newFaulty(t testing.TB, r rig, at func(n int, w http.ResponseWriter, q *http.Request, pass http.Handler)) *faulty {
	t.Helper()
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(u) }, Transport: transport}
	f := &faulty{at: at}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !strings.Contains(q.URL.Path, "_bulk") {
			proxy.ServeHTTP(w, q)
			return
		}
		f.mu.Lock()
		f.bulk++
		n := f.bulk
		f.mu.Unlock()
		f.at(n, w, q, proxy)
	}))
	t.Cleanup(func() {
		f.Close()
		transport.CloseIdleConnections()
	})
	return f
}

// testBusy has a cluster that is too busy for requests, for single records, that loses answers and cuts them.
func (r rig) testBusy(t *testing.T) {
	var retried int
	f := newFaulty(t, r, func(n int, w http.ResponseWriter, q *http.Request, pass http.Handler) {
		switch n {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3: // all are taken, and the answer is lost
			pass.ServeHTTP(httptest.NewRecorder(), q)
			panic(http.ErrAbortHandler)
		case 4: // the answer ends too early
			rec := httptest.NewRecorder()
			pass.ServeHTTP(rec, q)
			w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
			_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		case 5: // every second record is refused for now; what they are, they are
			rec := httptest.NewRecorder()
			pass.ServeHTTP(rec, q)
			var answer struct {
				Errors bool                        `json:"errors"`
				Items  []map[string]map[string]any `json:"items"`
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
				t.Error(err)
			}
			for i := range answer.Items {
				if i%2 == 1 {
					answer.Items[i]["create"] = map[string]any{"status": 429, "error": map[string]any{"type": "rejected_execution_exception", "reason": "queue is full"}}
					retried++
				}
			}
			_ = json.NewEncoder(w).Encode(answer)
		case 6:
			b, err := io.ReadAll(q.Body)
			if got := bytes.Count(b, []byte(`{"create"`)); err != nil || got != retried || retried == 0 {
				t.Errorf("%d records were sent again, want %d (%v)", got, retried, err)
			}
			q.Body = io.NopCloser(bytes.NewReader(b))
			pass.ServeHTTP(w, q)
		default:
			pass.ServeHTTP(w, q)
		}
	})
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 7)
	dead := httptest.NewServer(nil)
	dead.Close() // a node that is down
	c := config(f.URL, map[string]any{"index": "busy", "compression": "none", "urls": []string{dead.URL, f.URL}})
	if _, err := sinktest.Write(t.Context(), mustOpen(t, c), s, bodies); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t, "busy", bodies)

	// One that is busy for too long is an error that may be tried again later.
	always := newFaulty(t, r, func(_ int, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := sinktest.Write(t.Context(), mustOpen(t, config(always.URL, map[string]any{"timeout": "2s"})), s, bodies)
	if fault.KindOf(err) != fault.Transient || !strings.Contains(err.Error(), "429") {
		t.Errorf("busy for too long: %v", err)
	}
	var known *fault.Error
	if errors.As(err, &known); known == nil || fault.RetryAfterOf(known).Seconds() != 30 {
		t.Errorf("the server's Retry-After isn't in %v", err)
	}
	// The end of the pipeline is its end.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k := mustOpen(t, config(always.URL, nil))
	tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := sinktest.Append(ctx, tx, s, bodies); !errors.Is(err, context.Canceled) {
		t.Errorf("append with an ended context: %v", err)
	}
}

// testLarge has a server that takes no more than a few records at once: requests are cut, and a record that is too large alone is rejected.
func (r rig) testLarge(t *testing.T) {
	const most = 4000
	f := newFaulty(t, r, func(_ int, w http.ResponseWriter, q *http.Request, pass http.Handler) {
		b, err := io.ReadAll(q.Body)
		if err != nil || len(b) > most {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		q.Body = io.NopCloser(bytes.NewReader(b))
		pass.ServeHTTP(w, q)
	})
	schema := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)
	c := config(f.URL, map[string]any{"index": "large", "compression": "none"})
	c.Streams[0].Schema = schema
	var rows []map[string]string
	var want []string
	for i := range 40 {
		body := fmt.Sprint("record ", i, strings.Repeat(" x", 100))
		if i == 17 {
			body += strings.Repeat("y", most)
		} else {
			want = append(want, body)
		}
		rows = append(rows, map[string]string{"body": body})
	}
	b, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	rejected, err := write(t, mustOpen(t, c), schema, string(b))
	if err != nil || len(rejected) != 1 || rejected[0].Row != 17 || !strings.Contains(rejected[0].Reason, "larger than the server takes") {
		t.Errorf("%+v, %v", rejected, err)
	}
	r.wantBodies(t, "large", want)
}

// testWrongIndex has targets that take no record at all: that is an error, and no dead letter is made.
func (r rig) testWrongIndex(t *testing.T) {
	for _, body := range []string{`{"aliases": {"several": {}}}`} {
		for _, name := range []string{"one-of-several", "two-of-several"} {
			if err := r.do("PUT", "/"+name, body, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.do("PUT", "/closed", "", nil); err != nil {
		t.Fatal(err)
	}
	if err := r.do("POST", "/closed/_close", "", nil); err != nil {
		t.Fatal(err)
	}
	s := sinktest.Hours("one", 0, 1)
	for _, index := range []string{"several", "closed"} {
		_, err := sinktest.Write(t.Context(), mustOpen(t, config(r.URL, map[string]any{"index": index})), s, sinktest.Bodies(s, 3))
		if fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v, want an error of kind config", index, err)
		}
	}
}

// testKilled ends the server with SIGKILL between two batches of a slice, and starts it anew while the sink tries on: each record is
// there once.
func (r rig) testKilled(t *testing.T) {
	k := mustOpen(t, config(r.URL, map[string]any{"index": "killed", "timeout": "5m"}))
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 63)
	tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	restarted := make(chan struct{})
	for i, part := range slices.Collect(slices.Chunk(bodies, 7)) {
		if i == 4 {
			r.Kill()
			go func() {
				defer close(restarted)
				r.Restart(t)
			}()
		}
		b := sinktest.Batch(memory.DefaultAllocator, s, uint64(i), part)
		rejected, err := tx.Append(t.Context(), b)
		b.Records.Release()
		if err != nil || len(rejected) > 0 {
			<-restarted
			t.Fatalf("batch %d: %v, %v", i, rejected, err)
		}
	}
	<-restarted
	if _, err := tx.Commit(t.Context(), sinktest.Account(bodies)); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t, "killed", bodies)
}
