package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
)

// receive decodes a frame as if it had come in a batch of rows rows.
func receive(l *Layout, frame []byte, rows uint64, nulls ...uint32) (arrow.Record, error) {
	root := memory.NewBufferBytes(append(make([]byte, 0, len(frame)), frame...))
	return l.Decode(&InBatch{Rows: rows, NullColumns: nulls, root: root, to: len(frame)}, Limits{})
}

func textRecord(t testing.TB, values ...string) arrow.Record {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.StringBuilder).AppendValues(values, nil)
	return b.NewRecord()
}

// rawText returns a record of one text column over the given offsets and values, unchecked.
func rawText(offsets []int32, values []byte) arrow.Record {
	data := array.NewData(arrow.BinaryTypes.String, len(offsets)-1, []*memory.Buffer{
		nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets)), memory.NewBufferBytes(values),
	}, nil, 0, 0)
	schema := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)
	return array.NewRecord(schema, []arrow.Array{array.NewStringData(data)}, int64(len(offsets)-1))
}

func TestDecodeRefuses(t *testing.T) {
	l := mustLayout(t, textRecord(t, "x").Schema())
	encoded := func(rec arrow.Record) []byte {
		f, err := l.Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Release()
		return f.Bytes()
	}
	good := encoded(textRecord(t, "one", "two", "thrée"))
	bodyAt := 8 + int(binary.LittleEndian.Uint32(good[4:]))
	patch := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	nullable := mustLayout(t, arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String, Nullable: true}}, nil))
	tests := []struct {
		name   string
		layout *Layout
		frame  []byte
		rows   uint64
		nulls  []uint32
		want   string
	}{
		{"nothing", l, nil, 1, nil, "encapsulated"},
		{"cut in the metadata", l, good[:40], 3, nil, "metadata of"},
		{"cut in the body", l, good[:len(good)-64], 3, nil, "the metadata says"},
		{"longer body", l, append(bytes.Clone(good), make([]byte, 8)...), 3, nil, "the metadata says"},
		{"no rows", l, good, 0, nil, "0 rows"},
		{"too many rows", l, good, MaxRows + 1, nil, "want 1 to"},
		{"other row count", l, good, 2, nil, "the frame says 3 rows"},
		{"first offset negative", l, patch(bodyAt, 0xff, 0xff, 0xff, 0xff), 3, nil, "negative"},
		{"offsets decrease", l, patch(bodyAt+4, 100), 3, nil, "decrease"},
		{"offset negative between", l, patch(bodyAt+4, 0, 0, 0, 0x80), 3, nil, "decrease"},
		{"last offset beyond", l, patch(bodyAt+12, 0xff), 3, nil, "beyond"},
		{"offset inside a character", l, encoded(rawText([]int32{0, 1, 2}, []byte("é"))), 2, nil, "inside a character"},
		{"not UTF-8", l, encoded(rawText([]int32{0, 2}, []byte("\xff\xfe"))), 1, nil, "UTF-8"},
		{"not UTF-8, far on", l, encoded(rawText([]int32{0, 101}, append(bytes.Repeat([]byte("a"), 100), 0x80))), 1, nil, "UTF-8"},
		{"null column of the schema's non-null", l, good, 3, []uint32{0}, "may not be null"},
		{"null column unknown", nullable, good, 3, []uint32{7}, "null columns"},
		{"null column and its values", nullable, good, 3, []uint32{0}, "more than the schema has"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := receive(tt.layout, tt.frame, tt.rows, tt.nulls...)
			if err == nil {
				rec.Release()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Crash {
				t.Errorf("error %q of kind %s, want %q of kind crash", err, fault.KindOf(err), tt.want)
			}
		})
	}
	if rec, err := receive(l, good, 3); err != nil {
		t.Errorf("the frame all of these were made from: %v", err)
	} else {
		rec.Release()
	}
}

