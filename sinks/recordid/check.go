package recordid

import (
	"slices"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
)

// Check reports columns of a stream that can't be hashed, and so would fail its first batch: an error of kind fault.Config that names them.
// digest names the stream's digest columns, as for New.
func Check(schema *arrow.Schema, digest []string) error {
	for _, f := range schema.Fields() {
		if len(digest) > 0 && !slices.Contains(digest, f.Name) || len(digest) == 0 && slices.Contains(ofTheRead, f.Name) {
			continue
		}
		if id := f.Type.ID(); id != arrow.NULL && id != arrow.TIME32 && id != arrow.TIME64 && !canonical(f.Type) {
			return fault.Errorf(fault.Config, "give records an ID", "column %q: values of type %s can't be hashed", f.Name, f.Type)
		}
	}
	return nil
}

// canonical reports whether proto/flow/FORMAT.md has a form for the values of a type.
func canonical(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.StructType:
		return !slices.ContainsFunc(t.Fields(), func(f arrow.Field) bool { return !canonical(f.Type) })
	case *arrow.MapType:
		return canonical(t.KeyType()) && canonical(t.ItemType())
	case arrow.ListLikeType:
		return canonical(t.Elem())
	}
	switch t.ID() {
	case arrow.BOOL, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64, arrow.FLOAT32, arrow.FLOAT64,
		arrow.DATE32, arrow.DATE64, arrow.TIMESTAMP, arrow.DURATION, arrow.DECIMAL128, arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY,
		arrow.FIXED_SIZE_BINARY:
		return true
	}
	return false
}
