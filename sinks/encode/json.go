package encode

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// jsonValue writes the JSON of one column, of any type.
type jsonValue interface {
	// bind takes the next batch's array and returns the appender of its values that aren't null.
	bind(a arrow.Array) appender
}

type jsonFunc func(a arrow.Array) appender

func (f jsonFunc) bind(a arrow.Array) appender { return f(a) }

const hexDigits = "0123456789abcdef"

// newJSON returns the writer of a type; the name is for the error.
func newJSON(f Format, name string, t arrow.DataType) (jsonValue, error) {
	if c := scalar(t); c != nil {
		return jsonScalar(c), nil
	}
	switch t := t.(type) {
	case *arrow.NullType: // all null, so its appender is never called
		return jsonFunc(func(arrow.Array) appender { return nil }), nil
	case *arrow.StringType:
		return jsonFunc(func(a arrow.Array) appender { s := a.(*array.String); return jsonString(s.Value) }), nil
	case *arrow.LargeStringType:
		return jsonFunc(func(a arrow.Array) appender { s := a.(*array.LargeString); return jsonString(s.Value) }), nil
	case *arrow.StructType:
		return newJSONStruct(f, name, t)
	case *arrow.MapType: // before lists: a map is a list too
		return newJSONMap(f, name, t)
	case arrow.ListLikeType:
		return newJSONList(f, name, t)
	}
	return nil, unfit(f, "leave the column out, or have the source send it as another type", "column %q is %s, which the format can't hold", name, t)
}

func jsonScalar(c column) jsonValue {
	return jsonFunc(func(a arrow.Array) appender {
		value := c.bind(a)
		if c.quoted() {
			return func(dst []byte, row int) []byte { return append(value(append(dst, '"'), row), '"') }
		}
		if nan := c.nan(a); nan != nil {
			return func(dst []byte, row int) []byte {
				if nan(row) {
					return append(dst, "null"...) // JSON has no NaN; unlike a null the key is there
				}
				return value(dst, row)
			}
		}
		return value
	})
}

func jsonString(value func(int) string) appender {
	return func(dst []byte, row int) []byte { return appendJSONString(dst, value(row)) }
}

