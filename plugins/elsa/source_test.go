package elsa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var firstDay = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// fakeBudget grants everything and counts.
type fakeBudget struct {
	mu       sync.Mutex
	requests []plugins.BudgetRequest
}

func (b *fakeBudget) Acquire(_ context.Context, r plugins.BudgetRequest) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, r)
	return fmt.Sprint("reservation ", len(b.requests)), nil
}

func (b *fakeBudget) Settle(context.Context, plugins.BudgetSettlement) error { return nil }

func newSource(t testing.TB, settings map[string]any) *source {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	opened, err := Definition().Open(t.Context(), plugins.Config{
		Settings: raw, Budget: &fakeBudget{}, HTTP: plugins.HTTP{UserAgent: "sluice/test"}, Spool: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*source)
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	s.mem = mem
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		mem.AssertSize(t, 0)
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left in the spool: %v, %v", left, err)
		}
	})
	return s
}

func simSettings(base string, more ...any) map[string]any {
	m := map[string]any{
		"base_url": base, "access_key": vendorsim.DemoAccessKey, "secret_key": vendorsim.DemoSecretKey,
		"projects": []map[string]any{
			{"key": vendorsim.SeedProject, "id": vendorsim.SeedProjectID},
			{"key": vendorsim.SeedOddProject, "id": vendorsim.SeedOddProjectID},
			{"key": vendorsim.SeedEmptyProject, "id": vendorsim.SeedEmptyProjectID},
		},
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

func newSim(t testing.TB, change func(*vendorsim.Options)) (*vendorsim.Sim, string) {
	t.Helper()
	var o vendorsim.Options
	o.Elsa.Projects = vendorsim.SeededProjects(vendorsim.SeedOptions{Start: firstDay, Days: 2, Lines: 1200})
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
	return sim, base
}

// at makes a source's clock the simulator's, which stands behind the records.
func at(s *source, sim *vendorsim.Sim) *source {
	sim.Clock().Set(firstDay.AddDate(0, 0, 5))
	s.client.now = sim.Clock().Now
	return s
}

func sliceOf(key string, from, to time.Time) flow.Slice {
	return flow.NewSlice(flow.Partition{Stream: streamEvents, Key: key}, from, to, 0)
}

func read(t testing.TB, s *source, slice flow.Slice) (*collector, error) {
	t.Helper()
	out := newCollector(t)
	defer out.release()
	return out, s.Read(t.Context(), slice, out)
}

// served returns the bodies of what the simulator holds, oldest first.
func served(t testing.TB, sim *vendorsim.Sim, key string, from, to time.Time) (want []string) {
	for r := range sim.ProjectRecords(key, from, to) {
		i := slices.IndexFunc(r.Fields, func(f vendorsim.Field) bool { return f.Name == "body" })
		var j jsonScanner
		text, _, err := j.text([]byte(r.Fields[i].JSON), 0)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(text))
	}
	return want
}

func TestEveryRecordArrivesInOrder(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"JSON", "CSV"} {
		for _, layout := range []string{vendorsim.LayoutArray, vendorsim.LayoutLines} {
			for i, order := range []string{vendorsim.OldestFirst, vendorsim.NewestFirst, vendorsim.MixedOrder} {
				t.Run(fmt.Sprintf("%s %s %s", format, layout, order), func(t *testing.T) {
					sim, base := newSim(t, func(o *vendorsim.Options) {
						o.Elsa.Layout, o.Elsa.Order, o.Elsa.Entries, o.Elsa.BOM = layout, order, 1+i*3, i > 0
						o.Elsa.ToInclusive = i == 1
					})
					bound := "exclusive"
					if i == 1 {
						bound = "inclusive"
					}
					s := at(newSource(t, simSettings(base, "format", format, "to_bound", bound)), sim)
					s.memory = 4096 << (8 * i) // the first ones spill
					for _, p := range s.client.settings.Projects {
						var got []string
						for from := firstDay; from.Before(firstDay.AddDate(0, 0, 2)); from = from.Add(6 * time.Hour) {
							out, err := read(t, s, sliceOf(p.Key, from, from.Add(6*time.Hour)))
							if err != nil {
								t.Fatal(err)
							}
							if out.opened != 1 || out.counters[countOutside] != 0 || out.counters[countAtEnd] != 0 {
								t.Errorf("opened %d times, counters %v", out.opened, out.counters)
							}
							last := ""
							for _, r := range out.rows {
								if r["timestamp"].(string) < last && len(last) == len(r["timestamp"].(string)) {
									t.Fatalf("%v after %s", r["timestamp"], last)
								}
								last = r["timestamp"].(string)
							}
							got = append(got, out.bodies...)
						}
						want := served(t, sim, p.Key, firstDay, firstDay.AddDate(0, 0, 2))
						if order == vendorsim.OldestFirst {
							if diff := cmp.Diff(want, got); diff != "" {
								t.Errorf("project %s (-served +read):\n%.1000s", p.Key, diff)
							}
							continue
						}
						slices.Sort(want)
						slices.Sort(got)
						if !slices.Equal(want, got) {
							t.Errorf("project %s: %d records served, %d read, not the same", p.Key, len(want), len(got))
						}
					}
				})
			}
		}
	}
}

