package rapid7usage

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var update = flag.Bool("update", false, "write golden files")

const day = 24 * time.Hour

var firstDay = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// newSim serves four logs of three days, of which one is empty, at noon of the sixth day.
func newSim(t *testing.T, change func(*vendorsim.Options)) (*vendorsim.Sim, string) {
	t.Helper()
	o := vendorsim.Options{
		Logs:  vendorsim.Seeded(vendorsim.SeedOptions{Start: firstDay, Days: 3, Lines: 300}),
		Owner: vendorsim.Owner{Account: "acc-1", KeyID: "id", Key: "owner"},
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
	sim.Clock().Set(firstDay.Add(5*day + 12*time.Hour))
	return sim, base
}

func simSettings(base string, more ...any) map[string]any {
	m := map[string]any{"base_url": base, "api_key": vendorsim.DemoKey}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

// countingBudget counts by namespace.
type countingBudget map[string]uint64

func (b countingBudget) Acquire(_ context.Context, r plugins.BudgetRequest) (string, error) {
	b[r.Limit.Namespace] += r.Requests
	return "r", nil
}

func (b countingBudget) Settle(context.Context, plugins.BudgetSettlement) error { return nil }

func newSource(t *testing.T, budget plugins.Budget, settings map[string]any) *source {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Definition().Open(t.Context(), plugins.Config{Settings: raw, Budget: budget})
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*source)
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	s.usage.Mem = mem
	s.usage.Now = func() time.Time { return firstDay.Add(9 * day) }
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		mem.AssertSize(t, 0)
	})
	return s
}

// row is a record of the stream.
type row struct {
	Day        string `json:"day"`
	LogID      string `json:"log_id"`
	LogName    string `json:"log_name"`
	Bytes      int64  `json:"bytes"`
	PeriodFrom string `json:"period_from"`
	PeriodTo   string `json:"period_to"`
	Source     string `json:"source"`
	Observed   string `json:"observed_timestamp"`
}

// collector keeps what a read emits.
type collector struct {
	tb       testing.TB
	opened   []plugins.Opening
	rows     []row
	counters map[string]uint64
}

func (c *collector) Open(_ context.Context, o plugins.Opening) error {
	c.opened = append(c.opened, o)
	return nil
}

func (c *collector) Count(name string, n uint64) { c.counters[name] += n }

func (c *collector) Waiting(time.Time, string) error { return nil }

func (c *collector) Dead(context.Context, string, io.Reader) error {
	return errors.New("a dead letter")
}

func (c *collector) Batch(_ context.Context, r arrow.Record) error {
	if !r.Schema().Equal(rapid7.UsageStream().Schema) {
		c.tb.Errorf("a batch of %v", r.Schema())
	}
	text := func(column, i int) string {
		if r.Column(column).IsNull(i) {
			return ""
		}
		return r.Column(column).ValueStr(i)
	}
	for i := range int(r.NumRows()) {
		c.rows = append(c.rows, row{
			text(0, i), strings.Clone(text(1, i)), strings.Clone(text(2, i)), r.Column(3).(*array.Int64).Value(i),
			text(4, i), text(5, i), strings.Clone(text(6, i)), text(7, i),
		})
	}
	return nil
}

func sliceOf(of time.Time) flow.Slice {
	return flow.NewSlice(flow.Partition{Stream: rapid7.StreamUsage}, of, of.Add(day), 0)
}

func read(t *testing.T, s *source, of time.Time) (*collector, error) {
	t.Helper()
	out := &collector{tb: t, counters: map[string]uint64{}}
	err := s.Read(t.Context(), sliceOf(of), out)
	return out, err
}

// figures are the bytes by log.
func (c *collector) figures() map[string]int64 {
	out := map[string]int64{}
	for _, r := range c.rows {
		out[r.LogID] += r.Bytes
	}
	return out
}

// served is what the vendor holds of a day, logs without data left out.
func served(sim *vendorsim.Sim, of time.Time) map[string]int64 {
	out := map[string]int64{}
	for _, id := range sim.LogIDs() {
		if n := sim.DayBytes(id, of); n > 0 {
			out[id] = n
		}
	}
	return out
}

func total(figures map[string]int64) map[string]int64 {
	var sum int64
	for _, n := range figures {
		sum += n
	}
	return map[string]int64{"": sum}
}

