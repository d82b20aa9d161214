package encode

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
)

// Decoder reads the records of a text format back, as far as the digest of their stream counts them. It isn't safe for concurrent use.
type Decoder interface {
	// Sum returns the Sum of the record in one line, without the line's end. ok is false for a line that isn't a record: a header.
	// The line's memory is used for what it holds, decoded.
	Sum(line []byte) (sum flow.Sum, ok bool, err error)
	// Close frees what it holds.
	Close()
}

// NewDecoder returns a decoder for one file of a format. digest names the columns that the stream's digest hashes; without, it is
// the text body's.
func NewDecoder(f Format, schema *arrow.Schema, digest []string) (Decoder, error) {
	if f == Raw {
		if len(digest) > 0 {
			return nil, fmt.Errorf("digest: a raw file has no columns %q", digest)
		}
		return rawDecoder{}, nil
	}
	names, text := digest, len(digest) == 0
	if text {
		names = []string{flow.ColBody, flow.ColBodyRaw}
	}
	var into *row
	if !text {
		var err error
		if into, err = newRow(schema, digest); err != nil {
			return nil, err
		}
	}
	switch f {
	case NDJSON:
		d := &jsonDecoder{row: into, keys: make([]string, len(names)), found: make([][]byte, len(names))}
		for i, name := range names {
			d.keys[i] = string(appendJSONString(nil, name))
		}
		return d, nil
	case CSV:
		return &csvDecoder{row: into, names: names, found: make([][]byte, len(names))}, nil
	}
	return nil, fmt.Errorf("unknown format %q", f)
}

// rawDecoder takes each line for a record.
type rawDecoder struct{}

func (rawDecoder) Sum(line []byte) (flow.Sum, bool, error) { return flow.SumOf(line), true, nil }
func (rawDecoder) Close()                                  {}

// row is a record's digest columns on their way back to Arrow, whose canonical form is counted.
type row struct {
	schema  *arrow.Schema
	builder *array.RecordBuilder
	names   []string
}

func newRow(schema *arrow.Schema, digest []string) (*row, error) {
	fields := make([]arrow.Field, len(digest))
	for i, name := range digest {
		at := schema.FieldIndices(name)
		if len(at) != 1 {
			return nil, fmt.Errorf("digest: the schema has %d columns %q, want one", len(at), name)
		}
		fields[i] = schema.Field(at[0])
	}
	columns := arrow.NewSchema(fields, nil)
	return &row{schema: columns, builder: array.NewRecordBuilder(memory.DefaultAllocator, columns), names: digest}, nil
}

// sum returns the Sum of one record, whose values fill appends.
func (r *row) sum(fill func(i int, b array.Builder) error) (flow.Sum, error) {
	for i := range r.names {
		if err := fill(i, r.builder.Field(i)); err != nil {
			r.builder.Release() // half of a row is no beginning of the next
			r.builder = array.NewRecordBuilder(memory.DefaultAllocator, r.schema)
			return flow.Sum{}, fmt.Errorf("column %q: %w", r.names[i], err)
		}
	}
	rec := r.builder.NewRecord()
	defer rec.Release()
	return flow.SumColumns(rec, r.names)
}

func (r *row) close() {
	if r != nil {
		r.builder.Release()
	}
}

// bodySum returns the Sum of a record of lines: of body_raw in base64 if it is there, else of body. What isn't there is null.
func bodySum(body, raw []byte, hasRaw bool) (flow.Sum, error) {
	if !hasRaw {
		return flow.SumOf(body), nil
	}
	n, err := base64.StdEncoding.Decode(raw, raw) // what is decoded is shorter, and behind what is read
	if err != nil {
		return flow.Sum{}, fmt.Errorf("column %q: %w", flow.ColBodyRaw, err)
	}
	return flow.SumOf(raw[:n]), nil
}

// jsonDecoder reads lines of NDJSON.
type jsonDecoder struct {
	row   *row     // nil: the text body counts
	keys  []string // of found, in quotes
	found [][]byte // the JSON of each value; nil: it is null
}

func (d *jsonDecoder) Close() { d.row.close() }

// Sum implements Decoder.
func (d *jsonDecoder) Sum(line []byte) (flow.Sum, bool, error) {
	clear(d.found)
	end, err := eachMember(line, 0, func(key, value []byte) error {
		for i, want := range d.keys {
			if string(key) == want {
				d.found[i] = value
			}
		}
		return nil
	})
	if err == nil && end != len(line) {
		err = errors.New("something follows the JSON object")
	}
	if err != nil {
		return flow.Sum{}, false, err
	}
	sum, err := d.sum()
	return sum, err == nil, err
}

func (d *jsonDecoder) sum() (flow.Sum, error) {
	if d.row != nil {
		return d.row.sum(func(i int, b array.Builder) error {
			if d.found[i] == nil {
				b.AppendNull()
				return nil
			}
			return appendJSONValue(b, d.found[i])
		})
	}
	body, err := textOf(d.found[0])
	if err != nil {
		return flow.Sum{}, err
	}
	raw, err := textOf(d.found[1])
	if err != nil {
		return flow.Sum{}, err
	}
	return bodySum(body, raw, d.found[1] != nil)
}

// textOf returns the text of a JSON string; nil stays nil.
func textOf(value []byte) ([]byte, error) {
	if value == nil {
		return nil, nil
	}
	if value[0] != '"' {
		return nil, errNoString
	}
	return unquote(value)
}

// Lossy says why records in a format may not give back exactly what the digest of their stream counts; empty if they always do.
func Lossy(f Format, schema *arrow.Schema, digest []string) string {
	for _, name := range digest {
		for _, at := range schema.FieldIndices(name) {
			if why := lossy(f, schema.Field(at).Type); why != "" {
				return fmt.Sprintf("column %q: %s", name, why)
			}
		}
	}
	return ""
}

func lossy(f Format, t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.Float32Type, *arrow.Float64Type:
		if f == NDJSON {
			return "JSON has one null for numbers that are none and for infinite ones"
		}
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		if f == CSV {
			return "CSV has nothing for a null and for bytes of no length"
		}
	case *arrow.Date64Type:
		return "a date is written without its time of the day"
	case arrow.NestedType:
		for _, field := range t.Fields() {
			if why := lossy(NDJSON, field.Type); why != "" { // JSON in CSV too
				return why
			}
		}
	}
	return ""
}
