package wire

import (
	"encoding/binary"

	"github.com/apache/arrow/go/v15/arrow"
)

// SizeOf returns about how many bytes of a frame's body the rows [from, to) of a record take, padding left out. It costs
// the same whatever the number of rows.
func SizeOf(rec arrow.Record, from, to int) int64 {
	var sum int64
	for _, col := range rec.Columns() {
		sum += sizeOf(col.Data(), from, to-from)
	}
	return sum
}

func sizeOf(data arrow.ArrayData, from, n int) int64 {
	at := data.Offset() + from
	var sum int64
	if bufferBytes(data, 0) != nil && data.NullN() != 0 {
		sum = int64(n+7) / 8
	}
	offsets := func(width int) (lo, hi int64) {
		b := bufferBytes(data, 1)
		if n == 0 || len(b) < width*(at+n+1) {
			return 0, 0
		}
		sum += int64(width * (n + 1))
		if width == 4 {
			return int64(binary.LittleEndian.Uint32(b[4*at:])), int64(binary.LittleEndian.Uint32(b[4*(at+n):]))
		}
		return int64(binary.LittleEndian.Uint64(b[8*at:])), int64(binary.LittleEndian.Uint64(b[8*(at+n):]))
	}
	switch dt := data.DataType().(type) {
	case *arrow.BooleanType:
		sum += int64(n+7) / 8
	case *arrow.StringType, *arrow.BinaryType:
		lo, hi := offsets(4)
		sum += hi - lo
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		lo, hi := offsets(8)
		sum += hi - lo
	case *arrow.ListType, *arrow.MapType:
		lo, hi := offsets(4)
		sum += sizeOf(data.Children()[0], int(lo), int(hi-lo))
	case *arrow.LargeListType:
		lo, hi := offsets(8)
		sum += sizeOf(data.Children()[0], int(lo), int(hi-lo))
	case *arrow.FixedSizeListType:
		size := int(dt.Len())
		sum += sizeOf(data.Children()[0], at*size, n*size)
	case *arrow.StructType:
		for _, child := range data.Children() {
			sum += sizeOf(child, at, n)
		}
	case arrow.FixedWidthDataType:
		sum += int64(dt.BitWidth()/8) * int64(n)
	}
	return sum
}