func TestReadGolden(t *testing.T) {
	t.Parallel()
	_, base := newSim(t, nil)
	budget := countingBudget{}
	s := newSource(t, budget, simSettings(base))
	out, err := read(t, s, firstDay)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.opened) != 1 || out.opened[0].VendorTime.Before(firstDay.Add(5*day)) {
		t.Errorf("opened %+v, want once, with the vendor's time", out.opened)
	}
	got, err := json.MarshalIndent(out.rows, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "batch.json")
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if _, err := read(t, s, firstDay.Add(day)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(countingBudget{"usage": 2, "management": 1}, budget); diff != "" {
		t.Errorf("requests of two days (-want +got):\n%s", diff)
	}
}

// TestForms reads every form in every way in which the vendor may tell it.
func TestForms(t *testing.T) {
	t.Parallel()
	vendors := map[string]vendorsim.UsageOptions{
		"as documented":    {},
		"texts":            {Quoted: true},
		"descending":       {Descending: true},
		"no lists":         {Single: true},
		"an exclusive to":  {ExclusiveTo: true},
		"with an interval": {Interval: true},
		"without a period": {NoPeriod: true},
	}
	kept := []string{vendorsim.SeedWebID, vendorsim.SeedEmptyID}
	only := func(figures map[string]int64) map[string]int64 {
		return map[string]int64{vendorsim.SeedWebID: figures[vendorsim.SeedWebID]}
	}
	forms := []struct {
		name     string
		settings []any
		want     func(map[string]int64) map[string]int64
	}{
		{"logs", nil, func(f map[string]int64) map[string]int64 { return f }},
		{"some logs", []any{"logs", kept}, only},
		{"log", []any{"form", "log", "logs", kept}, only},
		{"organization", []any{"form", "organization"}, total},
		{"account", []any{"form", "account", "account_id", "acc-1"}, total},
		{"a relative range", []any{"time_range", "Last7Days"}, func(f map[string]int64) map[string]int64 { return f }},
		{"a relative range that is too short", []any{"time_range", "Last2Days"}, func(f map[string]int64) map[string]int64 { return f }},
	}
	for name, vendor := range vendors {
		t.Run(name, func(t *testing.T) {
			sim, base := newSim(t, func(o *vendorsim.Options) { o.Usage = vendor })
			for _, form := range forms {
				t.Run(form.name, func(t *testing.T) {
					s := newSource(t, nil, simSettings(base, form.settings...))
					for n := range 4 { // the fourth has no data
						of := firstDay.Add(time.Duration(n) * day)
						out, err := read(t, s, of)
						if err != nil {
							t.Fatal(err)
						}
						want := form.want(served(sim, of))
						if n == 3 {
							want = map[string]int64{}
						}
						if diff := cmp.Diff(want, out.figures()); diff != "" {
							t.Errorf("%s (-want +got):\n%s", of.Format(time.DateOnly), diff)
						}
					}
				})
			}
		})
	}
	sim, base := newSim(t, nil)
	s := newSource(t, nil, simSettings(base, "time_range", "Last7Days"))
	if _, err := read(t, s, firstDay.Add(day)); err != nil {
		t.Fatal(err)
	}
	asked := sim.Requests()
	if got := asked[0].Query; got != "interval=day&time_range=Last7Days" {
		t.Errorf("asked %q", got)
	}
}

// TestDatedRequests pins what is asked for a day. Only of all logs does the vendor's document name an interval.
func TestDatedRequests(t *testing.T) {
	t.Parallel()
	const dates = "from=2026-11-02&to=2026-11-03"
	for form, want := range map[string]string{
		"logs":         "/usage/organizations/logs?from=2026-11-02&interval=day&to=2026-11-03",
		"log":          "/usage/organizations/logs/" + vendorsim.SeedWebID + "?" + dates,
		"organization": "/usage/organizations?" + dates,
		"account":      "/usage/accounts/acc-1?" + dates,
	} {
		sim, base := newSim(t, nil)
		settings := simSettings(base, "form", form, "log_names", false)
		switch form {
		case "log":
			settings["logs"] = []string{vendorsim.SeedWebID}
		case "account":
			settings["account_id"] = "acc-1"
		}
		if _, err := read(t, newSource(t, nil, settings), firstDay.Add(day)); err != nil {
			t.Fatal(err)
		}
		if asked := sim.Requests(); len(asked) != 1 || asked[0].Path+"?"+asked[0].Query != want {
			t.Errorf("%s: asked %+v, want %s", form, asked, want)
		}
	}
}

