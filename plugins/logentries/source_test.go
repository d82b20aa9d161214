package logentries

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var firstDay = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// fakeBudget counts what a source reserves and settles, by namespace.
type fakeBudget struct {
	mu       sync.Mutex
	requests map[string]int
	keys     map[string]bool
	open     int
}

func (b *fakeBudget) Acquire(_ context.Context, r plugins.BudgetRequest) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.requests == nil {
		b.requests, b.keys = map[string]int{}, map[string]bool{}
	}
	b.requests[r.Limit.Namespace] += int(r.Requests)
	b.keys[r.Key] = true
	b.open++
	return fmt.Sprint("reservation ", b.open), nil
}

func (b *fakeBudget) Settle(_ context.Context, s plugins.BudgetSettlement) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Done {
		b.open--
	}
	return nil
}

const (
	ownerKey  = "12345678-aaaa-bbbb-1234-1234cb12345c"
	ownerID   = "12345678-aaaa-bbbb-1234-1234cb12345b"
	accountID = "91234567-aaaa-bbbb-1234-1234cb12345a"
	labelID   = "00000000-0000-0000-0000-000000000006"
	lostLabel = "00000000-0000-0000-0000-000000000007"
	setID     = "11111111-2222-4333-8444-555555555555"
)

var simLogs = []string{vendorsim.SeedWebID, vendorsim.SeedAppID, vendorsim.SeedAwkwardID, vendorsim.SeedEmptyID}

func newSim(t testing.TB, change func(*vendorsim.Options)) (*vendorsim.Sim, string) {
	t.Helper()
	statement := "where(a)"
	o := vendorsim.Options{
		Logs: vendorsim.Seeded(vendorsim.SeedOptions{Start: firstDay, Days: 2, Lines: 3000}),
		Logsets: []vendorsim.Logset{
			{ID: setID, Name: "front", Description: "what users see", Logs: []string{vendorsim.SeedWebID, vendorsim.SeedAppID}},
			{ID: "11111111-2222-4333-8444-666666666666", Name: "nothing"},
		},
		Labels:       []vendorsim.Label{{ID: labelID, Name: "Alert", Word: "ERROR in"}, {ID: lostLabel, Word: "ERROR in"}},
		SavedQueries: []vendorsim.SavedQuery{{ID: "22222222-2222-4333-8444-555555555555", Name: "errors", Logs: []string{vendorsim.SeedWebID}, LEQL: vendorsim.SavedLEQL{Statement: statement}}},
		Owner: vendorsim.Owner{
			Account: accountID, Name: "ACME", KeyID: ownerID, Key: ownerKey,
			Users: []vendorsim.User{
				{ID: "b", Email: "john@example.com", FirstName: "John", LastName: "Smith <&>", LoginName: "john"}, {ID: "a", Email: "ann@example.com"},
			},
		},
	}
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

func simSettings(base string, more ...any) map[string]any {
	m := map[string]any{
		"base_url": base, "api_key": vendorsim.DemoKey, "logs": simLogs,
		"owner_key": ownerKey, "owner_key_id": ownerID, "account_id": accountID,
	}
	for i := 0; i < len(more); i += 2 {
		if m[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(m, more[i].(string))
		}
	}
	return m
}

func newSource(t testing.TB, budget plugins.Budget, settings map[string]any) *source {
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
	s.mem = mem
	s.pace = pace{first: time.Millisecond, most: 2 * time.Millisecond, backoff: time.Millisecond, stuck: time.Minute, throttled: time.Millisecond}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		mem.AssertSize(t, 0)
	})
	return s
}

func sliceOf(stream, key string, from, to time.Time) flow.Slice {
	return flow.NewSlice(flow.Partition{Stream: stream, Key: key}, from, to, 0)
}

