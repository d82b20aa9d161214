package parquetfile

import (
	"bytes"
	"encoding/binary"

	"github.com/apache/arrow/go/v15/arrow"
)

// headroom is kept free before the values of a page, for the levels of a column without nulls.
const headroom = 16

// varlen is a column of texts or bytes; O is the type of the source's offsets. Values lie as they do in pages, each behind its
// length, so that a page is compressed where it was filled. As long as all are the same there is only one of them.
type varlen[O int32 | int64] struct {
	validity
	data   []byte
	cuts   []cut  // of pages; the last is open
	one    []byte // while repeat > 0: the value
	repeat int    // how often
	mixed  bool   // data has values
	bounds texts
}

// cut is where a page begins.
type cut struct {
	at     int // its headroom, in data
	row    int
	values int // before it
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
	row, n := c.n, c.count()
	c.validity.add(a, lo, hi)
	if lo == hi || a.NullN() == a.Len() {
		return
	}
	offsets, data := c.source(a, lo, hi)
	all := a.NullN() == 0
	for i := range hi - lo {
		if !all && a.IsNull(lo+i) {
			continue
		}
		v := data[offsets[i]:offsets[i+1]]
		if !c.mixed {
			if c.repeat > 0 && bytes.Equal(v, c.one) {
				c.repeat++
				n++
				continue
			}
			if c.repeat == 0 {
				c.one, c.repeat = append(c.one[:0], v...), 1
				c.bounds.observe(v)
				n++
				continue
			}
			c.mix()
		}
		if len(c.data)-c.cuts[len(c.cuts)-1].at >= pageSize {
			c.cut(row+i, n)
		}
		c.data = binary.LittleEndian.AppendUint32(c.data, uint32(len(v)))
		c.data = append(c.data, v...)
		c.bounds.observe(v)
		n++
	}
}

// mix writes out the value that was repeated: another follows.
func (c *varlen[O]) mix() {
	c.mixed = true
	c.cut(0, 0)
	for range c.repeat {
		c.data = binary.LittleEndian.AppendUint32(c.data, uint32(len(c.one)))
		c.data = append(c.data, c.one...)
	}
	c.repeat = 0
}

// cut begins a page with a row. Of a column inside of others, rows are its own, and the page isn't one.
func (c *varlen[O]) cut(row, values int) {
	c.cuts = append(c.cuts, cut{at: len(c.data), row: row, values: values})
	c.data = append(c.data, make([]byte, headroom)...)
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

func (c *varlen[O]) same() []byte {
	if c.mixed || c.repeat == 0 {
		return nil
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(c.one))), c.one...)
}

func (c *varlen[O]) appendPlain(dst []byte) []byte {
	for range c.repeat {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.one)))
		dst = append(dst, c.one...)
	}
	for i := range c.cuts {
		dst = append(dst, c.page(i)[headroom:]...)
	}
	return dst
}

func (c *varlen[O]) size() int { return len(c.data) + c.repeat*(4+len(c.one)) }

// pages is how many pages the values are cut into, at least one.
func (c *varlen[O]) pages() int { return max(1, len(c.cuts)) }

// page returns a page's headroom and values. It is there only if values differ.
func (c *varlen[O]) page(i int) []byte {
	if i+1 < len(c.cuts) {
		return c.data[c.cuts[i].at:c.cuts[i+1].at]
	}
	return c.data[c.cuts[i].at:]
}

// rows returns which rows a page has, and how many values.
func (c *varlen[O]) rows(i int) (lo, hi, values int) {
	if i+1 < len(c.cuts) {
		next := c.cuts[i+1]
		return c.cuts[i].row, next.row, next.values - c.cuts[i].values
	}
	return c.cuts[i].row, c.n, c.count() - c.cuts[i].values
}

func (c *varlen[O]) flatten(steps []step, maybe bool, out []leafPath) []leafPath {
	return flattened(c, steps, maybe, out)
}

func (c *varlen[O]) leaves(empties int, out []leaf) []leaf {
	return append(out, leaf{c.n + empties, c.nulls + empties, &c.bounds})
}

func (c *varlen[O]) held() int { return c.validity.held() + cap(c.data) + cap(c.one) }

func (c *varlen[O]) reset() {
	c.validity.reset()
	c.data, c.cuts, c.one, c.repeat, c.mixed = c.data[:0], c.cuts[:0], c.one[:0], 0, false
	c.bounds.reset()
}

// repeats reports whether a column of texts has few different ones, by a look at some hundred.
func repeats(v values) bool {
	c, ok := v.(cutter)
	if !ok || v.count() == 0 {
		return false
	}
	if v.same() != nil {
		return true
	}
	const look = 512
	step := max(1, v.count()/look)
	seen := map[string]struct{}{}
	looked, i := 0, 0
	for page := range c.pages() {
		for all := c.page(page)[headroom:]; len(all) > 0; i++ {
			n := 4 + int(binary.LittleEndian.Uint32(all))
			if i%step == 0 {
				seen[string(all[:n])] = struct{}{}
				looked++
			}
			all = all[n:]
		}
	}
	return len(seen) <= max(1, looked/8)
}