// TestBeyondTheLookBack reads a day that the vendor no longer tells.
func TestBeyondTheLookBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		beyond string
		key    string
		kind   fault.Kind
		want   string
	}{
		{vendorsim.UsageClamp, vendorsim.DemoKey, fault.Unavailable, "answers for 2026-11-03"},
		{vendorsim.UsageEmpty, vendorsim.DemoKey, fault.Unavailable, "tells nothing of 2026-11-01"},
		{vendorsim.UsageNotFound, vendorsim.DemoKey, fault.Unavailable, "data not found"},
		{vendorsim.UsageRefuse, vendorsim.DemoKey, fault.Unavailable, "within the last 7 days"},
		{vendorsim.UsageNotFound, "5ca1ab1e-0000-4000-8000-00000000bad0", fault.NotFound, "404"}, // it is the key
	}
	for _, tt := range tests {
		t.Run(tt.beyond+" "+tt.kind.String(), func(t *testing.T) {
			sim, base := newSim(t, func(o *vendorsim.Options) { o.Usage.Beyond = tt.beyond })
			sim.Clock().Set(firstDay.Add(8 * day))
			for _, form := range [][]any{nil, {"form", "log", "logs", []string{vendorsim.SeedWebID}}} {
				s := newSource(t, nil, simSettings(base, append(form, "api_key", tt.key)...))
				out, err := read(t, s, firstDay)
				if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) || len(out.opened) != 0 {
					t.Errorf("error %v of kind %s, want %q of kind %s", err, fault.KindOf(err), tt.want, tt.kind)
				}
			}
			if tt.kind != fault.Unavailable {
				return
			}
			s := newSource(t, nil, simSettings(base))
			if out, err := read(t, s, firstDay.Add(2*day)); err != nil || len(out.rows) == 0 {
				t.Errorf("the oldest day that is told: %d rows, %v", len(out.rows), err)
			}
			if out, err := read(t, s, firstDay.Add(4*day)); err != nil || len(out.rows) != 0 {
				t.Errorf("a day without data: %d rows, %v", len(out.rows), err)
			}
			total := newSource(t, nil, simSettings(base, "form", "organization"))
			if out, err := read(t, total, firstDay); err != nil || len(out.rows) != 1 {
				t.Errorf("a total has no end: %d rows, %v", len(out.rows), err)
			}
		})
	}
}

// TestNullFigures counts entries without a figure, of the day that is read alone: another day's say nothing of one that may be forgotten.
func TestNullFigures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		nulls []int // days of the entries without a figure
		of    int
		kind  fault.Kind
		count uint64
	}{
		{"of the day", []int{5, 5}, 5, fault.Unknown, 2},
		{"of another day, too", []int{5, 6}, 5, fault.Unknown, 1},
		{"of another day", []int{6}, 5, fault.Unknown, 0},
		{"of a day that may be forgotten", []int{0}, 0, fault.Unknown, 1},
		{"of the day behind it", []int{1}, 0, fault.Unavailable, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var entries []string
			for _, n := range tt.nulls {
				entries = append(entries, `{"interval":"`+firstDay.AddDate(0, 0, n).Format(time.DateOnly)+`","log_usage":[{"id":"a","usage":null}]}`)
			}
			sim, base := newSim(t, func(o *vendorsim.Options) {
				o.Faults = vendorsim.Script{Rules: []vendorsim.Rule{{Path: "/usage/", Fault: vendorsim.Fault{
					Status: 200, Body: `{"per_day_usage":{"usage":[` + strings.Join(entries, ",") + `]}}`,
				}}}}
			})
			s := newSource(t, nil, simSettings(base, "log_names", false))
			sim.Clock().Set(firstDay.Add(9 * day))
			out, err := read(t, s, firstDay.AddDate(0, 0, tt.of))
			if fault.KindOf(err) != tt.kind || out.counters["without_figure"] != tt.count || len(out.rows) != 0 {
				t.Errorf("%d rows, counters %v, %v; want %d without a figure", len(out.rows), out.counters, err, tt.count)
			}
		})
	}
}

