// Package encode turns record batches into the bytes of text formats: raw lines, NDJSON and CSV. Sinks that write files,
// objects or a stream share it.
//
//	enc, err := encode.New(encode.NDJSON, schema)
//	for row := 0; row < rows; {
//		buf, row, err = enc.Append(buf[:0], rec, row, 256<<10)
//		w.Write(buf)
//	}
//
// It does no I/O, holds no reference to a batch when Append has returned, and allocates nothing per row.
package encode

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Format is how records are written.
type Format string

// The formats.
const (
	Raw    Format = "raw"    // body_raw, else body, then \n
	NDJSON Format = "ndjson" // one JSON object a line
	CSV    Format = "csv"    // RFC 4180 with a header
)

// Formats lists the formats as settings spell them.
func Formats() []Format { return []Format{Raw, NDJSON, CSV} }

// Extension returns the end of file names in the format, with the dot.
func (f Format) Extension() string {
	if f == Raw {
		return ".log"
	}
	return "." + string(f)
}

// Encoder encodes records of one schema. It isn't safe for concurrent use.
type Encoder interface {
	// Header is what each file begins with; empty for formats without.
	Header() []byte
	// Append appends whole records to dst, beginning with row, until dst holds at least limit bytes or the batch ends. It
	// returns the row to go on with: rec.NumRows() at the end. rec must have the encoder's schema.
	Append(dst []byte, rec arrow.Record, row, limit int) (out []byte, next int, err error)
}

// New returns an encoder. A schema that the format can't hold is an error of kind fault.Config that names the column.
func New(f Format, schema *arrow.Schema) (Encoder, error) {
	switch f {
	case Raw:
		return newRaw(schema)
	case NDJSON:
		return newNDJSON(schema)
	case CSV:
		return newCSV(schema)
	}
	return nil, fault.New(fault.Config, "open an encoder", "format is raw, ndjson or csv", fmt.Errorf("unknown format %q", f))
}

func unfit(f Format, hint, format string, args ...any) error {
	return fault.New(fault.Config, "write "+string(f), hint, fmt.Errorf(format, args...))
}

// checkSchema refuses a record of another shape than the encoder was made for: columns would get each other's names.
func checkSchema(want *arrow.Schema, rec arrow.Record) error {
	if int(rec.NumCols()) != want.NumFields() {
		return fault.Errorf(fault.Bug, "encode", "a batch has %d columns, its slice %d", rec.NumCols(), want.NumFields())
	}
	for i, c := range rec.Columns() {
		if !arrow.TypeEqual(c.DataType(), want.Field(i).Type) {
			return fault.Errorf(fault.Bug, "encode", "column %q of a batch is %s, of its slice %s", want.Field(i).Name, c.DataType(), want.Field(i).Type)
		}
	}
	return nil
}

// raw writes bodies.
type raw struct {
	schema   *arrow.Schema
	body, rw int // rw is -1 without body_raw
}

func newRaw(schema *arrow.Schema) (Encoder, error) {
	body, rw, ok := flow.BodyColumns(schema)
	if !ok {
		return nil, unfit(Raw, "use format ndjson or csv for it", "the stream isn't one of lines: it has no utf8 column %q", flow.ColBody)
	}
	return &raw{schema: schema, body: body, rw: rw}, nil
}

func (*raw) Header() []byte { return nil }

func (e *raw) Append(dst []byte, rec arrow.Record, row, limit int) ([]byte, int, error) {
	if err := checkSchema(e.schema, rec); err != nil {
		return dst, row, err
	}
	rows := int(rec.NumRows())
	body := rec.Column(e.body).(*array.String) // checkSchema compared the type
	var exact *array.Binary
	if e.rw >= 0 && rec.Column(e.rw).NullN() < rows {
		exact = rec.Column(e.rw).(*array.Binary)
	}
	if exact != nil || body.NullN() > 0 {
		for ; row < rows && len(dst) < limit; row++ {
			dst = append(append(dst, flow.RowBody(body, exact, row)...), '\n')
		}
		return dst, row, nil
	}
	offsets, values := body.ValueOffsets(), body.ValueBytes()
	if len(offsets) == 0 {
		return dst, rows, nil
	}
	base := offsets[0] // ValueBytes begins at the first row's offset
	for ; row < rows && len(dst) < limit; row++ {
		dst = append(append(dst, values[offsets[row]-base:offsets[row+1]-base]...), '\n')
	}
	return dst, row, nil
}
