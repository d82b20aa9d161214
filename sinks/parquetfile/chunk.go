package parquetfile

import (
	"github.com/apache/arrow/go/v15/arrow"
)

// chunk is copied rows. Its columns are those of the table of the encoder that filled it last.
type chunk struct {
	table   *table
	columns []column
	rows    int
	size    int // about, in bytes
	limit   int // it is full at this size; 0 before the first Fill
}

func (c *chunk) Rows() uint64 { return uint64(c.rows) }
func (c *chunk) Full() bool   { return c.limit > 0 && c.size >= c.limit }

// Large implements partfile.Chunk: appending doubles what is held, and a batch's last step goes somewhat beyond the size.
func (c *chunk) Large() bool {
	n := 0
	for _, col := range c.columns {
		n += col.held()
	}
	return n > 3*chunkSize
}

func (c *chunk) Reset() {
	for _, col := range c.columns {
		col.reset()
	}
	c.rows, c.size, c.limit = 0, 0, 0
}

// use makes the columns those of a table, and limit the size. A chunk that is used again by a slice of the same schema keeps its memory.
func (c *chunk) use(t *table, limit int) {
	c.limit = limit
	if c.table == t {
		return
	}
	if c.table == nil || c.table.unit != t.unit || !c.table.schema.Equal(t.schema) || !c.table.of.Equal(t.of) {
		c.columns = t.columns()
	}
	c.table = t
}

// add copies the rows [lo,hi) of a batch, as many as fit, and returns the row to go on with.
func (c *chunk) add(rec arrow.Record, lo, hi int) int {
	for lo < hi && !c.Full() {
		n := min(hi-lo, 4096)
		size := c.bytes(rec, lo, lo+n)
		for n > 1 && c.size+size > c.limit {
			n = (n + 1) / 2
			size = c.bytes(rec, lo, lo+n)
		}
		for i, at := range c.table.source {
			c.columns[i].add(rec.Column(at), lo, lo+n)
		}
		c.rows, c.size, lo = c.rows+n, c.size+size, lo+n
	}
	return lo
}

// bytes is about what rows take. A row is never nothing, so that a chunk of empty ones ends.
func (c *chunk) bytes(rec arrow.Record, lo, hi int) int {
	n := hi - lo
	for i, at := range c.table.source {
		n += c.columns[i].bytes(rec.Column(at), lo, hi)
	}
	return n
}

// paths appends the file's columns; they are good until the chunk is reset.
func (c *chunk) paths(out []leafPath) []leafPath {
	for i, col := range c.columns {
		out = col.flatten(nil, c.table.schema.Field(i).Nullable, out)
	}
	return out
}

// leaves returns what is known of the file's columns.
func (c *chunk) leaves() []leaf {
	var out []leaf
	for _, col := range c.columns {
		out = col.leaves(0, out)
	}
	return out
}
