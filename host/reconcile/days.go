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
	Read        time.Time // of what was indexed late: when it was read, by the vendor's clock; zero: not known, or not late
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
	for _, m := range measures {
		if (m.Rows < 0 && m.Bytes < 0) || m.Range != whole(flow.Day(m.From)) {
			continue // not told, or of a part of a day
		}
		d := at(m.From)
		if !d.Figure.Told() || !m.At.Before(d.Figure.At) {
			d.Figure = Figure{Rows: m.Rows, Bytes: m.Bytes, At: m.At}
		}
	}
	for _, e := range entries {
		d := at(e.From)
		if d.Figure.Told() && e.Read.After(d.Figure.At) {
			continue // the vendor had yet to index it when it told the figure
		}
		d.Rows += int64(e.Rows)
		d.Bytes += int64(e.Bytes)
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
func Entries(receipts []sinks.Receipt, late map[flow.SliceID]time.Time) []Entry {
	out := make([]Entry, 0, len(receipts))
	for _, r := range receipts {
		read, isLate := late[r.Slice.ID]
		if r.Slice.Rev == 0 || isLate {
			out = append(out, Entry{
				From: r.Slice.From, Rows: r.Delivered.Rows + r.Dead.Rows, Bytes: r.Delivered.Bytes + r.Dead.Bytes, Read: read,
			})
		}
	}
	return out
}

// Late returns the revisions that brought new records, with when they were read if that is known. The others are dead letters that were
// sent again. known says it of some; nil: of none. Where it isn't known, as in a ledger that was rebuilt, a revision with more records than there were dead letters before it is late.
func Late(receipts []sinks.Receipt, known Read) map[flow.SliceID]time.Time {
	days := map[time.Time][]sinks.Receipt{} // no slice lies in two
	for _, r := range receipts {
		days[r.Slice.Day()] = append(days[r.Slice.Day()], r)
	}
	late := map[flow.SliceID]time.Time{}
	for _, r := range receipts {
		if r.Slice.Rev == 0 {
			continue
		}
		if known != nil {
			if read, ok := known(r.Slice); ok {
				late[r.Slice.ID] = read
				continue
			}
		}
		var dead uint64
		for _, before := range days[r.Slice.Day()] {
			if before.Slice.Rev < r.Slice.Rev && before.Slice.Range().Meets(r.Slice.Range()) {
				dead += before.Dead.Rows
			}
		}
		if r.Delivered.Rows+r.Dead.Rows > dead {
			late[r.Slice.ID] = time.Time{}
		}
	}
	return late
}
