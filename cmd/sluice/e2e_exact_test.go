package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestEveryLineOnce runs seeded logs of seven days through every format under both meanings of `to`, raw in hundreds of cuts.
func TestEveryLineOnce(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"raw", "ndjson", "csv"} {
		for _, bound := range []string{"exclusive", "inclusive"} {
			t.Run(format+"/"+bound, func(t *testing.T) {
				t.Parallel()
				lines, cuts, limit := testsize.Of(12_000, 6000), 50, testsize.Of(1000, 500)
				if format == "raw" {
					lines, cuts = testsize.Of(60_000, 12_000), testsize.Of(200, 80)
				}
				r := seededRig(t, vendorsim.Options{ToInclusive: bound == "inclusive"}, lines)
				root := r.fileSink("out", format, "none")
				r.source["limit"], r.source["to_bound"] = limit, bound
				r.write()
				r.run(0, "run")
				r.mustHold(root, format, seedStart, seedEnd)
				r.mustKeepBudget()
				if n := len(commits(t, root)); n < cuts {
					t.Errorf("%d commits: too few cuts to show anything, want %d", n, cuts)
				}
				before := len(r.sim.Requests())
				again := r.run(0, "run")
				again.mustSay("nothing to do")
				if now := len(r.downloads(before)); now != 0 {
					t.Errorf("a run with nothing to do made %d downloads", now)
				}
			})
		}
	}
}

// TestRealSamples runs lines of real programs, where SLUICE_TEST_DATA names a folder of them, through all formats at once.
func TestRealSamples(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("SLUICE_TEST_DATA")
	if dir == "" {
		t.Log("SLUICE_TEST_DATA names no folder: there are no samples to run")
		return
	}
	end := seedStart.AddDate(0, 0, 2)
	logs, err := vendorsim.FromFolder(dir, seedStart, end)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, vendorsim.Options{Logs: logs})
	r.to = end
	r.source["limit"] = 1000
	roots := map[string]string{}
	for format, compression := range map[string]string{"raw": "none", "ndjson": "zstd", "csv": "gzip"} {
		roots[format] = r.fileSink(format, format, compression)
	}
	r.write()
	r.run(0, "run")
	for format, root := range roots {
		r.mustHold(root, format, seedStart, end)
	}
}

// downloads returns the finished downloads after the first n requests.
func (r *rig) downloads(n int) (out []vendorsim.Request) {
	for _, q := range r.sim.Requests()[n:] {
		if q.Budgeted || q.Beyond {
			out = append(out, q)
		}
	}
	return out
}

func (r *rig) mustKeepBudget() {
	r.t.Helper()
	if s := r.sim.Stats(); s.Beyond != 0 || s.KeysLeaked != 0 {
		r.t.Errorf("%d requests beyond the budget, %d keys leaked", s.Beyond, s.KeysLeaked)
	}
}

// TestFaultyVendor lets everything go wrong that the vendor can do.
func TestFaultyVendor(t *testing.T) {
	t.Parallel()
	at := vendorsim.At
	rules := []vendorsim.Rule{
		{Name: "busy", Every: 11, Fault: vendorsim.Fault{Status: 503}},
		{Name: "broken", Every: 13, Fault: vendorsim.Fault{Status: 500, Body: "boom"}},
		{Name: "limited for a second", Every: 17, Times: 2, Fault: vendorsim.Fault{Status: 429, RetryAfter: "1"}},
		{Name: "limited", Nth: []int{40}, Fault: vendorsim.Fault{Status: 429}},
		{Name: "reset", Every: 7, Fault: vendorsim.Fault{CutAfter: at(9_000), Reset: true}},
		{Name: "cut", Every: 9, Fault: vendorsim.Fault{CutAfter: at(40_000)}},
		{Name: "cut at once", Every: 23, Fault: vendorsim.Fault{CutAfter: at(0)}},
		{Name: "no end", Every: 19, Fault: vendorsim.Fault{CutAfter: at(1 << 30)}},
		{Name: "closes", Every: 29, Fault: vendorsim.Fault{Framing: "close"}},
		{Name: "stalls", Every: 31, Times: 2, Fault: vendorsim.Fault{StallAfter: at(5_000)}},
		{Name: "silent", Nth: []int{37}, Fault: vendorsim.Fault{Delay: 5 * time.Second}},
	}
	r := seededRig(t, vendorsim.Options{Faults: vendorsim.Script{Rules: rules}}, 8000)
	root := r.fileSink("out", "raw", "none")
	r.source["limit"] = 1000
	r.source["http"] = obj{"timeout": "1s"}
	r.write()
	r.run(0, "run")
	r.mustHold(root, "raw", seedStart, seedEnd)
	fired := map[string]int{}
	for _, q := range r.sim.Requests() {
		fired[q.Fault]++
	}
	for _, rule := range rules {
		if fired[rule.Name] == 0 {
			t.Errorf("the fault %q never happened", rule.Name)
		}
	}
}

