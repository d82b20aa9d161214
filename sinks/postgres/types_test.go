package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func sorted(in []string) []string { return slices.Sorted(slices.Values(in)) }

// values are a column of each type: what Arrow's JSON says, and what psql would show.
var values = []struct {
	name string
	of   arrow.DataType
	in   string // JSON of two rows, a space between
	out  []string
}{
	{"bool", arrow.FixedWidthTypes.Boolean, `true false`, []string{"true", "false"}},
	{"i8", arrow.PrimitiveTypes.Int8, `-128 127`, []string{"-128", "127"}},
	{"i16", arrow.PrimitiveTypes.Int16, `-32768 32767`, []string{"-32768", "32767"}},
	{"i32", arrow.PrimitiveTypes.Int32, `-2147483648 2147483647`, []string{"-2147483648", "2147483647"}},
	{"i64", arrow.PrimitiveTypes.Int64, `"-9223372036854775808" "9223372036854775807"`, []string{"-9223372036854775808", "9223372036854775807"}},
	{"u8", arrow.PrimitiveTypes.Uint8, `255 0`, []string{"255", "0"}},
	{"u16", arrow.PrimitiveTypes.Uint16, `65535 0`, []string{"65535", "0"}},
	{"u32", arrow.PrimitiveTypes.Uint32, `4294967295 0`, []string{"4294967295", "0"}},
	{"u64", arrow.PrimitiveTypes.Uint64, `"18446744073709551615" "10000"`, []string{"18446744073709551615", "10000"}},
	{"f32", arrow.PrimitiveTypes.Float32, `0.1 "NaN"`, []string{"0.1", "NaN"}},
	{"f64", arrow.PrimitiveTypes.Float64, `1e300 "-Inf"`, []string{"1e+300", "-Infinity"}},
	{"dec", &arrow.Decimal128Type{Precision: 38, Scale: 5}, `"-123456789.00010" "0.00001"`, []string{"-123456789.00010", "0.00001"}},
	{"dec0", &arrow.Decimal128Type{Precision: 38, Scale: 2}, `"0.00" "12000000000000000000000000000000000.50"`, []string{"0.00", "12000000000000000000000000000000000.50"}},
	{"dec256", &arrow.Decimal256Type{Precision: 40, Scale: 2}, `"-1.50" "99999999999999999999999999999999999999.99"`, []string{"-1.50", "99999999999999999999999999999999999999.99"}},
	{"f16", arrow.FixedWidthTypes.Float16, `1.5 -2`, []string{"1.5", "-2"}},
	{"t32s", arrow.FixedWidthTypes.Time32s, `"12:30:01" "00:00:00"`, []string{"12:30:01", "00:00:00"}},
	{"str", arrow.BinaryTypes.String, `"say\"no\",\n\\.\t" ""`, []string{"say\"no\",\n\\.\t", ""}},
	{"lstr", arrow.BinaryTypes.LargeString, `"ünï→😀" "x"`, []string{"ünï→😀", "x"}},
	{"bin", arrow.BinaryTypes.Binary, `"/wA=" ""`, []string{`\xff00`, `\x`}},
	{"fix", &arrow.FixedSizeBinaryType{ByteWidth: 2}, `"/wA=" "AAA="`, []string{`\xff00`, `\x0000`}},
	{"d32", arrow.FixedWidthTypes.Date32, `"2026-11-01" "1969-12-31"`, []string{"2026-11-01", "1969-12-31"}},
	{"d64", arrow.FixedWidthTypes.Date64, `"2026-11-01" "1969-12-31"`, []string{"2026-11-01", "1969-12-31"}},
	{"t32", arrow.FixedWidthTypes.Time32ms, `"12:30:00.125" "00:00:00"`, []string{"12:30:00.125", "00:00:00"}},
	{"t64", arrow.FixedWidthTypes.Time64ns, `"12:30:00.000001999" "23:59:59.999999999"`, []string{"12:30:00.000001", "23:59:59.999999"}},
	{"ns", &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, `"2026-11-01T12:30:00.000001999Z" "1969-12-31T23:59:59.999999999Z"`, []string{"2026-11-01 12:30:00.000001+00", "1969-12-31 23:59:59.999999+00"}},
	{"s", &arrow.TimestampType{Unit: arrow.Second}, `"2026-11-01T12:30:00Z" "1677-01-01T00:00:00Z"`, []string{"2026-11-01 12:30:00", "1677-01-01 00:00:00"}},
	{"dur", arrow.FixedWidthTypes.Duration_ms, `"1500ms" "0ms"`, []string{"1500", "0"}},
	{"list", arrow.ListOf(arrow.PrimitiveTypes.Int64), `[1,null,3] []`, []string{"[1, null, 3]", "[]"}},
	{"st", arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}), `{"a":1,"b":null} {"b":"\\u0000"}`, []string{`{"a": 1}`, `{"b": "\\u0000"}`}},
	{"map", arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), `[{"key":"k","value":"v"},{"key":"n","value":null}] []`, []string{`{"k": "v", "n": null}`, `{}`}},
	{"nothing", arrow.Null, `null null`, []string{"null", "null"}},
}

