package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"
)

// Size is a number of bytes. As a flag value and in files it is written as 64MiB, 500MB or a plain number.
type Size int64

// sizeUnits are tried in this order: B is a suffix of all others.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

var errSize = errors.New("write a size as 64MiB, 500MB or a whole number of bytes (KB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB of 1024)")

// ParseSize reads a size in bytes: a decimal number, a fraction allowed if the result is whole, and a unit (B, KB, MB, GB,
// TB, KiB, MiB, GiB, TiB; none is bytes). It is never negative.
func ParseSize(s string) (Size, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if !isDecimal(number) {
		return 0, errSize
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errSize
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	if !r.IsInt() {
		return 0, errors.New("not a whole number of bytes")
	}
	if !r.Num().IsInt64() {
		return 0, errors.New("larger than 8 EiB")
	}
	return Size(r.Num().Int64()), nil
}

// isDecimal reports whether s is digits with at most one point between them. It bounds the length too, so that no
// number is costly to parse.
func isDecimal(s string) bool {
	whole, fraction, pointed := strings.Cut(s, ".")
	return len(s) <= 40 && isDigits(whole) && (!pointed || isDigits(fraction))
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// String returns the shortest exact form: with the largest unit that divides the size.
func (s Size) String() string {
	best := fmt.Sprintf("%dB", int64(s))
	if s == 0 {
		return best
	}
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 {
			if text := fmt.Sprintf("%d%s", int64(s)/u.bytes, u.name); len(text) < len(best) {
				best = text
			}
		}
	}
	return best
}

// Set implements flag.Value.
func (s *Size) Set(text string) (err error) {
	*s, err = ParseSize(text)
	return err
}

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }

// Duration is a time.Duration that is written as 1h30m, 5m or 7d.
type Duration time.Duration

var durationUnits = []struct {
	name string
	d    time.Duration
}{
	{"ms", time.Millisecond},
	{"s", time.Second},
	{"m", time.Minute},
	{"h", time.Hour},
	{"d", 24 * time.Hour},
	{"w", 7 * 24 * time.Hour},
}

var errDuration = errors.New("write a duration as 90s, 5m, 1h30m or 7d (units: ms s m h d w)")

// ParseDuration reads a duration: numbers, fractions allowed if the result is whole milliseconds, each with a unit
// (ms, s, m, h, d of 24 hours, w), from large to small. A plain 0 is zero. It is never negative.
func ParseDuration(s string) (Duration, error) {
	rest := strings.TrimSpace(s)
	if rest == "0" {
		return 0, nil
	}
	if rest == "" || len(rest) > 200 {
		return 0, errDuration
	}
	total, last := new(big.Rat), time.Duration(math.MaxInt64)
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if end <= 0 || !isDecimal(rest[:end]) {
			return 0, errDuration
		}
		number, ok := new(big.Rat).SetString(rest[:end])
		if !ok {
			return 0, errDuration
		}
		rest = rest[end:]
		end = strings.IndexAny(rest, ".0123456789")
		if end < 0 {
			end = len(rest)
		}
		unit := time.Duration(0)
		for _, u := range durationUnits {
			if rest[:end] == u.name {
				unit = u.d
			}
		}
		if unit == 0 || unit >= last {
			return 0, errDuration
		}
		rest, last = rest[end:], unit
		total.Add(total, number.Mul(number, new(big.Rat).SetInt64(unit.Milliseconds())))
	}
	if !total.IsInt() {
		return 0, errors.New("finer than a millisecond")
	}
	if ms := total.Num(); ms.IsInt64() && ms.Int64() <= math.MaxInt64/int64(time.Millisecond) {
		return Duration(ms.Int64() * int64(time.Millisecond)), nil
	}
	return 0, errors.New("longer than 292 years")
}

// String returns the duration in the form that ParseDuration reads, without parts that are zero: "1h30m", "7d", "0s".
func (d Duration) String() string {
	rest := time.Duration(d)
	if rest == 0 {
		return "0s"
	}
	var b strings.Builder
	if rest < 0 {
		b.WriteByte('-')
		rest = rest.Abs()
	}
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := rest / u.d; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest %= u.d
		}
	}
	if rest > 0 { // durations that no file wrote
		b.WriteString(rest.String())
	}
	return b.String()
}

// Set implements flag.Value.
func (d *Duration) Set(text string) (err error) {
	*d, err = ParseDuration(text)
	return err
}

// Type implements pflag.Value.
func (d *Duration) Type() string { return "duration" }

// Time is a moment in whole UTC milliseconds, written as RFC 3339 with any offset, or as a date, which is its UTC
// midnight. The zero Time is not given.
type Time struct{ time.Time }

var errTime = errors.New("write a time as 2026-11-01, 2026-11-01T06:00:00Z or 2026-11-01T06:00:00+09:00")

// ParseTime reads a time between the years 1970 and 9999.
func ParseTime(s string) (Time, error) {
	text := strings.TrimSpace(s)
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		// Go's parser takes a comma before the fraction; RFC 3339 doesn't. A space or a lower-case t is refused: the
		// letter T alone is what every tool reads alike.
		if t, err = time.Parse(time.RFC3339Nano, text); err != nil || strings.Contains(text, ",") {
			return Time{}, errTime
		}
	}
	t = t.UTC()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		return Time{}, errors.New("finer than a millisecond")
	}
	if t.Year() < 1970 || t.Year() > 9999 {
		return Time{}, errors.New("not between the years 1970 and 9999")
	}
	return Time{t}, nil
}

// String returns the time as RFC 3339 in UTC, with milliseconds only if there are any; "" if it is not given.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.999Z")
}

// Set implements flag.Value.
func (t *Time) Set(text string) (err error) {
	*t, err = ParseTime(text)
	return err
}

// Type implements pflag.Value.
func (t *Time) Type() string { return "time" }

func (d Duration) std() time.Duration { return time.Duration(d) }