// TestVendorClock has no `to`, a host whose clock is an hour off the vendor's, and records up to the vendor's now.
func TestVendorClock(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(fmt.Sprint(offset), func(t *testing.T) {
			t.Parallel()
			clock := vendorsim.NewClock(offset)
			begin := clock.Now().Add(-2 * time.Hour).Truncate(time.Millisecond)
			var records []vendorsim.Record
			for i := range 4 * 3600 { // two of the hours are the vendor's future
				records = append(records, vendorsim.Record{Time: begin.Add(time.Duration(i) * time.Second), Line: fmt.Appendf(nil, "line %d", i)})
			}
			const lag = time.Minute
			r := newRig(t, vendorsim.Options{
				Clock: clock, Logs: []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web", Records: records}},
			})
			root := r.fileSink("out", "raw", "none")
			r.from, r.to = begin, time.Time{}
			r.pipeline["lag"] = lag.String()
			r.write()
			r.run(0, "run")
			end := r.mustStayBehind(root, lag)
			if behind := clock.Now().Add(-lag).Sub(end); behind > time.Minute {
				t.Errorf("covered up to %s only, %s behind what was asked", end, behind)
			}
			r.mustHold(root, "raw", begin, end)

			// The next run goes on where this one ended, with a `to` that is still ahead.
			r.to = clock.Now().Add(30 * time.Minute).UTC().Truncate(time.Millisecond)
			r.write()
			r.run(0, "run").mustSay("`to` is still ahead")
			r.mustHold(root, "raw", begin, r.mustStayBehind(root, lag))
		})
	}
}

// mustStayBehind requires that nothing later than the vendor's now minus lag was asked for or covered, and returns the end of
// what is covered.
func (r *rig) mustStayBehind(root string, lag time.Duration) (end time.Time) {
	r.t.Helper()
	for _, q := range r.sim.Requests() {
		if to := time.UnixMilli(q.To); q.To != 0 && to.After(q.At.Add(-lag)) {
			r.t.Errorf("at %s by the vendor's clock %s was asked for", q.At, to.UTC())
		}
	}
	for _, c := range commits(r.t, root) {
		if c.Slice.To.After(end) {
			end = c.Slice.To
		}
	}
	if horizon := r.sim.Clock().Now().Add(-lag); end.After(horizon) {
		r.t.Errorf("covered up to %s, and the vendor's now minus lag is %s", end, horizon)
	}
	return end
}

// TestDeletedLog loses one of its logs at the vendor: the others arrive, and the exit code says that something is missing.
func TestDeletedLog(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 3000)
	root := r.fileSink("out", "ndjson", "zstd")
	r.write()
	r.sim.RemoveLog(vendorsim.SeedAppID)
	r.run(1, "run").mustSay(vendorsim.SeedAppID)
	r.logs = append(r.logs[:0:0], r.sim.LogIDs()...)
	r.mustHold(root, "ndjson", seedStart, seedEnd)
}

// TestTwoSinks runs two sinks side by side: one comes later, one is lost, the ledger is lost, and what one holds isn't read again.
func TestTwoSinks(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 8000)
	r.source["limit"] = 1000
	raw := r.fileSink("raw", "raw", "none")
	r.to = seedStart.Add(60 * time.Hour) // within a day
	r.write()
	r.run(0, "run")
	r.mustHold(raw, "raw", seedStart, r.to)

	packed := r.fileSink("packed", "ndjson", "zstd")
	r.to = seedEnd
	r.write()
	r.run(0, "run")
	check := func() {
		t.Helper()
		r.mustHold(raw, "raw", seedStart, seedEnd)
		r.mustHold(packed, "ndjson", seedStart, seedEnd)
		r.mustKeepBudget()
	}
	check()

	// Without its ledger a run learns from the sinks that all is there.
	mustRemove(t, r.dir+"/state")
	before := len(r.sim.Requests())
	r.run(0, "run")
	if n := len(r.downloads(before)); n != 0 {
		t.Errorf("%d downloads for what both sinks hold", n)
	}
	check()

	// A sink that is lost with the ledger is filled again, and the other isn't touched.
	mustRemove(t, r.dir+"/state", packed)
	entries := len(commits(t, raw))
	r.run(0, "run")
	if n := len(commits(t, raw)); n != entries {
		t.Errorf("the sink that had everything got %d commits more", n-entries)
	}
	check()
}
