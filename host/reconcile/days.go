package reconcile

import (
	"slices"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Settles is how long after its end the vendor's figure of a day may still grow.
const Settles = 24 * time.Hour

// Day is one UTC day of a log.
type Day struct {
	Day     time.Time
	Covered bool  // from midnight to midnight
	Rows    int64 // delivered and dead letters, each record once, whatever the revision
	Bytes   int64
	Figure  Figure
}

// Figure is what the vendor says of a day.
type Figure struct {
	Rows, Bytes int64 // -1: not told
	At          time.Time
}

// Told reports whether there is a figure at all.
func (f Figure) Told() bool { return f.Rows >= 0 || f.Bytes >= 0 }

// Entry is what was committed of a range. Those of dead letters that were sent again are left out: they were counted when they became
// dead letters.
type Entry struct {
	From        time.Time // the entry lies within its day
	Rows, Bytes uint64    // delivered and dead letters
}

// Days puts together the days of which the vendor told a figure, or something was delivered, in their order. Of several figures of a day
// the one that was taken last counts.
func Days(entries []Entry, covered flow.Ranges, measures []ledger.MeasuredAt) []Day {
	days := map[time.Time]*Day{}
	at := func(t time.Time) *Day {
		d := flow.Day(t)
		if days[d] == nil {
			days[d] = &Day{Day: d, Covered: covered.Covers(whole(d)), Figure: Figure{Rows: -1, Bytes: -1}}
		}
		return days[d]
	}
	for _, e := range entries {
		d := at(e.From)
		d.Rows += int64(e.Rows)
		d.Bytes += int64(e.Bytes)
	}
	for _, m := range measures {
		if (m.Rows < 0 && m.Bytes < 0) || m.Range != whole(flow.Day(m.From)) {
			continue // not told, or of a part of a day
		}
		d := at(m.From)
		if !d.Figure.Told() || !m.At.Before(d.Figure.At) {
			d.Figure = Figure{Rows: m.Rows, Bytes: m.Bytes, At: m.At}
		}
	}
	out := make([]Day, 0, len(days))
	for _, d := range days {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b Day) int { return a.Day.Compare(b.Day) })
	return out
}

func whole(day time.Time) flow.Range { return flow.Range{From: day, To: day.AddDate(0, 0, 1)} }

// Entries returns what was received, from the receipts of a partition in a sink and those of their revisions that are late.
func Entries(receipts []sinks.Receipt, late map[flow.SliceID]bool) []Entry {
	out := make([]Entry, 0, len(receipts))
	for _, r := range receipts {
		if r.Slice.Rev == 0 || late[r.Slice.ID] {
			out = append(out, Entry{From: r.Slice.From, Rows: r.Delivered.Rows + r.Dead.Rows, Bytes: r.Delivered.Bytes + r.Dead.Bytes})
		}
	}
	return out
}

// Late returns the revisions that brought new records. The others are dead letters that were sent again. known says it of some; nil: of
// none. Where it isn't known, as in a ledger that was rebuilt, a revision with more records than there were dead letters before it is late.
func Late(receipts []sinks.Receipt, known func(flow.Slice) bool) map[flow.SliceID]bool {
	days := map[time.Time][]sinks.Receipt{} // no slice lies in two
	for _, r := range receipts {
		days[r.Slice.Day()] = append(days[r.Slice.Day()], r)
	}
	late := map[flow.SliceID]bool{}
	for _, r := range receipts {
		switch {
		case r.Slice.Rev == 0:
		case known != nil && known(r.Slice):
			late[r.Slice.ID] = true
		default:
			var dead uint64
			for _, before := range days[r.Slice.Day()] {
				if before.Slice.Rev < r.Slice.Rev && before.Slice.Range().Meets(r.Slice.Range()) {
					dead += before.Dead.Rows
				}
			}
			if r.Delivered.Rows+r.Dead.Rows > dead {
				late[r.Slice.ID] = true
			}
		}
	}
	return late
}