// appendJSONString appends s in quotes. It looks at eight bytes at a time and copies what needs no escape in runs.
func appendJSONString(dst []byte, s string) []byte {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	dst = append(dst, '"')
	text := []byte(s) // never written to, so the compiler makes no copy
	start, i := 0, 0
	for i < len(text) {
		if len(text)-i >= 8 {
			w := binary.LittleEndian.Uint64(text[i:])
			// A byte's high bit is set if it is below 0x20, a quote or a backslash; above the lowest such byte a borrow may
			// set others, so only the lowest counts.
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			hit := ((w-ones*0x20) & ^w | (quote-ones) & ^quote | (slash-ones) & ^slash) & highs
			if hit == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(hit) / 8
		} else if c := text[i]; c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = appendEscape(append(dst, s[start:i]...), s[i])
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// field is one key of an object with what writes its value.
type field struct {
	key   []byte // `"name":`
	value jsonValue
}

func newField(f Format, path, name string, t arrow.DataType) (field, error) {
	v, err := newJSON(f, path, t)
	return field{key: append(appendJSONString(nil, name), ':'), value: v}, err
}

// bound is a field with a batch's array.
type bound struct {
	key   []byte
	array arrow.Array
	nulls bool // some value is null
	value appender
	fixed bool // key is the whole text, of one or several fields that have one value in the batch; there is no array
}

func (f field) bind(a arrow.Array) bound {
	return bound{key: f.key, array: a, nulls: a.NullN() > 0, value: f.value.bind(a)}
}

// appendObject appends the fields of a row that aren't null.
func appendObject(dst []byte, fields []bound, row int) []byte {
	dst = append(dst, '{')
	first := true
	for i := range fields {
		f := &fields[i]
		if f.nulls && f.array.IsNull(row) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if dst = append(dst, f.key...); !f.fixed {
			dst = f.value(dst, row)
		}
	}
	return append(dst, '}')
}

func newJSONStruct(f Format, name string, t *arrow.StructType) (jsonValue, error) {
	fields := make([]field, t.NumFields())
	for i, tf := range t.Fields() {
		var err error
		if fields[i], err = newField(f, name+"."+tf.Name, tf.Name, tf.Type); err != nil {
			return nil, err
		}
	}
	return jsonFunc(func(a arrow.Array) appender {
		s := a.(*array.Struct)
		all := make([]bound, len(fields))
		for i := range fields {
			all[i] = fields[i].bind(s.Field(i)) // Field is sliced as the struct is
		}
		all = liveFields(all)
		return func(dst []byte, row int) []byte { return appendObject(dst, all, row) }
	}), nil
}

// liveFields leaves out the columns that are null in every row.
func liveFields(all []bound) []bound {
	live := all[:0]
	for _, b := range all {
		if b.array.Len() == 0 || b.array.NullN() < b.array.Len() && b.array.DataType().ID() != arrow.NULL {
			live = append(live, b)
		}
	}
	return live
}

// fixFields encodes the fields that have one value in the whole batch once instead of in every row: most of a log line's
// columns say where it comes from. Neighbours become one. text is where their bytes go.
func fixFields(all []bound, text []byte) (fixed []bound, out []byte) {
	fixed = all[:0]
	for _, b := range all {
		if b.nulls || !uniform(b.array) {
			fixed = append(fixed, b)
			continue
		}
		start := len(text)
		if last := len(fixed) - 1; last >= 0 && fixed[last].fixed {
			start -= len(fixed[last].key) // it lies at the end of text
			fixed = fixed[:last]
			text = append(text, ',')
		}
		text = b.value(append(text, b.key...), 0)
		fixed = append(fixed, bound{key: text[start:len(text):len(text)], fixed: true})
	}
	return fixed, text
}

// uniform says whether all values of an array without nulls are known to be the same. It looks at the types of columns
// that are so in practice.
func uniform(a arrow.Array) bool {
	if a.Len() == 0 {
		return false
	}
	switch a := a.(type) {
	case *array.Timestamp:
		return repeats(arrow.TimestampTraits.CastToBytes(a.TimestampValues()), arrow.TimestampSizeBytes)
	case *array.String:
		offsets := a.ValueOffsets()
		width := offsets[1] - offsets[0]
		for i := 2; i < len(offsets); i++ {
			if offsets[i]-offsets[i-1] != width {
				return false
			}
		}
		return repeats(a.ValueBytes(), int(width))
	}
	return false
}

// repeats says whether b is its own first width bytes again and again: then it equals itself moved by as many.
func repeats(b []byte, width int) bool {
	return bytes.Equal(b[min(width, len(b)):], b[:max(0, len(b)-width)])
}

func newJSONList(f Format, name string, t arrow.ListLikeType) (jsonValue, error) {
	elem, err := newJSON(f, name+"[]", t.Elem())
	if err != nil {
		return nil, err
	}
	return jsonFunc(func(a arrow.Array) appender {
		l := a.(array.ListLike)
		values := l.ListValues()
		value := elem.bind(values)
		return func(dst []byte, row int) []byte {
			start, end := l.ValueOffsets(row)
			dst = append(dst, '[')
			for i := start; i < end; i++ {
				if i > start {
					dst = append(dst, ',')
				}
				if isNull(values, int(i)) {
					dst = append(dst, "null"...)
				} else {
					dst = value(dst, int(i))
				}
			}
			return append(dst, ']')
		}
	}), nil
}

func isNull(a arrow.Array, i int) bool { return a.DataType().ID() == arrow.NULL || a.IsNull(i) }

// newJSONMap writes a map as an object; a null in it is written, for its key is there.
func newJSONMap(f Format, name string, t *arrow.MapType) (jsonValue, error) {
	key, err := newJSON(f, name+" (key)", t.KeyType())
	if err != nil {
		return nil, err
	}
	quote := true // keys that are no strings yet
	switch c := scalar(t.KeyType()); {
	case c != nil && c.quoted(), t.KeyType().ID() == arrow.STRING, t.KeyType().ID() == arrow.LARGE_STRING:
		quote = false
	case c == nil:
		return nil, unfit(f, "leave the column out", "column %q is a map with keys of %s, which no JSON object has", name, t.KeyType())
	}
	item, err := newJSON(f, name+" (value)", t.ItemType())
	if err != nil {
		return nil, err
	}
	return jsonFunc(func(a arrow.Array) appender {
		m := a.(*array.Map)
		keys, items := m.Keys(), m.Items()
		appendKey, appendItem := key.bind(keys), item.bind(items)
		return func(dst []byte, row int) []byte {
			start, end := m.ValueOffsets(row)
			dst = append(dst, '{')
			for i := int(start); i < int(end); i++ {
				if i > int(start) {
					dst = append(dst, ',')
				}
				if quote {
					dst = append(appendKey(append(dst, '"'), i), '"')
				} else {
					dst = appendKey(dst, i)
				}
				dst = append(dst, ':')
				if isNull(items, i) {
					dst = append(dst, "null"...)
				} else {
					dst = appendItem(dst, i)
				}
			}
			return append(dst, '}')
		}
	}), nil
}

// ndjson writes one object a line: the columns in the schema's order, nulls left out.
type ndjson struct {
	schema *arrow.Schema
	fields []field
	last   arrow.Record // compared by pointer within one batch only, see Append
	bound  []bound
	text   []byte // of the fields with one value in the batch
}

func newNDJSON(schema *arrow.Schema) (Encoder, error) {
	e := &ndjson{schema: schema, fields: make([]field, schema.NumFields())}
	for i, f := range schema.Fields() {
		var err error
		if e.fields[i], err = newField(NDJSON, f.Name, f.Name, f.Type); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (*ndjson) Header() []byte { return nil }

func (e *ndjson) Append(dst []byte, rec arrow.Record, row, limit int) ([]byte, int, error) {
	// The columns are bound once a batch. A batch begins with row 0, so a record whose memory is used again can't be taken
	// for the one before.
	if row == 0 || e.last != rec {
		if err := checkSchema(e.schema, rec); err != nil {
			return dst, row, err
		}
		e.bound = e.bound[:0]
		for i := range e.fields {
			e.bound = append(e.bound, e.fields[i].bind(rec.Column(i)))
		}
		e.bound, e.text = fixFields(liveFields(e.bound), e.text[:0])
		e.last = rec
	}
	rows := int(rec.NumRows())
	for ; row < rows && len(dst) < limit; row++ {
		dst = append(appendObject(dst, e.bound, row), '\n')
	}
	if row == rows {
		clear(e.bound[:cap(e.bound)])
		e.bound, e.last = e.bound[:0], nil
	}
	return dst, row, nil
}
