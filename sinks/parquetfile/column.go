package parquetfile

import (
	"unsafe"

	arrow18 "github.com/apache/arrow-go/v18/arrow"
	array18 "github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// column holds one field's values in a chunk, in the layout of Arrow and in the type that is written. Its sources are arrays of
// the release of Arrow that batches are of, its result is one of the release that writes Parquet.
type column interface {
	// add copies the rows [lo,hi) of an array.
	add(a arrow.Array, lo, hi int)
	addNulls(n int)
	// bytes is about what add would add.
	bytes(a arrow.Array, lo, hi int) int
	// misfit says why one of the rows [lo,hi) has no form in the file; empty: all have.
	misfit(a arrow.Array, lo, hi int) string
	// array returns what was added; it is good until reset.
	array() arrow18.ArrayData
	// leaves appends what is known of each leaf, in the order of the file's columns. empties is how many lists around it
	// were null or empty: each is a null of the leaf.
	leaves(empties int, out []leaf) []leaf
	// held is how many bytes are allocated.
	held() int
	reset()
}

// leaf is what is known of a column of the file.
type leaf struct {
	values int // nulls too
	nulls  int
	bounds bounds
}

// span returns the rows [lo,hi) of an array's fixed-size values, uncopied.
func span[T any](a arrow.Array, lo, hi int) []T {
	d := a.Data()
	if hi == lo {
		return nil
	}
	b := d.Buffers()[1].Bytes()
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(*new(T))))[d.Offset()+lo : d.Offset()+hi]
}

// raw is the memory of a slice of fixed-size values.
func raw[T any](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}

func valid(a arrow.Array, lo, hi int) func(func(int) bool) {
	return func(yield func(int) bool) {
		all := a.NullN() == 0
		for i := lo; i < hi; i++ {
			if (all || a.IsValid(i)) && !yield(i) {
				return
			}
		}
	}
}

// fixed is a column of values of one size. from appends converted rows; nil: they are copied as they are.
type fixed[T numeric] struct {
	validity
	of     arrow18.DataType
	values []T
	from   func(dst []T, a arrow.Array, lo, hi int) []T
	bad    func(a arrow.Array, row int) string // nil: every value fits
	bounds numbers[T]
}

func (c *fixed[T]) add(a arrow.Array, lo, hi int) {
	at := len(c.values)
	if c.from == nil {
		c.values = append(c.values, span[T](a, lo, hi)...)
	} else {
		c.values = c.from(c.values, a, lo, hi)
	}
	c.validity.add(a, lo, hi)
	if a.NullN() == 0 {
		for _, v := range c.values[at:] {
			c.bounds.observe(v)
		}
		return
	}
	for i := range valid(a, lo, hi) {
		c.bounds.observe(c.values[at+i-lo])
	}
}

func (c *fixed[T]) addNulls(n int) {
	c.values = append(c.values, make([]T, n)...)
	c.validity.addNulls(n)
}

func (c *fixed[T]) bytes(_ arrow.Array, lo, hi int) int {
	return (hi - lo) * int(unsafe.Sizeof(*new(T)))
}

func (c *fixed[T]) misfit(a arrow.Array, lo, hi int) string {
	if c.bad == nil {
		return ""
	}
	for i := range valid(a, lo, hi) {
		if why := c.bad(a, i); why != "" {
			return why
		}
	}
	return ""
}

func (c *fixed[T]) array() arrow18.ArrayData {
	return array18.NewData(c.of, c.n, []*memory.Buffer{c.buffer(), memory.NewBufferBytes(raw(c.values))}, nil, c.nulls, 0)
}

func (c *fixed[T]) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.nulls + empties, &c.bounds})
}

func (c *fixed[T]) held() int { return c.validity.held() + cap(c.values)*int(unsafe.Sizeof(*new(T))) }

func (c *fixed[T]) reset() {
	c.validity.reset()
	c.values = c.values[:0]
	c.bounds.reset()
}

// bools is a column of bits.
type bools struct {
	validity
	values []byte
	bounds booleans
}