// TestDataNotFound reads a day within the look-back of which the vendor says that it has no data: that is an empty day if another has some
// and this one can't get any more; else it is the log, the key or the region.
func TestDataNotFound(t *testing.T) {
	t.Parallel()
	const noData = `{"message":"Data not found"}`
	tests := []struct {
		name string
		body string
		days []int // that are answered so; the clock stands in the middle of the sixth
		of   int
		kind fault.Kind
	}{
		{"a day without data", noData, []int{1}, 1, fault.Unknown},
		{"the day that others are compared with", noData, []int{3}, 3, fault.Unknown},
		{"a day that may still get data", noData, []int{4}, 4, fault.NotFound},
		{"all days", noData, []int{1, 2, 3, 4}, 1, fault.NotFound},
		{"another refusal", `{"message":"HTTP 404 Not Found"}`, []int{1}, 1, fault.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, base := newSim(t, func(o *vendorsim.Options) {
				o.Faults = vendorsim.Script{Rules: []vendorsim.Rule{{
					Path: "/usage/", Fault: vendorsim.Fault{Status: 404, Body: tt.body},
					When: func(r *http.Request) bool {
						from, err := time.Parse(time.DateOnly, r.URL.Query().Get("from"))
						return err == nil && slices.Contains(tt.days, int(from.Sub(firstDay)/day))
					},
				}}}
			})
			for _, form := range [][]any{nil, {"form", "log", "logs", []string{vendorsim.SeedWebID}}, {"form", "organization"}} {
				s := newSource(t, nil, simSettings(base, append(form, "log_names", false)...))
				out, err := read(t, s, firstDay.AddDate(0, 0, tt.of))
				if fault.KindOf(err) != tt.kind || len(out.rows) != 0 || (len(out.opened) == 1) != (err == nil) {
					t.Errorf("%v: %d rows, opened %v, error %v of kind %s, want %s", form, len(out.rows), out.opened, err, fault.KindOf(err), tt.kind)
				}
			}
		})
	}
}

// TestMovingFigures shows why a day settles: its figure grows for a day after its end, and then stays.
func TestMovingFigures(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, func(o *vendorsim.Options) { o.Usage.Lag = day })
	s := newSource(t, nil, simSettings(base))
	if got := s.Settle(rapid7.StreamUsage); got != day {
		t.Fatalf("a day settles for %s", got)
	}
	var sums []int64
	for _, after := range []time.Duration{0, 12 * time.Hour, day, 2 * day} {
		sim.Clock().Set(firstDay.Add(day + after))
		out, err := read(t, s, firstDay)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, total(out.figures())[""])
	}
	if sums[0] >= sums[1] || sums[1] >= sums[2] || sums[2] != sums[3] {
		t.Errorf("figures %v of one day, want that they grow and then stay", sums)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	cut := int64(20)
	tests := []struct {
		name  string
		fault vendorsim.Fault
		kind  fault.Kind
		want  string
	}{
		{"cut", vendorsim.Fault{CutAfter: &cut}, fault.Transient, "cut after"},
		{"ended early", vendorsim.Fault{Status: 200, Body: `{"per_day_usage":{"usage":[`}, fault.Corrupt, "documented JSON"},
		{"busy", vendorsim.Fault{Status: 503, RetryAfter: "3"}, fault.Transient, "503"},
		{"limit", vendorsim.Fault{Status: 429, RetryAfter: "7"}, fault.Throttled, "429"},
		{"unauthorised", vendorsim.Fault{Status: 401}, fault.Auth, "401"},
		{"another page", vendorsim.Fault{Status: 200, Body: `{"message":"hello"}`}, fault.Corrupt, "holds neither"},
		{"no figures", vendorsim.Fault{Status: 200, Body: `{"per_day_usage":{"usage":null}}`}, fault.Corrupt, "no list usage"},
		{"no content", vendorsim.Fault{Status: 202, Body: `{"links":[]}`}, fault.Corrupt, "202"},
		{"away", vendorsim.Fault{Redirect: "trap"}, fault.Config, "redirect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim, base := newSim(t, func(o *vendorsim.Options) {
				o.Faults = vendorsim.Script{Rules: []vendorsim.Rule{{Path: "/usage/", Times: 1, Fault: tt.fault}}}
			})
			s := newSource(t, nil, simSettings(base))
			out, err := read(t, s, firstDay)
			if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) || len(out.rows) != 0 {
				t.Errorf("%d rows, error %v of kind %s, want %q of kind %s", len(out.rows), err, fault.KindOf(err), tt.want, tt.kind)
			}
			if strings.Contains(err.Error(), vendorsim.DemoKey) || sim.Stats().KeysLeaked > 0 {
				t.Errorf("the key has leaked: %v", err)
			}
			if out, err := read(t, s, firstDay); err != nil || !cmp.Equal(served(sim, firstDay), out.figures()) {
				t.Errorf("read again: %v, %v", out.figures(), err)
			}
		})
	}
}

