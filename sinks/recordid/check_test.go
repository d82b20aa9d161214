package recordid

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// TestCheck hashes a value of each type: what Check lets pass can be hashed, and what it refuses can't.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		of    arrow.DataType
		value string
	}{
		{arrow.FixedWidthTypes.Boolean, `true`},
		{arrow.PrimitiveTypes.Int8, `1`},
		{arrow.PrimitiveTypes.Int16, `1`},
		{arrow.PrimitiveTypes.Int32, `1`},
		{arrow.PrimitiveTypes.Int64, `"1"`},
		{arrow.PrimitiveTypes.Uint8, `1`},
		{arrow.PrimitiveTypes.Uint16, `1`},
		{arrow.PrimitiveTypes.Uint32, `1`},
		{arrow.PrimitiveTypes.Uint64, `"1"`},
		{arrow.FixedWidthTypes.Float16, `1`},
		{arrow.PrimitiveTypes.Float32, `1`},
		{arrow.PrimitiveTypes.Float64, `1`},
		{&arrow.Decimal128Type{Precision: 10}, `"1"`},
		{&arrow.Decimal256Type{Precision: 40}, `"1"`},
		{arrow.BinaryTypes.String, `"x"`},
		{arrow.BinaryTypes.LargeString, `"x"`},
		{arrow.BinaryTypes.Binary, `"AA=="`},
		{arrow.BinaryTypes.LargeBinary, `"AA=="`},
		{&arrow.FixedSizeBinaryType{ByteWidth: 1}, `"AA=="`},
		{arrow.FixedWidthTypes.Date32, `"2026-11-01"`},
		{arrow.FixedWidthTypes.Date64, `"2026-11-01"`},
		{arrow.FixedWidthTypes.Time32s, `"12:30:00"`},
		{arrow.FixedWidthTypes.Time64ns, `"12:30:00"`},
		{arrow.FixedWidthTypes.Timestamp_ns, `"2026-11-01T00:00:00Z"`},
		{arrow.FixedWidthTypes.Duration_s, `"1s"`},
		{arrow.ListOf(arrow.PrimitiveTypes.Int64), `["1"]`},
		{arrow.ListOf(arrow.FixedWidthTypes.Time32s), `["12:30:00"]`},
		{arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), `[{"key": "k", "value": "v"}]`},
		{arrow.MapOf(arrow.BinaryTypes.String, arrow.FixedWidthTypes.Float16), `[{"key": "k", "value": 1}]`},
		{arrow.StructOf(arrow.Field{Name: "a", Type: arrow.FixedWidthTypes.Float16, Nullable: true}), `{"a": 1}`},
		{arrow.Null, `null`},
	} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: tt.of, Nullable: true}}, nil)
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"c": `+tt.value+`}]`))
		if err != nil {
			t.Fatal(tt.of, err)
		}
		_, hashed := New(flow.Slice{}, nil).Append(nil, rec)
		rec.Release()
		err = Check(schema, nil)
		if (err == nil) != (hashed == nil) || err != nil && fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v, and hashing says %v", tt.of, err, hashed)
		}
		if err := Check(schema, []string{"other"}); err != nil {
			t.Errorf("%s isn't hashed: %v", tt.of, err)
		}
	}
}
