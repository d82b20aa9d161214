package plugins

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

var midnight = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func TestCutGapCoversExactly(t *testing.T) {
	p := flow.Partition{Stream: "events", Key: "a"}
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g := flow.Gap{Partition: p, From: midnight.Add(time.Duration(rng.Int64N(3*86400_000)) * time.Millisecond)}
		g.To = g.From.Add(time.Duration(1+rng.Int64N([]int64{5, 3600_000, 5 * 86400_000}[rng.IntN(3)])) * time.Millisecond)
		for range rng.IntN(6) {
			from := g.From.Add(-time.Duration(rng.Int64N(86400_000)) * time.Millisecond)
			g.Hints = append(g.Hints, flow.Hint{
				From: from, To: from.Add(time.Duration(rng.Int64N(3600_000)) * time.Millisecond),
				Rows: rng.Uint64N(1e6), Bytes: rng.Uint64() >> rng.IntN(64), Truncated: rng.IntN(3) == 0,
			})
		}
		target := []SliceTarget{{}, {Bytes: 1 + rng.Uint64N(1e9)}, {Duration: time.Duration(rng.Int64N(int64(30 * time.Hour)))}}[rng.IntN(3)]
		o := CutOptions{RowCap: rng.Uint64N(3) * 1000, Limit: Limit{Requests: 150, Bytes: 75e9}, Most: rng.IntN(20)}
		at := g.From
		for range 3 {
			rest := g
			rest.From = at
			if !rest.From.Before(rest.To) {
				break
			}
			got := CutGap(rest, target, o)
			if len(got) == 0 || o.Most > 0 && len(got) > o.Most {
				t.Fatalf("seed %d: %d slices", seed, len(got))
			}
			for _, s := range got {
				if err := s.Validate(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if !s.From.Equal(at) || s.To.After(g.To) || s.Partition != p {
					t.Fatalf("seed %d: slice %s doesn't follow %s in %s", seed, s, at, g.Range())
				}
				if target.Duration >= time.Millisecond && s.To.Sub(s.From) > target.Duration {
					t.Fatalf("seed %d: slice %s is longer than %s", seed, s, target.Duration)
				}
				at = s.To
			}
		}
	}
}

func TestCutGapKeepsToTheGranularity(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		grain := []time.Duration{time.Second, time.Hour, 6 * time.Hour, 24 * time.Hour}[rng.IntN(4)]
		g := flow.Gap{Partition: flow.Partition{Stream: "usage"}, From: midnight.Add(time.Duration(rng.Int64N(100)) * grain)}
		g.To = g.From.Add(time.Duration(1+rng.Int64N(30)) * grain)
		if rng.IntN(2) == 0 { // a gap between two multiples: only its ends are
			g.From = g.From.Add(time.Duration(rng.Int64N(grain.Milliseconds())) * time.Millisecond)
		}
		if rng.IntN(2) == 0 {
			g.Hints = []flow.Hint{{From: g.From.Add(-time.Hour), To: g.From, Rows: 1, Bytes: rng.Uint64() >> rng.IntN(64)}}
		}
		target := []SliceTarget{{}, {Bytes: 1 + rng.Uint64N(1e9)}, {Duration: time.Duration(rng.Int64N(int64(30 * time.Hour)))}}[rng.IntN(3)]
		at := g.From
		for _, s := range CutGap(g, target, CutOptions{Granularity: grain, Most: 1000}) {
			if err := s.Validate(); err != nil || !s.From.Equal(at) {
				t.Fatalf("seed %d: %s doesn't follow %s: %v", seed, s, at, err)
			}
			if at = s.To; at.Before(g.To) && at.UnixMilli()%grain.Milliseconds() != 0 {
				t.Fatalf("seed %d: %s ends between two multiples of %s", seed, s, grain)
			}
		}
		if target.Duration == 0 && !at.Equal(g.To) {
			t.Fatalf("seed %d: cut up to %s, not to %s", seed, at, g.To)
		}
	}
}

