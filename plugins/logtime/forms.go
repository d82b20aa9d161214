package logtime

import (
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

func isDigit(c byte) bool { return c-'0' <= 9 }

// number reads n digits; -1 if they aren't.
func number(text []byte, n int) int {
	if len(text) < n {
		return -1
	}
	v := 0
	for _, c := range text[:n] {
		if !isDigit(c) {
			return -1
		}
		v = 10*v + int(c-'0')
	}
	return v
}

// clock reads 13:55:36; ok is false for what no clock shows. A leap second is the next one.
func clock(text []byte) (hour, minute, second int, ok bool) {
	if len(text) < 8 || text[2] != ':' || text[5] != ':' {
		return 0, 0, 0, false
	}
	hour, minute, second = number(text, 2), number(text[3:], 2), number(text[6:], 2)
	return hour, minute, second, hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second <= 60
}

// fraction reads .123456789 or ,123 and returns its nanoseconds and length; digits beyond the ninth are cut off.
func fraction(text []byte) (ns int64, used int) {
	if len(text) < 2 || text[0] != '.' && text[0] != ',' || !isDigit(text[1]) {
		return 0, 0
	}
	unit := int64(100_000_000)
	for used = 1; used < len(text) && isDigit(text[used]); used++ {
		ns += unit * int64(text[used]-'0')
		unit /= 10
	}
	return ns, used
}

// offset reads Z, +01:00, +0100 or +01, in seconds.
func offset(text []byte) (seconds, used int) {
	if len(text) == 0 {
		return 0, 0
	}
	switch text[0] {
	case 'Z', 'z':
		return 0, 1
	case '+', '-':
	default:
		return 0, 0
	}
	hour, minute := number(text[1:], 2), 0
	if hour < 0 || hour > 23 {
		return 0, 0
	}
	used = 3
	if rest := text[3:]; len(rest) > 0 && rest[0] == ':' {
		minute, used = number(rest[1:], 2), 6
	} else if len(rest) > 0 && isDigit(rest[0]) {
		minute, used = number(rest, 2), 5
	}
	if minute < 0 || minute > 59 {
		return 0, 0
	}
	seconds = 3600*hour + 60*minute
	if text[0] == '-' {
		seconds = -seconds
	}
	return seconds, used
}

// daysIn is how many days a month has.
func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// unix returns the seconds since 1970 of a UTC time, without the cost of a time.Time.
func unix(year, month, day, hour, minute, second int) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	days := 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468
	return int64(days)*86400 + int64(3600*hour+60*minute+second)
}

// in returns the instant at which a clock in p's zone shows a time; false for one that it never shows, because clocks go forward then, and
// for one that it shows twice, because they go back.
func (p *Parser) in(year, month, day, hour, minute, second int, ns int64) (time.Time, bool) {
	leap := time.Duration(0)
	if second == 60 {
		second, leap = 59, time.Second
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, int(ns), p.zone)
	if t.Second() != second || t.Minute() != minute || t.Hour() != hour || t.Day() != day || p.twice(t) {
		return time.Time{}, false
	}
	return t.Add(leap), true
}

// twice says whether clocks in p's zone show at another instant what they show at t: they were put back not long before, or will be.
func (p *Parser) twice(t time.Time) bool {
	if p.zone == time.UTC {
		return false
	}
	const most = 48 * time.Hour // no clock was ever put back by more
	start, end := t.ZoneBounds()
	_, offset := t.Zone()
	if since := t.Sub(start); !start.IsZero() && since < most {
		_, before := start.Add(-1).Zone()
		if since < time.Duration(before-offset)*time.Second {
			return true
		}
	}
	if until := end.Sub(t); !end.IsZero() && until <= most {
		_, after := end.Zone()
		return until <= time.Duration(offset-after)*time.Second
	}
	return false
}

// rfc3339 reads 2026-11-22T13:55:36.123+01:00, also with a blank for the T, a comma before the fraction, and a shorter or
// missing zone; the last only if the settings name one.
func (p *Parser) rfc3339(text []byte) (ns int64, used int) {
	if len(text) < 19 || text[4] != '-' || text[7] != '-' || text[10] != 'T' && text[10] != 't' && text[10] != ' ' {
		return 0, 0
	}
	year, month, day := number(text, 4), number(text[5:], 2), number(text[8:], 2)
	hour, minute, second, ok := clock(text[11:])
	if !ok || year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, 0
	}
	used = 19
	nano, n := fraction(text[used:])
	used += n
	zone := text[used:]
	if len(zone) > 1 && zone[0] == ' ' && (zone[1] == '+' || zone[1] == '-') { // as Ruby and others write it
		if _, n := offset(zone[1:]); n >= 5 {
			zone = zone[1:]
			used++
		}
	}
	seconds, n := offset(zone)
	if n == 0 {
		if !p.zoned {
			return 0, 0
		}
		t, ok := p.in(year, month, day, hour, minute, second, nano)
		if !ok {
			return 0, 0
		}
		return t.UnixNano(), used
	}
	s := unix(year, month, day, hour, minute, second) - int64(seconds)
	if s < 0 || s > maxSecond {
		return 0, 0
	}
	return s*1e9 + nano, used + n
}

