package parquetfile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

// TestMostGroups: the number of a row group has 16 bits, so a file that needs more is refused, not written with numbers that wrap.
func TestMostGroups(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"id": 1}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	f := New(Defaults())
	for n, refused := range map[int]bool{mostGroups: false, mostGroups + 1: true} {
		enc, err := f.NewEncoder(partfile.Info{Slice: filetest.Slice("x"), Schema: schema, PartSize: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		if err := enc.Begin(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		c := f.NewChunk()
		if _, _, err := enc.Fill(c, rec, 0); err != nil {
			t.Fatal(err)
		}
		enc.(*encoder).out.groups = make([]group, n)
		if err := enc.Write(c); (err != nil) != refused || refused && fault.KindOf(err) != fault.Config {
			t.Errorf("with %d row groups: %v", n, err)
		}
		enc.Release(true)
	}
}
