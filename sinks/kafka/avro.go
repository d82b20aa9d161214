package kafka

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/flow"
)

// avroValues are Avro datums without a container: the header sluice.schema names the schema, a marker holds it.
type avroValues struct {
	rows
	columns []avroType
	write   []avroWriter // of the bound batch
	print   string
	doc     []byte
}

// avroType is an Avro type made from an Arrow type.
type avroType struct {
	full  string // JSON, with logical types
	canon string // Parsing Canonical Form
	bind  func(a arrow.Array) avroWriter
}

// avroWriter appends the value of a row. reason says why there is none.
type avroWriter func(dst []byte, row int) (out []byte, reason string)

func newAvroValues(r rows, schema *arrow.Schema) (values, error) {
	b := avroBuilder{names: map[string]bool{}}
	t, err := b.record("Record", "", schema.Fields())
	if err != nil {
		return nil, err
	}
	return &avroValues{rows: r, columns: b.top, print: rabin([]byte(t.canon)), doc: []byte(t.full)}, nil
}

// AvroType returns the Avro type, as JSON, that values of an Arrow type have, without its union with null. An error of kind
// fault.Config: Avro has none.
func AvroType(t arrow.DataType) (string, error) {
	if t.ID() == arrow.NULL {
		return quoted("null"), nil
	}
	b := avroBuilder{names: map[string]bool{}, top: []avroType{}}
	out, err := b.of("column", "column", t)
	return out.full, err
}

func (v *avroValues) fingerprint() string { return v.print }
func (v *avroValues) document() []byte    { return v.doc }

func (v *avroValues) bind(rec arrow.Record) error {
	if err := v.rows.bind(rec); err != nil {
		return err
	}
	v.write = v.write[:0]
	for i, c := range rec.Columns() {
		v.write = append(v.write, v.columns[i].bind(c))
	}
	return nil
}

func (v *avroValues) value(dst []byte, row, _ int) ([]byte, int, string, error) {
	for i, write := range v.write {
		var reason string
		if dst, reason = write(dst, row); reason != "" {
			return dst, row + 1, fmt.Sprintf("column %q: %s", v.schema.Field(i).Name, reason), nil
		}
	}
	return dst, row + 1, "", nil
}

// rabin is the CRC-64-AVRO fingerprint of a schema in canonical form, in hex with the lowest byte first, as Avro's single-object
// encoding has it.
func rabin(canon []byte) string {
	const empty = 0xc15d213aa4d7a795
	print := uint64(empty)
	for _, c := range canon {
		print ^= uint64(c)
		for range 8 {
			print = print>>1 ^ empty&-(print&1)
		}
	}
	return hex.EncodeToString(binary.LittleEndian.AppendUint64(nil, print))
}

// avroBuilder makes Avro types; named ones get names that no other has.
type avroBuilder struct {
	names map[string]bool
	top   []avroType
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always has a form
	return string(b)
}

// avroName makes a column's name fit for Avro: letters, digits and _, no digit first.
func avroName(name string) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
	if out == "" || out[0] >= '0' && out[0] <= '9' {
		out = "_" + out
	}
	return out
}

func (b *avroBuilder) named(path string) string {
	name := "sluice." + path
	for i := 2; b.names[name]; i++ {
		name = fmt.Sprintf("sluice.%s_%d", path, i)
	}
	b.names[name] = true
	return name
}

