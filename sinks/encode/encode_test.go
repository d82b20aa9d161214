package encode

import (
	"bytes"
	"encoding/base64"
	stdcsv "encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
)

// encodeAll encodes a record in pieces of limit bytes.
func encodeAll(t testing.TB, f Format, rec arrow.Record, limit int) string {
	t.Helper()
	e, err := New(f, rec.Schema())
	if err != nil {
		t.Fatal(err)
	}
	out := string(e.Header())
	for row := 0; row < int(rec.NumRows()); {
		var b []byte
		before := row
		if b, row, err = e.Append(nil, rec, row, limit); err != nil {
			t.Fatal(err)
		}
		if row == before {
			t.Fatalf("no progress at row %d", row)
		}
		out += string(b)
	}
	return out
}

// fromJSON makes a record of one column from Arrow's own JSON, behind a row that is sliced off, so that offsets count.
func fromJSON(t *testing.T, alloc memory.Allocator, typ arrow.DataType, values string) arrow.Record {
	t.Helper()
	values = "[null," + strings.TrimPrefix(values, "[")
	a, _, err := array.FromJSON(alloc, typ, strings.NewReader(values), array.WithUseNumber())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Release()
	schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: typ, Nullable: true}, {Name: "n", Type: arrow.Null, Nullable: true}}, nil)
	n := array.NewNull(a.Len())
	defer n.Release()
	rec := array.NewRecord(schema, []arrow.Array{a, n}, int64(a.Len()))
	defer rec.Release()
	return rec.NewSlice(1, int64(a.Len()))
}

func ts(unit arrow.TimeUnit, zone string) arrow.DataType {
	return &arrow.TimestampType{Unit: unit, TimeZone: zone}
}