func read(t testing.TB, s *source, slice flow.Slice) (*collector, error) {
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
	tests := map[string]func(*vendorsim.Options){
		"202, then the events":    nil,
		"200 with the events":     func(o *vendorsim.Options) { o.Query.Immediate = true },
		"polls with partial ones": func(o *vendorsim.Options) { o.Query.Polls, o.Query.Partial = 3, true },
		"links in any order":      func(o *vendorsim.Options) { o.Query.Related, o.Query.LowerCase = true, true },
		"anything":                func(o *vendorsim.Options) { o.Query.Vary, o.Query.Polls = 7, 2 },
		"to is inclusive":         func(o *vendorsim.Options) { o.ToInclusive = true },
		"Next without a next":     func(o *vendorsim.Options) { o.Query.NextAlways = true },
		"a next without Next":     func(o *vendorsim.Options) { o.Query.NextNever = true },
		"exact numbers":           func(o *vendorsim.Options) { o.Query.Sequence = "number" },
		"numbers alone":           func(o *vendorsim.Options) { o.Query.Sequence = "bare" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			sim, base := newSim(t, change)
			prefixes := []string{"/log_search"}
			if name == "anything" {
				prefixes = append(prefixes, "")
			}
			for _, prefix := range prefixes {
				s := newSource(t, &fakeBudget{}, simSettings(base+prefix))
				for _, id := range simLogs {
					var got []string
					var outside uint64
					for from := firstDay; from.Before(firstDay.AddDate(0, 0, 2)); from = from.Add(12 * time.Hour) {
						out, err := read(t, s, sliceOf(streamEvents, id, from, from.Add(12*time.Hour)))
						if err != nil {
							t.Fatal(err)
						}
						if out.opened != 1 || out.opening.VendorTime.IsZero() {
							t.Errorf("opened %d times, the vendor's time is %v", out.opened, out.opening.VendorTime)
						}
						outside += out.counters[countOutside]
						got = append(got, out.lines...)
					}
					if diff := cmp.Diff(served(sim, id, firstDay, firstDay.AddDate(0, 0, 2)), got); diff != "" {
						t.Errorf("log %s (-served +read):\n%.1000s", id, diff)
					}
					if (outside > 0) != (name == "to is inclusive" && id != vendorsim.SeedEmptyID) {
						t.Errorf("log %s: %d events were left to the next slice", id, outside)
					}
				}
			}
			for _, r := range sim.Requests() {
				if strings.HasPrefix(r.Path, "/query/logs/") && r.Limit != maxPerPage {
					t.Errorf("per_page %d", r.Limit)
				}
			}
		})
	}
}