// record is the type of a struct, and of the whole stream: every field may be null, so that a schema with more columns reads what was
// written with fewer.
func (b *avroBuilder) record(path, column string, fields []arrow.Field) (avroType, error) {
	name := b.named(path)
	full, canon := []string{}, []string{}
	types := make([]avroType, len(fields))
	seen := map[string]string{}
	for i, f := range fields {
		at := f.Name
		if column != "" {
			at = column + "." + f.Name
		}
		t, err := b.nullable(path+"_"+avroName(f.Name), at, f.Type)
		if err != nil {
			return avroType{}, err
		}
		types[i] = t
		n := avroName(f.Name)
		if other, twice := seen[n]; twice {
			return avroType{}, unfit("use value json or arrow", "columns %q and %q have one name in Avro: %s", other, f.Name, n)
		}
		seen[n] = f.Name
		text := `{"name":` + quoted(n) + `,"type":` + t.full + `,"default":null`
		if n != f.Name {
			text += `,"column":` + quoted(f.Name)
		}
		full = append(full, text+"}")
		canon = append(canon, `{"name":`+quoted(n)+`,"type":`+t.canon+`}`)
	}
	if column == "" && b.top == nil {
		b.top = types
	}
	return avroType{
		full:  `{"type":"record","name":` + quoted(name) + `,"fields":[` + strings.Join(full, ",") + `]}`,
		canon: `{"name":` + quoted(name) + `,"type":"record","fields":[` + strings.Join(canon, ",") + `]}`,
		bind: func(a arrow.Array) avroWriter {
			s := a.(*array.Struct)
			write := make([]avroWriter, len(types))
			for i := range types {
				write[i] = types[i].bind(s.Field(i)) // Field is sliced as the struct is
			}
			return func(dst []byte, row int) ([]byte, string) {
				for _, w := range write {
					var reason string
					if dst, reason = w(dst, row); reason != "" {
						return dst, reason
					}
				}
				return dst, ""
			}
		},
	}, nil
}

// nullable is the union of null and a type.
func (b *avroBuilder) nullable(path, column string, t arrow.DataType) (avroType, error) {
	if t.ID() == arrow.NULL {
		return avroType{full: `"null"`, canon: `"null"`, bind: func(arrow.Array) avroWriter {
			return func(dst []byte, _ int) ([]byte, string) { return dst, "" }
		}}, nil
	}
	of, err := b.of(path, column, t)
	if err != nil {
		return of, err
	}
	return avroType{
		full:  `["null",` + of.full + `]`,
		canon: `["null",` + of.canon + `]`,
		bind: func(a arrow.Array) avroWriter {
			write := of.bind(a)
			return func(dst []byte, row int) ([]byte, string) {
				if a.IsNull(row) {
					return append(dst, 0), "" // branch 0
				}
				return write(append(dst, 2), row) // branch 1
			}
		},
	}, nil
}

// of is the type of values that aren't null.
func (b *avroBuilder) of(path, column string, t arrow.DataType) (avroType, error) {
	if s, ok := avroScalar(t); ok {
		return s, nil
	}
	switch t := t.(type) {
	case *arrow.FixedSizeBinaryType:
		name := b.named(path)
		return avroType{
			full:  fmt.Sprintf(`{"type":"fixed","name":%s,"size":%d}`, quoted(name), t.ByteWidth),
			canon: fmt.Sprintf(`{"name":%s,"type":"fixed","size":%d}`, quoted(name), t.ByteWidth),
			bind: func(a arrow.Array) avroWriter {
				f := a.(*array.FixedSizeBinary)
				return func(dst []byte, row int) ([]byte, string) { return append(dst, f.Value(row)...), "" }
			},
		}, nil
	case *arrow.StructType:
		return b.record(path, column, t.Fields())
	case *arrow.MapType:
		return b.mapOf(path, column, t)
	case arrow.ListLikeType:
		item, err := b.nullable(path+"_item", column+"[]", t.Elem())
		if err != nil {
			return item, err
		}
		return avroType{
			full: `{"type":"array","items":` + item.full + `}`, canon: `{"type":"array","items":` + item.canon + `}`,
			bind: func(a arrow.Array) avroWriter {
				l := a.(array.ListLike)
				write := item.bind(l.ListValues())
				return func(dst []byte, row int) ([]byte, string) {
					from, to := l.ValueOffsets(row)
					if to > from {
						dst = binary.AppendVarint(dst, to-from)
					}
					for i := from; i < to; i++ {
						var reason string
						if dst, reason = write(dst, int(i)); reason != "" {
							return dst, reason
						}
					}
					return append(dst, 0), ""
				}
			},
		}, nil
	}
	return avroType{}, unfit("use value json or arrow", "column %q is %s, for which Avro has no type", column, t)
}