func TestReachedCountIsTruncated(t *testing.T) {
	t.Parallel()
	for _, order := range []string{vendorsim.OldestFirst, vendorsim.NewestFirst, vendorsim.MixedOrder} {
		sim, base := newSim(t, func(o *vendorsim.Options) { o.Elsa.Order = order })
		from, to := firstDay, firstDay.AddDate(0, 0, 1)
		all := len(served(t, sim, vendorsim.SeedProject, from, to))
		for _, tt := range []struct {
			count     int
			truncated bool
			parts     int // when time order is evidence
		}{{all / 4, true, 6}, {all - 1, true, 2}, {all, true, 2}, {all + 1, false, 0}} {
			s := at(newSource(t, simSettings(base, "count", tt.count)), sim)
			_, err := read(t, s, sliceOf(vendorsim.SeedProject, from, to))
			var truncated *flow.Truncated
			if errors.As(err, &truncated) != tt.truncated || !tt.truncated && err != nil {
				t.Fatalf("%s: count %d of %d: %v", order, tt.count, all, err)
			}
			if !tt.truncated {
				continue
			}
			if order == vendorsim.MixedOrder {
				tt.parts = 8
			}
			if truncated.Rows != uint64(tt.count) || len(truncated.Into) != tt.parts || truncated.Bytes == 0 {
				t.Errorf("%s: count %d of %d: truncated after %d rows into %d parts, want %d", order, tt.count, all, truncated.Rows, len(truncated.Into), tt.parts)
			}
		}
	}
}

func TestLimitMayBeTheCap(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	from := firstDay
	to := from.Add(time.Hour)
	all := len(served(t, sim, vendorsim.SeedProject, from, to))
	s := at(newSource(t, simSettings(base, "limit", all)), sim)
	if _, err := read(t, s, sliceOf(vendorsim.SeedProject, from, to)); !errors.As(err, new(*flow.Truncated)) {
		t.Errorf("an answer of exactly `limit` records: %v, want it cut", err)
	}
	if _, err := read(t, s, sliceOf(vendorsim.SeedProject, from, from.Add(12*time.Hour))); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, sliceOf(vendorsim.SeedProject, from, to)); err != nil {
		t.Errorf("after an answer of more than `limit` records: %v", err)
	}
}

// A vendor that doesn't know our `count`, or not a high one, cuts by its documented default.
func TestWhatCountsAsCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		count, rows uint64
		want        bool
	}{
		{maxCount, 0, false},
		{maxCount, 1001, false},
		{maxCount, 99_999, false},
		{maxCount, 100_000, true},
		{maxCount, 100_001, false},
		{maxCount, 199_999, false},
		{maxCount, 200_000, true},
		{maxCount, 200_001, true},
		{5000, 4999, false},
		{5000, 5000, true},
		{5000, 5001, true},
	} {
		s := newSource(t, simSettings("http://127.0.0.1:1", "count", tt.count))
		if got := s.capped(tt.rows); got != tt.want {
			t.Errorf("count %d, %d rows: cut %t, want %t", tt.count, tt.rows, got, tt.want)
		}
	}
}