// TestTypes has every type, values in Arrow's JSON and their text in both formats; each ends with a null.
func TestTypes(t *testing.T) {
	str := arrow.BinaryTypes.String
	b64 := base64.StdEncoding.EncodeToString([]byte("\x00ab"))
	for _, tt := range []struct {
		name   string
		typ    arrow.DataType
		values string
		json   []string // of the column
		csv    []string // nil: as json, without its quotes
	}{
		{"bool", arrow.FixedWidthTypes.Boolean, `[true,false,null]`, []string{"true", "false"}, nil},
		{"int8", arrow.PrimitiveTypes.Int8, `[-128,127,null]`, []string{"-128", "127"}, nil},
		{"int16", arrow.PrimitiveTypes.Int16, `[-32768,1,null]`, []string{"-32768", "1"}, nil},
		{"int32", arrow.PrimitiveTypes.Int32, `[-2147483648,1,null]`, []string{"-2147483648", "1"}, nil},
		{"int64", arrow.PrimitiveTypes.Int64, `[-9223372036854775808,9223372036854775807,null]`, []string{"-9223372036854775808", "9223372036854775807"}, nil},
		{"uint8", arrow.PrimitiveTypes.Uint8, `[255,null]`, []string{"255"}, nil},
		{"uint16", arrow.PrimitiveTypes.Uint16, `[65535,null]`, []string{"65535"}, nil},
		{"uint32", arrow.PrimitiveTypes.Uint32, `[4294967295,null]`, []string{"4294967295"}, nil},
		{"uint64", arrow.PrimitiveTypes.Uint64, `[18446744073709551615,null]`, []string{"18446744073709551615"}, nil},
		{"float16", arrow.FixedWidthTypes.Float16, `[1.5,null]`, []string{"1.5"}, nil},
		{"float32", arrow.PrimitiveTypes.Float32, `[0.1,-0,null]`, []string{"0.1", "-0"}, nil},
		{"float64", arrow.PrimitiveTypes.Float64, `[0.1,1e300,1e-9,123456789012,null]`, []string{"0.1", "1e+300", "1e-09", "123456789012"}, nil},
		{"decimal128", &arrow.Decimal128Type{Precision: 10, Scale: 3}, `["-1.500","0.001",null]`, []string{"-1.500", "0.001"}, nil},
		{"decimal256", &arrow.Decimal256Type{Precision: 50, Scale: 2}, `["12345678901234567890123456789012345678901234.50",null]`, []string{"12345678901234567890123456789012345678901234.50"}, nil},
		{"date32", arrow.FixedWidthTypes.Date32, `["2026-11-01","1969-12-31",null]`, []string{`"2026-11-01"`, `"1969-12-31"`}, nil},
		{"date64", arrow.FixedWidthTypes.Date64, `["2026-11-01","1969-12-31",null]`, []string{`"2026-11-01"`, `"1969-12-31"`}, nil},
		{"time32", arrow.FixedWidthTypes.Time32ms, `["23:59:59.001",null]`, []string{`"23:59:59.001000000"`}, nil},
		{"time64", arrow.FixedWidthTypes.Time64ns, `["01:02:03.000000004",null]`, []string{`"01:02:03.000000004"`}, nil},
		{"duration", arrow.FixedWidthTypes.Duration_ms, `["1500ms",null]`, []string{"1500"}, nil},
		{"timestamp s", ts(arrow.Second, "UTC"), `[0,-1,null]`, []string{`"1970-01-01T00:00:00.000000000Z"`, `"1969-12-31T23:59:59.000000000Z"`}, nil},
		{"timestamp ms", ts(arrow.Millisecond, "UTC"), `[1,-1,null]`, []string{`"1970-01-01T00:00:00.001000000Z"`, `"1969-12-31T23:59:59.999000000Z"`}, nil},
		{"timestamp us", ts(arrow.Microsecond, "Europe/Berlin"), `[1,null]`, []string{`"1970-01-01T00:00:00.000001000Z"`}, nil},
		{"timestamp ns", ts(arrow.Nanosecond, "UTC"), `[1762000000123456789,1762000000123456790,-1,null]`, []string{
			`"2025-11-01T12:26:40.123456789Z"`, `"2025-11-01T12:26:40.123456790Z"`, `"1969-12-31T23:59:59.999999999Z"`,
		}, nil},
		{"timestamp without zone", ts(arrow.Nanosecond, ""), `[5,null]`, []string{`"1970-01-01T00:00:00.000000005"`}, nil},
		{"binary", arrow.BinaryTypes.Binary, `["` + b64 + `","",null]`, []string{`"` + b64 + `"`, `""`}, nil},
		{"large binary", arrow.BinaryTypes.LargeBinary, `["` + b64 + `",null]`, []string{`"` + b64 + `"`}, nil},
		{"fixed size binary", &arrow.FixedSizeBinaryType{ByteWidth: 3}, `["` + b64 + `",null]`, []string{`"` + b64 + `"`}, nil},
		{
			"string", str, `["a,b","say \"hi\"","line\nfeed","","plain text",null]`,
			[]string{`"a,b"`, `"say \"hi\""`, `"line\nfeed"`, `""`, `"plain text"`},
			[]string{`"a,b"`, `"say ""hi"""`, "\"line\nfeed\"", `""`, "plain text"},
		},
		{"large string", arrow.BinaryTypes.LargeString, `["\u0000\u001f\u007f\\ü",null]`, []string{`"\u0000\u001f` + "\x7f" + `\\ü"`}, []string{"\x00\x1f\x7f\\ü"}},
		{"list", arrow.ListOf(str), `[["a",null],[],null]`, []string{`["a",null]`, `[]`}, []string{`"[""a"",null]"`, `"[]"`}},
		{"large list", arrow.LargeListOf(arrow.PrimitiveTypes.Int8), `[[1,2],null]`, []string{`[1,2]`}, []string{`"[1,2]"`}},
		{"fixed size list", arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int8), `[[1,null],null]`, []string{`[1,null]`}, []string{`"[1,null]"`}},
		{
			"struct", arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int8, Nullable: true}, arrow.Field{Name: "y\"", Type: str, Nullable: true}),
			`[{"x":1,"y\"":"b"},{"x":null,"y\"":"c"},{"x":null,"y\"":null},null]`,
			[]string{`{"x":1,"y\"":"b"}`, `{"y\"":"c"}`, `{}`},
			[]string{`"{""x"":1,""y\"""":""b""}"`, `"{""y\"""":""c""}"`, `"{}"`},
		},
		{
			"map", arrow.MapOf(str, str), `[[{"key":"a","value":"b"},{"key":"c","value":null}],[],null]`,
			[]string{`{"a":"b","c":null}`, `{}`},
			[]string{`"{""a"":""b"",""c"":null}"`, `"{}"`},
		},
		{"map of ints", arrow.MapOf(arrow.PrimitiveTypes.Int32, arrow.ListOf(arrow.PrimitiveTypes.Int8)), `[[{"key":1,"value":[2]}],null]`, []string{`{"1":[2]}`}, []string{`"{""1"":[2]}"`}},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer alloc.AssertSize(t, 0)
			rec := fromJSON(t, alloc, tt.typ, tt.values)
			defer rec.Release()
			var wantJSON, wantCSV strings.Builder
			wantCSV.WriteString("c,n\r\n")
			for i, v := range tt.json {
				fmt.Fprintf(&wantJSON, "{\"c\":%s}\n", v)
				c := strings.Trim(v, `"`)
				if tt.csv != nil {
					c = tt.csv[i]
				}
				fmt.Fprintf(&wantCSV, "%s,\r\n", c)
			}
			wantJSON.WriteString("{}\n")
			wantCSV.WriteString(",\r\n")
			for _, limit := range []int{1, 30, 1 << 20} {
				got := encodeAll(t, NDJSON, rec, limit)
				if diff := cmp.Diff(wantJSON.String(), got); diff != "" {
					t.Errorf("ndjson (-want +got):\n%s", diff)
				}
				for line := range strings.Lines(got) {
					if !json.Valid([]byte(line)) {
						t.Errorf("not JSON: %s", line)
					}
				}
				if diff := cmp.Diff(wantCSV.String(), encodeAll(t, CSV, rec, limit)); diff != "" {
					t.Errorf("csv (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestNaN(t *testing.T) {
	b := array.NewFloat64Builder(memory.DefaultAllocator)
	b.AppendValues([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}, nil)
	a := b.NewArray()
	rec := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "c", Type: a.DataType()}}, nil), []arrow.Array{a}, 3)
	if got, want := encodeAll(t, NDJSON, rec, 1000), "{\"c\":null}\n{\"c\":null}\n{\"c\":null}\n"; got != want {
		t.Errorf("ndjson %q, want %q", got, want)
	}
	if got, want := encodeAll(t, CSV, rec, 1000), "c\r\nNaN\r\nInfinity\r\n-Infinity\r\n"; got != want {
		t.Errorf("csv %q, want %q", got, want)
	}
}