func (b *avroBuilder) mapOf(path, column string, t *arrow.MapType) (avroType, error) {
	if t.KeyType().ID() != arrow.STRING {
		return avroType{}, unfit("use value json or arrow", "column %q is a map with keys of %s: Avro's are strings", column, t.KeyType())
	}
	item, err := b.nullable(path+"_value", column+" (value)", t.ItemType())
	if err != nil {
		return item, err
	}
	return avroType{
		full: `{"type":"map","values":` + item.full + `}`, canon: `{"type":"map","values":` + item.canon + `}`,
		bind: func(a arrow.Array) avroWriter {
			m := a.(*array.Map)
			keys, write := m.Keys().(*array.String), item.bind(m.Items())
			return func(dst []byte, row int) ([]byte, string) {
				from, to := m.ValueOffsets(row)
				if to > from {
					dst = binary.AppendVarint(dst, to-from)
				}
				for i := int(from); i < int(to); i++ {
					var reason string
					if dst, reason = write(avroBytes(dst, keys.Value(i)), i); reason != "" {
						return dst, reason
					}
				}
				return append(dst, 0), ""
			}
		},
	}, nil
}

func avroBytes[T string | []byte](dst []byte, v T) []byte {
	return append(binary.AppendVarint(dst, int64(len(v))), v...)
}

// avroScalar is the type of a single value; ok is false for others.
func avroScalar(t arrow.DataType) (out avroType, ok bool) {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return avroPlain("boolean", func(a *array.Boolean) avroWriter {
			return func(dst []byte, row int) ([]byte, string) {
				if a.Value(row) {
					return append(dst, 1), ""
				}
				return append(dst, 0), ""
			}
		}), true
	case *arrow.Int8Type:
		return avroInt("int", func(a *array.Int8, row int) int64 { return int64(a.Value(row)) }), true
	case *arrow.Int16Type:
		return avroInt("int", func(a *array.Int16, row int) int64 { return int64(a.Value(row)) }), true
	case *arrow.Int32Type:
		return avroInt("int", func(a *array.Int32, row int) int64 { return int64(a.Value(row)) }), true
	case *arrow.Int64Type:
		return avroInt("long", func(a *array.Int64, row int) int64 { return a.Value(row) }), true
	case *arrow.Uint8Type:
		return avroInt("int", func(a *array.Uint8, row int) int64 { return int64(a.Value(row)) }), true
	case *arrow.Uint16Type:
		return avroInt("int", func(a *array.Uint16, row int) int64 { return int64(a.Value(row)) }), true
	case *arrow.Uint32Type:
		return avroInt("long", func(a *array.Uint32, row int) int64 { return int64(a.Value(row)) }), true
	case *arrow.Uint64Type:
		return avroPlain("long", func(a *array.Uint64) avroWriter {
			return func(dst []byte, row int) ([]byte, string) {
				v := a.Value(row)
				if v > math.MaxInt64 {
					return dst, fmt.Sprintf("%d is larger than Avro's long", v)
				}
				return binary.AppendVarint(dst, int64(v)), ""
			}
		}), true
	case *arrow.Float16Type:
		return avroFloat("float", 4, func(a *array.Float16, row int) uint64 { return uint64(math.Float32bits(a.Value(row).Float32())) }), true
	case *arrow.Float32Type:
		return avroFloat("float", 4, func(a *array.Float32, row int) uint64 { return uint64(math.Float32bits(a.Value(row))) }), true
	case *arrow.Float64Type:
		return avroFloat("double", 8, func(a *array.Float64, row int) uint64 { return math.Float64bits(a.Value(row)) }), true
	case *arrow.StringType:
		return avroText("string", func(a *array.String, row int) string { return a.Value(row) }), true
	case *arrow.LargeStringType:
		return avroText("string", func(a *array.LargeString, row int) string { return a.Value(row) }), true
	case *arrow.BinaryType:
		return avroText("bytes", func(a *array.Binary, row int) []byte { return a.Value(row) }), true
	case *arrow.LargeBinaryType:
		return avroText("bytes", func(a *array.LargeBinary, row int) []byte { return a.Value(row) }), true
	case *arrow.Decimal128Type:
		logical := fmt.Sprintf(`"logicalType":"decimal","precision":%d,"scale":%d`, t.Precision, t.Scale)
		return avroText("bytes", func(a *array.Decimal128, row int) []byte {
			v := a.Value(row)
			return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(v.HighBits())), v.LowBits())
		}).with(logical), true
	case *arrow.Decimal256Type:
		logical := fmt.Sprintf(`"logicalType":"decimal","precision":%d,"scale":%d`, t.Precision, t.Scale)
		return avroText("bytes", func(a *array.Decimal256, row int) []byte {
			limbs := a.Value(row).Array() // lowest first
			var b []byte
			for i := 3; i >= 0; i-- {
				b = binary.BigEndian.AppendUint64(b, limbs[i])
			}
			return b
		}).with(logical), true
	}
	return avroMoment(t)
}

