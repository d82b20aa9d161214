package ipcfile

import (
	"fmt"
	"math"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// Unit is the precision of timestamps in a file. The empty one leaves each as the source sent it.
type Unit string

// The units.
const (
	AsSent Unit = ""
	Millis Unit = "ms"
	Micros Unit = "us"
	Nanos  Unit = "ns"
)

// Units lists the units as settings spell them; to leave out the setting is AsSent.
func Units() []Unit { return []Unit{Micros, Nanos, Millis} }

func (u Unit) arrow() arrow.TimeUnit {
	switch u {
	case Millis:
		return arrow.Millisecond
	case Nanos:
		return arrow.Nanosecond
	}
	return arrow.Microsecond
}

// of returns a type with its timestamps in the unit, also those inside of lists, maps and structs; t itself if there are none of
// another unit.
func (u Unit) of(t arrow.DataType) arrow.DataType {
	if u == AsSent {
		return t
	}
	switch t := t.(type) {
	case *arrow.TimestampType:
		if t.Unit != u.arrow() {
			return &arrow.TimestampType{Unit: u.arrow(), TimeZone: t.TimeZone}
		}
	case *arrow.StructType:
		fields, changed := t.Fields(), false
		for i, f := range fields {
			fields[i] = u.field(f)
			changed = changed || fields[i].Type != f.Type
		}
		if changed {
			return arrow.StructOf(fields...)
		}
	case *arrow.MapType: // before lists: a map is a list too
		key, item := u.field(t.KeyField()), u.field(t.ItemField())
		if key.Type != t.KeyType() || item.Type != t.ItemType() {
			m := arrow.MapOfWithMetadata(key.Type, key.Metadata, item.Type, item.Metadata)
			m.SetItemNullable(item.Nullable)
			m.KeysSorted = t.KeysSorted
			return m
		}
	case *arrow.ListType:
		if f := u.field(t.ElemField()); f.Type != t.Elem() {
			return arrow.ListOfField(f)
		}
	case *arrow.LargeListType:
		if f := u.field(t.ElemField()); f.Type != t.Elem() {
			return arrow.LargeListOfField(f)
		}
	case *arrow.FixedSizeListType:
		if f := u.field(t.ElemField()); f.Type != t.Elem() {
			return arrow.FixedSizeListOfField(t.Len(), f)
		}
	}
	return t
}

func (u Unit) field(f arrow.Field) arrow.Field {
	f.Type = u.of(f.Type)
	return f
}

// tooFar says which time of a row can't be held by the unit; empty if there is none.
func (u Unit) tooFar(a arrow.Array, row int) string {
	if a.IsNull(row) {
		return ""
	}
	switch a := a.(type) {
	case *array.Timestamp:
		from, to := a.DataType().(*arrow.TimestampType).Unit.Multiplier(), u.arrow().Multiplier()
		if from <= to {
			return ""
		}
		by := int64(from / to)
		if v := int64(a.Value(row)); v > math.MaxInt64/by || v < math.MinInt64/by {
			return fmt.Sprintf("the time %d (in %s since 1970) is too far away for timestamps in %s", v, a.DataType().(*arrow.TimestampType).Unit, u)
		}
	case *array.Struct:
		for i := range a.NumField() {
			if why := u.tooFar(a.Field(i), row); why != "" {
				return why
			}
		}
	case array.ListLike:
		lo, hi := a.ValueOffsets(row)
		for i := lo; i < hi; i++ {
			if why := u.tooFar(a.ListValues(), int(i)); why != "" {
				return why
			}
		}
	}
	return ""
}

// retimed returns an array of another type that Unit.of has made of its own. What is finer than the unit is cut off, towards the past.
func retimed(a arrow.Array, to arrow.DataType) arrow.Array {
	d := retimedData(a.Data(), to)
	defer d.Release()
	return array.MakeFromData(d)
}

// retimedData returns data that the caller releases; what has no time is shared.
func retimedData(d arrow.ArrayData, to arrow.DataType) arrow.ArrayData {
	switch t := to.(type) {
	case *arrow.TimestampType:
		from := d.DataType().(*arrow.TimestampType).Unit
		if from == t.Unit {
			break
		}
		valid, values := d.Buffers()[0], memory.NewResizableBuffer(memory.DefaultAllocator)
		defer values.Release()
		n := d.Offset() + d.Len()
		values.Resize(arrow.TimestampTraits.BytesRequired(n))
		dst, src := arrow.TimestampTraits.CastFromBytes(values.Bytes()), arrow.TimestampTraits.CastFromBytes(d.Buffers()[1].Bytes())
		rescale(dst[:n], src, from.Multiplier().Nanoseconds(), t.Unit.Multiplier().Nanoseconds())
		return array.NewData(to, d.Len(), []*memory.Buffer{valid, values}, nil, d.NullN(), d.Offset())
	case arrow.NestedType:
		var children []arrow.ArrayData
		for i, f := range t.Fields() {
			c := retimedData(d.Children()[i], f.Type)
			defer c.Release()
			children = append(children, c)
		}
		return array.NewData(to, d.Len(), d.Buffers(), children, d.NullN(), d.Offset())
	}
	d.Retain()
	return d
}

// rescale fills dst with times in units of so many nanoseconds. A null's value may overflow: nobody reads it.
func rescale(dst, src []arrow.Timestamp, from, to int64) {
	if from > to {
		by := arrow.Timestamp(from / to)
		for i := range dst {
			dst[i] = src[i] * by
		}
		return
	}
	by := arrow.Timestamp(to / from)
	for i := range dst {
		q := src[i] / by
		if src[i]%by < 0 {
			q--
		}
		dst[i] = q
	}
}