func TestGoldenBatch(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, func(o *vendorsim.Options) {
		o.Logs = []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web", Records: []vendorsim.Record{
			{Time: firstDay, Line: []byte("first")},
			{Time: firstDay.Add(time.Millisecond), Line: []byte("\xff \"ERROR in\" it")},
		}}}
	})
	s := newSource(t, &fakeBudget{}, simSettings(base, "logs", []string{strings.ToUpper(vendorsim.SeedWebID)}))
	s.client.now = func() time.Time { return time.Unix(1_800_000_000, 5).UTC() }
	out := newCollector(t)
	defer out.release()
	if err := s.Read(t.Context(), sliceOf(streamEvents, vendorsim.SeedWebID, firstDay, firstDay.Add(time.Hour)), out); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(out.opening.Constants)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`[{"log_id":"aee00b66-a543-43dc-b093-53963c2e8f41","log_name":"web","observed_timestamp":"2027-01-15 08:00:00.000000005",` +
			`"received_from":"2026-11-01 00:00:00","received_to":"2026-11-01 01:00:00","severity_number":null,"severity_text":null,"source":"logentries"}]`,
		`[{"attributes":null,"body":"first","body_raw":null,"labels":null,"sequence_number":3237201778429120512,"timestamp":"2026-11-01 00:00:00"},` +
			`{"attributes":[{"key":"labels","value":"Alert, ` + lostLabel + `"}],"body":"\ufffd \"ERROR in\" it","body_raw":"/yAiRVJST1IgaW4iIGl0","labels":["Alert","` + lostLabel + `"],` +
			`"sequence_number":3237201778429120513,"timestamp":"2026-11-01 00:00:00.001"}]`,
	}
	unspace := strings.NewReplacer("\n", "", "\ufffd", `\ufffd`)
	got := []string{unspace.Replace(string(text)), unspace.Replace(strings.Join(out.batches, ""))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("batch (-want +got):\n%s", diff)
	}
	// A label that the vendor doesn't tell is asked for once.
	if _, err := read(t, s, sliceOf(streamEvents, vendorsim.SeedWebID, firstDay, firstDay.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	labels := 0
	for _, r := range sim.Requests() {
		if strings.HasPrefix(r.Path, "/management/labels/") {
			labels++
		}
	}
	if labels != 2 {
		t.Errorf("labels were asked for %d times, want once each", labels)
	}
}

// Any range, page size, link style and fault script: what arrives is what was served, each event once.
func TestWhateverHappensEachEventArrivesOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		var records []vendorsim.Record
		at := firstDay
		for i := range 200 + rnd.IntN(400) {
			if rnd.IntN(4) == 0 { // often many in one millisecond
				at = at.Add(time.Duration(rnd.IntN(1<<rnd.IntN(20))) * time.Millisecond)
			}
			records = append(records, vendorsim.Record{Time: at, Line: fmt.Appendf(nil, "line %d %x", i%50, rnd.Uint64()>>rnd.IntN(64))})
		}
		end := at.Add(time.Second)
		statuses := []int{404, 429, 500, 503}
		sim, base := newSim(t, func(o *vendorsim.Options) {
			o.Logs = []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web", Records: records}}
			o.Query = vendorsim.QueryOptions{Vary: seed + 1, Polls: rnd.IntN(3), Unescaped: rnd.IntN(2) == 0}
			o.ToInclusive = rnd.IntN(2) == 0
			o.Queries.Requests, o.Polls.Requests = 1<<30, 1<<30
			isPoll := func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/query/logs/") }
			isNext := func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "sequence_number") }
			o.Faults = vendorsim.Script{Seed: seed, Rules: []vendorsim.Rule{
				{Path: "/query/", When: isPoll, Probability: 0.08, Fault: vendorsim.Fault{Status: statuses[rnd.IntN(4)], RetryAfter: "0"}},
				{Path: "/query/", When: isPoll, Probability: 0.05, Fault: vendorsim.Fault{CutAfter: vendorsim.At(int64(rnd.IntN(500)))}},
				{Path: "/query/", When: isPoll, Probability: 0.03, Fault: vendorsim.Fault{Status: 200, Body: "{\"events\": [{"}},
				{Path: "/query/logs/", When: isNext, Probability: 0.05, Fault: vendorsim.Fault{Status: statuses[1+rnd.IntN(3)], RetryAfter: "0"}},
				{Path: "/query/logs/", Probability: 0.03, Fault: vendorsim.Fault{CutAfter: vendorsim.At(100), Reset: true}},
			}}
		})
		s := newSource(t, &fakeBudget{}, simSettings(base))
		s.perPage = 1 + rnd.IntN(60)
		var todo []flow.Slice
		for from := firstDay; from.Before(end); {
			to := from.Add(time.Duration(1+rnd.IntN(1<<rnd.IntN(24))) * time.Millisecond)
			if midnight := flow.Day(from).AddDate(0, 0, 1); to.After(midnight) {
				to = midnight
			}
			todo = append(todo, sliceOf(streamEvents, vendorsim.SeedWebID, from, to))
			if len(todo) > 40 {
				todo[40] = sliceOf(streamEvents, vendorsim.SeedWebID, from, flow.Day(from).AddDate(0, 0, 1))
				to = todo[40].To
			}
			from = to
		}
		var rows []row
		for _, slice := range todo {
			for tries := 1; ; tries++ { // the host tries again what failed
				out, err := read(t, s, slice)
				if err == nil {
					rows = append(rows, out.rows...)
					break
				}
				if kind := fault.KindOf(err); tries == 20 || kind != fault.Transient && kind != fault.Throttled && kind != fault.Corrupt {
					t.Fatalf("seed %d: %s: %v", seed, slice, err)
				}
			}
		}
		var got []string
		for i, r := range rows {
			got = append(got, r.Line)
			if at := records[min(i, len(records)-1)].Time.UnixMilli(); r.At != at {
				t.Fatalf("seed %d: row %d of %d ms, want %d", seed, i, r.At, at)
			}
			if i > 0 && r.Sequence != rows[i-1].Sequence+1 {
				t.Fatalf("seed %d: row %d has sequence number %d after %d", seed, i, r.Sequence, rows[i-1].Sequence)
			}
		}
		if diff := cmp.Diff(served(sim, vendorsim.SeedWebID, firstDay, end), got); diff != "" {
			t.Fatalf("seed %d, pages of %d (-served +read):\n%.1000s", seed, s.perPage, diff)
		}
	}
}

