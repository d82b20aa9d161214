package encode

import (
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

const (
	daySeconds = 24 * 60 * 60
	// twoDigits are the numbers from 00 to 99.
	twoDigits = "00010203040506070809" + "10111213141516171819" + "20212223242526272829" + "30313233343536373839" + "40414243444546474849" +
		"50515253545556575859" + "60616263646566676869" + "70717273747576777879" + "80818283848586878889" + "90919293949596979899"
)

// timestamps are RFC 3339 with nine decimals, in UTC; one whose type has no zone is a clock on some wall and gets no Z.
// Neighbours mostly share their day, whose text is kept.
type timestamps struct {
	perSecond, multiplier int64
	zoned                 bool
	day                   int64  // since 1970
	prefix                []byte // "2026-11-01T" of day
}

func newTimestamps(t *arrow.TimestampType) *timestamps {
	c := &timestamps{perSecond: int64(time.Second / t.Unit.Multiplier()), multiplier: int64(t.Unit.Multiplier()), zoned: t.TimeZone != ""}
	c.remember(0)
	return c
}

func (*timestamps) quoted() bool                       { return true }
func (*timestamps) nan(arrow.Array) func(row int) bool { return nil }

func (c *timestamps) remember(day int64) {
	c.day = day
	c.prefix = time.Unix(day*daySeconds, 0).UTC().AppendFormat(c.prefix[:0], "2006-01-02T")
}

func (c *timestamps) bind(a arrow.Array) appender {
	v := a.(*array.Timestamp).TimestampValues()
	return func(dst []byte, row int) []byte {
		x := int64(v[row])
		second := floorDiv(x, c.perSecond)
		day := floorDiv(second, daySeconds)
		if day != c.day {
			c.remember(day)
		}
		dst = appendClock(append(dst, c.prefix...), int(second-day*daySeconds))
		dst = appendNanos(dst, (x-second*c.perSecond)*c.multiplier)
		if c.zoned {
			dst = append(dst, 'Z')
		}
		return dst
	}
}

// appendClock appends the time of a day in seconds as 15:04:05.
func appendClock(dst []byte, second int) []byte {
	h, m, s := 2*(second/3600), 2*(second/60%60), 2*(second%60)
	return append(dst, twoDigits[h], twoDigits[h+1], ':', twoDigits[m], twoDigits[m+1], ':', twoDigits[s], twoDigits[s+1])
}

// appendNanos appends a point and nine digits.
func appendNanos(dst []byte, n int64) []byte {
	b := [10]byte{0: '.'}
	v := uint32(n)
	for i := 8; i > 0; i -= 2 {
		two := 2 * (v % 100)
		b[i], b[i+1] = twoDigits[two], twoDigits[two+1]
		v /= 100
	}
	b[1] = byte('0' + v)
	return append(dst, b[:]...)
}
