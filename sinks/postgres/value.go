package postgres

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
)

// appender appends the binary form of a row's value, which isn't null, without its length.
type appender func(dst []byte, row int) ([]byte, error)

// epochDays are the days from 1970 to PostgreSQL's epoch, 2000-01-01.
const epochDays = 10957

// What PostgreSQL can hold, counted from its epoch; ends are exclusive.
const (
	minDate, endDate = -2451545, 2147483494 - 2451545
	minTime, endTime = -211813488000000000, 9223371331200000000
	dayMicros        = 24 * 60 * 60 * 1_000_000
)

// bind returns the appender of a column's values in a batch.
func (c *column) bind(a arrow.Array) (appender, error) {
	switch a := a.(type) {
	case *array.Boolean:
		return func(dst []byte, row int) ([]byte, error) {
			if a.Value(row) {
				return append(dst, 1), nil
			}
			return append(dst, 0), nil
		}, nil
	case *array.Int8:
		return integer16(func(row int) int16 { return int16(a.Value(row)) }), nil
	case *array.Int16:
		return integer16(a.Value), nil
	case *array.Uint8:
		return integer16(func(row int) int16 { return int16(a.Value(row)) }), nil
	case *array.Int32:
		return integer32(a.Value), nil
	case *array.Uint16:
		return integer32(func(row int) int32 { return int32(a.Value(row)) }), nil
	case *array.Int64:
		return integer64(a.Value), nil
	case *array.Uint32:
		return integer64(func(row int) int64 { return int64(a.Value(row)) }), nil
	case *array.Duration:
		return integer64(func(row int) int64 { return int64(a.Value(row)) }), nil
	case *array.Float16:
		return real32(func(row int) float32 { return a.Value(row).Float32() }), nil
	case *array.Float32:
		return real32(a.Value), nil
	case *array.Float64:
		return func(dst []byte, row int) ([]byte, error) {
			return binary.BigEndian.AppendUint64(dst, math.Float64bits(a.Value(row))), nil
		}, nil
	case *array.Uint64:
		return func(dst []byte, row int) ([]byte, error) {
			return appendNumeric(dst, new(big.Int).SetUint64(a.Value(row)), 0), nil
		}, nil
	case *array.Decimal128:
		scale := c.arrow.(*arrow.Decimal128Type).Scale
		return func(dst []byte, row int) ([]byte, error) {
			return appendNumeric(dst, a.Value(row).BigInt(), scale), nil
		}, nil
	case *array.Decimal256:
		scale := c.arrow.(*arrow.Decimal256Type).Scale
		return func(dst []byte, row int) ([]byte, error) {
			return appendNumeric(dst, a.Value(row).BigInt(), scale), nil
		}, nil
	case *array.String:
		return text(func(row int) []byte { return stringBytes(a, row) }), nil
	case *array.LargeString:
		return text(func(row int) []byte { return []byte(a.Value(row)) }), nil
	case *array.Binary:
		return octets(a.Value), nil
	case *array.LargeBinary:
		return octets(a.Value), nil
	case *array.FixedSizeBinary:
		return octets(a.Value), nil
	case *array.Date32:
		return date(func(row int) int64 { return int64(a.Value(row)) }), nil
	case *array.Date64:
		return date(func(row int) int64 { return floorDiv(int64(a.Value(row)), 24*60*60*1000) }), nil
	case *array.Time32:
		return clock(c.arrow.(*arrow.Time32Type).Unit, func(row int) int64 { return int64(a.Value(row)) }), nil
	case *array.Time64:
		return clock(c.arrow.(*arrow.Time64Type).Unit, func(row int) int64 { return int64(a.Value(row)) }), nil
	case *array.Timestamp:
		return instant(c.arrow.(*arrow.TimestampType).Unit, func(row int) int64 { return int64(a.Value(row)) }), nil
	case *array.Null:
		return nil, nil // never called
	case *array.Struct, *array.Map, array.ListLike:
		return document(c.json.Bind(a)), nil
	}
	return nil, fault.Errorf(fault.Bug, "copy a batch", "column %q is %s", c.name, a.DataType())
}

func integer16(of func(int) int16) appender {
	return func(dst []byte, row int) ([]byte, error) {
		return binary.BigEndian.AppendUint16(dst, uint16(of(row))), nil
	}
}

func integer32(of func(int) int32) appender {
	return func(dst []byte, row int) ([]byte, error) {
		return binary.BigEndian.AppendUint32(dst, uint32(of(row))), nil
	}
}

func integer64(of func(int) int64) appender {
	return func(dst []byte, row int) ([]byte, error) {
		return binary.BigEndian.AppendUint64(dst, uint64(of(row))), nil
	}
}

func real32(of func(int) float32) appender {
	return func(dst []byte, row int) ([]byte, error) {
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(of(row))), nil
	}
}

func octets(of func(int) []byte) appender {
	return func(dst []byte, row int) ([]byte, error) { return append(dst, of(row)...), nil }
}

func text(of func(int) []byte) appender {
	return func(dst []byte, row int) ([]byte, error) {
		value := of(row)
		if bytes.IndexByte(value, 0) >= 0 {
			return dst, unfit("its text has a NUL character, which PostgreSQL's text can't hold")
		}
		return append(dst, value...), nil
	}
}