// avroMoment is avroScalar for dates and times.
func avroMoment(t arrow.DataType) (out avroType, ok bool) {
	switch t := t.(type) {
	case *arrow.Date32Type:
		return avroInt("int", func(a *array.Date32, row int) int64 { return int64(a.Value(row)) }).with(`"logicalType":"date"`), true
	case *arrow.Date64Type:
		return avroInt("int", func(a *array.Date64, row int) int64 {
			return flow.Day(a.Value(row).ToTime()).Unix() / (24 * 60 * 60)
		}).with(`"logicalType":"date"`), true
	case *arrow.Time32Type:
		times := int64(1)
		if t.Unit == arrow.Second {
			times = 1000
		}
		return avroInt("int", func(a *array.Time32, row int) int64 { return int64(a.Value(row)) * times }).with(`"logicalType":"time-millis"`), true
	case *arrow.Time64Type:
		note := `"logicalType":"time-micros"`
		if t.Unit == arrow.Nanosecond {
			note = `"unit":"ns"` // Avro has no such type
		}
		return avroInt("long", func(a *array.Time64, row int) int64 { return int64(a.Value(row)) }).with(note), true
	case *arrow.DurationType:
		return avroInt("long", func(a *array.Duration, row int) int64 { return int64(a.Value(row)) }).with(`"unit":"` + t.Unit.String() + `"`), true
	case *arrow.TimestampType:
		name, times := map[arrow.TimeUnit]string{arrow.Second: "millis", arrow.Millisecond: "millis", arrow.Microsecond: "micros", arrow.Nanosecond: "nanos"}[t.Unit], int64(1)
		if t.Unit == arrow.Second {
			times = 1000
		}
		local := ""
		if t.TimeZone == "" {
			local = "local-"
		}
		return avroPlain("long", func(a *array.Timestamp) avroWriter {
			return func(dst []byte, row int) ([]byte, string) {
				v := int64(a.Value(row))
				if v > math.MaxInt64/times || v < math.MinInt64/times {
					return dst, "the time is out of range"
				}
				return binary.AppendVarint(dst, v*times), ""
			}
		}).with(`"logicalType":"` + local + "timestamp-" + name + `"`), true
	}
	return out, false
}

// with adds attributes that canonical form leaves out.
func (t avroType) with(attributes string) avroType {
	t.full = `{"type":` + t.full + `,` + attributes + `}`
	return t
}

func avroPlain[A arrow.Array](name string, bind func(a A) avroWriter) avroType {
	return avroType{full: quoted(name), canon: quoted(name), bind: func(a arrow.Array) avroWriter { return bind(a.(A)) }}
}

func avroInt[A arrow.Array](name string, value func(a A, row int) int64) avroType {
	return avroPlain(name, func(a A) avroWriter {
		return func(dst []byte, row int) ([]byte, string) { return binary.AppendVarint(dst, value(a, row)), "" }
	})
}

func avroFloat[A arrow.Array](name string, bytes int, bits func(a A, row int) uint64) avroType {
	return avroPlain(name, func(a A) avroWriter {
		return func(dst []byte, row int) ([]byte, string) {
			return binary.LittleEndian.AppendUint64(dst, bits(a, row))[:len(dst)+bytes], ""
		}
	})
}

func avroText[A arrow.Array, T string | []byte](name string, value func(a A, row int) T) avroType {
	return avroPlain(name, func(a A) avroWriter {
		return func(dst []byte, row int) ([]byte, string) { return avroBytes(dst, value(a, row)), "" }
	})
}