func TestBudgetsByNamespace(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, func(o *vendorsim.Options) { o.Query.Polls = 1 })
	budget := &fakeBudget{}
	s := newSource(t, budget, simSettings(base))
	if _, err := read(t, s, sliceOf(streamEvents, vendorsim.SeedAppID, firstDay, firstDay.AddDate(0, 0, 1))); err != nil {
		t.Fatal(err)
	}
	pages := (int(sim.Count(vendorsim.SeedAppID, firstDay, firstDay.AddDate(0, 0, 1))) + maxPerPage) / maxPerPage
	want := map[string]int{"query": pages, "poll": 2 * pages, "management": 1}
	if diff := cmp.Diff(want, budget.requests); diff != "" || budget.open != 0 {
		t.Errorf("%d reservations are open; requests (-want +got):\n%s", budget.open, diff)
	}
	if !budget.keys[plugins.BudgetKey(base, vendorsim.DemoKey)] || len(budget.keys) != 1 {
		t.Errorf("keys %v", budget.keys)
	}
}

func TestPartitionsByNameAndSet(t *testing.T) {
	t.Parallel()
	_, base := newSim(t, func(o *vendorsim.Options) {
		o.Logs = append(o.Logs, vendorsim.Log{ID: "33333333-2222-4333-8444-555555555555", Name: "app"})
	})
	tests := []struct {
		name          string
		logs, logsets []string
		want          []plugins.PartitionKey
		text          string
	}{
		{"IDs need nobody", []string{strings.ToUpper(vendorsim.SeedWebID), vendorsim.SeedAppID}, nil, []plugins.PartitionKey{{Key: vendorsim.SeedWebID}, {Key: vendorsim.SeedAppID}}, ""},
		{"a name", []string{"web", "awkward"}, nil, []plugins.PartitionKey{{Key: vendorsim.SeedWebID, Name: "web"}, {Key: vendorsim.SeedAwkwardID, Name: "awkward"}}, ""},
		{"a set, and one of its logs", []string{vendorsim.SeedWebID}, []string{"front"}, []plugins.PartitionKey{{Key: vendorsim.SeedWebID, Name: "web"}, {Key: vendorsim.SeedAppID, Name: "app"}}, ""},
		{"a set by ID", nil, []string{strings.ToUpper(setID)}, []plugins.PartitionKey{{Key: vendorsim.SeedWebID, Name: "web"}, {Key: vendorsim.SeedAppID, Name: "app"}}, ""},
		{"nothing", nil, nil, nil, ""},
		{"two of one name", []string{"app"}, nil, nil, vendorsim.SeedAppID + " (in front), 33333333-2222-4333-8444-555555555555"},
		{"unknown", []string{"wbe"}, nil, nil, `no log is called "wbe"`},
		{"another case", []string{"Web"}, nil, nil, `did you mean "web"?`},
		{"unknown set", nil, []string{"back"}, nil, `no log set is called "back"`},
		{"empty set", nil, []string{"nothing"}, nil, `holds no logs`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			more := []any{"logs", tt.logs, "logsets", tt.logsets}
			if tt.logs == nil {
				more[1] = nil
			}
			if tt.logsets == nil {
				more[3] = nil
			}
			s := newSource(t, nil, simSettings(base, more...))
			got, err := s.Partitions(t.Context(), streamEvents)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("partitions (-want +got):\n%s", diff)
			}
			if tt.text == "" && err != nil || tt.text != "" && (fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("error = %v, want %q", err, tt.text)
			}
		})
	}
}

