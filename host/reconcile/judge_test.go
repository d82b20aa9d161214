package reconcile

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

var day0 = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

func on(n int) time.Time { return day0.AddDate(0, 0, n) }

// days makes full days of bytes, with settled figures at a ratio.
func days(ratio float64, bytes ...int64) []Day {
	var out []Day
	for i, b := range bytes {
		out = append(out, Day{
			Day: on(i), Covered: true, Rows: b / 100, Bytes: b,
			Figure: Figure{Rows: -1, Bytes: int64(float64(b) * ratio), At: on(i + 3)},
		})
	}
	return out
}

const mb = 1_000_000

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name string
		days func() []Day
		want []Verdict
	}{
		{"all agree", func() []Day { return days(1.2, 5*mb, 6*mb, 9*mb, mb) }, []Verdict{Agrees, Agrees, Agrees, Agrees}},
		{"one lost a fifth", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 4*mb)
			d[2].Bytes = d[2].Bytes * 4 / 5
			return d
		}, []Verdict{Agrees, Agrees, Short, Agrees}},
		{"one is doubled", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb)
			d[0].Bytes *= 2
			return d
		}, []Verdict{Over, Agrees, Agrees}},
		{"one lost a thirtieth", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 4*mb)
			d[3].Bytes -= d[3].Bytes / 30
			return d
		}, []Verdict{Agrees, Agrees, Agrees, Short}},
		{"one is empty", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 4*mb)
			d[1].Rows, d[1].Bytes = 0, 0
			return d
		}, []Verdict{Agrees, Empty, Agrees, Agrees}},
		{"nothing was delivered at all", func() []Day {
			d := days(1, 5*mb, 6*mb)
			for i := range d {
				d[i].Rows, d[i].Bytes = 0, 0
			}
			return d
		}, []Verdict{Empty, Empty}},
		{"a trifle", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 1000)
			d[3].Rows, d[3].Bytes, d[3].Figure.Bytes = 0, 0, 900
			return d
		}, []Verdict{Agrees, Agrees, Agrees, Trifle}},
		{"empty by both", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 0)
			return d
		}, []Verdict{Agrees, Agrees, Agrees, Agrees}},
		{"two full days are too few", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb)
			d[2].Covered = false
			return d
		}, []Verdict{Unratioed, Unratioed, Partial}},
		{"partial days neither calibrate nor are judged", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 9*mb)
			d[0].Covered, d[0].Bytes = false, 1
			return d
		}, []Verdict{Partial, Agrees, Agrees, Agrees}},
		{"figures that may grow neither calibrate nor judge", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 9*mb)
			d[3].Figure.At, d[3].Figure.Bytes = on(5).Add(-time.Millisecond), mb
			return d
		}, []Verdict{Agrees, Agrees, Agrees, Unsettled}},
		{"no figure", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 9*mb)
			d[3].Figure = Figure{Rows: -1, Bytes: -1}
			return d
		}, []Verdict{Agrees, Agrees, Agrees, NoFigure}},
		{"more was delivered where the vendor knows of nothing", func() []Day {
			d := days(1.2, 5*mb, 6*mb, 9*mb, 9*mb)
			d[3].Figure.Bytes = 0
			return d
		}, []Verdict{Agrees, Agrees, Agrees, Over}},
		{"counts are exact", func() []Day {
			d := days(1, 5*mb, 6*mb, 9*mb, 7*mb, 8*mb)
			for i := range d {
				d[i].Figure.Rows, d[i].Figure.Bytes = d[i].Rows, -1
			}
			d[1].Rows--
			d[2].Rows++
			d[3].Rows = 0
			d[4].Figure.Rows = -1
			return d
		}, []Verdict{Agrees, Short, Over, Empty, NoFigure}},
		{"a single counted day is enough", func() []Day {
			d := days(1, 5*mb)
			d[0].Figure.Rows = d[0].Rows
			return d
		}, []Verdict{Agrees}},
		{"bytes beside counts", func() []Day {
			d := days(1, 5*mb, 6*mb)
			d[0].Figure.Rows = d[0].Rows
			return d
		}, []Verdict{Agrees, Untellable}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Judge(tt.days())
			var got []Verdict
			for _, j := range r.Judged {
				got = append(got, j.Verdict)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s\nratio %v by %d days, tolerance %v", d, r.Ratio, r.Days, r.Tolerance)
			}
			flagged := 0
			for _, v := range tt.want {
				if v == Short || v == Over || v == Empty {
					flagged++
				}
			}
			if n := len(r.Flagged()); n != flagged {
				t.Errorf("%d days flagged, want %d", n, flagged)
			}
		})
	}
}

