package logtime

import (
	"bytes"
	"regexp"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// Parser finds the times of lines. Safe for concurrent use. Without a regex it allocates nothing.
type Parser struct {
	zone     *time.Location // of times that name none
	zoned    bool           // the settings name it
	regex    *regexp.Regexp // nil: auto
	group    int
	layout   string
	yearless bool
	offset   bool // the layout names a zone
}

// Time returns the time that a line tells, in nanoseconds since 1970; false if none is certain. received is when the
// vendor received the line, more or less: of times that name no year it is the nearest to that.
func (p *Parser) Time(line []byte, received flow.Range) (int64, bool) {
	if p.regex != nil {
		return p.byRegex(line, received)
	}
	return p.auto(line, received)
}

func (p *Parser) byRegex(line []byte, received flow.Range) (int64, bool) {
	at := p.regex.FindSubmatchIndex(line)
	if at == nil || at[2*p.group] < 0 {
		return 0, false
	}
	text := line[at[2*p.group]:at[2*p.group+1]]
	switch p.layout {
	case layoutRFC3339:
		ns, used := p.rfc3339(text)
		return ns, used > 0 && used == len(text)
	case layoutEpoch:
		return epoch(text, 10)
	case layoutEpochMs:
		return epoch(text, 13)
	}
	// Without a zone in the layout this is what a clock showed, in UTC: a time of p's zone would have been moved out of an hour that is skipped.
	t, err := time.Parse(p.layout, string(text))
	if err != nil {
		return 0, false
	}
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if p.yearless {
		var ok bool
		if year, ok = nearestYear(received, int(month), day, hour, minute, second); !ok {
			return 0, false
		}
	}
	if p.offset {
		_, seconds := t.Zone()
		return nanos(time.Date(year, month, day, hour, minute, second-seconds, t.Nanosecond(), time.UTC))
	}
	t, ok := p.in(year, int(month), day, hour, minute, second, int64(t.Nanosecond()))
	if !ok {
		return 0, false
	}
	return nanos(t)
}

// auto tries what is told by the line's first characters.
func (p *Parser) auto(line []byte, received flow.Range) (int64, bool) {
	text := bytes.TrimLeft(line, " \t")
	if len(text) == 0 {
		return 0, false
	}
	if text[0] == '{' {
		value, quoted := jsonTime(text)
		if value == nil {
			return 0, false
		}
		return p.value(value, quoted, received)
	}
	text = skipPriority(text)
	for n := 0; n < 3 && len(text) > 0 && (text[0] == '[' || text[0] == '(' || text[0] == '"'); n++ {
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, false
	}
	switch c := text[0]; {
	case isDigit(c):
		if ns, used := p.rfc3339(text); used > 0 && ends(text[used:]) {
			return ns, true
		}
		if ns, used := p.bareEpoch(text, received); used > 0 && ends(text[used:]) {
			return ns, true
		}
		if ns, used := commonLog(text); used > 0 && ends(text[used:]) {
			return ns, true
		}
	case c >= 'A' && c <= 'Z':
		if ns, used := p.rfc3164(text, received); used > 0 && ends(text[used:]) {
			return ns, true
		}
	}
	return bracketed(line)
}

// value reads the whole of JSON's time: a text, or a number of seconds or milliseconds.
func (p *Parser) value(text []byte, quoted bool, received flow.Range) (int64, bool) {
	if ns, ok := epoch(text, 10); ok {
		return ns, true
	}
	if ns, ok := epoch(text, 13); ok {
		return ns, true
	}
	if !quoted {
		return 0, false
	}
	if ns, used := p.rfc3339(text); used > 0 {
		return ns, used == len(text)
	}
	if ns, used := p.rfc3164(text, received); used > 0 {
		return ns, used == len(text)
	}
	ns, used := commonLog(text)
	return ns, used > 0 && used == len(text)
}

// skipPriority takes away syslog's <13>, and RFC 5424's version behind it.
func skipPriority(text []byte) []byte {
	if text[0] != '<' {
		return text
	}
	end := bytes.IndexByte(text[:min(len(text), 5)], '>')
	if end < 2 {
		return text
	}
	for _, c := range text[1:end] {
		if !isDigit(c) {
			return text
		}
	}
	text = text[end+1:]
	if len(text) > 2 && isDigit(text[0]) && text[1] == ' ' {
		text = text[2:]
	}
	return text
}

// ends says whether what follows a time can't be part of it.
func ends(behind []byte) bool {
	if len(behind) == 0 {
		return true
	}
	switch c := behind[0]; {
	case isDigit(c), c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= 0x80, c == '_':
		return false
	case c == '.', c == ',', c == ':', c == '-', c == '/', c == '+':
		return len(behind) == 1 || !isDigit(behind[1])
	}
	return true
}

// How far into a line the common log format's brackets are looked for, and how many of them.
const (
	bracketsWithin = 512
	mostBrackets   = 8
)

// bracketed finds the common log format's [10/Oct/2000:13:55:36 -0700].
func bracketed(line []byte) (int64, bool) {
	rest := line[:min(len(line), bracketsWithin)]
	for range mostBrackets {
		i := bytes.IndexByte(rest, '[')
		if i < 0 {
			return 0, false
		}
		rest = rest[i+1:]
		if ns, used := commonLog(rest); used > 0 && used < len(rest) && rest[used] == ']' {
			return ns, true
		}
	}
	return 0, false
}

// nearestYear returns the year that brings a day nearest to a range; false if none near it has that day. It goes by the calendar alone:
// whether clocks showed the time in that year is for the caller to ask, for another year would be a guess.
func nearestYear(received flow.Range, month, day, hour, minute, second int) (nearest int, ok bool) {
	middle := received.From.Add(received.To.Sub(received.From) / 2).UTC()
	var distance int64
	for _, year := range [...]int{middle.Year(), middle.Year() - 1, middle.Year() + 1} {
		if day > daysIn(year, month) {
			continue
		}
		d := unix(year, month, day, hour, minute, second) - middle.Unix()
		if d = max(d, -d); !ok || d < distance {
			nearest, distance, ok = year, d, true
		}
	}
	return nearest, ok
}

// nanos refuses years whose nanoseconds don't fit.
func nanos(t time.Time) (int64, bool) {
	if y := t.UTC().Year(); y < 1970 || y > 2261 {
		return 0, false
	}
	return t.UnixNano(), true
}
