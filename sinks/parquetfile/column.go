package parquetfile

import (
	"encoding/binary"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// column holds one field's values in a chunk: those that are there in the form of pages, and beside them which are null.
type column interface {
	// add copies the rows [lo,hi) of an array.
	add(a arrow.Array, lo, hi int)
	addNulls(n int)
	// bytes is about what add would add.
	bytes(a arrow.Array, lo, hi int) int
	// misfit says why one of the rows [lo,hi) has no form in the file; empty: all have.
	misfit(a arrow.Array, lo, hi int) string
	// flatten appends the leaves below in the order of the file's columns, each with the steps to it; maybe says whether the
	// column itself may be null. They are good until reset.
	flatten(steps []step, maybe bool, out []leafPath) []leafPath
	// leaves appends what is known of each leaf, in the same order. empties is how many lists around it were null or empty:
	// each is a null of the leaf.
	leaves(empties int, out []leaf) []leaf
	// held is how many bytes are allocated.
	held() int
	reset()
}

// values is a column without others inside.
type values interface {
	present() *validity
	count() int // of values that aren't null
	// same returns the value that all are, in PLAIN encoding; nil if they differ, there is none, or it isn't known.
	same() []byte
	// appendPlain appends the values that are there in PLAIN encoding.
	appendPlain(dst []byte) []byte
	// size is about what appendPlain appends.
	size() int
}

// leaf is what is known of a column of the file.
type leaf struct {
	values int // nulls too
	nulls  int
	bounds bounds
}

// flattened appends a leaf to those of a chunk.
func flattened(v values, steps []step, maybe bool, out []leafPath) []leafPath {
	steps = append(steps[:len(steps):len(steps)], step{nulls: v.present(), maybe: maybe})
	return append(out, leafPath{steps: steps, values: v})
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
	values []T
	from   func(dst []T, a arrow.Array, lo, hi int) []T
	bad    func(a arrow.Array, row int) string // nil: every value fits
	bounds numbers[T]
}

func (c *fixed[T]) add(a arrow.Array, lo, hi int) {
	c.validity.add(a, lo, hi)
	if a.NullN() == a.Len() {
		return
	}
	at := len(c.values)
	if c.from == nil {
		c.values = append(c.values, span[T](a, lo, hi)...)
	} else {
		c.values = c.from(c.values, a, lo, hi)
	}
	if a.NullN() > 0 {
		there := c.values[at:at]
		for i := range valid(a, lo, hi) {
			there = append(there, c.values[at+i-lo]) // never beyond what was looked at
		}
		c.values = c.values[:at+len(there)]
	}
	c.bounds.observeAll(c.values[at:])
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

func (c *fixed[T]) same() []byte {
	switch any(c.bounds.lo).(type) {
	case float32, float64: // zeros of two kinds are the same bound, and a NaN is none
		return nil
	}
	if !c.bounds.any || c.bounds.lo != c.bounds.hi {
		return nil
	}
	return plain(c.bounds.lo, true)
}

func (c *fixed[T]) appendPlain(dst []byte) []byte {
	if unsafe.Sizeof(*new(T)) >= 4 {
		return append(dst, raw(c.values)...)
	}
	for _, v := range c.values {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(int32(v)))
	}
	return dst
}

func (c *fixed[T]) size() int { return len(c.values) * max(4, int(unsafe.Sizeof(*new(T)))) }

func (c *fixed[T]) flatten(steps []step, maybe bool, out []leafPath) []leafPath {
	return flattened(c, steps, maybe, out)
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
	at := c.count()
	c.validity.add(a, lo, hi)
	for len(c.values) < (c.count()+7)/8 {
		c.values = append(c.values, 0)
	}
	b := a.(*array.Boolean)
	for i := range valid(a, lo, hi) {
		v := b.Value(i)
		bitutil.SetBitTo(c.values, at, v)
		c.bounds.no, c.bounds.yes = c.bounds.no || !v, c.bounds.yes || v
		at++
	}
}

func (c *bools) bytes(_ arrow.Array, lo, hi int) int { return (hi - lo + 7) / 8 }
func (c *bools) misfit(arrow.Array, int, int) string { return "" }
func (c *bools) same() []byte                        { return nil } // a bit each is as small
func (c *bools) appendPlain(dst []byte) []byte       { return append(dst, c.values...) }
func (c *bools) size() int                           { return len(c.values) }
func (c *bools) held() int                           { return c.validity.held() + cap(c.values) }
func (c *bools) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.nulls + empties, &c.bounds})
}

