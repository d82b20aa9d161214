package rapid7download

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var firstDay = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// fakeBudget counts what a source reserves and settles. It refuses as often as it is told.
type fakeBudget struct {
	mu       sync.Mutex
	refusals int
	requests []plugins.BudgetRequest
	settled  []plugins.BudgetSettlement
}

func (b *fakeBudget) Acquire(_ context.Context, r plugins.BudgetRequest) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusals > 0 {
		b.refusals--
		return "", fault.Errorf(fault.Throttled, "budget", "spent").After(20 * time.Millisecond)
	}
	b.requests = append(b.requests, r)
	if r.Reservation != "" {
		return r.Reservation, nil
	}
	return fmt.Sprint("reservation ", len(b.requests)), nil
}

func (b *fakeBudget) Settle(_ context.Context, s plugins.BudgetSettlement) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = append(b.settled, s)
	return nil
}

// last returns the one settlement that is done.
func (b *fakeBudget) last(t *testing.T) plugins.BudgetSettlement {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var done []plugins.BudgetSettlement
	for _, s := range b.settled {
		if s.Done {
			done = append(done, s)
		}
	}
	if len(done) != 1 {
		t.Fatalf("%d settlements are done, want 1: %+v", len(done), b.settled)
	}
	return done[0]
}

func newSource(t *testing.T, budget plugins.Budget, settings map[string]any) *source {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Definition().Open(t.Context(), plugins.Config{Settings: raw, Budget: budget, HTTP: plugins.HTTP{UserAgent: "sluice/test"}})
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*source)
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	s.mem, s.fast = mem, roughAllocator{mem}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		mem.AssertSize(t, 0)
	})
	return s
}

