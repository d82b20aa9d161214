// Package columns finds in batches what the sinks of log records ask for: a record's body, time, severity, where it comes from, its
// attributes, and what else the source gives.
//
//	r, err := columns.New(schema)
//	rows, err := r.Bind(batch)
//	for i := range rows.Len() {
//		body, text := rows.Body(i)
//	}
//
// It copies nothing: what it returns belongs to the batch.
package columns

import (
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
)

// isCore says whether a column has a method of its own, or says how a slice was read and not what happened. One that has a core name
// and another type is a column like any other.
func isCore(f arrow.Field) bool {
	switch id := f.Type.ID(); f.Name {
	case flow.ColTimestamp, flow.ColObservedTimestamp, flow.ColReceivedFrom, flow.ColReceivedTo:
		return id == arrow.TIMESTAMP
	case flow.ColSeverityNumber:
		return id == arrow.INT32 || id == arrow.INT64
	case flow.ColSeverityText, flow.ColBody, flow.ColSource, flow.ColLogID, flow.ColLogName:
		return id == arrow.STRING
	case flow.ColBodyRaw:
		return id == arrow.BINARY
	case flow.ColAttributes:
		return textMap(f.Type)
	}
	return false
}

// Reader knows where a schema's columns are. It isn't safe for concurrent use.
type Reader struct {
	schema     *arrow.Schema
	body, raw  int // -1 without
	index      map[string]int
	attributes int // a map of texts; -1 without
	others     []Other
	object     encode.Encoder // of streams without a body
}

// Other is a column that isn't one of the core.
type Other struct {
	Name  string
	Index int
	Type  arrow.DataType
	text  encode.Text
}

// New returns the reader of a schema. A column that can't be written as text is an error of kind fault.Config.
func New(schema *arrow.Schema) (*Reader, error) {
	r := &Reader{schema: schema, index: map[string]int{}, attributes: -1}
	var lines bool
	if r.body, r.raw, lines = flow.BodyColumns(schema); !lines {
		var err error
		if r.object, err = encode.New(encode.NDJSON, schema); err != nil {
			return nil, err
		}
	}
	for i, f := range schema.Fields() {
		r.index[f.Name] = i
		if f.Name == flow.ColAttributes && textMap(f.Type) {
			r.attributes = i
		}
		if !lines || isCore(f) {
			continue // a stream without a body has all its columns in the object that is its body
		}
		text, err := encode.NewText(f.Name, f.Type)
		if err != nil {
			return nil, err
		}
		r.others = append(r.others, Other{Name: f.Name, Index: i, Type: f.Type, text: text})
	}
	return r, nil
}

func textMap(t arrow.DataType) bool {
	m, ok := t.(*arrow.MapType)
	return ok && m.KeyType().ID() == arrow.STRING && m.ItemType().ID() == arrow.STRING
}

// TimeColumn returns the column that a sink takes a record's time from: timestamp if the stream has it, else observed_timestamp, else "".
// A null timestamp falls back on observed_timestamp record by record.
func TimeColumn(schema *arrow.Schema) string {
	for _, name := range []string{flow.ColTimestamp, flow.ColObservedTimestamp} {
		for _, f := range schema.Fields() {
			if f.Name == name && f.Type.ID() == arrow.TIMESTAMP {
				return name
			}
		}
	}
	return ""
}

// Rows are the records of one batch.
type Rows struct {
	r                          *Reader
	rec                        arrow.Record
	body                       *array.String
	raw                        *array.Binary
	timestamp, observed        *array.Timestamp
	timestampNS, observedNS    int64 // nanoseconds of a unit
	severityText, source       *array.String
	logID, logName             *array.String
	severity                   arrow.Array
	attributes                 *array.Map
	attributeKeys, attributeVs *array.String
	others                     []boundOther
	object                     []byte
}

type boundOther struct {
	*Other
	array  arrow.Array
	append func(dst []byte, row int) []byte
}

// Bind takes a batch of the reader's schema; what it returns is good until the next Bind.
func (r *Reader) Bind(rec arrow.Record) (*Rows, error) {
	if int(rec.NumCols()) != r.schema.NumFields() {
		return nil, fault.Errorf(fault.Bug, "read a batch", "it has %d columns, its slice %d", rec.NumCols(), r.schema.NumFields())
	}
	for i, c := range rec.Columns() {
		if !arrow.TypeEqual(c.DataType(), r.schema.Field(i).Type) {
			return nil, fault.Errorf(fault.Bug, "read a batch", "column %q is %s, of its slice %s", r.schema.Field(i).Name, c.DataType(), r.schema.Field(i).Type)
		}
	}
	b := &Rows{r: r, rec: rec}
	if r.object == nil {
		b.body = rec.Column(r.body).(*array.String)
		if r.raw >= 0 && rec.Column(r.raw).NullN() < int(rec.NumRows()) {
			b.raw = rec.Column(r.raw).(*array.Binary)
		}
	}
	b.timestamp, b.timestampNS = r.times(rec, flow.ColTimestamp)
	b.observed, b.observedNS = r.times(rec, flow.ColObservedTimestamp)
	b.severityText, b.source = r.texts(rec, flow.ColSeverityText), r.texts(rec, flow.ColSource)
	b.logID, b.logName = r.texts(rec, flow.ColLogID), r.texts(rec, flow.ColLogName)
	if i, ok := r.index[flow.ColSeverityNumber]; ok {
		b.severity = rec.Column(i)
	}
	if r.attributes >= 0 {
		b.attributes = rec.Column(r.attributes).(*array.Map)
		b.attributeKeys, b.attributeVs = b.attributes.Keys().(*array.String), b.attributes.Items().(*array.String)
	}
	for i := range r.others {
		o := &r.others[i]
		a := rec.Column(o.Index)
		if a.NullN() == a.Len() || a.DataType().ID() == arrow.NULL {
			continue
		}
		b.others = append(b.others, boundOther{o, a, o.text.Bind(a)})
	}
	return b, nil
}

