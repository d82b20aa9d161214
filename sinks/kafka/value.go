package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
)

// Values of `value`.
const (
	valueJSON  = "json"
	valueRaw   = "raw"
	valueAvro  = "avro"
	valueArrow = "arrow"
)

// values makes messages of the rows of one slice's batches. It isn't safe for concurrent use.
type values interface {
	// bind takes the next batch.
	bind(rec arrow.Record) error
	// key appends the key of the message that begins with a row; ok is false without one.
	key(dst []byte, row int, s flow.Slice) (out []byte, ok bool)
	// at is the time of that message.
	at(row int, s flow.Slice) time.Time
	// value appends its value, of at most limit bytes if it holds more than one row, and returns the row after it. reason says why
	// the row can have no value; then next is row + 1.
	value(dst []byte, row, limit int) (out []byte, next int, reason string, err error)
	// many says that a value may hold more than one row.
	many() bool
	// fingerprint names the schema that a reader needs; empty if it needs none.
	fingerprint() string
	// document is that schema.
	document() []byte
	// least is a number of bytes that the value of a row has at least, known before it is made.
	least(row int) int
	// digests says whether digest may be asked.
	digests() bool
	digest(row int) string
}

// newValues returns the values of a stream. A schema that they can't hold is an error of kind fault.Config that names the column.
func newValues(s settings, schema *arrow.Schema, partitionBy string) (values, error) {
	r, err := newRows(s, schema, partitionBy)
	if err != nil {
		return nil, err
	}
	switch s.Value {
	case valueRaw:
		body, raw, ok := flow.BodyColumns(schema)
		if !ok {
			return nil, unfit("use value json, avro or arrow for it", "the stream isn't one of lines: it has no utf8 column %q", flow.ColBody)
		}
		return &rawValues{rows: r, body: body, raw: raw}, nil
	case valueAvro:
		return newAvroValues(r, schema)
	case valueArrow:
		return newArrowValues(r, schema)
	}
	enc, err := encode.New(encode.NDJSON, schema)
	if err != nil {
		return nil, err
	}
	return &jsonValues{rows: r, enc: enc}, nil
}

func unfit(hint, format string, args ...any) error {
	return fault.New(fault.Config, "make messages", hint, fmt.Errorf(format, args...))
}

// rows is what all kinds of values share: keys, times and digests.
type rows struct {
	schema      *arrow.Schema
	keyBy       string // keyPartition, keyNone or a column
	keyColumn   int
	timestamp   int // -1 without
	observed    int
	withDigest  bool
	body, exact int // -1 without
	clock       func() time.Time

	rec arrow.Record
	now time.Time
}

func newRows(s settings, schema *arrow.Schema, _ string) (rows, error) {
	r := rows{schema: schema, keyBy: s.Key, keyColumn: -1, timestamp: -1, observed: -1, body: -1, exact: -1, clock: time.Now}
	for i, f := range schema.Fields() {
		switch {
		case f.Type.ID() == arrow.TIMESTAMP && f.Name == flow.ColTimestamp:
			r.timestamp = i
		case f.Type.ID() == arrow.TIMESTAMP && f.Name == flow.ColObservedTimestamp:
			r.observed = i
		}
	}
	if s.Key != keyPartition && s.Key != keyNone {
		at := schema.FieldIndices(s.Key)
		if len(at) != 1 {
			return r, unfit("use a column of the stream, partition or none; `sluice schema` lists the columns", "key: there is no column %q", s.Key)
		}
		r.keyColumn = at[0]
		if arrow.IsNested(schema.Field(at[0]).Type.ID()) {
			return r, unfit("use a column of one value", "key: column %q is %s", s.Key, schema.Field(at[0]).Type)
		}
	}
	r.body, r.exact, _ = flow.BodyColumns(schema)
	for _, h := range s.Headers {
		if h != headerDigest {
			continue
		}
		if r.body < 0 {
			return r, unfit("leave digest out of headers", "headers: only a record of a stream of lines has a digest of its own")
		}
		r.withDigest = true
	}
	return r, nil
}

func (r *rows) bind(rec arrow.Record) error {
	if int(rec.NumCols()) != r.schema.NumFields() {
		return fault.Errorf(fault.Bug, "encode", "a batch has %d columns, its slice %d", rec.NumCols(), r.schema.NumFields())
	}
	for i, c := range rec.Columns() {
		if !arrow.TypeEqual(c.DataType(), r.schema.Field(i).Type) {
			return fault.Errorf(fault.Bug, "encode", "column %q of a batch is %s, of its slice %s", r.schema.Field(i).Name, c.DataType(), r.schema.Field(i).Type)
		}
	}
	r.rec, r.now = rec, r.clock()
	return nil
}