// TestCalibrationIsRobust draws logs whose days differ in size and in the length of their records, so that the vendor's overhead for each
// weighs differently, and spoils a few: none but those may be flagged, and all that lost a twentieth or more must be.
func TestCalibrationIsRobust(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		n := 5 + rng.IntN(25)
		overhead := rng.IntN(60)
		var all []Day
		for i := range n {
			rows := int64(20_000 + rng.IntN(80_000))
			length := 20 + rng.IntN(600)
			bytes := rows * int64(length)
			all = append(all, Day{
				Day: on(i), Covered: true, Rows: rows, Bytes: bytes,
				Figure: Figure{Rows: -1, Bytes: bytes + rows*int64(overhead), At: on(i + 2)},
			})
		}
		spoilt := map[time.Time]bool{}
		for range rng.IntN((n - 1) / 2) {
			i := rng.IntN(n)
			if !spoilt[all[i].Day] {
				left := int64(5 + rng.IntN(90))
				all[i].Rows, all[i].Bytes = all[i].Rows*left/100, all[i].Bytes*left/100
				spoilt[all[i].Day] = true
			}
		}
		r := Judge(all)
		for _, j := range r.Judged {
			if want := spoilt[j.Day.Day]; j.Verdict.Flagged() != want {
				t.Errorf("seed %d: %s of %d days with overhead %d: %s, spoilt %t (ratio %.4f instead of %.4f, tolerance %.4f)",
					seed, j.Day.Day.Format(time.DateOnly), n, overhead, j.Verdict, want, j.Ratio, r.Ratio, r.Tolerance)
			}
		}
	}
}

func TestDays(t *testing.T) {
	span := func(n int) flow.Range { return flow.Range{From: on(n), To: on(n + 1)} }
	covered := flow.NewRanges(flow.Range{From: on(0), To: on(1)}, flow.Range{From: on(1), To: on(2).Add(-time.Millisecond)})
	at := func(n int) time.Time { return on(n).Add(time.Hour) }
	got := Days([]Entry{
		{From: on(0), Rows: 3, Bytes: 30},
		{From: on(1).Add(5 * time.Hour), Rows: 2, Bytes: 20},
		{From: on(0).Add(12 * time.Hour), Rows: 4, Bytes: 40, Read: at(2)},
		{From: on(0).Add(12 * time.Hour), Rows: 8, Bytes: 80, Read: at(2).Add(1)}, // indexed after the figure was told
		{From: on(1).Add(12 * time.Hour), Rows: 1, Bytes: 10, Read: at(2)},
	}, covered, []ledger.MeasuredAt{
		{Measure: flow.Measure{Range: span(0), Rows: -1, Bytes: 75}, At: at(2)},
		{Measure: flow.Measure{Range: span(0), Rows: -1, Bytes: 70}, At: at(1)},
		{Measure: flow.Measure{Range: span(0), Rows: -1, Bytes: -1}, At: at(9)},                                         // not told
		{Measure: flow.Measure{Range: flow.Range{From: on(0), To: on(0).Add(time.Hour)}, Rows: 1, Bytes: 7}, At: at(3)}, // of a part
		{Measure: flow.Measure{Range: span(4), Rows: 9, Bytes: -1}, At: at(6)},
	})
	none := Figure{Rows: -1, Bytes: -1}
	want := []Day{
		{Day: on(0), Covered: true, Rows: 7, Bytes: 70, Figure: Figure{Rows: -1, Bytes: 75, At: at(2)}},
		{Day: on(1), Rows: 3, Bytes: 30, Figure: none},
		{Day: on(4), Figure: Figure{Rows: 9, Bytes: -1, At: at(6)}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLateRevisionsAreToldFromDeadLetters(t *testing.T) {
	p := flow.Partition{Stream: "events", Key: "a"}
	receipt := func(from, to int, rev uint32, rows, dead uint64) sinks.Receipt {
		return sinks.Receipt{
			Slice:     flow.NewSlice(p, day0.Add(time.Duration(from)*time.Hour), day0.Add(time.Duration(to)*time.Hour), rev),
			Delivered: flow.Sum{Rows: rows, Bytes: rows * 10}, Dead: flow.Sum{Rows: dead, Bytes: dead * 10},
		}
	}
	all := []sinks.Receipt{
		receipt(0, 6, 0, 100, 5),
		receipt(0, 6, 1, 3, 2), // five dead letters, sent again
		receipt(6, 12, 0, 100, 0),
		receipt(6, 12, 1, 7, 0), // late: there were no dead letters
		receipt(12, 18, 0, 100, 9),
		receipt(12, 18, 1, 4, 0), // could be either
		receipt(24, 30, 1, 1, 0), // of another day
	}
	late := Late(all, nil)
	want := map[flow.SliceID]time.Time{all[3].Slice.ID: {}, all[6].Slice.ID: {}}
	if d := cmp.Diff(want, late); d != "" {
		t.Error(d)
	}
	known := Late(all, func(s flow.Slice) (time.Time, bool) { return on(3), s.ID == all[5].Slice.ID })
	want[all[5].Slice.ID] = on(3)
	if d := cmp.Diff(want, known); d != "" {
		t.Errorf("known:\n%s", d)
	}
	var rows uint64
	for _, e := range Entries(all, known) {
		rows += e.Rows
	}
	if rows != 105+107+113+1 {
		t.Errorf("%d rows were received", rows)
	}
}