func TestGoldenRequest(t *testing.T) {
	t.Parallel()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, r.Method+" "+r.RequestURI)
		for _, name := range []string{"Content-Type", "Accept-Encoding", "User-Agent", "X-Ncp-Apigw-Timestamp", "X-Ncp-Iam-Access-Key", "X-Ncp-Apigw-Signature-V2"} {
			got = append(got, name+": "+strings.Join(r.Header.Values(name), ", "))
		}
		got = append(got, string(body))
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	s := newSource(t, map[string]any{
		"base_url": server.URL, "access_key": "ncpAccessKeyEXAMPLE1", "secret_key": "ncpSecretKeyEXAMPLE0123456789abcdefABCDEF",
		"project_key": "Pbxxxxx_elsa-test", "project_id": 8171, "include_fields": []string{"logSource", " logType", "body ", "body"},
	})
	stamps := []int64{1381190400000, 1381190400001}
	s.client.now = func() time.Time {
		ms := stamps[0]
		stamps = stamps[1:]
		return time.UnixMilli(ms)
	}
	for range 2 { // each attempt has a signature of its own
		if _, err := read(t, s, sliceOf("Pbxxxxx_elsa-test", time.UnixMilli(1381190400000), time.UnixMilli(1381190400001))); fault.KindOf(err) != fault.Transient {
			t.Fatal(err)
		}
	}
	want := []string{
		"POST /api/v1/logs/download", "Content-Type: application/json", "Accept-Encoding: identity", "User-Agent: sluice/test",
		"X-Ncp-Apigw-Timestamp: 1381190400000", "X-Ncp-Iam-Access-Key: ncpAccessKeyEXAMPLE1",
		"X-Ncp-Apigw-Signature-V2: Jbdb25iMyIrlXlCTAfSkXl1DJocYzT7aAI83/0HhV88=",
		`{"projectKey":"Pbxxxxx_elsa-test","projectId":8171,"from":1381190400000,"to":1381190400001,"format":"JSON",` +
			`"includeFields":["logSource","logType","body","logTime"],"limit":1000,"count":200000}`,
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if second := got[len(want):]; second[4] != "X-Ncp-Apigw-Timestamp: 1381190400001" || second[6] == got[6] {
		t.Errorf("second attempt: %q", second)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	at0 := vendorsim.At
	tests := []struct {
		name  string
		fault vendorsim.Fault
		kind  fault.Kind
		text  string // in the error
		hint  string
		after time.Duration
	}{
		{"400", vendorsim.Fault{Status: 400}, fault.Config, "Bad Request", "project_key", 0},
		{"401", vendorsim.Fault{Status: 401}, fault.Auth, "Authentication Failed", "secret_key", 0},
		{"401 permission", vendorsim.Fault{Status: 401, Body: `{"error":{"errorCode":210,"message":"Permission Denied"}}`}, fault.Auth, "Permission Denied", "sub account", 0},
		{"404", vendorsim.Fault{Status: 404}, fault.NotFound, "Not Found", "project_id", 0},
		{"413", vendorsim.Fault{Status: 413}, fault.Config, "Too Large", "include_fields", 0},
		{"quota", vendorsim.Fault{Status: 429, Body: `{"error":{"errorCode":"400","message":"Quota Exceeded"}}`}, fault.Throttled, "Quota", "quota", 15 * time.Minute},
		{"quota, told when", vendorsim.Fault{Status: 429, RetryAfter: "1", Body: `{"error":{"errorCode":"400","message":"Quota Exceeded"}}`}, fault.Throttled, "Quota", "quota", time.Second},
		{"quota, told now", vendorsim.Fault{Status: 429, RetryAfter: "0", Body: `{"error":{"errorCode":400,"message":"Quota Exceeded"}}`}, fault.Throttled, "Quota", "quota", 0},
		{"quota with 200", vendorsim.Fault{Status: 200, Body: `{"error":{"errorCode":"400","message":"Quota Exceeded"}}`}, fault.Throttled, "error 400", "quota", 15 * time.Minute},
		{"quota with 200, told when", vendorsim.Fault{Status: 200, RetryAfter: "2", Body: `{"error":{"errorCode":"400","message":"Quota Exceeded"}}`}, fault.Throttled, "error 400", "quota", 2 * time.Second},
		{"throttled", vendorsim.Fault{Status: 429, Body: `{"error":{"errorCode":"410","message":"Throttle Limited"}}`}, fault.Throttled, "Throttle", "budget", 0},
		{"rate limited", vendorsim.Fault{Status: 429, RetryAfter: "7", Body: `{"error":{"errorCode":420,"message":"Rate Limited"}}`}, fault.Throttled, "Rate", "budget", 7 * time.Second},
		{"503", vendorsim.Fault{Status: 503}, fault.Transient, "Endpoint Error", "", 0},
		{"504", vendorsim.Fault{Status: 504}, fault.Transient, "Endpoint Timeout", "", 0},
		{"500", vendorsim.Fault{Status: 500}, fault.Transient, "Unexpected", "", 0},
		{"xml", vendorsim.Fault{Status: 401, Body: "<Error><errorCode>210</errorCode><message>Permission Denied</message></Error>"}, fault.Auth, "Permission Denied", "sub account", 0},
		{"json with 200", vendorsim.Fault{Status: 200, Body: `{"error":{"errorCode":"210","message":"Permission Denied"}}`}, fault.Auth, "200 with its error 210", "sub account", 0},
		{"details of any form", vendorsim.Fault{Status: 200, Body: `{"error":{"errorCode":"100","message":"Bad Request","details":{"field":"to"}}}`}, fault.Config, `Bad Request ({"field":"to"})`, "include_fields", 0},
		{"an error of another form", vendorsim.Fault{Status: 200, Body: `{"errorCode":"900","errorMessage":"out of order"}`}, fault.Transient, "out of order", "", 0},
		{"number with 200", vendorsim.Fault{Status: 200, Body: `{"error":{"errorCode":420,"message":"Rate Limited"}}`}, fault.Throttled, "error 420", "budget", 0},
		{"xml with 200", vendorsim.Fault{Status: 200, Body: "<Error><errorCode>300</errorCode><message>Not Found Exception</message></Error>"}, fault.NotFound, "Not Found Exception", "project_id", 0},
		{"other text with 200", vendorsim.Fault{Status: 200, Body: "gone fishing"}, fault.Corrupt, "gone fishing", "", 0},
		{"redirect", vendorsim.Fault{Redirect: "trap"}, fault.Config, "redirect to http://127.0.0.1", "base_url", 0},
		{"202", vendorsim.Fault{Status: 202, Body: "{}"}, fault.Corrupt, "202", "", 0},
		{"cut", vendorsim.Fault{CutAfter: at0(1000)}, fault.Transient, "cut after 1000 bytes", "", 0},
		{"reset", vendorsim.Fault{CutAfter: at0(1000), Reset: true}, fault.Transient, "cut after", "", 0},
		{"stall", vendorsim.Fault{StallAfter: at0(1000)}, fault.Transient, "no byte for 2s", "", 0},
		{"closed", vendorsim.Fault{Framing: "close"}, fault.Corrupt, "ends by closing", "proxy", 0},
		{"checksum", vendorsim.Fault{Zip: "checksum"}, fault.Corrupt, "checksum", "", 0},
		{"truncated", vendorsim.Fault{Zip: "truncated"}, fault.Corrupt, "the archive is cut", "", 0},
		{"bomb", vendorsim.Fault{Zip: "bomb"}, fault.Corrupt, "is it a bomb?", "", 0},
		{"nested", vendorsim.Fault{Zip: "nested"}, fault.Corrupt, "nested archives", "", 0},
		{"traversal", vendorsim.Fault{Zip: "traversal"}, fault.Corrupt, "leads out of the archive", "", 0},
		{"garbage", vendorsim.Fault{Zip: "garbage"}, fault.Corrupt, "entry", "", 0},
		{"keys in the text", vendorsim.Fault{Status: 400, Body: vendorsim.DemoAccessKey + " " + vendorsim.DemoSecretKey}, fault.Config, "*** ***", "", 0},
		{"keys in the text with 200", vendorsim.Fault{Status: 200, Body: vendorsim.DemoAccessKey + " " + vendorsim.DemoSecretKey}, fault.Corrupt, "*** ***", "", 0},
		{"a key where the text is cut", vendorsim.Fault{Status: 200, Body: "key" + strings.Repeat(" ", refusalRead-15) + vendorsim.DemoSecretKey}, fault.Corrupt, "", "", 0},
	}
	sim, base := newSim(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := sim.SetFaults(vendorsim.Script{Rules: []vendorsim.Rule{{Path: pathDownload, Log: vendorsim.SeedProject, Fault: tt.fault, Times: 1}}}); err != nil {
				t.Fatal(err)
			}
			timeout := "30s"
			if tt.fault.StallAfter != nil {
				timeout = "2s"
			}
			s := at(newSource(t, simSettings(base, "http", map[string]any{"timeout": timeout})), sim)
			slice := sliceOf(vendorsim.SeedProject, firstDay, firstDay.AddDate(0, 0, 1))
			_, err := read(t, s, slice)
			if got := fault.KindOf(err); got != tt.kind {
				t.Fatalf("kind = %v, want %v: %v", got, tt.kind, err)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(fault.HintOf(err), tt.hint) {
				t.Errorf("error = %v\nhint = %s\nwant %q and %q", err, fault.HintOf(err), tt.text, tt.hint)
			}
			if shown := err.Error() + fault.HintOf(err); strings.Contains(shown, vendorsim.DemoSecretKey[:8]) || strings.Contains(shown, vendorsim.DemoAccessKey[:8]) {
				t.Errorf("a key is in %s", shown)
			}
			if got := fault.RetryAfterOf(err); got != tt.after {
				t.Errorf("retry after %v, want %v", got, tt.after)
			}
			out, err := read(t, s, slice) // the next attempt is whole
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(served(t, sim, slice.Key, slice.From, slice.To), out.bodies); diff != "" {
				t.Errorf("second attempt (-served +read):\n%.1000s", diff)
			}
			if leaked := sim.Stats().KeysLeaked; leaked != 0 {
				t.Errorf("a key reached another origin %d times", leaked)
			}
		})
	}
}

