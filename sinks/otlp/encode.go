package otlp

import (
	"math"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-io/sluice/sinks/columns"
)

// Field numbers of opentelemetry.proto.logs.v1, common.v1 and resource.v1. Requests are written field by field, so that a batch is
// never there a second time as messages.
const (
	fieldResourceLogs = 1 // of ExportLogsServiceRequest
	fieldResource     = 1 // of ResourceLogs
	fieldScopeLogs    = 2
	fieldScope        = 1 // of ScopeLogs
	fieldLogRecords   = 2
	fieldAttributes   = 1 // of Resource
	fieldScopeName    = 1 // of InstrumentationScope
	fieldScopeVersion = 2

	fieldTime           = 1 // of LogRecord
	fieldSeverityNumber = 2
	fieldSeverityText   = 3
	fieldBody           = 5
	fieldLogAttributes  = 6
	fieldObserved       = 11

	fieldKey   = 1 // of KeyValue
	fieldValue = 2

	fieldString = 1 // of AnyValue
	fieldBool   = 2
	fieldInt    = 3
	fieldDouble = 4
	fieldBytes  = 7
)

// attributeUID is the record's ID in the words of the semantic conventions.
const attributeUID = "log.record.uid"

// columnPrefix stands before the name of a column that the record's attributes have too.
const columnPrefix = "sluice.column."

func appendBytes(dst []byte, field protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), b)
}

func appendString(dst []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), s)
}

func sizeBytes(field protowire.Number, n int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(n)
}

// appendHead appends a field's tag and the length of what follows.
func appendHead(dst []byte, field protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.BytesType), uint64(n))
}

// appendAttribute appends a KeyValue whose AnyValue is given encoded.
func appendAttribute(dst []byte, field protowire.Number, key string, value []byte) []byte {
	dst = appendHead(dst, field, sizeBytes(fieldKey, len(key))+sizeBytes(fieldValue, len(value)))
	return appendBytes(appendString(dst, fieldKey, key), fieldValue, value)
}

// appendText appends a KeyValue with a text.
func appendText(dst []byte, field protowire.Number, key, text string) []byte {
	any := sizeBytes(fieldString, len(text))
	dst = appendHead(dst, field, sizeBytes(fieldKey, len(key))+sizeBytes(fieldValue, any))
	return appendString(appendHead(appendString(dst, fieldKey, key), fieldValue, any), fieldString, text)
}

// recordEncoder writes LogRecords.
type recordEncoder struct {
	keys  []string // of the record that is being written
	value []byte
	text  []byte
}

// append appends a LogRecord's fields, without tag and length.
func (e *recordEncoder) append(dst []byte, rows *columns.Rows, row int, id string) ([]byte, error) {
	fixed := func(field protowire.Number, ns int64) {
		dst = protowire.AppendFixed64(protowire.AppendTag(dst, field, protowire.Fixed64Type), uint64(ns))
	}
	t, dated := rows.Timestamp(row)
	inRange := dated && t.UnixNano() > 0 && t.Year() >= 1970 && t.Year() < 2262 // an unsigned number of nanoseconds, 0 is unknown
	if inRange {
		fixed(fieldTime, t.UnixNano())
	}
	if o, ok := rows.Observed(row); ok && o.UnixNano() > 0 {
		fixed(fieldObserved, o.UnixNano())
	}
	if n := rows.Severity(row); n != 0 {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldSeverityNumber, protowire.VarintType), uint64(int64(n)))
	}
	if s := rows.SeverityText(row); s != "" {
		dst = appendString(dst, fieldSeverityText, s)
	}
	body, text, err := rows.Body(row)
	if err != nil {
		return dst, err
	}
	var kind protowire.Number = fieldString
	if !text {
		kind = fieldBytes
	}
	dst = appendBytes(appendHead(dst, fieldBody, sizeBytes(kind, len(body))), kind, body)
	dst = appendText(dst, fieldLogAttributes, attributeUID, id)
	e.keys = append(e.keys[:0], attributeUID)
	if dated && !inRange {
		dst = appendText(dst, fieldLogAttributes, e.unique("timestamp"), t.Format("2006-01-02T15:04:05.000000000Z"))
	}
	rows.Attributes(row, func(key, value string) { dst = appendText(dst, fieldLogAttributes, e.unique(key), value) })
	rows.Others(row, func(o *columns.Other, a arrow.Array, text func([]byte) []byte) {
		e.value = e.appendAny(e.value[:0], a, row, text)
		dst = appendAttribute(dst, fieldLogAttributes, e.unique(o.Name), e.value)
	})
	return dst, nil
}

// unique returns key, behind columnPrefix as often as it takes: the keys of a record's attributes must differ.
func (e *recordEncoder) unique(key string) string {
	for i := 0; i < len(e.keys); i++ {
		if e.keys[i] == key {
			key, i = columnPrefix+key, -1
		}
	}
	e.keys = append(e.keys, key)
	return key
}

// appendAny appends an AnyValue's field: numbers, truth values and bytes have types of their own, all else is text.
func (e *recordEncoder) appendAny(dst []byte, a arrow.Array, row int, text func([]byte) []byte) []byte {
	integer := func(v int64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(dst, fieldInt, protowire.VarintType), uint64(v))
	}
	double := func(v float64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(dst, fieldDouble, protowire.Fixed64Type), math.Float64bits(v))
	}
	switch a := a.(type) {
	case *array.Boolean:
		return protowire.AppendVarint(protowire.AppendTag(dst, fieldBool, protowire.VarintType), protowire.EncodeBool(a.Value(row)))
	case *array.Int8:
		return integer(int64(a.Value(row)))
	case *array.Int16:
		return integer(int64(a.Value(row)))
	case *array.Int32:
		return integer(int64(a.Value(row)))
	case *array.Int64:
		return integer(a.Value(row))
	case *array.Uint8:
		return integer(int64(a.Value(row)))
	case *array.Uint16:
		return integer(int64(a.Value(row)))
	case *array.Uint32:
		return integer(int64(a.Value(row)))
	case *array.Float32:
		return double(float64(a.Value(row)))
	case *array.Float64:
		return double(a.Value(row))
	case *array.Binary:
		return appendBytes(dst, fieldBytes, a.Value(row))
	}
	e.text = text(e.text[:0])
	return appendBytes(dst, fieldString, e.text)
}