func simSettings(base string, more ...any) map[string]any {
	m := map[string]any{
		"base_url": base, "api_key": vendorsim.DemoKey,
		"logs": []string{vendorsim.SeedWebID, vendorsim.SeedAppID, vendorsim.SeedAwkwardID, vendorsim.SeedEmptyID},
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

func newSim(t *testing.T, change func(*vendorsim.Options)) (*vendorsim.Sim, string) {
	t.Helper()
	o := vendorsim.Options{Logs: vendorsim.Seeded(vendorsim.SeedOptions{Start: firstDay, Days: 2, Lines: 3000})}
	if change != nil {
		change(&o)
	}
	sim, err := vendorsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	base, err := sim.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The simulator serves nothing that is still ahead of its clock.
	sim.Clock().Set(firstDay.AddDate(0, 0, 5))
	return sim, base
}

func sliceOf(key string, from, to time.Time) flow.Slice {
	return flow.NewSlice(flow.Partition{Stream: streamEvents, Key: key}, from, to, 0)
}

func read(t *testing.T, s *source, slice flow.Slice) (*collector, error) {
	t.Helper()
	out := newCollector(t)
	defer out.release()
	return out, s.Read(t.Context(), slice, out)
}

func served(sim *vendorsim.Sim, key string, from, to time.Time) []string {
	var want []string
	for line := range sim.Lines(key, from, to) {
		want = append(want, string(line))
	}
	return want
}

func TestEveryByteArrives(t *testing.T) {
	t.Parallel()
	for _, gzip := range []bool{false, true} {
		for _, inclusive := range []bool{false, true} {
			t.Run(fmt.Sprintf("gzip %v, to inclusive %v", gzip, inclusive), func(t *testing.T) {
				sim, base := newSim(t, func(o *vendorsim.Options) { o.Gzip, o.ToInclusive = true, inclusive })
				bound := map[bool]string{false: "exclusive", true: "inclusive"}[inclusive]
				s := newSource(t, &fakeBudget{}, simSettings(base, "gzip", gzip, "to_bound", bound))
				for _, id := range s.client.settings.Logs {
					var got []string
					for from := firstDay; from.Before(firstDay.AddDate(0, 0, 2)); from = from.Add(6 * time.Hour) {
						out, err := read(t, s, sliceOf(id, from, from.Add(6*time.Hour)))
						if err != nil {
							t.Fatal(err)
						}
						if out.opened != 1 {
							t.Errorf("opened %d times", out.opened)
						}
						got = append(got, out.lines...)
					}
					if diff := cmp.Diff(served(sim, id, firstDay, firstDay.AddDate(0, 0, 2)), got); diff != "" {
						t.Errorf("log %s (-served +read):\n%.1000s", id, diff)
					}
				}
				for _, r := range sim.Requests() {
					if (r.Encoding == "gzip") != gzip {
						t.Errorf("encoding %q", r.Encoding)
					}
				}
			})
		}
	}
}

func TestBudgetCountsWireBytes(t *testing.T) {
	t.Parallel()
	for _, gzip := range []bool{false, true} {
		sim, base := newSim(t, func(o *vendorsim.Options) { o.Gzip = true })
		budget := &fakeBudget{refusals: 2}
		s := newSource(t, budget, simSettings(base, "gzip", gzip))
		out, err := read(t, s, sliceOf(vendorsim.SeedWebID, firstDay, firstDay.AddDate(0, 0, 1)))
		if err != nil {
			t.Fatal(err)
		}
		done, request := budget.last(t), sim.Requests()[0]
		if done.Requests != 1 || done.Bytes != uint64(request.Bytes) {
			t.Errorf("gzip %v: settled %d requests and %d bytes, the simulator sent %d", gzip, done.Requests, done.Bytes, request.Bytes)
		}
		first := budget.requests[0]
		if first.Requests != 1 || first.Bytes != 64<<20 || first.Limit != rapid7.DownloadLimit || first.Share != 0.9 || first.Key != plugins.BudgetKey(base, vendorsim.DemoKey) {
			t.Errorf("reserved %+v", first)
		}
		headers := budget.settled[0]
		if headers.Done || headers.Requests != 1 || headers.VendorTime.IsZero() || headers.Vendor.RemainingRequests == nil || *headers.Vendor.RemainingRequests != 149 || headers.Vendor.LimitBytes == nil {
			t.Errorf("settled at the headers: %+v", headers)
		}
		if len(out.waits) != 3 || !strings.HasPrefix(out.waits[0], "budget until ") || out.waits[2] != "vendor" {
			t.Errorf("waits = %q", out.waits)
		}
	}
}

// A limit above the documented one may not have lifted it, and lines are no fewer than records: nothing above it is believed.
func TestMost(t *testing.T) {
	for limit, want := range map[uint64]uint64{1: 1, 19_999_999: 19_999_999, documentedLimit: documentedLimit, 20_000_001: documentedLimit, maxLimit: documentedLimit} {
		if got := (&settings{Limit: limit}).most(); got != want {
			t.Errorf("limit %d: an answer of %d lines may have been cut, want %d", limit, got, want)
		}
	}
}

func TestReachedLimitIsTruncated(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	from, to := firstDay, firstDay.AddDate(0, 0, 1)
	all := sim.Count(vendorsim.SeedWebID, from, to)
	for _, tt := range []struct {
		limit     int64
		truncated bool
	}{{all - 1, true}, {all, true}, {all + 1, false}} {
		s := newSource(t, &fakeBudget{}, simSettings(base, "limit", tt.limit))
		out, err := read(t, s, sliceOf(vendorsim.SeedWebID, from, to))
		var truncated *flow.Truncated
		if errors.As(err, &truncated) != tt.truncated || !tt.truncated && err != nil {
			t.Errorf("limit %d of %d: %v", tt.limit, all, err)
		}
		if tt.truncated && (truncated.Rows != uint64(tt.limit) || len(truncated.Into) != 8 || truncated.Bytes != out.sum.Bytes) {
			t.Errorf("limit %d: truncated after %d rows and %d bytes, %d read", tt.limit, truncated.Rows, truncated.Bytes, out.sum.Bytes)
		}
	}
}

func TestConstantsAndSchema(t *testing.T) {
	t.Parallel()
	_, base := newSim(t, nil)
	s := newSource(t, &fakeBudget{}, simSettings(base))
	s.now = func() time.Time { return time.Unix(1_800_000_000, 5).UTC() }
	slice := sliceOf(vendorsim.SeedEmptyID, firstDay, firstDay.Add(time.Hour))
	out := newCollector(t)
	defer out.release()
	if err := s.Read(t.Context(), slice, out); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(out.opening.Constants)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"attributes":null,"log_id":"7f7c461f-2e71-4d50-8cdf-06c11ee67789","log_name":null,` +
		`"observed_timestamp":"2027-01-15 08:00:00.000000005","received_from":"2026-11-01 00:00:00","received_to":"2026-11-01 01:00:00",` +
		`"severity_number":null,"severity_text":null,"source":"rapid7-download","timestamp":null}`
	if got := strings.ReplaceAll(string(text), "\n", ""); !strings.HasPrefix(got, want) {
		t.Errorf("constants = %s\nwant        %s", got, want)
	}
	if d := time.Until(out.opening.VendorTime.Add(-time.Until(firstDay.AddDate(0, 0, 5)))); d > 3*time.Second || d < -3*time.Second {
		t.Errorf("vendor time = %v", out.opening.VendorTime)
	}
	var names []string
	for _, f := range s.schema.Fields() {
		names = append(names, f.Name+" "+f.Type.String())
	}
	wantNames := []string{
		"timestamp timestamp[ns, tz=UTC]", "observed_timestamp timestamp[ns, tz=UTC]", "received_from timestamp[ns, tz=UTC]",
		"received_to timestamp[ns, tz=UTC]", "severity_text utf8", "severity_number int32", "body utf8", "source utf8", "log_id utf8",
		"log_name utf8", "attributes map<utf8, utf8, items_nullable>", "body_raw binary",
	}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if _, ok := out.opening.Constants.Column(0).(*array.Timestamp); !ok {
		t.Errorf("timestamp is a %T", out.opening.Constants.Column(0))
	}
}

func TestGoldenRequest(t *testing.T) {
	t.Parallel()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.RequestURI)
		for _, name := range []string{"X-Api-Key", "Accept-Encoding", "User-Agent", "Content-Type", "Accept"} {
			got = append(got, name+": "+strings.Join(r.Header.Values(name), ", "))
		}
		if len(r.Header) != 3 {
			t.Errorf("headers: %v", r.Header)
		}
		w.Header().Set("Content-Length", "0")
	}))
	defer server.Close()
	s := newSource(t, &fakeBudget{}, map[string]any{
		"base_url": server.URL + "/log_search/", "api_key": "key", "logs": []string{"AEE00B66-A543-43DC-B093-53963C2E8F41"}, "limit": 1000,
	})
	if _, err := read(t, s, sliceOf(vendorsim.SeedWebID, firstDay, firstDay.Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /log_search/download/logs/aee00b66-a543-43dc-b093-53963c2e8f41?from=1793491200000&limit=1000&query=where%28%2F.%2A%2F%29&to=1793491260000",
		"X-Api-Key: key", "Accept-Encoding: identity", "User-Agent: sluice/test", "Content-Type: ", "Accept: ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	at := vendorsim.At
	tests := []struct {
		name  string
		fault vendorsim.Fault
		kind  fault.Kind
		text  string // in the error
		hint  string
		after time.Duration
	}{
		{"400", vendorsim.Fault{Status: 400, Body: `{"message":"invalid LEQL"}`}, fault.Config, "invalid LEQL", "check query", 0},
		{"401", vendorsim.Fault{Status: 401}, fault.Auth, "401", "api_key", 0},
		{"403", vendorsim.Fault{Status: 403}, fault.Auth, "403", "read/write", 0},
		{"404", vendorsim.Fault{Status: 404}, fault.NotFound, "404", "isn't at base_url", 0},
		{"413", vendorsim.Fault{Status: 413}, fault.Config, "413", "", 0},
		{"415", vendorsim.Fault{Status: 415}, fault.Config, "415", "", 0},
		{"429", vendorsim.Fault{Status: 429, RetryAfter: "850"}, fault.Throttled, "API rate limit exceeded", "", 850 * time.Second},
		{"429 by the vendor's window", vendorsim.Fault{Status: 429}, fault.Throttled, "429", "", 900 * time.Second},
		{"429 for ages", vendorsim.Fault{Status: 429, RetryAfter: "999999"}, fault.Throttled, "taken as 24h", "", 24 * time.Hour},
		{"500", vendorsim.Fault{Status: 500}, fault.Transient, "500", "region", 0},
		{"503", vendorsim.Fault{Status: 503, RetryAfter: "7"}, fault.Transient, "503", "", 7 * time.Second},
		{"redirect", vendorsim.Fault{Redirect: "trap"}, fault.Config, "redirect to http://127.0.0.1", "base_url", 0},
		{"202", vendorsim.Fault{Status: 202}, fault.Corrupt, "202", "", 0},
		{"JSON", vendorsim.Fault{Status: 200, Body: `{"message":"no"}`}, fault.Corrupt, `200 with application/json instead of lines: {"message":"no"}`, "base_url", 0},
		{"cut", vendorsim.Fault{CutAfter: at(1000)}, fault.Transient, "cut after 1000 bytes", "", 0},
		{"cut before the final chunk", vendorsim.Fault{CutAfter: at(1 << 40)}, fault.Transient, "cut after", "", 0},
		{"reset", vendorsim.Fault{CutAfter: at(1000), Reset: true}, fault.Transient, "cut after", "", 0},
		{"stall", vendorsim.Fault{StallAfter: at(1000)}, fault.Transient, "no byte for 2s, 1000 bytes in", "", 0},
		{"closed", vendorsim.Fault{Framing: "close"}, fault.Corrupt, "ends by closing", "proxy", 0},
		{"gzip checksum", vendorsim.Fault{Gzip: "checksum"}, fault.Corrupt, "gzip", "", 0},
		{"gzip without trailer", vendorsim.Fault{Gzip: "truncated"}, fault.Corrupt, "gzip", "", 0},
		{"gzip garbage", vendorsim.Fault{Gzip: "garbage"}, fault.Corrupt, "gzip", "", 0},
		{"gzip plain", vendorsim.Fault{Gzip: "plain"}, fault.Corrupt, "gzip", "", 0},
		{"key in the text", vendorsim.Fault{Status: 400, Body: "no such key " + vendorsim.DemoKey}, fault.Config, "no such key ***", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim, base := newSim(t, nil)
			if err := sim.AddFault(vendorsim.Rule{Fault: tt.fault, Times: 1}); err != nil {
				t.Fatal(err)
			}
			budget := &fakeBudget{}
			timeout := "30s" // a busy machine is no silence of the vendor's
			if tt.fault.StallAfter != nil {
				timeout = "2s"
			}
			s := newSource(t, budget, simSettings(base, "http", map[string]any{"timeout": timeout}))
			slice := sliceOf(vendorsim.SeedWebID, firstDay, firstDay.AddDate(0, 0, 1))
			_, err := read(t, s, slice)
			if got := fault.KindOf(err); got != tt.kind {
				t.Fatalf("kind = %v, want %v: %v", got, tt.kind, err)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(fault.HintOf(err), tt.hint) {
				t.Errorf("error = %v\nhint = %s\nwant %q and %q", err, fault.HintOf(err), tt.text, tt.hint)
			}
			if shown := err.Error() + fault.HintOf(err); strings.Contains(shown, vendorsim.DemoKey) {
				t.Errorf("the key is in %s", shown)
			}
			if got := fault.RetryAfterOf(err); got != tt.after {
				t.Errorf("retry after %v, want %v", got, tt.after)
			}
			if done := budget.last(t); done.Requests != 1 {
				t.Errorf("settled %+v", done)
			}
			// The next attempt is whole.
			out, err := read(t, s, slice)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(served(sim, slice.Key, slice.From, slice.To), out.lines); diff != "" {
				t.Errorf("second attempt (-served +read):\n%.1000s", diff)
			}
			if leaked := sim.Stats().KeysLeaked; leaked != 0 {
				t.Errorf("the key reached another origin %d times", leaked)
			}
		})
	}
}

func TestContentLengthProvesTheEnd(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	if err := sim.AddFault(vendorsim.Rule{Fault: vendorsim.Fault{Framing: "length"}}); err != nil {
		t.Fatal(err)
	}
	s := newSource(t, &fakeBudget{}, simSettings(base))
	out, err := read(t, s, sliceOf(vendorsim.SeedAwkwardID, firstDay, firstDay.AddDate(0, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if out.counters[finalMark] != 1 {
		t.Errorf("counters = %v", out.counters)
	}
}

func TestCancelEndsAReadAtOnce(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	if err := sim.AddFault(vendorsim.Rule{Fault: vendorsim.Fault{StallAfter: vendorsim.At(5000)}}); err != nil {
		t.Fatal(err)
	}
	budget := &fakeBudget{}
	s := newSource(t, budget, simSettings(base))
	ctx, cancel := context.WithCancel(t.Context())
	out := newCollector(t)
	defer out.release()
	var stopped time.Time
	out.onBatch = func(int) { // rows before a stall are sent while it lasts
		stopped = time.Now()
		cancel()
	}
	err := s.Read(ctx, sliceOf(vendorsim.SeedWebID, firstDay, firstDay.AddDate(0, 0, 1)), out)
	if fault.KindOf(err) != fault.Canceled {
		t.Errorf("error = %v", err)
	}
	if took := time.Since(stopped); took > 30*time.Second {
		t.Errorf("the read ended %v after its context", took)
	}
	if done := budget.last(t); done.Bytes != 5000 {
		t.Errorf("settled %+v", done)
	}
}

func TestDripIsFlushed(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\nsec")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "ond\n")
	}))
	defer server.Close()
	s := newSource(t, &fakeBudget{}, simSettings(server.URL))
	out := newCollector(t)
	defer out.release()
	var once sync.Once
	out.onBatch = func(int) { once.Do(func() { close(release) }) }
	if err := s.Read(t.Context(), sliceOf(vendorsim.SeedWebID, firstDay, firstDay.Add(time.Hour)), out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"first", "second"}, out.lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestAnyChunksOnTheWire(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		text := randomText(rnd)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for _, p := range cut(rnd, text, 200) {
				_, _ = w.Write(p)
				_ = http.NewResponseController(w).Flush()
			}
		}))
		s := newSource(t, &fakeBudget{}, simSettings(server.URL))
		out, err := read(t, s, sliceOf(vendorsim.SeedWebID, firstDay, firstDay.Add(time.Hour)))
		server.Close()
		if err != nil {
			t.Fatal(err)
		}
		if lines, _, _ := naive(text); strings.Join(lines, "\n") != strings.Join(out.lines, "\n") || len(lines) != len(out.lines) {
			t.Errorf("seed %d: %d lines, want %d", seed, len(out.lines), len(lines))
		}
	}
}

func TestNowAndCheck(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	budget := &fakeBudget{}
	s := newSource(t, budget, simSettings(base, "logs", []string{vendorsim.SeedWebID, "00000000-0000-4000-8000-000000000000"}))
	now, err := s.Now(t.Context())
	if d := now.Sub(sim.Clock().Now()); err != nil || d > time.Second || d < -time.Minute {
		t.Errorf("now = %v, %v", now, err)
	}
	if len(budget.requests) != 0 || sim.Requests()[0].Key != "" {
		t.Errorf("the clock cost budget or was asked with a key")
	}
	summary, err := s.Check(t.Context())
	if err != nil || !strings.Contains(summary, "sees 4 logs") || !strings.Contains(summary, "00000000-0000-4000-8000-000000000000") {
		t.Errorf("check = %q, %v", summary, err)
	}
	wrong := newSource(t, budget, simSettings(base, "api_key", "wrong"))
	if _, err := wrong.Check(t.Context()); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.HintOf(err), "api_key") {
		t.Errorf("check with a wrong key = %v, hint %q", err, fault.HintOf(err))
	}
	if err := sim.AddFault(vendorsim.Rule{Path: "/management/", Fault: vendorsim.Fault{Status: 200, Body: "{}"}}); err != nil {
		t.Fatal(err)
	}
	if summary, err := s.Check(t.Context()); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("check of an answer without logs = %q, %v", summary, err)
	}
	_, silent := newSim(t, func(o *vendorsim.Options) { o.NoDate = true })
	s = newSource(t, budget, simSettings(silent))
	if _, err := s.Now(t.Context()); fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "clock: host") {
		t.Errorf("now without Date = %v", err)
	}
}

func TestPartitionsAndForeignKeys(t *testing.T) {
	t.Parallel()
	s := newSource(t, nil, map[string]any{
		"region": "EU", "api_key": "k", "logs": []string{strings.ToUpper(vendorsim.SeedWebID), vendorsim.SeedAppID, vendorsim.SeedWebID},
	})
	keys, err := s.Partitions(t.Context(), streamEvents)
	if diff := cmp.Diff([]plugins.PartitionKey{{Key: vendorsim.SeedWebID}, {Key: vendorsim.SeedAppID}}, keys); diff != "" || err != nil {
		t.Errorf("partitions: %v\n%s", err, diff)
	}
	if got := s.client.rest.Origin(); got != "https://eu.rest.logs.insight.rapid7.com" {
		t.Errorf("origin = %s", got)
	}
	if _, err := s.Partitions(t.Context(), "usage"); fault.KindOf(err) != fault.Config {
		t.Errorf("partitions of a foreign stream: %v", err)
	}
	if _, err := read(t, s, sliceOf(vendorsim.SeedEmptyID, firstDay, firstDay.Add(time.Hour))); fault.KindOf(err) != fault.Bug {
		t.Errorf("read of a foreign log: %v", err)
	}
}

func TestFromToOnTheWireFitTheBound(t *testing.T) {
	t.Parallel()
	for bound, last := range map[string]int64{"exclusive": 0, "inclusive": -1} {
		var to string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			to = r.URL.Query().Get("to")
			w.Header().Set("Content-Length", "0")
		}))
		s := newSource(t, &fakeBudget{}, simSettings(server.URL, "to_bound", bound))
		slice := sliceOf(vendorsim.SeedWebID, firstDay, firstDay.Add(time.Millisecond))
		if _, err := read(t, s, slice); err != nil {
			t.Fatal(err)
		}
		server.Close()
		if want := strconv.FormatInt(slice.To.UnixMilli()+last, 10); to != want {
			t.Errorf("%s: to = %s, want %s", bound, to, want)
		}
	}
}

// nowhere takes what a read emits for nothing.
type nowhere struct{ benchSink }

func (nowhere) Open(context.Context, plugins.Opening) error { return nil }
func (nowhere) Waiting(time.Time, string) error             { return nil }

func BenchmarkRead(b *testing.B) {
	const size = 256 << 20
	sim, err := vendorsim.New(vendorsim.Options{Logs: []vendorsim.Log{{
		ID: someLog, Generated: &vendorsim.Generated{From: firstDay, To: firstDay.AddDate(0, 0, 1), Bytes: size},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	defer sim.Close()
	sim.Clock().Set(firstDay.AddDate(0, 0, 2))
	base, err := sim.Start("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(simSettings(base, "budget", map[string]any{"requests": 1_000_000, "bytes": "9000TB"}))
	if err != nil {
		b.Fatal(err)
	}
	s, err := open(plugins.Config{Settings: raw})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Read(context.Background(), sliceOf(someLog, firstDay, firstDay.AddDate(0, 0, 1)), nowhere{}); err != nil {
			b.Fatal(err)
		}
	}
}