func TestCutGapAims(t *testing.T) {
	gap := func(hints ...flow.Hint) flow.Gap {
		return flow.Gap{Partition: flow.Partition{Stream: "events"}, From: midnight, To: midnight.Add(48 * time.Hour), Hints: hints}
	}
	hour := func(rows, bytes uint64, truncated bool) flow.Hint {
		return flow.Hint{From: midnight.Add(-time.Hour), To: midnight, Rows: rows, Bytes: bytes, Truncated: truncated}
	}
	tests := []struct {
		name   string
		gap    flow.Gap
		target SliceTarget
		o      CutOptions
		want   time.Duration // of the first slice
	}{
		{"no hints: a day", gap(), SliceTarget{}, CutOptions{}, day},
		{"256 MiB", gap(hour(0, 64<<20, false)), SliceTarget{}, CutOptions{}, 4 * time.Hour},
		{"a request's share of the budget", gap(hour(0, 64<<20, false)), SliceTarget{}, CutOptions{Limit: Limit{Requests: 2, Bytes: 1 << 30}}, 8 * time.Hour},
		{"as asked in bytes", gap(hour(0, 64<<20, false)), SliceTarget{Bytes: 32 << 20}, CutOptions{}, 30 * time.Minute},
		{"as asked in time", gap(hour(0, 64<<20, false)), SliceTarget{Duration: time.Hour}, CutOptions{}, time.Hour},
		{"70 % of the cap", gap(hour(1000, 1, false)), SliceTarget{}, CutOptions{RowCap: 5714}, 3*time.Hour + 59*time.Minute + 58*time.Second},
		{"a truncated hint is a lower bound", gap(hour(10, 1, false), hour(1000, 1, true)), SliceTarget{}, CutOptions{RowCap: 1000}, 42 * time.Minute},
		{"old hints don't count", gap(hour(1e6, 1, true), hour(1, 1, false), hour(1, 1, false), hour(1, 1, false), hour(1, 1, false)), SliceTarget{}, CutOptions{RowCap: 1000}, day},
		{"at least a millisecond", gap(hour(1e18, 1, false)), SliceTarget{}, CutOptions{RowCap: 10}, time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := CutGap(tt.gap, tt.target, tt.o)[0]
			if d := got.To.Sub(got.From); d > tt.want || d < tt.want*4/5 {
				t.Errorf("first slice lasts %s, want up to a fifth below %s", d, tt.want)
			}
		})
	}
}

func TestSplitTruncated(t *testing.T) {
	p := flow.Partition{Stream: "events"}
	slice := func(d time.Duration) flow.Slice { return flow.NewSlice(p, midnight, midnight.Add(d), 2) }
	tests := []struct {
		name  string
		s     flow.Slice
		times []time.Time
		want  int
	}{
		{"a day without evidence", slice(day), nil, 8},
		{"less than a day", slice(time.Hour), nil, 2},
		{"a millisecond", slice(time.Millisecond), nil, 0},
		{"two milliseconds", slice(2 * time.Millisecond), nil, 2},
		{"a tenth was seen", slice(time.Hour), []time.Time{midnight.Add(6*time.Minute - time.Millisecond)}, 15},
		{"almost all was seen", slice(time.Hour), []time.Time{midnight.Add(time.Hour - time.Millisecond)}, 2},
		{"a burst at the start", slice(day), []time.Time{midnight}, maxPieces},
		{"times outside are no evidence", slice(day), []time.Time{midnight.Add(-time.Hour), midnight.Add(day)}, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := SplitTruncated(tt.s, tt.times)
			if len(got) != tt.want {
				t.Fatalf("%d parts, want %d", len(got), tt.want)
			}
			if err := checkParts(tt.s, got); err != nil {
				t.Error(err)
			}
		})
	}
}