func TestAWrongClockIsNamed(t *testing.T) {
	t.Parallel()
	for _, codes := range []bool{false, true} {
		sim, base := newSim(t, func(o *vendorsim.Options) { o.Elsa.NumberCodes, o.Elsa.XMLErrors = codes, codes })
		s := at(newSource(t, simSettings(base)), sim)
		slice := sliceOf(vendorsim.SeedProject, firstDay, firstDay.Add(time.Hour))
		for _, tt := range []struct {
			skew time.Duration
			want string
		}{{4 * time.Minute, ""}, {-4 * time.Minute, ""}, {7 * time.Minute, "ahead of"}, {-2 * time.Hour, "behind"}} {
			s.client.now = func() time.Time { return sim.Clock().Now().Add(tt.skew) }
			_, err := read(t, s, slice)
			if tt.want == "" {
				if err != nil {
					t.Errorf("skew %v: %v", tt.skew, err)
				}
				continue
			}
			if fault.KindOf(err) != fault.Auth || !strings.Contains(err.Error(), "clock is "+tt.skew.Abs().String()[:2]) && !strings.Contains(err.Error(), tt.want) || !strings.Contains(fault.HintOf(err), "NTP") {
				t.Errorf("skew %v: %v, hint %q", tt.skew, err, fault.HintOf(err))
			}
		}
		wrong := at(newSource(t, simSettings(base, "secret_key", "wrong")), sim)
		if _, err := read(t, wrong, slice); fault.KindOf(err) != fault.Auth || strings.Contains(fault.HintOf(err), "NTP") || !strings.Contains(fault.HintOf(err), "secret_key") {
			t.Errorf("wrong key: %v, hint %q", err, fault.HintOf(err))
		}
	}
}