func (r *rows) key(dst []byte, row int, s flow.Slice) ([]byte, bool) {
	switch {
	case r.keyBy == keyNone, r.keyBy == keyPartition && s.Key == "":
		return dst, false
	case r.keyBy == keyPartition:
		return append(dst, s.Key...), true
	}
	column := r.rec.Column(r.keyColumn)
	if column.IsNull(row) {
		return dst, false
	}
	switch a := column.(type) {
	case *array.String:
		return append(dst, a.Value(row)...), true
	case *array.Binary:
		return append(dst, a.Value(row)...), true
	}
	return append(dst, column.ValueStr(row)...), true
}

// at is timestamp, else observed_timestamp, else the slice's begin. A time that brokers refuse, before 1970 or far ahead, is passed over.
func (r *rows) at(row int, s flow.Slice) time.Time {
	for _, i := range [2]int{r.timestamp, r.observed} {
		if i < 0 || r.rec.Column(i).IsNull(row) {
			continue
		}
		a := r.rec.Column(i).(*array.Timestamp)
		at := a.Value(row).ToTime(a.DataType().(*arrow.TimestampType).Unit)
		if at.UnixMilli() >= 0 && at.Before(r.now.Add(future)) {
			return at
		}
	}
	return s.From
}

func (*rows) many() bool          { return false }
func (*rows) fingerprint() string { return "" }
func (*rows) document() []byte    { return nil }
func (r *rows) digests() bool     { return r.withDigest }

// least is a number of bytes that the value of a row has at least, known before it is made.
func (r *rows) least(row int) int {
	if r.body < 0 {
		return 0
	}
	return len(bodyOf(r.rec, r.body, r.exact, row))
}

func (r *rows) digest(row int) string {
	return flow.DigestOf(bodyOf(r.rec, r.body, r.exact, row)).String()
}

// bodyOf returns a row's exact bytes.
func bodyOf(rec arrow.Record, body, exact, row int) []byte {
	var raw *array.Binary
	if exact >= 0 {
		raw = rec.Column(exact).(*array.Binary)
	}
	return flow.RowBody(rec.Column(body).(*array.String), raw, row)
}

// jsonValues are objects as NDJSON has them.
type jsonValues struct {
	rows
	enc encode.Encoder
}

func (v *jsonValues) value(dst []byte, row, _ int) ([]byte, int, string, error) {
	out, next, err := v.enc.Append(dst, v.rec, row, len(dst)+1) // the limit is met by one row
	if err != nil {
		return dst, row + 1, "", err
	}
	return bytes.TrimSuffix(out, []byte("\n")), next, "", nil
}

// rawValues are the exact bytes of lines.
type rawValues struct {
	rows
	body, raw int
}

func (v *rawValues) value(dst []byte, row, _ int) ([]byte, int, string, error) {
	return append(dst, bodyOf(v.rec, v.body, v.raw, row)...), row + 1, "", nil
}

// arrowValues are whole IPC streams: a reader needs nothing but the message.
type arrowValues struct {
	rows
	print string
	per   int // rows that the last message had: a guess for the next
}

func newArrowValues(r rows, schema *arrow.Schema) (values, error) {
	for _, f := range schema.Fields() {
		if f.Type.ID() == arrow.DICTIONARY {
			return nil, unfit("use value json", "column %q is dictionary-encoded", f.Name)
		}
	}
	return &arrowValues{rows: r, print: schema.Fingerprint(), per: chunkRows}, nil
}

func (*arrowValues) many() bool { return true }

// aim is how large a message of many rows gets, if the topic takes so much.
const aim = 512 << 10

func (v *arrowValues) value(dst []byte, row, limit int) ([]byte, int, string, error) {
	end := v.sameKey(row)
	start := len(dst)
	want := min(limit, aim)
	for n := min(v.per, end-row); ; n = max(1, n/2) {
		out, err := v.stream(dst[:start], row, row+n)
		if err != nil {
			return dst[:start], row + 1, "", err
		}
		size := len(out) - start
		switch {
		case size <= want || n == 1: // the caller rejects a row that is too large alone
			if size < want/4 && row+n < end {
				v.per = n * 2
			}
			return out, row + n, "", nil
		default:
			dst, v.per = out, max(1, n/2)
		}
	}
}

// sameKey returns the row after those that have the key of a row.
func (v *arrowValues) sameKey(row int) int {
	last := int(v.rec.NumRows())
	if v.keyColumn < 0 {
		return last
	}
	first, ok := v.key(nil, row, flow.Slice{})
	for i := row + 1; i < last; i++ {
		if k, has := v.key(nil, i, flow.Slice{}); has != ok || !bytes.Equal(k, first) {
			return i
		}
	}
	return last
}

func (v *arrowValues) stream(dst []byte, from, to int) ([]byte, error) {
	part := v.rec.NewSlice(int64(from), int64(to))
	defer part.Release()
	b := appendBuffer(dst)
	w := ipc.NewWriter(&b, ipc.WithSchema(v.schema))
	err := w.Write(part)
	return b, errors.Join(err, w.Close())
}

// appendBuffer is an io.Writer that appends.
type appendBuffer []byte

// Write implements io.Writer.
func (b *appendBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
