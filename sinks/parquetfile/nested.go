package parquetfile

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// lists is a column of lists or maps. What a null list has below it is left out.
type lists struct {
	validity
	offsets []int32
	child   column
	length  int // so far, of child
	empties int // null or without elements
	// source returns the elements of an array, and where those of a row begin and end.
	source func(a arrow.Array) (elements arrow.Array, bounds func(row int) (lo, hi int))
}

// runs calls do for ranges of elements that lie side by side and belong to the rows [lo,hi).
func (c *lists) runs(a arrow.Array, lo, hi int, row func(length int), do func(elements arrow.Array, lo, hi int)) {
	if lo == hi {
		return
	}
	if a.NullN() == a.Len() { // as columns of logs often are
		for i := lo; row != nil && i < hi; i++ {
			row(0)
		}
		return
	}
	elements, bounds := c.source(a)
	from, to := 0, 0
	for i := lo; i < hi; i++ {
		b, e := bounds(i)
		if a.IsNull(i) {
			b, e = to, to
		}
		if row != nil {
			row(e - b)
		}
		if b == e {
			continue
		}
		if b != to {
			if to > from {
				do(elements, from, to)
			}
			from = b
		}
		to = e
	}
	if to > from {
		do(elements, from, to)
	}
}

func (c *lists) begin() {
	if len(c.offsets) == 0 {
		c.offsets = append(c.offsets, 0)
	}
}

func (c *lists) add(a arrow.Array, lo, hi int) {
	c.begin()
	c.validity.add(a, lo, hi)
	c.runs(a, lo, hi, func(n int) {
		c.length += n
		c.offsets = append(c.offsets, int32(c.length))
		if n == 0 {
			c.empties++
		}
	}, c.child.add)
}

func (c *lists) addNulls(n int) {
	c.begin()
	for range n {
		c.offsets = append(c.offsets, int32(c.length))
	}
	c.empties += n
	c.validity.addNulls(n)
}

func (c *lists) bytes(a arrow.Array, lo, hi int) (n int) {
	c.runs(a, lo, hi, nil, func(elements arrow.Array, b, e int) { n += c.child.bytes(elements, b, e) })
	return n + 4*(hi-lo)
}

func (c *lists) misfit(a arrow.Array, lo, hi int) (why string) {
	c.runs(a, lo, hi, nil, func(elements arrow.Array, b, e int) {
		if why == "" {
			why = c.child.misfit(elements, b, e)
		}
	})
	return why
}

func (c *lists) flatten(steps []step, maybe bool, out []leafPath) []leafPath {
	c.begin()
	entries, _ := c.child.(*groups)
	return c.child.flatten(append(steps[:len(steps):len(steps)], step{nulls: &c.validity, maybe: maybe, offsets: c.offsets}), entries == nil || !entries.keys, out)
}

func (c *lists) leaves(empties int, out []leaf) []leaf { return c.child.leaves(empties+c.empties, out) }

func (c *lists) held() int { return c.validity.held() + 4*cap(c.offsets) + c.child.held() }

func (c *lists) reset() {
	c.validity.reset()
	c.offsets, c.length, c.empties = c.offsets[:0], 0, 0
	c.child.reset()
}

// groups is a column of structs. Under a null one everything is null.
type groups struct {
	validity
	fields []column
	keys   bool // of a map: the first field may not be null
}

// runs calls do for rows side by side that are all there or all null.
func (c *groups) runs(a arrow.Array, lo, hi int, do func(s *array.Struct, lo, hi int, null bool)) {
	s := a.(*array.Struct)
	if a.NullN() == 0 {
		if lo < hi {
			do(s, lo, hi, false)
		}
		return
	}
	for lo < hi {
		null, end := a.IsNull(lo), lo+1
		for end < hi && a.IsNull(end) == null {
			end++
		}
		do(s, lo, end, null)
		lo = end
	}
}

func (c *groups) add(a arrow.Array, lo, hi int) {
	c.validity.add(a, lo, hi)
	c.runs(a, lo, hi, func(s *array.Struct, lo, hi int, null bool) {
		for i, f := range c.fields {
			if null {
				f.addNulls(hi - lo)
			} else {
				f.add(s.Field(i), lo, hi)
			}
		}
	})
}

func (c *groups) addNulls(n int) {
	c.validity.addNulls(n)
	for _, f := range c.fields {
		f.addNulls(n)
	}
}

func (c *groups) bytes(a arrow.Array, lo, hi int) (n int) {
	s := a.(*array.Struct)
	for i, f := range c.fields {
		n += f.bytes(s.Field(i), lo, hi)
	}
	return n
}

func (c *groups) misfit(a arrow.Array, lo, hi int) (why string) {
	c.runs(a, lo, hi, func(s *array.Struct, lo, hi int, null bool) {
		for i, f := range c.fields {
			if why == "" && !null {
				why = f.misfit(s.Field(i), lo, hi)
			}
		}
		if c.keys && why == "" && s.Field(0).NullN() > 0 {
			for i := lo; i < hi; i++ {
				if s.Field(0).IsNull(i) {
					why = "a map has a key that is null"
				}
			}
		}
	})
	return why
}

func (c *groups) flatten(steps []step, maybe bool, out []leafPath) []leafPath {
	steps = append(steps[:len(steps):len(steps)], step{nulls: &c.validity, maybe: maybe})
	for i, f := range c.fields {
		out = f.flatten(steps, !c.keys || i > 0, out)
	}
	return out
}

func (c *groups) leaves(empties int, out []leaf) []leaf {
	for _, f := range c.fields {
		out = f.leaves(empties, out)
	}
	return out
}

func (c *groups) held() int {
	n := c.validity.held()
	for _, f := range c.fields {
		n += f.held()
	}
	return n
}

func (c *groups) reset() {
	c.validity.reset()
	for _, f := range c.fields {
		f.reset()
	}
}