func TestTheSecondTimeoutCuts(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	if err := sim.AddFault(vendorsim.Rule{Path: pathDownload, Fault: vendorsim.Fault{Status: 504}}); err != nil {
		t.Fatal(err)
	}
	s := at(newSource(t, simSettings(base)), sim)
	day, hour := sliceOf(vendorsim.SeedProject, firstDay, firstDay.AddDate(0, 0, 1)), sliceOf(vendorsim.SeedProject, firstDay, firstDay.Add(time.Hour))
	for i, want := range []fault.Kind{fault.Transient, fault.Unknown, fault.Transient} {
		_, err := read(t, s, day)
		if errors.As(err, new(*flow.Truncated)) != (want == fault.Unknown) || want != fault.Unknown && fault.KindOf(err) != want {
			t.Errorf("timeout %d: %v", i+1, err)
		}
		if _, err := read(t, s, hour); fault.KindOf(err) != fault.Transient || errors.As(err, new(*flow.Truncated)) {
			t.Errorf("timeout %d of an hour: %v", i+1, err)
		}
	}
}

func TestNowCheckAndDiscover(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	s := at(newSource(t, simSettings(base)), sim)
	sim.Clock().Set(firstDay.Add(25 * time.Hour))
	now, err := s.Now(t.Context())
	if d := now.Sub(sim.Clock().Now()); err != nil || d > time.Second || d < -time.Minute {
		t.Errorf("now = %v, %v", now, err)
	}
	summary, err := s.Check(t.Context())
	if err != nil || !strings.Contains(summary, vendorsim.SeedOddProject) {
		t.Errorf("check = %q, %v", summary, err)
	}
	var found []string
	err = s.Discover(t.Context(), func(f plugins.Found) error {
		found = append(found, f.Kind+" "+f.ID)
		return nil
	})
	if err != nil || !slices.Contains(found, "project "+vendorsim.SeedEmptyProject) || !slices.Contains(found, "field "+vendorsim.SeedProject+"/ExceptionType") {
		t.Errorf("found %q, %v", found, err)
	}
	if err := sim.AddFault(vendorsim.Rule{Path: pathFields, Fault: vendorsim.Fault{Status: 404}}); err != nil {
		t.Fatal(err)
	}
	if summary, err = s.Check(t.Context()); err != nil || !strings.Contains(summary, "may be downloaded") {
		t.Errorf("check without fields = %q, %v", summary, err)
	}
	for _, body := range []string{"{}", "null", "7"} { // something answers in the vendor's place, which the download tells
		fault := vendorsim.Rule{Path: pathFields, Fault: vendorsim.Fault{Status: 200, Body: body}}
		if err := sim.SetFaults(vendorsim.Script{Rules: []vendorsim.Rule{fault}}); err != nil {
			t.Fatal(err)
		}
		if summary, err = s.Check(t.Context()); err != nil || !strings.Contains(summary, "may be downloaded") {
			t.Errorf("check with fields %s = %q, %v", body, summary, err)
		}
	}
	if err := sim.SetFaults(vendorsim.Script{}); err != nil {
		t.Fatal(err)
	}
	wrong := at(newSource(t, simSettings(base, "secret_key", "wrong")), sim)
	if _, err := wrong.Check(t.Context()); fault.KindOf(err) != fault.Auth {
		t.Errorf("check with a wrong key = %v", err)
	}
}