// maxSecond is the last second of 2261, whose nanoseconds fit.
const maxSecond = 9214646399

const monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"

// monthOf reads Jan to Dec; 0 for others.
func monthOf(text []byte) int {
	if len(text) < 3 {
		return 0
	}
	for i := 0; i < len(monthNames); i += 3 {
		if text[0] == monthNames[i] && text[1] == monthNames[i+1] && text[2] == monthNames[i+2] {
			return i/3 + 1
		}
	}
	return 0
}

// rfc3164 reads Oct 11 22:14:15, which names neither year nor zone: the year is the nearest.
func (p *Parser) rfc3164(text []byte, received flow.Range) (ns int64, used int) {
	if len(text) < 15 || text[3] != ' ' || text[6] != ' ' {
		return 0, 0
	}
	month := monthOf(text)
	day := number(text[4:], 2)
	if text[4] == ' ' {
		day = number(text[5:], 1)
	}
	hour, minute, second, ok := clock(text[7:])
	if month == 0 || day < 1 || !ok {
		return 0, 0
	}
	nano, n := fraction(text[15:])
	if rest := text[15+n:]; len(rest) >= 5 && rest[0] == ' ' && number(rest[1:], 4) >= 1970 && ends(rest[5:]) {
		return 0, 0 // a year behind the clock, or what looks like one
	}
	year, ok := nearestYear(received, month, day, hour, minute, second)
	if !ok {
		return 0, 0
	}
	t, ok := p.in(year, month, day, hour, minute, second, nano)
	if ok {
		ns, ok = nanos(t)
	}
	if !ok {
		return 0, 0
	}
	return ns, 15 + n
}

// commonLog reads 10/Oct/2000:13:55:36 -0700.
func commonLog(text []byte) (ns int64, used int) {
	if len(text) < 26 || text[2] != '/' || text[6] != '/' || text[11] != ':' || text[20] != ' ' {
		return 0, 0
	}
	day, month, year := number(text, 2), monthOf(text[3:]), number(text[7:], 4)
	hour, minute, second, ok := clock(text[12:])
	if !ok || month == 0 || year < 1970 || year > 2261 || day < 1 || day > daysIn(year, month) {
		return 0, 0
	}
	seconds, n := offset(text[21:])
	if n != 5 {
		return 0, 0
	}
	s := unix(year, month, day, hour, minute, second) - int64(seconds)
	if s < 0 || s > maxSecond {
		return 0, 0
	}
	return s * 1e9, 26
}

// epoch reads the whole of a text as seconds (10 digits) or milliseconds (13) since 1970, perhaps with a fraction: from
// 2001 to 2286.
func epoch(text []byte, digits int) (ns int64, ok bool) {
	ns, used := epochPrefix(text, digits)
	return ns, used > 0 && used == len(text)
}

func epochPrefix(text []byte, digits int) (ns int64, used int) {
	if len(text) < digits || text[0] == '0' {
		return 0, 0
	}
	v := int64(number(text, digits))
	if v < 0 || len(text) > digits && isDigit(text[digits]) {
		return 0, 0
	}
	unit := int64(1e9)
	if digits == 13 {
		unit = 1e6
	}
	if v > maxSecond*(1e9/unit) {
		return 0, 0
	}
	part, n := int64(0), 0
	if len(text) > digits && text[digits] == '.' {
		part, n = fraction(text[digits:])
	}
	return v*unit + part*unit/1e9, digits + n
}

// epochNear is how near to its receipt a bare number must be to be taken as a time: digits at the start of a line may be
// anything.
const epochNear = 400 * 24 * time.Hour

func (p *Parser) bareEpoch(text []byte, received flow.Range) (ns int64, used int) {
	for _, digits := range [...]int{10, 13} {
		ns, used := epochPrefix(text, digits)
		if used == 0 {
			continue
		}
		if d := time.Unix(0, ns).Sub(received.From); d.Abs() <= epochNear {
			return ns, used
		}
	}
	return 0, 0
}