func TestCompressedAndDictionaryFramesAreRefused(t *testing.T) {
	rec := textRecord(t, strings.Repeat("compress me ", 100))
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(rec.Schema()), ipc.WithZstd())
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	prefix, err := EncodeSchema(rec.Schema())
	if err != nil {
		t.Fatal(err)
	}
	l := mustLayout(t, rec.Schema())
	if _, err := receive(l, buf.Bytes()[len(prefix):], 1); err == nil || !strings.Contains(err.Error(), "compressed") {
		t.Errorf("a compressed frame: %v", err)
	}
	for _, dt := range []arrow.DataType{
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String},
		arrow.Null, arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String),
		arrow.ListOf(arrow.Null), arrow.BinaryTypes.StringView,
		arrow.StructOf(), arrow.ListOf(arrow.StructOf()),
		&arrow.FixedSizeBinaryType{ByteWidth: maxWidth + 1}, arrow.FixedSizeListOf(1<<24, arrow.PrimitiveTypes.Int64),
		arrow.ListOf(arrow.FixedSizeListOf(1<<10, arrow.FixedSizeListOf(1<<10, arrow.FixedWidthTypes.Boolean))),
		arrow.StructOf(
			arrow.Field{Name: "a", Type: &arrow.FixedSizeBinaryType{ByteWidth: maxWidth}},
			arrow.Field{Name: "b", Type: arrow.PrimitiveTypes.Int8},
		),
	} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: dt, Nullable: true}}, nil)
		if _, err := EncodeSchema(schema); err == nil {
			t.Errorf("a schema with %s was taken", dt)
		}
	}
	dict := arrow.NewSchema([]arrow.Field{{Name: "c", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}}}, nil)
	var schemaOnly bytes.Buffer
	if err := ipc.NewWriter(&schemaOnly, ipc.WithSchema(dict)).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeSchema(schemaOnly.Bytes()[:schemaOnly.Len()-8]); err == nil {
		t.Error("a received schema with a dictionary was taken")
	}
}

// TestSpreadIsBounded: a few bytes of null columns, or of a constant, don't become any number of them in the receiver.
func TestSpreadIsBounded(t *testing.T) {
	const rows = 1 << 11
	values := make([]string, rows)
	body := arrow.Field{Name: "body", Type: arrow.BinaryTypes.String}
	l := mustLayout(t, textRecord(t, "x").Schema())
	f, err := l.Encode(textRecord(t, values...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	refused := func(name string, l *Layout, nulls ...uint32) {
		t.Helper()
		rec, err := receive(l, f.Bytes(), rows, nulls...)
		if err == nil {
			rec.Release()
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), "send fewer rows") || fault.KindOf(err) != fault.Crash {
			t.Errorf("%s: %v", name, err)
		}
	}

	wide := arrow.Field{Name: "w", Type: &arrow.FixedSizeBinaryType{ByteWidth: maxWidth}, Nullable: true}
	refused("a wide null column", mustLayout(t, arrow.NewSchema([]arrow.Field{body, wide}, nil)), 1)

	fields := []arrow.Field{body}
	for i := range 3 {
		fields = append(fields, arrow.Field{Name: string(rune('a' + i)), Type: &arrow.FixedSizeBinaryType{ByteWidth: MaxSpread / rows / 2}, Nullable: true})
	}
	some := mustLayout(t, arrow.NewSchema(fields, nil))
	refused("three null columns in one frame", some, 1, 2, 3)
	if _, err := some.slice(3, rows); err == nil {
		t.Error("one more in a later frame: accepted, though the two that were spread before are kept")
	}

	schema := arrow.NewSchema([]arrow.Field{body, {Name: "c", Type: arrow.BinaryTypes.LargeString}}, nil)
	constant := mustLayout(t, schema, 1)
	one := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(schema.Fields()[1:], nil))
	defer one.Release()
	one.Field(0).(*array.LargeStringBuilder).Append(strings.Repeat("x", 60_000))
	row := one.NewRecord()
	defer row.Release()
	msg, err := constant.EncodeConstants(row)
	if err != nil {
		t.Fatal(err)
	}
	most := constant.MostRows()
	if most >= rows || most < 100 {
		t.Errorf("frames of at most %d rows beside a constant of 60,000 bytes", most)
	}
	if err := constant.SetConstants(msg); err != nil {
		t.Fatal(err)
	}
	refused("a long constant", constant)
	if f, err = l.Encode(textRecord(t, values[:most]...)); err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	rec, err := receive(constant, f.Bytes(), uint64(most))
	if err != nil {
		t.Fatalf("as many rows as a frame should have: %v", err)
	}
	rec.Release()
}