func TestRefused(t *testing.T) {
	dict := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	for _, tt := range []struct {
		f    Format
		typ  arrow.DataType
		want string
	}{
		{Raw, arrow.BinaryTypes.String, `no utf8 column "body"`},
		{NDJSON, dict, `column "c" is dictionary`},
		{CSV, dict, `column "c" is dictionary`},
		{NDJSON, arrow.StructOf(arrow.Field{Name: "d", Type: dict}), `column "c.d" is`},
		{NDJSON, arrow.ListOf(dict), `column "c[]" is`},
		{NDJSON, arrow.FixedWidthTypes.MonthInterval, `column "c" is month_interval`},
		{NDJSON, arrow.MapOf(arrow.ListOf(arrow.PrimitiveTypes.Int8), dict), "which no JSON object has"},
		{"xml", arrow.BinaryTypes.String, `unknown format "xml"`},
	} {
		_, err := New(tt.f, arrow.NewSchema([]arrow.Field{{Name: "c", Type: tt.typ}}, nil))
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Config || fault.HintOf(err) == "" {
			t.Errorf("%s of %s: %v, want %q", tt.f, tt.typ, err, tt.want)
		}
	}
	rec := fromJSON(t, memory.DefaultAllocator, arrow.BinaryTypes.String, `["x"]`)
	e, err := New(NDJSON, arrow.NewSchema([]arrow.Field{{Name: "c", Type: arrow.PrimitiveTypes.Int8}, {Name: "n", Type: arrow.Null}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Append(nil, rec, 0, 1); fault.KindOf(err) != fault.Bug {
		t.Errorf("a batch of another schema: %v", err)
	}
}

func TestRaw(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "body", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "body_raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	body, exact := b.Field(0).(*array.StringBuilder), b.Field(1).(*array.BinaryBuilder)
	body.AppendValues([]string{"cut off", "one\r", "", "tw�o", "three"}, []bool{true, true, true, true, true})
	body.AppendNull()
	for _, r := range []string{"", "", "", "tw\xffo", "", ""} {
		if r == "" {
			exact.AppendNull()
		} else {
			exact.Append([]byte(r))
		}
	}
	all := b.NewRecord()
	for _, limit := range []int{1, 5, 1000} {
		if got, want := encodeAll(t, Raw, all.NewSlice(1, 6), limit), "one\r\n\ntw\xffo\nthree\n\n"; got != want {
			t.Errorf("limit %d: %q, want %q", limit, got, want)
		}
		if got, want := encodeAll(t, Raw, all.NewSlice(1, 3), limit), "one\r\n\n"; got != want { // none of them raw
			t.Errorf("limit %d: %q, want %q", limit, got, want)
		}
	}
}

// FuzzStrings holds the writers against the standard library's readers.
func FuzzStrings(f *testing.F) {
	f.Add("plain text that is long enough", "a\"b\\c\x01,\r\n")
	f.Add("1234567\"", "\x7f\x80ü\u2028")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		for _, s := range []string{a, b, a + b, b + a} {
			var got string
			text := appendJSONString(nil, s)
			if err := json.Unmarshal(text, &got); err != nil || got != s {
				t.Fatalf("%q became %s, read as %q, %v", s, text, got, err)
			}
			row := append(appendCSVString(append(appendCSVString(nil, "x"), ','), s), "\r\n"...)
			rows, err := stdcsv.NewReader(bytes.NewReader(row)).ReadAll()
			// That reader turns \r\n within quotes into \n.
			if want := strings.ReplaceAll(s, "\r\n", "\n"); err != nil || len(rows) != 1 || len(rows[0]) != 2 || rows[0][1] != want {
				t.Fatalf("%q became %q, read as %q, %v", s, row, rows, err)
			}
		}
	})
}

// TestFixedFields: fields with one value in the batch are encoded once, whatever stands beside them, and the next batch is
// another.
func TestFixedFields(t *testing.T) {
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer alloc.AssertSize(t, 0)
	str := arrow.BinaryTypes.String
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: str, Nullable: true},
		{Name: "t", Type: ts(arrow.Nanosecond, "UTC")},
		{Name: "b", Type: str, Nullable: true},
		{Name: "c", Type: str, Nullable: true},
		{Name: "d", Type: str, Nullable: true},
	}, nil)
	record := func(rows string) arrow.Record {
		rec, _, err := array.RecordFromJSON(alloc, schema, strings.NewReader(rows))
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	const at = `"t":"2026-11-01T00:00:00.000000000Z"`
	for _, tt := range []struct{ name, rows, want string }{
		{
			"all the same", `[{"a":"x\"","t":"2026-11-01","b":"","c":"yy","d":"z"},{"a":"x\"","t":"2026-11-01","b":"","c":"yy","d":"z"}]`,
			strings.Repeat(`{"a":"x\"",`+at+`,"b":"","c":"yy","d":"z"}`+"\n", 2),
		},
		{
			"one differs", `[{"a":"x","t":"2026-11-01","b":"1","c":"y","d":"z"},{"a":"x","t":"2026-11-01","b":"2","c":"y","d":"z"}]`,
			`{"a":"x",` + at + `,"b":"1","c":"y","d":"z"}` + "\n" + `{"a":"x",` + at + `,"b":"2","c":"y","d":"z"}` + "\n",
		},
		{
			"nulls are none", `[{"a":null,"t":"2026-11-01","b":"1","c":null,"d":"z"},{"a":"x","t":"2026-11-01","b":"1","c":null,"d":"z"}]`,
			`{` + at + `,"b":"1","d":"z"}` + "\n" + `{"a":"x",` + at + `,"b":"1","d":"z"}` + "\n",
		},
		{
			"the same bytes cut elsewhere", `[{"a":"xx","t":"2026-11-01","b":"x","c":"","d":"z"},{"a":"x","t":"2026-11-01","b":"xx","c":"x","d":"z"},{"a":"xxx","t":"2026-11-01","b":"xxx","c":"","d":"z"}]`,
			`{"a":"xx",` + at + `,"b":"x","c":"","d":"z"}` + "\n" + `{"a":"x",` + at + `,"b":"xx","c":"x","d":"z"}` + "\n" +
				`{"a":"xxx",` + at + `,"b":"xxx","c":"","d":"z"}` + "\n",
		},
		{
			"the last one differs", `[{"a":"ab","t":"2026-11-01","b":"x","c":"y","d":"z"},{"a":"ab","t":"2026-11-01","b":"x","c":"y","d":"z"},{"a":"aB","t":"2026-11-02","b":"x","c":"y","d":"z"}]`,
			strings.Repeat(`{"a":"ab",`+at+`,"b":"x","c":"y","d":"z"}`+"\n", 2) + `{"a":"aB",` + strings.Replace(at, "11-01", "11-02", 1) + `,"b":"x","c":"y","d":"z"}` + "\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := record(`[{"a":"other","t":"2020-01-01","b":"other","c":"other","d":"other"}]`)
			defer first.Release()
			rec := record(tt.rows)
			defer rec.Release()
			e, err := New(NDJSON, schema)
			if err != nil {
				t.Fatal(err)
			}
			for _, limit := range []int{1, 1 << 20} {
				if _, _, err := e.Append(nil, first, 0, limit); err != nil {
					t.Fatal(err)
				}
				var got []byte
				for row := 0; row < int(rec.NumRows()); {
					if got, row, err = e.Append(got, rec, row, len(got)+limit); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(tt.want, string(got)); diff != "" {
					t.Errorf("limit %d (-want +got):\n%s", limit, diff)
				}
			}
		})
	}
}