func (r *Reader) times(rec arrow.Record, name string) (*array.Timestamp, int64) {
	i, ok := r.index[name]
	if !ok {
		return nil, 0
	}
	a, ok := rec.Column(i).(*array.Timestamp)
	if !ok {
		return nil, 0
	}
	return a, int64(a.DataType().(*arrow.TimestampType).Unit.Multiplier())
}

func (r *Reader) texts(rec arrow.Record, name string) *array.String {
	i, ok := r.index[name]
	if !ok {
		return nil
	}
	a, _ := rec.Column(i).(*array.String)
	return a
}

// Len is how many records there are.
func (b *Rows) Len() int { return int(b.rec.NumRows()) }

// Body returns a record's exact bytes, and whether they are valid UTF-8. A record of a stream without a body is the JSON object of its
// columns; its bytes are good until the next call.
func (b *Rows) Body(row int) (body []byte, text bool, err error) {
	if b.r.object != nil {
		if b.object, _, err = b.r.object.Append(b.object[:0], b.rec, row, 1); err != nil {
			return nil, false, err
		}
		return b.object[:len(b.object)-1], true, nil
	}
	body = flow.RowBody(b.body, b.raw, row)
	return body, b.raw == nil || b.raw.IsNull(row) || utf8.Valid(body), nil
}

// IsObject reports whether Body returns JSON objects: the stream is none of lines.
func (b *Rows) IsObject() bool { return b.r.object != nil }

// Time returns a record's timestamp, else its observed_timestamp; ok is false without either.
func (b *Rows) Time(row int) (t time.Time, ok bool) {
	if t, ok := at(b.timestamp, b.timestampNS, row); ok {
		return t, true
	}
	return b.Observed(row)
}

// Timestamp returns a record's timestamp; ok is false without.
func (b *Rows) Timestamp(row int) (t time.Time, ok bool) {
	return at(b.timestamp, b.timestampNS, row)
}

// Observed returns a record's observed_timestamp; ok is false without.
func (b *Rows) Observed(row int) (t time.Time, ok bool) {
	return at(b.observed, b.observedNS, row)
}

func at(a *array.Timestamp, multiplier int64, row int) (time.Time, bool) {
	if a == nil || a.IsNull(row) {
		return time.Time{}, false
	}
	v, perSecond := int64(a.Value(row)), int64(time.Second)/multiplier
	seconds := v / perSecond
	if v%perSecond < 0 {
		seconds--
	}
	return time.Unix(seconds, (v-seconds*perSecond)*multiplier).UTC(), true
}

// Severity returns a record's severity_number, 0 without.
func (b *Rows) Severity(row int) int {
	switch a := b.severity.(type) {
	case *array.Int32:
		if a.IsValid(row) {
			return int(a.Value(row))
		}
	case *array.Int64:
		if a.IsValid(row) {
			return int(a.Value(row))
		}
	}
	return 0
}

// SeverityText returns a record's severity_text, empty without.
func (b *Rows) SeverityText(row int) string { return value(b.severityText, row) }

// Source returns a record's source, empty without.
func (b *Rows) Source(row int) string { return value(b.source, row) }

// LogID returns a record's log_id, empty without.
func (b *Rows) LogID(row int) string { return value(b.logID, row) }

// LogName returns a record's log_name, empty without.
func (b *Rows) LogName(row int) string { return value(b.logName, row) }

func value(a *array.String, row int) string {
	if a == nil || a.IsNull(row) {
		return ""
	}
	return a.Value(row)
}

// Attributes calls yield for each attribute of a record whose value isn't null.
func (b *Rows) Attributes(row int, yield func(key, value string)) {
	if b.attributes == nil || b.attributes.IsNull(row) {
		return
	}
	start, end := b.attributes.ValueOffsets(row)
	for i := int(start); i < int(end); i++ {
		if b.attributeVs.IsValid(i) {
			yield(b.attributeKeys.Value(i), b.attributeVs.Value(i))
		}
	}
}

// Others calls yield for each value of a record in a column that isn't one of the core and isn't null: the column, its array for sinks
// with types of their own, and what appends its text.
func (b *Rows) Others(row int, yield func(o *Other, a arrow.Array, text func(dst []byte) []byte)) {
	for i := range b.others {
		if o := &b.others[i]; o.array.IsValid(row) {
			yield(o.Other, o.array, func(dst []byte) []byte { return o.append(dst, row) })
		}
	}
}
