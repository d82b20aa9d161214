package pipeline

import (
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// apart returns a record of the same memory with arrays of its own, which the caller releases. Arrow's arrays write, without a lock and when
// they are only read: the number of nulls is counted when it is first asked for and kept in data that all arrays of a column share, those of
// the slice's other batches too where a column has one value; an array of nulls writes it when it is made. So whoever reads beside
// others, or longer than the batch is held for, gets arrays of its own; the buffers below are never written.
func apart(rec arrow.Record) arrow.Record {
	columns := make([]arrow.Array, rec.NumCols())
	for i, c := range rec.Columns() {
		d := dataApart(c.Data())
		columns[i] = array.MakeFromData(d)
		d.Release()
	}
	out := array.NewRecord(rec.Schema(), columns, rec.NumRows())
	for _, c := range columns {
		c.Release()
	}
	return out
}

// dataApart copies what describes an array, its children's too. No frame has dictionaries.
func dataApart(d arrow.ArrayData) arrow.ArrayData {
	children := make([]arrow.ArrayData, len(d.Children()))
	for i, c := range d.Children() {
		children[i] = dataApart(c)
	}
	out := array.NewData(d.DataType(), d.Len(), slices.Clone(d.Buffers()), children, d.NullN(), d.Offset())
	for _, c := range children {
		c.Release()
	}
	return out
}