func TestCancelEndsAReadAtOnce(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	s := at(newSource(t, simSettings(base)), sim)
	s.limits.FrameTarget = 1000
	ctx, cancel := context.WithCancel(t.Context())
	out := newCollector(t)
	defer out.release()
	out.onBatch = func(arrow.Record) { cancel() }
	if err := s.Read(ctx, sliceOf(vendorsim.SeedProject, firstDay, firstDay.AddDate(0, 0, 1)), out); fault.KindOf(err) != fault.Canceled {
		t.Errorf("error = %v", err)
	}
}

// Any range, any cap, any order and any faults: what is read in the end is what was served.
func TestAnythingIsReadWhole(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
		sim, base := newSim(t, func(o *vendorsim.Options) {
			o.Elsa.Order = pick(vendorsim.OldestFirst, vendorsim.NewestFirst, vendorsim.MixedOrder)
			o.Elsa.Layout, o.Elsa.Entries = pick(vendorsim.LayoutArray, vendorsim.LayoutLines), 1+rnd.IntN(5)
			o.Elsa.BOM, o.Elsa.NumberCodes = rnd.IntN(2) == 0, rnd.IntN(2) == 0
			o.Faults = vendorsim.Script{Seed: seed}
			for _, f := range []vendorsim.Fault{
				{Status: 503},
				{Status: 504},
				{Status: 429},
				{CutAfter: vendorsim.At(500)},
				{Zip: "checksum"},
				{Zip: "truncated"},
				{Zip: "garbage"},
				{Status: 200, Body: `{"error":{"errorCode":"900","message":"Unexpected Error"}}`},
			} {
				o.Faults.Rules = append(o.Faults.Rules, vendorsim.Rule{Path: pathDownload, Probability: 0.03, Fault: f})
			}
		})
		s := at(newSource(t, simSettings(base, "count", 20+rnd.IntN(3000), "format", pick("JSON", "CSV"))), sim)
		s.memory = 1 << (8 + rnd.IntN(12))
		from := firstDay.Add(time.Duration(rnd.IntN(20*3600*1000)) * time.Millisecond)
		to := from.Add(time.Duration(1+rnd.IntN(24*3600*1000)) * time.Millisecond)
		key := pick(vendorsim.SeedProject, vendorsim.SeedOddProject)
		gap := flow.Gap{Partition: flow.Partition{Stream: streamEvents, Key: key}, From: from, To: to}
		slices_, err := s.Plan(t.Context(), gap)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for failures := 0; len(slices_) > 0; {
			slice := slices_[0]
			out, err := read(t, s, slice)
			var cut *flow.Truncated
			switch {
			case err == nil:
				got = append(got, out.bodies...)
				slices_ = slices_[1:]
			case errors.As(err, &cut):
				if len(cut.Into) == 0 {
					t.Fatalf("seed %d: %v can't be cut", seed, slice)
				}
				slices_ = append(slices.Clone(cut.Into), slices_[1:]...)
			default:
				if failures++; failures > 500 {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		want := served(t, sim, key, from, to)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("seed %d: %d records served, %d read, not the same", seed, len(want), len(got))
		}
	}
}