func (c *bools) add(a arrow.Array, lo, hi int) {
	at := c.n
	c.validity.add(a, lo, hi)
	c.room()
	b := a.(*array.Boolean)
	for i := range valid(a, lo, hi) {
		v := b.Value(i)
		bitutil.SetBitTo(c.values, at+i-lo, v)
		c.bounds.no, c.bounds.yes = c.bounds.no || !v, c.bounds.yes || v
	}
}

func (c *bools) room() {
	for len(c.values) < (c.n+7)/8 {
		c.values = append(c.values, 0)
	}
}

func (c *bools) addNulls(n int) {
	c.validity.addNulls(n)
	c.room()
}

func (c *bools) bytes(_ arrow.Array, lo, hi int) int { return (hi - lo + 7) / 8 }
func (c *bools) misfit(arrow.Array, int, int) string { return "" }
func (c *bools) held() int                           { return c.validity.held() + cap(c.values) }
func (c *bools) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.nulls + empties, &c.bounds})
}

func (c *bools) array() arrow18.ArrayData {
	return array18.NewData(arrow18.FixedWidthTypes.Boolean, c.n, []*memory.Buffer{c.buffer(), memory.NewBufferBytes(c.values)}, nil, c.nulls, 0)
}

func (c *bools) reset() {
	c.validity.reset()
	c.values = c.values[:0]
	c.bounds = booleans{}
}

// varlen is a column of texts or bytes; O is the type of the source's offsets.
type varlen[O int32 | int64] struct {
	validity
	of      arrow18.DataType
	offsets []int32
	data    []byte
	bounds  texts
}

// maxValue is the longest text that a page of Parquet can hold beside others.
const maxValue = 1 << 30

func (c *varlen[O]) source(a arrow.Array, lo, hi int) (offsets []O, data []byte) {
	if lo == hi {
		return nil, nil
	}
	if b := a.Data().Buffers()[2]; b != nil {
		data = b.Bytes()
	}
	return span[O](a, lo, hi+1), data
}

func (c *varlen[O]) add(a arrow.Array, lo, hi int) {
	offsets, data := c.source(a, lo, hi)
	c.begin()
	c.validity.add(a, lo, hi)
	if lo == hi {
		return
	}
	shift := int64(len(c.data)) - int64(offsets[0])
	c.data = append(c.data, data[offsets[0]:offsets[hi-lo]]...)
	for _, o := range offsets[1:] {
		c.offsets = append(c.offsets, int32(int64(o)+shift))
	}
	if a.NullN() == 0 {
		for i := range hi - lo {
			c.bounds.observe(data[offsets[i]:offsets[i+1]])
		}
		return
	}
	for i := range valid(a, lo, hi) {
		c.bounds.observe(data[offsets[i-lo]:offsets[i-lo+1]])
	}
}

func (c *varlen[O]) begin() {
	if len(c.offsets) == 0 {
		c.offsets = append(c.offsets, 0)
	}
}

func (c *varlen[O]) addNulls(n int) {
	c.begin()
	for range n {
		c.offsets = append(c.offsets, int32(len(c.data)))
	}
	c.validity.addNulls(n)
}

func (c *varlen[O]) bytes(a arrow.Array, lo, hi int) int {
	offsets, _ := c.source(a, lo, hi)
	if lo == hi {
		return 0
	}
	return int(offsets[hi-lo]-offsets[0]) + 4*(hi-lo)
}

func (c *varlen[O]) misfit(a arrow.Array, lo, hi int) string {
	if c.bytes(a, lo, hi) <= maxValue {
		return ""
	}
	offsets, _ := c.source(a, lo, hi)
	for i := range hi - lo {
		if offsets[i+1]-offsets[i] > maxValue {
			return "a value is longer than 1 GiB, which a page of Parquet can't hold"
		}
	}
	return ""
}

func (c *varlen[O]) array() arrow18.ArrayData {
	c.begin()
	return array18.NewData(c.of, c.n, []*memory.Buffer{c.buffer(), memory.NewBufferBytes(raw(c.offsets)), memory.NewBufferBytes(c.data)}, nil, c.nulls, 0)
}

