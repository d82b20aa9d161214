package logtime

import (
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
)

// Type is the type of the columns of times.
var Type = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}

// RowBytes is what a row of a column weighs, with its bit of validity.
const RowBytes = 9

// VendorTimestamp names the attribute that keeps the vendor's time of a record whose own stands in the column timestamp.
const VendorTimestamp = "vendor_timestamp"

// AppendVendor appends the value of VendorTimestamp to dst: RFC 3339 in UTC, to the nanosecond.
func AppendVendor(dst []byte, ns int64) []byte {
	return time.Unix(0, ns).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000000Z07:00")
}

// Column returns the times of rows lines, null where none is certain, and how many that are. line returns a line, which
// isn't kept. The caller releases the data.
func (p *Parser) Column(mem memory.Allocator, rows int, line func(row int) []byte, received flow.Range) (column *array.Data, without uint64) {
	buffer := func(n int) *memory.Buffer {
		b := memory.NewResizableBuffer(mem)
		b.Resize(n)
		return b
	}
	validity, values := buffer(int(bitutil.BytesForBits(int64(rows)))), buffer(8*rows)
	defer validity.Release()
	defer values.Release()
	clear(validity.Bytes())
	times := arrow.Int64Traits.CastFromBytes(values.Bytes())
	for i := range rows {
		ns, ok := p.Time(line(i), received)
		if !ok {
			times[i] = 0
			without++
			continue
		}
		times[i] = ns
		bitutil.SetBit(validity.Bytes(), i)
	}
	return array.NewData(Type, rows, []*memory.Buffer{validity, values}, nil, int(without), 0), without
}