func TestCheckDiscoverNow(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	s := newSource(t, nil, simSettings(base, "logs", []string{"web", "00000000-0000-4000-8000-000000000000"}))
	summary, err := s.Check(t.Context())
	for _, want := range []string{"sees 4 logs", "2 are chosen", "00000000-0000-4000-8000-000000000000", "owner key is valid"} {
		if err != nil || !strings.Contains(summary, want) {
			t.Errorf("check = %q, %v, want %q", summary, err, want)
		}
	}
	var found []string
	if err := s.Discover(t.Context(), func(f plugins.Found) error {
		found = append(found, f.Kind+" "+f.Name+" "+f.Attributes["logsets"]+f.Attributes["logs"])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"log web front", "log app front", "log awkward ", "log empty ", "logset front web, app", "logset nothing "}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	now, err := s.Now(t.Context())
	if d := now.Sub(sim.Clock().Now()); err != nil || d.Abs() > time.Minute {
		t.Errorf("now = %v, %v", now, err)
	}
	for _, tt := range []struct {
		key, value string
		kind       fault.Kind
		hint       string
	}{
		{"api_key", "wrong", fault.NotFound, "api_key"},
		{"owner_key", "wrong", fault.Auth, "owner_key"},
		{"account_id", "00000000", fault.NotFound, "account_id"},
	} {
		s := newSource(t, nil, simSettings(base, tt.key, tt.value))
		s.client.now = sim.Clock().Now
		_, err := s.Check(t.Context())
		if fault.KindOf(err) != tt.kind || !strings.Contains(fault.HintOf(err), tt.hint) {
			t.Errorf("check with a wrong %s = %v, hint %q", tt.key, err, fault.HintOf(err))
		}
	}
	late := newSource(t, nil, simSettings(base, "owner_key", "wrong"))
	late.client.now = func() time.Time { return sim.Clock().Now().Add(-time.Hour) }
	if _, err := late.Check(t.Context()); !strings.Contains(fault.HintOf(err), "clock differs from the vendor's by -1h0m") {
		t.Errorf("a wrong clock: %v, hint %q", err, fault.HintOf(err))
	}
	if n := sim.Stats().KeysLeaked; n != 0 {
		t.Errorf("the owner key was sent %d times", n)
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, nil)
	s := newSource(t, nil, simSettings(base))
	for stream, want := range map[string][]string{
		streamLogs:         {`"id":"` + vendorsim.SeedEmptyID + `","logset_ids":[],"logset_names":[],"name":"empty"`, `"logset_names":["front"],"name":"web"`, `"retention_period":"default"`},
		streamLogsets:      {`"description":"what users see","id":"` + setID + `"`, `"log_names":["web","app"]`, `"rrn":"rrn:logsearch:us:logset:` + setID},
		streamSavedQueries: {`"logs":["` + vendorsim.SeedWebID + `"],"name":"errors"`, `"statement":"where(a)","time_range":null`},
		streamUsers:        {`{"email":"ann@example.com"`, `"email":"john@example.com","first_name":"John","id":"b","last_name":"Smith`, `\"last_name\":\"Smith`},
		streamAccount:      {`"id":"` + accountID + `","name":"ACME"`},
	} {
		out, err := read(t, s, sliceOf(stream, "", firstDay, firstDay.Add(time.Millisecond)))
		if err != nil {
			t.Fatal(stream, err)
		}
		text := strings.Join(out.batches, "")
		for _, w := range append(want, `"snapshot_at":"2026-11-06 `) {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %s in\n%s", stream, w, text)
			}
		}
		if strings.Contains(text, "token_seed") || strings.Contains(text, "tokens") || strings.Contains(text, vendorsim.TokenOf(vendorsim.SeedWebID)) {
			t.Errorf("%s: ingest tokens in %s", stream, text)
		}
		if d := out.opening.VendorTime.Sub(sim.Clock().Now()); d.Abs() > time.Minute {
			t.Errorf("%s: the vendor's time is %v", stream, out.opening.VendorTime)
		}
	}
	// Objects come in batches of the target's size, and one that no batch could hold goes to the dead letters, without its secrets.
	s = newSource(t, nil, simSettings(base))
	s.limits.FrameTarget, s.limits.RecordMax = 1, 220
	out, err := read(t, s, sliceOf(streamLogs, "", firstDay, firstDay.Add(time.Millisecond)))
	if err != nil || len(out.dead) == 0 || len(out.dead)+len(out.batches) != 4 || strings.Contains(strings.Join(out.lines, ""), "tokens") {
		t.Errorf("%d batches, dead: %q %q, %v", len(out.batches), out.dead, out.lines, err)
	}
	s = newSource(t, nil, simSettings(base, "owner_key", nil, "owner_key_id", nil, "account_id", nil))
	if _, err := read(t, s, sliceOf(streamUsers, "", firstDay, firstDay.Add(time.Millisecond))); fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "owner_key") {
		t.Errorf("users without an owner key: %v", err)
	}
	if n := sim.Stats().KeysLeaked; n != 0 {
		t.Errorf("the owner key was sent %d times", n)
	}
	var paths []string
	for _, r := range sim.Requests() {
		if !slices.Contains(paths, r.Path) {
			paths = append(paths, r.Path)
		}
	}
	if len(paths) != 5 {
		t.Errorf("asked %v", paths)
	}
}

