package encode

import (
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

// newJSON returns the writer of a type; the name is for the error.
func newJSON(f Format, name string, t arrow.DataType) (jsonValue, error) {
	if c := scalar(t); c != nil {
		return jsonScalar(c), nil
	}
	switch t := t.(type) {
	case *arrow.NullType: // all null, so its appender is never called
		return jsonFunc(func(arrow.Array) appender { return nil }), nil
	case *arrow.StringType:
		return jsonFunc(func(a arrow.Array) appender { s := textsOf(a.(*array.String)); return jsonString(s.at) }), nil
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