func (c *varlen[O]) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.nulls + empties, &c.bounds})
}

func (c *varlen[O]) held() int { return c.validity.held() + 4*cap(c.offsets) + cap(c.data) }

func (c *varlen[O]) reset() {
	c.validity.reset()
	c.offsets, c.data = c.offsets[:0], c.data[:0]
	c.bounds.reset()
}

// blobs is a column of values of width bytes each.
type blobs struct {
	validity
	of     arrow18.DataType
	width  int
	data   []byte
	bounds texts
}

func (c *blobs) add(a arrow.Array, lo, hi int) {
	if lo < hi {
		at := len(c.data)
		off := a.Data().Offset()
		c.data = append(c.data, a.Data().Buffers()[1].Bytes()[(off+lo)*c.width:(off+hi)*c.width]...)
		for i := range valid(a, lo, hi) {
			c.bounds.observe(c.data[at+(i-lo)*c.width:][:c.width])
		}
	}
	c.validity.add(a, lo, hi)
}

func (c *blobs) addNulls(n int) {
	c.data = append(c.data, make([]byte, n*c.width)...)
	c.validity.addNulls(n)
}

func (c *blobs) bytes(_ arrow.Array, lo, hi int) int { return (hi - lo) * c.width }
func (c *blobs) misfit(arrow.Array, int, int) string { return "" }
func (c *blobs) held() int                           { return c.validity.held() + cap(c.data) }

func (c *blobs) array() arrow18.ArrayData {
	return array18.NewData(c.of, c.n, []*memory.Buffer{c.buffer(), memory.NewBufferBytes(c.data)}, nil, c.nulls, 0)
}

func (c *blobs) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.nulls + empties, &c.bounds})
}

func (c *blobs) reset() {
	c.validity.reset()
	c.data = c.data[:0]
	c.bounds.reset()
}

// amounts is a column of decimals; value returns a row's.
type amounts struct {
	validity
	of     arrow18.DataType
	value  func(a arrow.Array, row int) decimal128.Num
	values []decimal128.Num
	bounds decimals
}

func (c *amounts) add(a arrow.Array, lo, hi int) {
	at := len(c.values)
	c.values = append(c.values, make([]decimal128.Num, hi-lo)...)
	for i := range valid(a, lo, hi) {
		v := c.value(a, i)
		c.values[at+i-lo] = v
		c.bounds.observe(v)
	}
	c.validity.add(a, lo, hi)
}

func (c *amounts) addNulls(n int) {
	c.values = append(c.values, make([]decimal128.Num, n)...)
	c.validity.addNulls(n)
}

func (c *amounts) bytes(_ arrow.Array, lo, hi int) int { return 16 * (hi - lo) }
func (c *amounts) misfit(arrow.Array, int, int) string { return "" }
func (c *amounts) held() int                           { return c.validity.held() + 16*cap(c.values) }

func (c *amounts) array() arrow18.ArrayData {
	return array18.NewData(c.of, c.n, []*memory.Buffer{c.buffer(), memory.NewBufferBytes(raw(c.values))}, nil, c.nulls, 0)
}

func (c *amounts) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.nulls + empties, &c.bounds})
}

func (c *amounts) reset() {
	c.validity.reset()
	c.values = c.values[:0]
	c.bounds.reset()
}

// nothing is a column whose type has no value but null.
type nothing struct{ n int }

func (c *nothing) add(_ arrow.Array, lo, hi int)       { c.n += hi - lo }
func (c *nothing) addNulls(n int)                      { c.n += n }
func (c *nothing) bytes(arrow.Array, int, int) int     { return 0 }
func (c *nothing) misfit(arrow.Array, int, int) string { return "" }
func (c *nothing) held() int                           { return 0 }
func (c *nothing) reset()                              { c.n = 0 }
func (c *nothing) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.n + empties, noBounds{}})
}

func (c *nothing) array() arrow18.ArrayData {
	return array18.NewData(arrow18.Null, c.n, []*memory.Buffer{nil}, nil, c.n, 0)
}