// TestOwnerSignsEachAttempt moves this machine's clock between two attempts: the second is signed with its own date.
func TestOwnerSignsEachAttempt(t *testing.T) {
	t.Parallel()
	var dates, proofs []string
	sim, base := newSim(t, nil)
	err := sim.SetFaults(vendorsim.Script{Rules: []vendorsim.Rule{{
		Path: "/management/accounts/", Times: 1, Fault: vendorsim.Fault{Status: 503}, When: func(r *http.Request) bool {
			dates, proofs = append(dates, r.Header.Get("Date")), append(proofs, r.Header.Get("Authorization-Api-Key"))
			return true
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(t, nil, simSettings(base))
	now := sim.Clock().Now()
	s.client.now = func() time.Time { return now }
	slice := sliceOf(streamUsers, "", firstDay, firstDay.Add(time.Millisecond))
	if _, err := read(t, s, slice); fault.KindOf(err) != fault.Transient {
		t.Fatalf("the first attempt: %v", err)
	}
	now = now.Add(17 * time.Second)
	if _, err := read(t, s, slice); err != nil {
		t.Fatalf("the second attempt: %v", err)
	}
	if len(dates) != 2 || dates[1] != now.UTC().Format(http.TimeFormat) || dates[0] == dates[1] || proofs[0] == proofs[1] {
		t.Errorf("dates %q, proofs %q; now is %s", dates, proofs, now)
	}
}

// TestSlowListIsNoHang bounds what the configuration of a source waits for: another try may find the vendor quicker.
func TestSlowListIsNoHang(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	defer close(hold)
	sim, base := newSim(t, nil)
	if err := sim.AddFault(vendorsim.Rule{Path: "/management/", Fault: vendorsim.Fault{Hold: hold}}); err != nil {
		t.Fatal(err)
	}
	s := newSource(t, nil, simSettings(base, "logs", []string{"web"}))
	s.patience = 20 * time.Millisecond
	if _, err := s.Partitions(t.Context(), streamEvents); fault.KindOf(err) != fault.Transient || !strings.Contains(err.Error(), "takes too long") {
		t.Errorf("error = %v", err)
	}
}
