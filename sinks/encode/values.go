package encode

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
)

// appendJSONValue appends the JSON of a value, as NDJSON has it, to a builder.
func appendJSONValue(b array.Builder, value []byte) error {
	if string(value) == "null" {
		switch b.(type) {
		case *array.Float32Builder, *array.Float64Builder: // a null that is there is a NaN: see jsonScalar
			return appendText(b, "NaN")
		}
		b.AppendNull()
		return nil
	}
	switch b := b.(type) {
	case *array.StructBuilder:
		return appendJSONStruct(b, value)
	case *array.MapBuilder: // before lists: it has their methods
		return appendJSONMap(b, value)
	case array.ListLikeBuilder:
		b.Append(true)
		elem := b.ValueBuilder()
		return eachElement(value, func(v []byte) error { return appendElement(elem, v) })
	}
	if value[0] != '"' {
		return appendText(b, string(value))
	}
	text, err := unquote(value)
	if err != nil {
		return err
	}
	return appendText(b, string(text))
}

// appendElement appends what is in a list or map: there a null is a null.
func appendElement(b array.Builder, value []byte) error {
	if string(value) == "null" {
		b.AppendNull()
		return nil
	}
	return appendJSONValue(b, value)
}

func appendJSONStruct(b *array.StructBuilder, value []byte) error {
	t := b.Type().(*arrow.StructType)
	found := make([][]byte, t.NumFields())
	_, err := eachMember(value, 0, func(key, v []byte) error {
		name, err := unquote(append([]byte(nil), key...))
		if err != nil {
			return err
		}
		at, ok := t.FieldIdx(string(name))
		if !ok {
			return fmt.Errorf("it has no field %q", name)
		}
		found[at] = v
		return nil
	})
	if err != nil {
		return err
	}
	b.Append(true)
	for i, v := range found {
		if v == nil {
			b.FieldBuilder(i).AppendNull()
		} else if err := appendJSONValue(b.FieldBuilder(i), v); err != nil {
			return err
		}
	}
	return nil
}

func appendJSONMap(b *array.MapBuilder, value []byte) error {
	b.Append(true)
	_, err := eachMember(value, 0, func(key, v []byte) error {
		name, err := unquote(append([]byte(nil), key...))
		if err != nil {
			return err
		}
		if err := appendText(b.KeyBuilder(), string(name)); err != nil {
			return err
		}
		return appendElement(b.ItemBuilder(), v)
	})
	return err
}

// appendText appends the text of a value that isn't nested, without quotes, to a builder.
func appendText(b array.Builder, text string) error {
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(text)
	case *array.LargeStringBuilder:
		b.Append(text)
	case *array.BooleanBuilder:
		v, err := strconv.ParseBool(text)
		b.Append(v)
		return err
	case *array.Int8Builder:
		return appendInteger(b.Append, text, 8)
	case *array.Int16Builder:
		return appendInteger(b.Append, text, 16)
	case *array.Int32Builder:
		return appendInteger(b.Append, text, 32)
	case *array.Int64Builder:
		return appendInteger(b.Append, text, 64)
	case *array.DurationBuilder:
		return appendInteger(b.Append, text, 64)
	case *array.Uint8Builder:
		return appendUnsigned(b.Append, text, 8)
	case *array.Uint16Builder:
		return appendUnsigned(b.Append, text, 16)
	case *array.Uint32Builder:
		return appendUnsigned(b.Append, text, 32)
	case *array.Uint64Builder:
		return appendUnsigned(b.Append, text, 64)
	case *array.Float32Builder:
		v, err := strconv.ParseFloat(text, 32)
		b.Append(float32(v))
		return err
	case *array.Float64Builder:
		v, err := strconv.ParseFloat(text, 64)
		b.Append(v)
		return err
	default:
		return appendOther(b, text)
	}
	return nil
}

func appendInteger[T ~int8 | ~int16 | ~int32 | ~int64](to func(T), text string, bits int) error {
	v, err := strconv.ParseInt(text, 10, bits)
	to(T(v))
	return err
}

func appendUnsigned[T ~uint8 | ~uint16 | ~uint32 | ~uint64](to func(T), text string, bits int) error {
	v, err := strconv.ParseUint(text, 10, bits)
	to(T(v))
	return err
}

func appendOther(b array.Builder, text string) error {
	switch b := b.(type) {
	case *array.Date32Builder:
		t, err := time.Parse(time.DateOnly, text)
		b.Append(arrow.Date32FromTime(t))
		return err
	case *array.Date64Builder:
		t, err := time.Parse(time.DateOnly, text)
		b.Append(arrow.Date64FromTime(t))
		return err
	case *array.TimestampBuilder:
		return appendTimestamp(b, text)
	case *array.Decimal128Builder:
		t := b.Type().(*arrow.Decimal128Type)
		v, err := decimal(text, t.Scale)
		b.Append(v)
		return err
	case *array.BinaryBuilder:
		v, err := base64.StdEncoding.DecodeString(text)
		b.Append(v)
		return err
	case *array.FixedSizeBinaryBuilder:
		v, err := base64.StdEncoding.DecodeString(text)
		if width := b.Type().(*arrow.FixedSizeBinaryType).ByteWidth; err == nil && len(v) != width {
			err = fmt.Errorf("it has %d bytes, want %d", len(v), width)
		}
		if err == nil {
			b.Append(v)
		}
		return err
	}
	return fmt.Errorf("type %s isn't read back", b.Type())
}

func appendTimestamp(b *array.TimestampBuilder, text string) error {
	t, err := time.Parse(time.RFC3339Nano, strings.TrimSuffix(text, "Z")+"Z") // without a zone it is written without Z
	if err != nil {
		return err
	}
	unit := b.Type().(*arrow.TimestampType).Unit
	perSecond := int64(time.Second / unit.Multiplier())
	b.Append(arrow.Timestamp(t.Unix()*perSecond + int64(t.Nanosecond())/int64(unit.Multiplier())))
	return nil
}

// decimal reads what ToString of a decimal with a scale wrote.
func decimal(text string, scale int32) (decimal128.Num, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	v, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok || scale < 0 || len(fraction) != int(scale) || v.BitLen() > 127 {
		return decimal128.Num{}, fmt.Errorf("%q isn't a number of 128 bits with %d decimals", text, scale)
	}
	return decimal128.FromBigInt(v), nil
}