// stringBytes is a value without a copy; it belongs to the array.
func stringBytes(a *array.String, row int) []byte {
	offsets, values := a.ValueOffsets(), a.ValueBytes()
	return values[offsets[row]-offsets[0] : offsets[row+1]-offsets[0]]
}

// document is a jsonb value: a version, then the text.
func document(value func(dst []byte, row int) []byte) appender {
	return func(dst []byte, row int) ([]byte, error) {
		start := len(dst)
		dst = value(append(dst, 1), row)
		switch text := dst[start+1:]; {
		case len(text) > maxDocument:
			return dst, unfit("its JSON has %d bytes, PostgreSQL's jsonb holds %d", len(text), maxDocument)
		case holdsNUL(text):
			return dst, unfit("its JSON has a NUL character, which PostgreSQL's jsonb can't hold")
		}
		return dst, nil
	}
}

// maxDocument is what the elements of a jsonb may have together.
const maxDocument = 255 << 20

// holdsNUL finds the escape of a NUL; of a run of backslashes before a u only an odd one is an escape.
func holdsNUL(json []byte) bool {
	needle := []byte(`\u0000`)
	for from := 0; ; {
		at := bytes.Index(json[from:], needle)
		if at < 0 {
			return false
		}
		at += from
		before := 0
		for before < at && json[at-1-before] == '\\' {
			before++
		}
		if before%2 == 0 {
			return true
		}
		from = at + 1
	}
}

func date(of func(int) int64) appender {
	return func(dst []byte, row int) ([]byte, error) {
		days := of(row) - epochDays
		if days < minDate || days >= endDate {
			return dst, unfit("its date is %d days from 1970, beyond what PostgreSQL holds (4713 BC to 5874897 AD)", of(row))
		}
		return binary.BigEndian.AppendUint32(dst, uint32(int32(days))), nil
	}
}

func clock(unit arrow.TimeUnit, of func(int) int64) appender {
	return func(dst []byte, row int) ([]byte, error) {
		micros, ok := toMicros(unit, of(row), 0)
		if !ok || micros < 0 || micros > dayMicros {
			return dst, unfit("its time of day is %d%s, beyond a day", of(row), unit)
		}
		return binary.BigEndian.AppendUint64(dst, uint64(micros)), nil
	}
}

func instant(unit arrow.TimeUnit, of func(int) int64) appender {
	return func(dst []byte, row int) ([]byte, error) {
		micros, ok := toMicros(unit, of(row), epochDays*24*60*60)
		if !ok || micros < minTime || micros >= endTime {
			return dst, unfit("its time is %d%s from 1970, beyond what PostgreSQL holds (4713 BC to 294276 AD)", of(row), unit)
		}
		return binary.BigEndian.AppendUint64(dst, uint64(micros)), nil
	}
}

// toMicros returns v in microseconds from an epoch in seconds, rounded down, towards the past; false: it is too large for them.
func toMicros(unit arrow.TimeUnit, v, epoch int64) (int64, bool) {
	perSecond := int64(time.Second / unit.Multiplier())
	if v < math.MinInt64+epoch*perSecond {
		return 0, false
	}
	v -= epoch * perSecond
	if unit == arrow.Nanosecond {
		return floorDiv(v, 1000), true
	}
	factor := 1_000_000 / perSecond
	return v * factor, v >= math.MinInt64/factor && v <= math.MaxInt64/factor
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// appendNumeric appends unscaled / 10^scale: groups of four decimal digits, aligned at the point.
func appendNumeric(dst []byte, unscaled *big.Int, scale int32) []byte {
	digits := new(big.Int).Abs(unscaled).Append(nil, 10)
	if scale < 0 {
		digits = append(digits, bytes.Repeat([]byte{'0'}, int(-scale))...)
		scale = 0
	}
	whole := len(digits) - int(scale)
	if whole < 0 { // 0.00123: zeros between the point and the digits
		digits = append(bytes.Repeat([]byte{'0'}, -whole), digits...)
		whole = 0
	}
	if extra := whole % 4; extra != 0 {
		digits = append(bytes.Repeat([]byte{'0'}, 4-extra), digits...)
		whole += 4 - extra
	}
	if extra := len(digits) % 4; extra != 0 {
		digits = append(digits, bytes.Repeat([]byte{'0'}, 4-extra)...)
	}
	var groups []uint16
	for i := 0; i < len(digits); i += 4 {
		d := digits[i : i+4]
		groups = append(groups, uint16(d[0]-'0')*1000+uint16(d[1]-'0')*100+uint16(d[2]-'0')*10+uint16(d[3]-'0'))
	}
	weight := whole/4 - 1
	for len(groups) > 0 && groups[0] == 0 {
		groups = groups[1:]
		weight--
	}
	for len(groups) > 0 && groups[len(groups)-1] == 0 {
		groups = groups[:len(groups)-1]
	}
	sign := uint16(0)
	if unscaled.Sign() < 0 {
		sign = 0x4000
	}
	if len(groups) == 0 {
		weight = 0
	}
	for _, v := range []uint16{uint16(len(groups)), uint16(int16(weight)), sign, uint16(scale)} {
		dst = binary.BigEndian.AppendUint16(dst, v)
	}
	for _, g := range groups {
		dst = binary.BigEndian.AppendUint16(dst, g)
	}
	return dst
}
