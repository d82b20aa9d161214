package main

import (
	"sort"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// cell is how a stretch of time stands in a bar.
type cell uint8

// The kinds of cells. The first that fits is taken, in this order: what needs a person is never drawn over.
const (
	cellNone    cell = iota // nothing of it is asked
	cellFull                // all that is asked of it is covered
	cellFailed              // of what it lacks something failed
	cellGone                // it lacks only what the vendor no longer has
	cellPart                // some of it is covered
	cellPlanned             // none of it is covered, and a slice is planned or begun
	cellMissing             // none of it
)

var cellNames = map[cell]string{
	cellFull: "covered", cellFailed: "failed", cellGone: "unavailable", cellPart: "covered in part", cellPlanned: "planned", cellMissing: "missing",
}

// cellGlyphs are the characters of the cells, with and without Unicode, and their colour.
var cellGlyphs = map[cell]struct{ unicode, ascii, color string }{
	cellNone: {" ", " ", ""}, cellFull: {"█", "#", "32"}, cellFailed: {"!", "!", "31;1"}, cellGone: {"x", "x", "2"},
	cellPart: {"▒", "+", "33"}, cellPlanned: {"░", "-", "33"}, cellMissing: {"·", ".", "33"},
}

// scale cuts a range into the cells of a bar.
type scale struct {
	from time.Time
	unit time.Duration
	n    int
}

// units are the lengths that a cell may have; beyond the last they double.
var units = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	oneDay, 2 * oneDay, oneWeek, 2 * oneWeek, 4 * oneWeek,
}

const (
	oneDay  = 24 * time.Hour
	oneWeek = 7 * oneDay
)

// newScale takes the shortest unit, of at least a given length, with which a range fits into most cells. Cells of up to a day begin at
// their multiples of the UTC day.
func newScale(r flow.Range, most int, least time.Duration) scale {
	if r.Empty() {
		return scale{}
	}
	for n := 0; ; n++ {
		unit := units[len(units)-1] << max(0, n-len(units)+1)
		if n < len(units) {
			unit = units[n]
		}
		if unit < least {
			continue
		}
		day := flow.Day(r.From)
		s := scale{from: day, unit: unit}
		if unit < oneDay {
			s.from = day.Add(r.From.Sub(day).Truncate(unit))
		}
		if s.n = int((r.To.Sub(s.from) + unit - 1) / unit); s.n <= max(most, 1) {
			return s
		}
	}
}

func (s scale) cell(i int) flow.Range {
	return flow.Range{From: s.from.Add(time.Duration(i) * s.unit), To: s.from.Add(time.Duration(i+1) * s.unit)}
}

// cells says of each cell how a partition stands in it.
func (s scale) cells(p *partitionStatus) []cell {
	out := make([]cell, s.n)
	missing := p.want.Minus(p.covered).Minus(p.gone)
	failed, planned := missing.Intersect(p.failed), missing.Intersect(p.planned)
	for i := range out {
		at := s.cell(i)
		want, covered := within(p.want, at), within(p.covered, at)
		switch {
		case want == 0:
			out[i] = cellNone
		case covered == want:
			out[i] = cellFull
		case within(failed, at) > 0:
			out[i] = cellFailed
		case within(missing, at) == 0:
			out[i] = cellGone
		case covered > 0:
			out[i] = cellPart
		case within(planned, at) > 0:
			out[i] = cellPlanned
		default:
			out[i] = cellMissing
		}
	}
	return out
}

// within is how much of a set lies in r.
func within(rs flow.Ranges, r flow.Range) (d time.Duration) {
	for i := sort.Search(len(rs), func(i int) bool { return rs[i].To.After(r.From) }); i < len(rs) && rs[i].From.Before(r.To); i++ {
		d += rs[i].Intersect(r).Duration()
	}
	return d
}

// axis is the line above the bars: where hours, days or months begin.
func (s scale) axis() string {
	if s.n == 0 {
		return ""
	}
	line := []rune(strings.Repeat(" ", s.n))
	free := 0
	for _, t := range s.ticks() {
		at := int(t.at.Sub(s.from) / s.unit)
		if at < free || at+len(t.label) > s.n {
			continue
		}
		copy(line[at:], []rune(t.label))
		free = at + len(t.label) + 1
	}
	return strings.TrimRight(string(line), " ")
}

type tick struct {
	at    time.Time
	label string
}

// ticks are the marks of the closest spacing that leaves room for their labels.
func (s scale) ticks() (out []tick) {
	end := s.from.Add(time.Duration(s.n) * s.unit)
	const label = 6 // "01-02 "
	for _, every := range []time.Duration{time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, oneDay, 2 * oneDay, oneWeek, 2 * oneWeek} {
		if every < label*s.unit {
			continue
		}
		first := s.from.Truncate(every)
		if every >= oneDay {
			first = flow.Day(s.from)
		}
		for t := first; t.Before(end); t = t.Add(every) {
			switch {
			case t.Before(s.from):
			case t.Equal(flow.Day(t)):
				out = append(out, tick{t, t.Format("01-02")})
			default:
				out = append(out, tick{t, t.Format("15:04")})
			}
		}
		return out
	}
	for t := time.Date(s.from.Year(), s.from.Month(), 1, 0, 0, 0, 0, time.UTC); t.Before(end); t = t.AddDate(0, 1, 0) {
		if !t.Before(s.from) {
			out = append(out, tick{t, t.Format("2006-01")})
		}
	}
	return out
}

// screen is what a drawing may use.
type screen struct {
	width   int // columns
	unicode bool
	color   bool
}

// draw writes cells, each run of one kind in its colour.
func (s screen) draw(cells []cell) string {
	var b strings.Builder
	for i := 0; i < len(cells); {
		end := i
		for end < len(cells) && cells[end] == cells[i] {
			end++
		}
		g := cellGlyphs[cells[i]]
		glyph := g.ascii
		if s.unicode {
			glyph = g.unicode
		}
		b.WriteString(s.paint(strings.Repeat(glyph, end-i), g.color))
		i = end
	}
	return b.String()
}

// paint colours a text; an empty colour leaves it alone.
func (s screen) paint(text, color string) string {
	if !s.color || color == "" || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// legend explains the cells that were drawn, if there are others than those that are covered.
func (s screen) legend(used map[cell]bool) string {
	var parts []string
	for _, c := range []cell{cellFull, cellPart, cellPlanned, cellMissing, cellFailed, cellGone} {
		if used[c] {
			parts = append(parts, s.draw([]cell{c})+" "+cellNames[c])
		}
	}
	if len(parts) == 1 && used[cellFull] {
		return ""
	}
	return strings.Join(parts, "  ")
}
