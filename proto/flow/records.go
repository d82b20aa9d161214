package flow

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// Names of the core columns of log streams, in the words of the OpenTelemetry log data model.
const (
	ColTimestamp         = "timestamp"
	ColObservedTimestamp = "observed_timestamp"
	ColReceivedFrom      = "received_from"
	ColReceivedTo        = "received_to"
	ColSeverityText      = "severity_text"
	ColSeverityNumber    = "severity_number"
	ColBody              = "body"
	ColBodyRaw           = "body_raw"
	ColSource            = "source"
	ColLogID             = "log_id"
	ColLogName           = "log_name"
	ColAttributes        = "attributes"
)

// BodyColumns finds a log stream's body columns: body (utf8) and, if the schema has it, body_raw (binary; rawIndex is -1
// without). ok is false for a schema whose body isn't a text body.
func BodyColumns(schema *arrow.Schema) (bodyIndex, rawIndex int, ok bool) {
	bodyIndex, rawIndex = -1, -1
	for i, f := range schema.Fields() {
		switch {
		case f.Name == ColBody && f.Type.ID() == arrow.STRING:
			bodyIndex = i
		case f.Name == ColBodyRaw && f.Type.ID() == arrow.BINARY:
			rawIndex = i
		}
	}
	return bodyIndex, rawIndex, bodyIndex >= 0
}

// SumRecord returns the Sum of an Arrow record of a log stream: of each row body_raw, else body. A row whose body is null
// in both counts as an empty record. It fails on a schema without a text body: other streams are summed by SumColumns.
func SumRecord(rec arrow.Record) (Sum, error) {
	bodyIndex, rawIndex, ok := BodyColumns(rec.Schema())
	if !ok {
		return Sum{}, fmt.Errorf("digest: the schema has no utf8 column %q", ColBody)
	}
	body, ok := rec.Column(bodyIndex).(*array.String)
	if !ok {
		return Sum{}, fmt.Errorf("digest: column %q is %s", ColBody, rec.Column(bodyIndex).DataType())
	}
	var raw *array.Binary
	if rawIndex >= 0 {
		if raw, ok = rec.Column(rawIndex).(*array.Binary); !ok {
			return Sum{}, fmt.Errorf("digest: column %q is %s", ColBodyRaw, rec.Column(rawIndex).DataType())
		}
		if raw.NullN() == raw.Len() {
			raw = nil
		}
	}
	var sum Sum
	if raw == nil && body.NullN() == 0 {
		offsets, values := body.ValueOffsets(), body.ValueBytes()
		if len(offsets) == 0 {
			return sum, nil
		}
		base := offsets[0] // ValueBytes begins at the first row's offset
		for i := 0; i+1 < len(offsets); i++ {
			sum.Digest = sum.Digest.Plus(DigestOf(values[offsets[i]-base : offsets[i+1]-base]))
		}
		sum.Rows = uint64(body.Len())
		sum.Bytes = uint64(len(values))
		return sum, nil
	}
	for i := range int(rec.NumRows()) {
		sum.Add(RowBody(body, raw, i))
	}
	return sum, nil
}

// RowBody returns the exact bytes of row i's body: body_raw if it isn't null, else body. raw may be nil. The bytes belong
// to the arrays.
func RowBody(body *array.String, raw *array.Binary, i int) []byte {
	if raw != nil && raw.IsValid(i) {
		return raw.Value(i)
	}
	if body.IsNull(i) {
		return nil
	}
	offsets, values := body.ValueOffsets(), body.ValueBytes()
	base := offsets[0]
	return values[offsets[i]-base : offsets[i+1]-base]
}

// EachRecord calls each with the Sum of every row of an Arrow record, in order: of the named columns in the canonical form, or,
// without names, of the body as SumRecord counts it. An error of each ends it and is returned.
func EachRecord(rec arrow.Record, names []string, each func(Sum) error) error {
	rows := int(rec.NumRows())
	if len(names) > 0 {
		columns, err := columnsOf(rec, names)
		if err != nil {
			return err
		}
		var row []byte
		for i := range rows {
			if row, err = appendRow(row[:0], columns, names, i); err != nil {
				return err
			}
			if err := each(SumOf(row)); err != nil {
				return err
			}
		}
		return nil
	}
	bodyIndex, rawIndex, ok := BodyColumns(rec.Schema())
	if !ok {
		return fmt.Errorf("digest: the schema has no utf8 column %q", ColBody)
	}
	var raw *array.Binary
	if rawIndex >= 0 {
		raw = rec.Column(rawIndex).(*array.Binary) // BodyColumns compared the types
	}
	body := rec.Column(bodyIndex).(*array.String)
	for i := range rows {
		if err := each(SumOf(RowBody(body, raw, i))); err != nil {
			return err
		}
	}
	return nil
}
