package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestADayThatSettlesIsNotMissing reads usage up to the vendor's now: what has yet to settle is neither asked for nor, by `status`,
// missing; a day later it is. to_bound is taken as every source takes it, and there is nothing to be found out about it.
func TestADayThatSettlesIsNotMissing(t *testing.T) {
	t.Parallel()
	clock := vendorsim.NewClock(0)
	clock.Set(seedStart.AddDate(0, 0, 2).Add(6 * time.Hour))
	r := sourcesRig(t, func(o *vendorsim.Options) { o.Clock = clock })
	p, _ := r.pipelineOf("usage", "rapid7-usage", "ndjson", obj{"settle": "12h", "to_bound": "inclusive", "time": "none"})
	p["range"] = obj{"from": r.from.Format(time.RFC3339)}
	r.only(p)
	if out := r.run(0, "check", "--online").stdout.String(); strings.Contains(out, "inclusive") {
		t.Errorf("check --online says of days what their end is:\n%s", out)
	}
	for _, tt := range []struct {
		name    string
		passed  time.Duration
		covered int // days
	}{{"the second day settles", 0, 1}, {"it has settled", 12 * time.Hour, 2}} {
		clock.Set(clock.Now().Add(tt.passed))
		r.run(0, "run")
		s := r.statusOf()
		if s.Missing != 0 || s.Asked != s.Covered || s.Covered != int64(tt.covered)*24*time.Hour.Milliseconds() {
			t.Errorf("%s: asked %d ms, covered %d, missing %d; want %d days and nothing missing", tt.name, s.Asked, s.Covered, s.Missing, tt.covered)
		}
	}
}

// statusOf returns what `status` says of the first sink of the config's first pipeline.
func (r *rig) statusOf() sinkStatus {
	r.t.Helper()
	return r.sinkStatuses()[0]
}

// sinkStatuses returns what `status` says of all sinks of the config's first pipeline.
func (r *rig) sinkStatuses() []sinkStatus {
	r.t.Helper()
	line, _, _ := strings.Cut(r.run(0, "status", "--json").stdout.String(), "\n")
	var s pipelineStatus
	if err := json.Unmarshal([]byte(line), &s); err != nil || len(s.Sinks) == 0 {
		r.t.Fatalf("status: %v: %s", err, line)
	}
	return s.Sinks
}

// TestForgottenDaysAreUnavailable asks for more days than the vendor keeps, which tells so in one way or another: what it has arrives, the
// rest is recorded with the reason, and that is no failure.
func TestForgottenDaysAreUnavailable(t *testing.T) {
	t.Parallel()
	for _, beyond := range []string{vendorsim.UsageClamp, vendorsim.UsageEmpty, vendorsim.UsageNotFound, vendorsim.UsageRefuse} {
		t.Run(beyond, func(t *testing.T) {
			t.Parallel()
			clock := vendorsim.NewClock(0)
			clock.Freeze(seedStart.AddDate(0, 0, 10).Add(6 * time.Hour)) // figures of the last seven days, today's included
			r := sourcesRig(t, func(o *vendorsim.Options) {
				o.Clock, o.Usage = clock, vendorsim.UsageOptions{Beyond: beyond}
				o.Logs = vendorsim.Seeded(vendorsim.SeedOptions{Seed: 5, Start: seedStart, Days: 10, Lines: 500})
			})
			p, root := r.pipelineOf("usage", "rapid7-usage", "ndjson", obj{})
			p["range"] = obj{"from": seedStart.Format(time.RFC3339)}
			r.only(p)
			r.run(0, "run").mustSay("unavailable")
			r.from, r.to = seedStart.AddDate(0, 0, 4), seedStart.AddDate(0, 0, 9) // the tenth day has yet to settle
			r.mustHoldFigures(root)
			const day = int64(24 * time.Hour / time.Millisecond)
			s := r.statusOf()
			if s.Asked != 9*day || s.Covered != 5*day || s.Unavailable != 4*day || s.Missing != 0 {
				t.Errorf("asked %d ms, covered %d, unavailable %d, missing %d; want 9, 5, 4 and no days", s.Asked, s.Covered, s.Unavailable, s.Missing)
			}
			for _, g := range s.Partitions[0].Gone {
				if g.Reason == "" {
					t.Errorf("no reason why %s is unavailable", g.From)
				}
			}
			r.run(0, "run").mustSay("nothing to do")
		})
	}
}
