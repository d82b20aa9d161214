package encode

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// csv writes RFC 4180: lines end in CRLF, a null is nothing, an empty string is "". Lists, structs and maps are JSON.
type csv struct {
	schema *arrow.Schema
	header []byte
	cols   []jsonValue // write a value as CSV
	last   arrow.Record
	steps  steps
	lines  []byte // what stands between their values
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
		return jsonFunc(func(a arrow.Array) appender { s := textsOf(a.(*array.String)); return csvString(s.at) }), nil
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

func (e *csv) Header() []byte { return e.header }

func (e *csv) Append(dst []byte, rec arrow.Record, row, limit int) ([]byte, int, error) {
	if row == 0 || e.last != rec { // as in ndjson
		if err := checkSchema(e.schema, rec); err != nil {
			return dst, row, err
		}
		e.plan(rec)
		e.last = rec
	}
	rows := int(rec.NumRows())
	if dst, row = e.steps.append(dst, row, rows, limit, appendCSVString); row == rows {
		e.steps.reset()
		e.last = nil
	}
	return dst, row, nil
}

// plan makes steps of the columns. Those that have one value, or none, in the whole batch are text between the others.
func (e *csv) plan(rec arrow.Record) {
	e.steps.reset()
	lines, start := e.lines[:0], 0
	for i, c := range e.cols {
		a := rec.Column(i)
		if i > 0 {
			lines = append(lines, ',')
		}
		switch nulls := a.NullN(); {
		case a.Len() > 0 && nulls == a.Len() || a.DataType().ID() == arrow.NULL:
		case nulls == 0 && uniform(a):
			lines = c.bind(a)(lines, 0)
		default:
			b := bound{array: a, nulls: nulls > 0, value: c.bind(a)}
			if b.nulls { // only the value is left out with it
				e.steps.add(step{before: lines[start:len(lines):len(lines)]})
				start = len(lines)
			}
			e.steps.add(newStep(lines[start:len(lines):len(lines)], &b))
			start = len(lines)
		}
	}
	lines = append(lines, "\r\n"...)
	e.steps.behind, e.lines = lines[start:], lines
}