func TestSchemaRoundTrip(t *testing.T) {
	meta := arrow.MetadataFrom(map[string]string{"unit": "bytes"})
	fields := append(wideSchema().Fields(), arrow.Field{Name: "m", Type: arrow.PrimitiveTypes.Int64, Metadata: meta})
	want := arrow.NewSchema(fields, &meta)
	msg, err := EncodeSchema(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeSchema(msg)
	if err != nil || !got.Equal(want) {
		t.Errorf("got %v, %v", got, err)
	}
	twice := arrow.NewSchema([]arrow.Field{want.Field(0), want.Field(0)}, nil)
	if _, err := EncodeSchema(twice); err == nil {
		t.Error("two columns of one name were taken")
	}
}

func FuzzDecodeSchema(f *testing.F) {
	for _, s := range []*arrow.Schema{logSchema(), wideSchema()} {
		msg, err := EncodeSchema(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		schema, err := DecodeSchema(msg)
		if err != nil {
			return
		}
		if _, err := EncodeSchema(schema); err != nil {
			t.Errorf("accepted, but can't be written: %v", err)
		}
	})
}

// Whatever is accepted must be safe for every sink: each value can be read, and the record written as Arrow and as JSON.
func FuzzDecodeFrame(f *testing.F) {
	schemas := []*arrow.Schema{logSchema(), wideSchema()}
	for i, schema := range schemas {
		l := mustLayout(f, schema)
		for seed := range uint64(4) {
			rec := randomRecord(rand.New(rand.NewPCG(seed, 9)), memory.DefaultAllocator, schema, 5)
			frame, err := l.encode(rec, true)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(frame.Bytes(), uint16(5), uint8(i))
			frame.Release()
			rec.Release()
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte, rows uint16, which uint8) {
		l, err := NewLayout(schemas[int(which)%len(schemas)], nil)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
		defer alloc.AssertSize(t, 0)
		buf := memory.NewBufferWithAllocator(append(alloc.Allocate(len(frame))[:0], frame...), alloc)
		defer buf.Release()
		rec, err := l.Decode(&InBatch{Rows: uint64(rows), root: buf, to: len(frame)}, Limits{})
		if err != nil {
			return
		}
		defer rec.Release()
		mustEncode(t, rec)
	})
}

func mustEncode(t testing.TB, rec arrow.Record) {
	t.Helper()
	w := ipc.NewWriter(&bytes.Buffer{}, ipc.WithSchema(rec.Schema()))
	if err := w.Write(rec); err != nil {
		t.Errorf("accepted, but can't be written as Arrow: %v", err)
	}
	for i, col := range rec.Columns() {
		for row := range col.Len() {
			_ = col.ValueStr(row)
		}
		// Infinities and NaN inside nested columns have no JSON: only a panic would be ours.
		if _, err := json.Marshal(col); err != nil && !strings.Contains(err.Error(), "unsupported value") {
			t.Errorf("accepted, but column %q can't be written as JSON: %v", rec.ColumnName(i), err)
		}
	}
	l, err := NewLayout(rec.Schema(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	f, err := l.Encode(rec)
	if err != nil {
		t.Errorf("accepted, but can't be sent on: %v", err)
		return
	}
	f.Release()
}

// Every byte of a frame overwritten in turn: nothing panics, and what is accepted can be encoded.
func TestDamagedFrames(t *testing.T) {
	schema := logSchema()
	l := mustLayout(t, schema)
	rec := randomRecord(rand.New(rand.NewPCG(5, 9)), memory.DefaultAllocator, schema, 3)
	frame, err := l.encode(rec, true)
	if err != nil {
		t.Fatal(err)
	}
	good := frame.Bytes()
	accepted := 0
	for at := 0; at < len(good); at += 3 { // a prime step: every field of the aligned structures is met
		for _, b := range []byte{0x00, 0x80} {
			bad := bytes.Clone(good)
			bad[at] = b
			if got, err := receive(l, bad, 3); err == nil {
				accepted++
				mustEncode(t, got)
				got.Release()
			}
		}
	}
	if accepted == 0 || accepted == 2*len(good) {
		t.Errorf("%d of %d accepted", accepted, 2*len(good))
	}
}
