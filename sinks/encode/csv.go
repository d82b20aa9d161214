package encode

import (
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// csv writes RFC 4180: lines end in CRLF, a null is nothing, an empty string is "". Lists, structs and maps are JSON.
type csv struct {
	schema *arrow.Schema
	header []byte
	cols   []jsonValue // write a value as CSV
	last   arrow.Record
	bound  []bound
}

func newCSV(schema *arrow.Schema) (Encoder, error) {
	e := &csv{schema: schema, cols: make([]jsonValue, schema.NumFields())}
	for i, f := range schema.Fields() {
		var err error
		if e.cols[i], err = csvColumn(f); err != nil {
			return nil, err
		}
		if i > 0 {
			e.header = append(e.header, ',')
		}
		e.header = appendCSVString(e.header, f.Name)
	}
	e.header = append(e.header, "\r\n"...)
	return e, nil
}

func csvColumn(f arrow.Field) (jsonValue, error) {
	if c := scalar(f.Type); c != nil {
		return jsonFunc(c.bind), nil // no comma, quote or line end in it
	}
	switch f.Type.ID() {
	case arrow.STRING:
		return jsonFunc(func(a arrow.Array) appender { s := a.(*array.String); return csvString(s.Value) }), nil
	case arrow.LARGE_STRING:
		return jsonFunc(func(a arrow.Array) appender { s := a.(*array.LargeString); return csvString(s.Value) }), nil
	}
	v, err := newJSON(CSV, f.Name, f.Type)
	if err != nil {
		return nil, err
	}
	var scratch []byte
	return jsonFunc(func(a arrow.Array) appender {
		value := v.bind(a)
		return func(dst []byte, row int) []byte {
			scratch = value(scratch[:0], row)
			dst = append(dst, '"')
			for _, c := range scratch {
				if c == '"' {
					dst = append(dst, '"')
				}
				dst = append(dst, c)
			}
			return append(dst, '"')
		}
	}), nil
}

func csvString(value func(int) string) appender {
	return func(dst []byte, row int) []byte { return appendCSVString(dst, value(row)) }
}

func appendCSVString(dst []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, ",\"\r\n") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return append(append(dst, s...), '"')
		}
		dst = append(append(dst, s[:i]...), `""`...)
		s = s[i+1:]
	}
}

func (e *csv) Header() []byte { return e.header }

func (e *csv) Append(dst []byte, rec arrow.Record, row, limit int) ([]byte, int, error) {
	if row == 0 || e.last != rec { // as in ndjson
		if err := checkSchema(e.schema, rec); err != nil {
			return dst, row, err
		}
		e.bound = e.bound[:0]
		for i, c := range e.cols {
			e.bound = append(e.bound, bound{array: rec.Column(i), value: c.bind(rec.Column(i))})
		}
		e.last = rec
	}
	rows := int(rec.NumRows())
	for ; row < rows && len(dst) < limit; row++ {
		for i := range e.bound {
			b := &e.bound[i]
			if i > 0 {
				dst = append(dst, ',')
			}
			if !isNull(b.array, row) {
				dst = b.value(dst, row)
			}
		}
		dst = append(dst, "\r\n"...)
	}
	if row == rows {
		clear(e.bound[:cap(e.bound)])
		e.bound, e.last = e.bound[:0], nil
	}
	return dst, row, nil
}
