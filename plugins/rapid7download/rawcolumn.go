package rapid7download

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// rawColumn is body_raw of the batch so far: few rows have a value, most batches none.
type rawColumn struct {
	rows   []int32 // which rows have a value, ascending
	ends   []int32 // where each value ends in values
	values []byte
}

func (c *rawColumn) used() bool { return len(c.rows) > 0 }

// size is what the column weighs in a batch of so many rows.
func (c *rawColumn) size(rows int) int {
	if !c.used() {
		return 0 // left out of the frame
	}
	return len(c.values) + 4*(rows+1) + rows/8
}

// begin is what the first value makes a column of so many rows weigh.
func (c *rawColumn) begin(rows int) int {
	if c.used() {
		return 0
	}
	return 4*(rows+1) + rows/8
}

func (c *rawColumn) add(row int, value []byte) {
	c.rows = append(c.rows, int32(row))
	c.values = append(c.values, value...)
	c.ends = append(c.ends, int32(len(c.values)))
}

// keepRaw is the most that stays allocated from batch to batch.
const keepRaw = 1 << 20

// take returns the column of a batch of so many rows and begins the next batch's.
func (c *rawColumn) take(d *decoder, rows int) *array.Data {
	bitmapLen := int(bitutil.BytesForBits(int64(rows)))
	if !c.used() {
		if n := 4 * (rows + 1); len(d.zeros) < n {
			d.zeros = make([]byte, max(n, 4*firstRows))
		}
		zeros := func(n int) *memory.Buffer { return memory.NewBufferBytes(d.zeros[:n:n]) }
		return array.NewData(arrow.BinaryTypes.Binary, rows,
			[]*memory.Buffer{zeros(bitmapLen), zeros(4 * (rows + 1)), nil}, nil, rows, 0)
	}
	buffer := func(n int) *memory.Buffer {
		b := memory.NewResizableBuffer(d.mem)
		b.Resize(n)
		return b
	}
	validity, offsets, values := buffer(bitmapLen), buffer(4*(rows+1)), buffer(len(c.values))
	defer validity.Release()
	defer offsets.Release()
	defer values.Release()
	copy(values.Bytes(), c.values)
	clear(validity.Bytes())
	begins := arrow.Int32Traits.CastFromBytes(offsets.Bytes())
	next, end := 0, int32(0)
	for row := range rows {
		begins[row] = end
		if next < len(c.rows) && int(c.rows[next]) == row {
			bitutil.SetBit(validity.Bytes(), row)
			end = c.ends[next]
			next++
		}
	}
	begins[rows] = end
	nulls := rows - len(c.rows)
	c.rows, c.ends, c.values = c.rows[:0], c.ends[:0], c.values[:0]
	if cap(c.values) > keepRaw {
		c.values = nil
	}
	return array.NewData(arrow.BinaryTypes.Binary, rows, []*memory.Buffer{validity, offsets, values}, nil, nulls, 0)
}
