package encode

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// appender appends the text of one value that isn't null.
type appender func(dst []byte, row int) []byte

// column writes the values of one column, one batch after another.
type column interface {
	// bind takes the next batch's array and returns its appender, which is good until the next bind.
	bind(a arrow.Array) appender
	// quoted says that the text must stand in quotes in JSON; it needs no escape.
	quoted() bool
	// nan reports whether JSON has no form for the value of a row; nil: it always has one.
	nan(a arrow.Array) func(row int) bool
}

// plain is a column whose values need no state between batches.
type plain struct {
	quote bool
	of    func(a arrow.Array) appender
}

func (p plain) bind(a arrow.Array) appender         { return p.of(a) }
func (p plain) quoted() bool                        { return p.quote }
func (plain) nan(arrow.Array) func(row int) bool    { return nil }
func number(of func(a arrow.Array) appender) column { return plain{of: of} }
func text(of func(a arrow.Array) appender) column   { return plain{quote: true, of: of} }

// scalar returns the column of a type whose text needs neither escape nor structure; nil for all others.
func scalar(t arrow.DataType) column {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return number(func(a arrow.Array) appender {
			b := a.(*array.Boolean)
			return func(dst []byte, row int) []byte { return strconv.AppendBool(dst, b.Value(row)) }
		})
	case *arrow.Int8Type:
		return integers(func(a arrow.Array) []int8 { return a.(*array.Int8).Int8Values() })
	case *arrow.Int16Type:
		return integers(func(a arrow.Array) []int16 { return a.(*array.Int16).Int16Values() })
	case *arrow.Int32Type:
		return integers(func(a arrow.Array) []int32 { return a.(*array.Int32).Int32Values() })
	case *arrow.Int64Type:
		return integers(func(a arrow.Array) []int64 { return a.(*array.Int64).Int64Values() })
	case *arrow.Uint8Type:
		return integers(func(a arrow.Array) []uint8 { return a.(*array.Uint8).Uint8Values() })
	case *arrow.Uint16Type:
		return integers(func(a arrow.Array) []uint16 { return a.(*array.Uint16).Uint16Values() })
	case *arrow.Uint32Type:
		return integers(func(a arrow.Array) []uint32 { return a.(*array.Uint32).Uint32Values() })
	case *arrow.Uint64Type:
		return number(func(a arrow.Array) appender {
			v := a.(*array.Uint64).Uint64Values()
			return func(dst []byte, row int) []byte { return strconv.AppendUint(dst, v[row], 10) }
		})
	case *arrow.DurationType: // a number of the type's unit
		return integers(func(a arrow.Array) []arrow.Duration { return a.(*array.Duration).DurationValues() })
	case *arrow.Float16Type:
		return floats{32, func(a arrow.Array) func(int) float64 {
			f := a.(*array.Float16)
			return func(row int) float64 { return float64(f.Value(row).Float32()) }
		}}
	case *arrow.Float32Type:
		return floats{32, func(a arrow.Array) func(int) float64 {
			f := a.(*array.Float32)
			return func(row int) float64 { return float64(f.Value(row)) }
		}}
	case *arrow.Float64Type:
		return floats{64, func(a arrow.Array) func(int) float64 { return a.(*array.Float64).Value }}
	case *arrow.Decimal128Type:
		return number(func(a arrow.Array) appender {
			d := a.(*array.Decimal128)
			return func(dst []byte, row int) []byte { return append(dst, d.Value(row).ToString(t.Scale)...) }
		})
	case *arrow.Decimal256Type:
		return number(func(a arrow.Array) appender {
			d := a.(*array.Decimal256)
			return func(dst []byte, row int) []byte { return append(dst, d.Value(row).ToString(t.Scale)...) }
		})
	case *arrow.BinaryType:
		return base64s(func(a arrow.Array) func(int) []byte { return a.(*array.Binary).Value })
	case *arrow.LargeBinaryType:
		return base64s(func(a arrow.Array) func(int) []byte { return a.(*array.LargeBinary).Value })
	case *arrow.FixedSizeBinaryType:
		return base64s(func(a arrow.Array) func(int) []byte { return a.(*array.FixedSizeBinary).Value })
	}
	return moment(t)
}

// moment returns the column of a date or time; nil for all other types.
func moment(t arrow.DataType) column {
	switch t := t.(type) {
	case *arrow.Date32Type:
		return text(func(a arrow.Array) appender {
			d := a.(*array.Date32)
			return func(dst []byte, row int) []byte { return appendDate(dst, int64(d.Value(row))) }
		})
	case *arrow.Date64Type:
		return text(func(a arrow.Array) appender {
			d := a.(*array.Date64)
			return func(dst []byte, row int) []byte {
				return appendDate(dst, floorDiv(int64(d.Value(row)), 24*60*60*1000))
			}
		})
	case *arrow.Time32Type:
		return clock(t.Unit, func(a arrow.Array) func(int) int64 {
			v := a.(*array.Time32)
			return func(row int) int64 { return int64(v.Value(row)) }
		})
	case *arrow.Time64Type:
		return clock(t.Unit, func(a arrow.Array) func(int) int64 {
			v := a.(*array.Time64)
			return func(row int) int64 { return int64(v.Value(row)) }
		})
	case *arrow.TimestampType:
		return newTimestamps(t)
	}
	return nil
}

func integers[T ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32](values func(arrow.Array) []T) column {
	return number(func(a arrow.Array) appender {
		v := values(a)
		return func(dst []byte, row int) []byte { return strconv.AppendInt(dst, int64(v[row]), 10) }
	})
}

// floats are written with the fewest digits that give the same value again.
type floats struct {
	bits int
	of   func(arrow.Array) func(int) float64
}

func (floats) quoted() bool { return false }

func (f floats) bind(a arrow.Array) appender {
	v := f.of(a)
	return func(dst []byte, row int) []byte {
		x := v(row)
		switch {
		case math.IsInf(x, 1):
			return append(dst, "Infinity"...)
		case math.IsInf(x, -1):
			return append(dst, "-Infinity"...)
		}
		form := byte('f')
		if abs := math.Abs(x); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
			form = 'e'
		}
		return strconv.AppendFloat(dst, x, form, -1, f.bits)
	}
}

func (f floats) nan(a arrow.Array) func(row int) bool {
	v := f.of(a)
	return func(row int) bool { x := v(row); return math.IsNaN(x) || math.IsInf(x, 0) }
}

func base64s(of func(arrow.Array) func(int) []byte) column {
	return text(func(a arrow.Array) appender {
		v := of(a)
		return func(dst []byte, row int) []byte { return base64.StdEncoding.AppendEncode(dst, v(row)) }
	})
}

func appendDate(dst []byte, days int64) []byte {
	return time.Unix(days*24*60*60, 0).UTC().AppendFormat(dst, "2006-01-02")
}

func clock(unit arrow.TimeUnit, of func(arrow.Array) func(int) int64) column {
	perSecond := int64(time.Second / unit.Multiplier())
	return text(func(a arrow.Array) appender {
		v := of(a)
		return func(dst []byte, row int) []byte {
			x := v(row)
			sec := floorDiv(x, perSecond)
			dst = time.Unix(sec, 0).UTC().AppendFormat(dst, "15:04:05")
			return appendNanos(dst, (x-sec*perSecond)*int64(unit.Multiplier()))
		}
	})
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
