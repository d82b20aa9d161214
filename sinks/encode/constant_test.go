package encode

import (
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// TestConstants has every mix of four columns with one value in the batch, values that only look so, and values of their own.
func TestConstants(t *testing.T) {
	values := [][]string{{"a\"", "a\"", "a\""}, {"aa", "aa", "ab"}, {"a", "aa", "aaa"}, {"", "", ""}}
	var fields []arrow.Field
	for i := range 4 {
		fields = append(fields, arrow.Field{Name: fmt.Sprint(i), Type: arrow.BinaryTypes.String})
	}
	schema := arrow.NewSchema(append(fields, arrow.Field{Name: "t", Type: ts(arrow.Second, "UTC")}), nil)
	e, err := New(NDJSON, schema)
	if err != nil {
		t.Fatal(err)
	}
	for mix := range 2 * 4 * 4 * 4 * 4 {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		var want string
		for row := range 4 { // the first is sliced off
			line := ""
			for i, m := 0, mix; i < 4; i, m = i+1, m/4 {
				v := "sliced off"
				if row > 0 {
					v = values[m%4][row-1]
				}
				b.Field(i).(*array.StringBuilder).Append(v)
				line += fmt.Sprintf("\"%d\":%q,", i, v)
			}
			second := row * (mix / 256)
			b.Field(4).(*array.TimestampBuilder).Append(arrow.Timestamp(second))
			if row > 0 {
				want += fmt.Sprintf("{%s\"t\":\"1970-01-01T00:00:%02d.000000000Z\"}\n", line, second)
			}
		}
		got := ""
		rec := b.NewRecord().NewSlice(1, 4)
		for row := 0; row < 3; { // one encoder for all batches, a record at a time
			var out []byte
			if out, row, err = e.Append(nil, rec, row, 1); err != nil {
				t.Fatal(err)
			}
			got += string(out)
		}
		if got != want {
			t.Fatalf("mix %d:\n%swant\n%s", mix, got, want)
		}
	}
}