func TestNamesAreNoReasonToFail(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, func(o *vendorsim.Options) {
		o.Faults = vendorsim.Script{Rules: []vendorsim.Rule{{Path: "/management/", Fault: vendorsim.Fault{Status: 500}}}}
	})
	for _, names := range []bool{true, false} {
		s := newSource(t, nil, simSettings(base, "log_names", names))
		for range 2 {
			out, err := read(t, s, firstDay)
			if err != nil || len(out.rows) == 0 || slices.ContainsFunc(out.rows, func(r row) bool { return r.LogName != "" }) {
				t.Errorf("names %v: %v, %v", names, out.rows, err)
			}
			if names && out.counters["without_names"] != 1 {
				t.Errorf("counters %v", out.counters)
			}
		}
	}
	asked := 0
	for _, r := range sim.Requests() {
		if strings.HasPrefix(r.Path, "/management/") {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("asked for names %d times, want once in ten minutes", asked)
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{400: "seven days", 401: "api_key", 403: "read/write", 404: "alike", 500: "region"} {
		_, base := newSim(t, func(o *vendorsim.Options) {
			o.Faults = vendorsim.Script{Rules: []vendorsim.Rule{{Path: "/usage/", Fault: vendorsim.Fault{Status: status}}}}
		})
		s := newSource(t, nil, simSettings(base))
		_, err := read(t, s, firstDay.Add(4*day))
		if status == http.StatusBadRequest {
			want = "for the last 7 days"
		}
		if hint := fault.HintOf(err); !strings.Contains(hint, want) {
			t.Errorf("%d: hint %q, want %q in it", status, hint, want)
		}
	}
}

func TestCheckAndClock(t *testing.T) {
	t.Parallel()
	sim, base := newSim(t, func(o *vendorsim.Options) {
		o.ReadOnlyKeys = []string{"read-only"}
		o.Keys = []string{vendorsim.DemoKey}
	})
	sim.Clock().Set(firstDay.Add(3*day + time.Hour)) // the last day but one has data
	s := newSource(t, nil, simSettings(base))
	if got, err := s.Check(t.Context()); err != nil || !strings.Contains(got, "on 2026-11-02 3 logs received data") {
		t.Errorf("check: %q, %v", got, err)
	}
	if now, err := s.Now(t.Context()); err != nil || now.Before(firstDay.Add(3*day)) {
		t.Errorf("clock: %s, %v", now, err)
	}
	s = newSource(t, nil, simSettings(base, "api_key", "read-only"))
	if _, err := s.Check(t.Context()); fault.KindOf(err) != fault.Auth || !strings.Contains(fault.HintOf(err), "read/write") {
		t.Errorf("check of a read-only key: %v", err)
	}
}

func TestPlanIsDays(t *testing.T) {
	t.Parallel()
	s := newSource(t, nil, simSettings("http://127.0.0.1:1"))
	g := flow.Gap{Partition: flow.Partition{Stream: rapid7.StreamUsage}, From: firstDay, To: firstDay.Add(3 * day)}
	got, err := s.Plan(t.Context(), g)
	if err != nil || len(got) != 3 || got[0] != sliceOf(firstDay) || got[2] != sliceOf(firstDay.Add(2*day)) {
		t.Errorf("planned %v, %v", got, err)
	}
	g.Stream = "events"
	if _, err := s.Plan(t.Context(), g); fault.KindOf(err) != fault.Config {
		t.Errorf("another stream: %v", err)
	}
	half := flow.NewSlice(flow.Partition{Stream: rapid7.StreamUsage}, firstDay, firstDay.Add(day/2), 0)
	if err := s.Read(t.Context(), half, &collector{tb: t}); fault.KindOf(err) != fault.Bug {
		t.Errorf("half a day: %v", err)
	}
}