func (r rig) testTypes(t *testing.T) {
	var fields []arrow.Field
	rows := []string{"", "", ""}
	for _, v := range values {
		fields = append(fields, arrow.Field{Name: v.name, Type: v.of, Nullable: true})
		for i, in := range append(strings.Split(v.in, " "), "null") {
			rows[i] += fmt.Sprintf(",%q:%s", v.name, in)
		}
	}
	schema := arrow.NewSchema(fields, nil)
	database := r.Database(t)
	c := r.config(database, nil)
	c.Streams = []sinks.Stream{{Name: "events", Selection: flow.SelectionID{1, 2, 3}, Schema: schema}}
	k := r.open(t, c)
	r.append(t, k, schema, `[{`+rows[0][1:]+`},{`+rows[1][1:]+`},{`+rows[2][1:]+`}]`, nil)
	r.Exec(t, database, "set timezone = 'UTC'")
	for _, v := range values {
		typ, _ := Type(v.of)
		got, err := r.Texts(database, fmt.Sprintf(`select coalesce(%q::text, 'null') from events order by ctid`, v.name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append(slices.Clone(v.out), "null"), got); diff != "" {
			t.Errorf("%s as %s (-want +got):\n%s", v.of, typ, diff)
		}
		if have, err := r.Texts(database, `select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'events'::regclass and attname = $1`, v.name); err != nil || len(have) != 1 || have[0] != typ {
			t.Errorf("%s: the column is %v, %v, want %s", v.of, have, err, typ)
		}
	}
}

// append writes one slice of the rows and returns the rejected ones.
func (r rig) append(t *testing.T, k *Sink, schema *arrow.Schema, rows string, want []sinks.Rejected) {
	t.Helper()
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer alloc.AssertSize(t, 0)
	rec, _, err := array.RecordFromJSON(alloc, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	s := sinktest.Hours("one", 0, 1)
	tx, err := k.Begin(t.Context(), s, 0, schema)
	if err != nil {
		t.Fatal(err)
	}
	rejected, err := tx.Append(t.Context(), flow.Batch{Slice: s.ID, Records: rec})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rejected); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	n := uint64(rec.NumRows())
	dead := uint64(len(rejected))
	a := sinks.Account{Read: flow.Sum{Rows: n}, Delivered: flow.Sum{Rows: n - dead}, Dead: flow.Sum{Rows: dead}}
	if _, err := tx.Commit(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

// What PostgreSQL can't hold becomes a dead letter, and the rest of its batch is there.
func (r rig) testDeadLetters(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64},
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "json", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
		{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}, Nullable: true},
		{Name: "day", Type: arrow.FixedWidthTypes.Date64, Nullable: true},
		{Name: "clock", Type: arrow.FixedWidthTypes.Time32s, Nullable: true},
	}, nil)
	database := r.Database(t)
	c := r.config(database, nil)
	c.Streams[0].Schema = schema
	k := r.open(t, c)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	const rows = 9
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		texts := []string{"fine", "nul\x00"}
		b.Field(1).(*array.StringBuilder).Append(texts[btoi(i == 1)])
		m := b.Field(2).(*array.MapBuilder)
		m.Append(true)
		m.KeyBuilder().(*array.StringBuilder).Append("k")
		m.ItemBuilder().(*array.StringBuilder).Append([]string{`\u0000`, "nul\x00"}[btoi(i == 2)])
		b.Field(3).(*array.TimestampBuilder).Append([]arrow.Timestamp{0, 1 << 62, -300_000_000_000, 9_224_318_015_999, 9_224_318_016_000}[at(i, 3, 4, 5, 6)])
		b.Field(4).(*array.Date64Builder).Append([]arrow.Date64{0, 1 << 62}[btoi(i == 7)])
		b.Field(5).(*array.Time32Builder).Append([]arrow.Time32{86400, 86401}[btoi(i == 8)])
	}
	rec := b.NewRecord()
	defer rec.Release()
	s := sinktest.Hours("one", 0, 1)
	tx, err := k.Begin(t.Context(), s, 0, schema)
	if err != nil {
		t.Fatal(err)
	}
	rejected, err := tx.Append(t.Context(), flow.Batch{Slice: s.ID, Records: rec})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range rejected {
		got = append(got, fmt.Sprint(x.Row, " ", strings.Fields(x.Reason)[2]))
	}
	if diff := cmp.Diff([]string{"1 text:", "2 json:", "3 at:", "4 at:", "6 at:", "7 day:", "8 clock:"}, got); diff != "" {
		t.Errorf("rejected (-want +got):\n%s\n%v", diff, rejected)
	}
	if _, err := tx.Commit(t.Context(), sinks.Account{Read: flow.Sum{Rows: rows}, Delivered: flow.Sum{Rows: 2}, Dead: flow.Sum{Rows: 7}}); err != nil {
		t.Fatal(err)
	}
	if there, err := r.Texts(database, `select n || ' ' || (json->>'k') || ' ' || extract(year from at)::text from events order by n`); err != nil || cmp.Diff([]string{`0 \u0000 1970`, `5 \u0000 294276`}, there) != "" {
		t.Errorf("there are %q, %v", there, err)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// at returns 1 + the place of i in list, 0 if it isn't there.
func at(i int, list ...int) int { return slices.Index(list, i) + 1 }

func (r rig) testSchema(t *testing.T) {
	database := r.Database(t)
	schema := func(fields ...arrow.Field) *arrow.Schema { return arrow.NewSchema(fields, nil) }
	n := arrow.Field{Name: "n", Type: arrow.PrimitiveTypes.Int64}
	extra := arrow.Field{Name: "Level", Type: arrow.PrimitiveTypes.Int16, Nullable: true}
	write := func(hour int, s *arrow.Schema, rows string, more map[string]any) error {
		c := r.config(database, more)
		c.Streams[0].Schema = s
		k, err := open(t.Context(), c, nil)
		if err != nil {
			return err
		}
		defer k.Close()
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(rows))
		if err != nil {
			t.Fatal(err)
		}
		defer rec.Release()
		slice := sinktest.Hours("one", hour, hour+1)
		tx, err := k.Begin(t.Context(), slice, 0, s)
		if err != nil {
			return err
		}
		if _, err := tx.Append(t.Context(), flow.Batch{Slice: slice.ID, Records: rec}); err != nil {
			return err
		}
		rows64 := uint64(rec.NumRows())
		_, err = tx.Commit(t.Context(), sinks.Account{Read: flow.Sum{Rows: rows64}, Delivered: flow.Sum{Rows: rows64}})
		return err
	}
	if err := write(0, schema(n), `[{"n":1}]`, nil); err != nil {
		t.Fatal(err)
	}
	if err := write(1, schema(n, extra), `[{"n":2,"Level":7}]`, map[string]any{"create_table": false}); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), `add column "Level" smallint`) {
		t.Errorf("a new column with create_table false: %v", err)
	}
	if err := write(1, schema(n, extra), `[{"n":2,"Level":7}]`, nil); err != nil {
		t.Fatal(err)
	}
	// An older host goes on with what it knows, and somebody's own columns don't matter.
	r.Exec(t, database, `alter table events add column mine text default 'x'`)
	if err := write(2, schema(n), `[{"n":3}]`, nil); err != nil {
		t.Fatal(err)
	}
	got, err := r.Texts(database, `select concat_ws('/', n, "Level", mine) from events order by n`)
	if diff := cmp.Diff([]string{"1/x", "2/7/x", "3/x"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := write(3, schema(arrow.Field{Name: "n", Type: arrow.BinaryTypes.String}), `[{"n":"4"}]`, nil); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), `column "n" of "public"."events" is bigint`) {
		t.Errorf("another type: %v", err)
	}
	r.Exec(t, database, `alter table events add constraint small check (n < 100)`)
	if err := write(3, schema(n), `[{"n":4},{"n":400}]`, nil); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "small") {
		t.Errorf("a constraint: %v", err)
	}
	if got, err := r.Texts(database, `select n::text from events where n >= 4`); err != nil || len(got) > 0 {
		t.Errorf("of a slice that wasn't committed there are %v, %v", got, err)
	}
}
