package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// drawing is a pipeline's status as text: bars on a terminal, else a plain line for each log.
type drawing struct {
	screen screen
	bars   bool
	all    bool // every log, also those that look alike
	status *pipelineStatus
	used   map[cell]bool // that were drawn
	said   string        // the last error: it isn't repeated
}

// rows is how many bars of a sink are drawn before those that look alike become one and the rest is counted.
const rows = 20

// row is one bar: a log, or several that look alike.
type row struct {
	parts  []*partitionStatus
	cells  []cell
	behind float64 // the most of them
}

func (d *drawing) sink(b *strings.Builder, k sinkStatus) {
	where := ""
	if k.Location != "" {
		where = ", " + k.Location
	}
	fmt.Fprintf(b, "  sink %s (%s%s)", k.Name, k.Type, where)
	switch {
	case !k.Remembers:
		b.WriteString(": what it was given is remembered for one run\n")
	case !k.Known:
		b.WriteString(": nothing yet\n")
	default:
		b.WriteString(":\n")
	}
	var asked, dropped []*partitionStatus
	for i := range k.Partitions {
		if k.Partitions[i].Dropped {
			dropped = append(dropped, &k.Partitions[i])
		} else {
			asked = append(asked, &k.Partitions[i])
		}
	}
	if d.bars && !d.status.asked.Empty() {
		d.drawBars(b, asked)
	} else {
		for _, p := range asked {
			d.line(b, p)
		}
	}
	if len(dropped) > 0 {
		fmt.Fprintf(b, "    no longer asked for: %s\n", namesOf(dropped))
	}
}