func (c *bools) flatten(steps []step, maybe bool, out []leafPath) []leafPath {
	return flattened(c, steps, maybe, out)
}

func (c *bools) reset() {
	c.validity.reset()
	c.values = c.values[:0]
	c.bounds = booleans{}
}

// blobs is a column of values of width bytes each.
type blobs struct {
	validity
	width  int
	data   []byte
	bounds texts
}

func (c *blobs) add(a arrow.Array, lo, hi int) {
	off := a.Data().Offset()
	for i := range valid(a, lo, hi) {
		v := a.Data().Buffers()[1].Bytes()[(off+i)*c.width:][:c.width]
		c.data = append(c.data, v...)
		c.bounds.observe(v)
	}
	c.validity.add(a, lo, hi)
}

func (c *blobs) bytes(_ arrow.Array, lo, hi int) int { return (hi - lo) * c.width }
func (c *blobs) misfit(arrow.Array, int, int) string { return "" }
func (c *blobs) same() []byte                        { return nil }
func (c *blobs) appendPlain(dst []byte) []byte       { return append(dst, c.data...) }
func (c *blobs) size() int                           { return len(c.data) }
func (c *blobs) held() int                           { return c.validity.held() + cap(c.data) }

func (c *blobs) flatten(steps []step, maybe bool, out []leafPath) []leafPath {
	return flattened(c, steps, maybe, out)
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
	value  func(a arrow.Array, row int) decimal128.Num
	data   []byte // big-endian, of bounds.size each
	bounds decimals
}

func (c *amounts) add(a arrow.Array, lo, hi int) {
	for i := range valid(a, lo, hi) {
		v := c.value(a, i)
		c.data = append(c.data, c.bounds.bytes(v)...)
		c.bounds.observe(v)
	}
	c.validity.add(a, lo, hi)
}

func (c *amounts) bytes(_ arrow.Array, lo, hi int) int { return 16 * (hi - lo) }
func (c *amounts) misfit(arrow.Array, int, int) string { return "" }
func (c *amounts) same() []byte                        { return nil }
func (c *amounts) appendPlain(dst []byte) []byte       { return append(dst, c.data...) }
func (c *amounts) size() int                           { return len(c.data) }
func (c *amounts) held() int                           { return c.validity.held() + cap(c.data) }

func (c *amounts) flatten(steps []step, maybe bool, out []leafPath) []leafPath {
	return flattened(c, steps, maybe, out)
}

func (c *amounts) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.nulls + empties, &c.bounds})
}

func (c *amounts) reset() {
	c.validity.reset()
	c.data = c.data[:0]
	c.bounds.reset()
}

// nothing is a column whose type has no value but null.
type nothing struct{ validity }

func (c *nothing) add(_ arrow.Array, lo, hi int)       { c.addNulls(hi - lo) }
func (c *nothing) bytes(arrow.Array, int, int) int     { return 0 }
func (c *nothing) misfit(arrow.Array, int, int) string { return "" }
func (c *nothing) same() []byte                        { return nil }
func (c *nothing) appendPlain(dst []byte) []byte       { return dst }
func (c *nothing) size() int                           { return 0 }
func (c *nothing) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.n + empties, noBounds{}})
}

func (c *nothing) flatten(steps []step, maybe bool, out []leafPath) []leafPath {
	return flattened(c, steps, maybe, out)
}
