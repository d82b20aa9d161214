package rapid7download

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

func days(from, to int) flow.Range {
	return flow.Range{From: firstDay.AddDate(0, 0, from), To: firstDay.AddDate(0, 0, to)}
}

func measureAll(t *testing.T, s *source, log string, r flow.Range) []flow.Measure {
	t.Helper()
	got, err := s.Measure(t.Context(), flow.Partition{Stream: streamEvents, Key: log}, r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMeasureTellsUsageByDay(t *testing.T) {
	for _, beyond := range []string{vendorsim.UsageClamp, vendorsim.UsageEmpty, vendorsim.UsageNotFound, vendorsim.UsageRefuse} {
		t.Run(beyond, func(t *testing.T) {
			sim, base := newSim(t, func(o *vendorsim.Options) {
				o.Usage = vendorsim.UsageOptions{Beyond: beyond, Overhead: 30, Lag: time.Hour, ExclusiveTo: beyond == vendorsim.UsageEmpty, Interval: true}
			})
			sim.Clock().Set(firstDay.Add(3*24*time.Hour + 30*time.Minute)) // half an hour into the fourth day
			budget := &fakeBudget{}
			s := newSource(t, budget, simSettings(base))
			measure := func(log string, r flow.Range, want ...flow.Measure) {
				t.Helper()
				if d := cmp.Diff(want, measureAll(t, s, log, r)); d != "" {
					t.Errorf("log %s of %s (-want +got):\n%s", log, r, d)
				}
			}
			of := func(log string, n int) flow.Measure {
				return flow.Measure{Range: days(n, n+1), Rows: -1, Bytes: sim.DayBytes(log, firstDay.AddDate(0, 0, n))}
			}
			web, empty := vendorsim.SeedWebID, vendorsim.SeedEmptyID
			zero := func(n int) flow.Measure { return flow.Measure{Range: days(n, n+1), Rows: -1} }
			// Two days of data, then one without that has not settled: what is told then may come late. Days before the first are
			// within the document's seven, and told to be empty.
			measure(web, days(-20, 5), zero(-3), zero(-2), zero(-1), of(web, 0), of(web, 1))
			measure(empty, days(-20, 5), zero(-3), zero(-2), zero(-1), zero(0), zero(1))
			measure(web, flow.Range{From: firstDay.Add(23 * time.Hour), To: firstDay.Add(25 * time.Hour)}, of(web, 0), of(web, 1))
			measure(web, days(-20, -10))
			measure(web, days(4, 9)) // ahead
			want := 1                // for all logs and ranges
			if beyond == vendorsim.UsageNotFound || beyond == vendorsim.UsageRefuse {
				want = 2
			}
			for _, r := range budget.requests {
				if r.Limit != rapid7.UsageLimit {
					t.Errorf("paid from %+v", r.Limit)
				}
			}
			if n := len(budget.requests); n != want {
				t.Errorf("%d usage requests, want %d", n, want)
			}
		})
	}
}

func TestMeasureIsOfWholeLogs(t *testing.T) {
	sim, base := newSim(t, nil)
	s := newSource(t, &fakeBudget{}, simSettings(base, "query", "where(status>=500)"))
	if got := measureAll(t, s, vendorsim.SeedWebID, days(0, 1)); got != nil {
		t.Errorf("figures of a log that is read through a query: %v", got)
	}
	if _, err := s.Measure(t.Context(), flow.Partition{Stream: "another"}, days(0, 1)); fault.KindOf(err) != fault.Config {
		t.Errorf("another stream: %v", err)
	}
	if n := len(sim.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestMeasureSaysWhatItMayNotRead(t *testing.T) {
	_, base := newSim(t, func(o *vendorsim.Options) { o.Keys, o.ReadOnlyKeys = nil, []string{vendorsim.DemoKey} })
	s := newSource(t, &fakeBudget{}, simSettings(base))
	_, err := s.Measure(t.Context(), flow.Partition{Stream: streamEvents, Key: vendorsim.SeedWebID}, days(0, 1))
	if fault.KindOf(err) != fault.Auth || !strings.Contains(fault.HintOf(err), "read usage") {
		t.Errorf("%v; hint %q", err, fault.HintOf(err))
	}
}