// namesOf lists the first few of many.
func namesOf(parts []*partitionStatus) string {
	const few = 5
	var names []string
	for _, p := range parts[:min(few, len(parts))] {
		names = append(names, p.label())
	}
	text := strings.Join(names, ", ")
	if more := len(parts) - few; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// label is what people call a partition.
func (p *partitionStatus) label() string {
	name := p.Name
	if name == "" {
		name = p.Partition
	}
	return printable(strings.TrimSuffix(p.Stream+"/"+name, "/")) // a vendor names things as it likes
}

// line is one log where there is no terminal.
func (d *drawing) line(b *strings.Builder, p *partitionStatus) {
	snapshots := d.status.streams[p.Stream].Snapshot
	fmt.Fprintf(b, "    %s covered %s of %s (%s), %s, %s", printable(strings.TrimSuffix(p.Stream+"/"+p.Partition, "/")), covered(p.Covered, snapshots),
		asked(p.Asked, snapshots), percent(p.Covered, p.Asked), counted(p.Rows, "record"), size(p.Bytes))
	if p.Missing > 0 {
		fmt.Fprintf(b, ", behind %s", ago(seconds(p.Behind)))
	}
	if p.Name != "" && p.Name != p.Partition {
		fmt.Fprintf(b, " (%s)", printable(p.Name))
	}
	b.WriteString("\n")
	d.details(b, p, statusLines)
}

// details are the ranges of a log that lack, and why.
func (d *drawing) details(b *strings.Builder, p *partitionStatus, most int) {
	d.ranges(b, p, most)
	d.failures(b, p, most)
}

func (d *drawing) ranges(b *strings.Builder, p *partitionStatus, most int) {
	for n, g := range p.Gaps {
		if n == most {
			fmt.Fprintf(b, "      and %d more missing ranges\n", len(p.Gaps)-n)
			break
		}
		fmt.Fprintf(b, "      missing [%s, %s)\n", g.From, g.To)
	}
	for n, g := range p.Gone {
		if n == most {
			fmt.Fprintf(b, "      and %d more unavailable ranges\n", len(p.Gone)-n)
			break
		}
		fmt.Fprintf(b, "      unavailable [%s, %s): %s\n", g.From, g.To, g.Reason)
	}
}

func (d *drawing) failures(b *strings.Builder, p *partitionStatus, most int) {
	for n, f := range p.Failures {
		if n == most {
			fmt.Fprintf(b, "      and %d more failures: `sluice status --json`\n", len(p.Failures)-n)
			break
		}
		what := "failed"
		if f.Quarantined {
			what = "quarantined, tried again by the next run"
		}
		text := f.Error
		if text == d.said {
			text = "the same"
		}
		fmt.Fprintf(b, "      %s [%s, %s), %s: %s\n", d.paint(what), f.From, f.To, tries(f.Attempts), text)
		if f.Hint != "" && f.Error != d.said && !strings.Contains(f.Error, f.Hint) {
			fmt.Fprintf(b, "        %s\n", f.Hint)
		}
		d.said = f.Error
	}
}

func tries(n uint32) string {
	if n == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", n)
}

func (d *drawing) paint(failure string) string {
	if !d.bars {
		return failure
	}
	return d.screen.paint(failure, cellGlyphs[cellFailed].color)
}

// layout is how a line of the terminal is shared.
type layout struct {
	label  int  // columns of the names
	behind bool // there is room for how far behind it is
	weight bool // and for what came
	scale  scale
}

const (
	indent      = 4
	shareWidth  = 7  // "99.9 % "
	behindWidth = 13 // "behind 23h59m"
	weighWidth  = 27 // "  1,234,567 records  1.2 GiB"
	leastLabel  = 18 // "events: 1000 logs"
	leastCells  = 8
)

func (d *drawing) layout(parts []*partitionStatus) layout {
	l := layout{behind: true, weight: d.screen.width >= 140}
	for _, p := range parts {
		l.label = max(l.label, utf8.RuneCountInString(p.label()))
	}
	l.label = min(max(l.label, leastLabel), max(leastLabel, d.screen.width/3-4), 48)
	left := d.screen.width - 1 - indent - l.label - 1 - 1 - shareWidth - behindWidth
	if l.weight {
		left -= weighWidth
	}
	if left < leastCells {
		l.behind = false
		left += behindWidth + 1
	}
	l.scale = newScale(d.status.asked, max(left, leastCells), d.leastUnit(parts))
	return l
}

// leastUnit is what every log of the bars is asked for in pieces of: a day of figures isn't covered by the hour.
func (d *drawing) leastUnit(parts []*partitionStatus) time.Duration {
	least := oneDay
	for _, p := range parts {
		unit := d.status.streams[p.Stream].Granularity
		if d.status.streams[p.Stream].Snapshot {
			unit = oneDay
		}
		least = min(least, unit)
	}
	return least
}

func (d *drawing) drawBars(b *strings.Builder, parts []*partitionStatus) {
	if len(parts) == 0 {
		return
	}
	l := d.layout(parts)
	shown, rest := d.fold(parts, l.scale)
	unit := fmt.Sprintf("a cell is %s", shortDuration(l.scale.unit))
	b.WriteString(strings.TrimRight(fmt.Sprintf("%*s%-*s %s", indent, "", l.label, unit, l.scale.axis()), " ") + "\n")
	d.said = ""
	for _, r := range shown {
		for _, c := range r.cells {
			if c != cellNone {
				d.used[c] = true
			}
		}
		b.WriteString(d.bar(r, l) + "\n")
		if n := len(r.parts); n > 1 && n <= len(parts)/2 { // the exception, not the rule
			fmt.Fprintf(b, "      %s\n", namesOf(r.parts))
		}
		switch {
		case len(parts) > rows && !d.all: // the bar must do
			d.failures(b, r.parts[0], 1)
		case len(r.parts) == 1:
			d.details(b, r.parts[0], statusLines)
		}
	}
	if len(rest) > 0 {
		behind, logs := 0.0, 0
		for _, r := range rest {
			behind, logs = max(behind, r.behind), logs+len(r.parts)
		}
		fmt.Fprintf(b, "    and %d more, behind by up to %s: `sluice status --all` draws them\n", logs, ago(seconds(behind)))
	}
}

// fold makes the rows: a log each if there are few, else one for all that look alike, those that failed or are furthest behind first,
// and what doesn't fit.
func (d *drawing) fold(parts []*partitionStatus, s scale) (shown, rest []row) {
	alike := map[string]int{}
	fold := len(parts) > rows && !d.all
	for _, p := range parts {
		r := row{parts: []*partitionStatus{p}, cells: s.cells(p), behind: p.Behind}
		key := p.Stream + "\x00" + string(r.bytes())
		if at, ok := alike[key]; ok && fold && len(p.Failures) == 0 {
			shown[at].parts = append(shown[at].parts, p)
			shown[at].behind = max(shown[at].behind, p.Behind)
			continue
		}
		if len(p.Failures) == 0 {
			alike[key] = len(shown)
		}
		shown = append(shown, r)
	}
	if !fold {
		return shown, nil
	}
	slices.SortStableFunc(shown, func(a, b row) int {
		return cmp.Or(cmp.Compare(min(1, len(b.parts[0].Failures)), min(1, len(a.parts[0].Failures))), cmp.Compare(b.behind, a.behind))
	})
	var single, many []row
	for _, r := range shown {
		switch {
		case len(r.parts) > 1 && len(many) < rows:
			many = append(many, r)
		case len(r.parts) == 1 && len(single) < rows:
			single = append(single, r)
		default:
			rest = append(rest, r)
		}
	}
	return slices.Concat(single, many), rest
}

func (r row) bytes() []byte {
	out := make([]byte, len(r.cells))
	for i, c := range r.cells {
		out[i] = byte(c)
	}
	return out
}

// bar is one line: a name, the bar, how much of it is covered, how far behind it is, and what came.
func (d *drawing) bar(r row, l layout) string {
	label := r.parts[0].label()
	var part, whole int64
	var records, bytes uint64
	for _, p := range r.parts {
		part, whole = part+p.Covered, whole+p.Asked
		records, bytes = records+p.Rows, bytes+p.Bytes
	}
	if n := len(r.parts); n > 1 {
		label = fmt.Sprintf("%s: %d logs", r.parts[0].Stream, n)
	}
	behind := ""
	if l.behind && part < whole && r.behind > 0 {
		behind = "behind " + ago(seconds(r.behind))
	}
	label = shorten(label, l.label)
	text := fmt.Sprintf("%*s%s%*s %s %*s", indent, "", label, l.label-utf8.RuneCountInString(label), "", d.screen.draw(r.cells),
		shareWidth-1, percent(part, whole))
	if !l.weight {
		return strings.TrimRight(text+" "+d.screen.paint(behind, cellGlyphs[cellMissing].color), " ")
	}
	pad := strings.Repeat(" ", max(0, behindWidth-len(behind)))
	return text + " " + d.screen.paint(behind, cellGlyphs[cellMissing].color) + pad + "  " + counted(records, "record") + ", " + size(bytes)
}

// shorten cuts a name in its middle: IDs differ at their ends.
func shorten(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	head := (width - 2) / 2
	return string(runes[:head]) + ".." + string(runes[len(runes)-(width-2-head):])
}
