package ipcfile

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	arrow18 "github.com/apache/arrow-go/v18/arrow"
	array18 "github.com/apache/arrow-go/v18/arrow/array"
	ipc18 "github.com/apache/arrow-go/v18/arrow/ipc"
	memory18 "github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// chunk is copies of rows: pieces of batches, which become one batch of the file.
type chunk struct {
	pieces [][]arrow.Array // of each piece its columns
	rows   int
	size   int // about, in bytes
	limit  int // it is full at this size; 0 before the first Fill
	target int64
}

func (c *chunk) Rows() uint64 { return uint64(c.rows) }
func (c *chunk) Full() bool   { return c.limit > 0 && c.size >= c.limit }
func (c *chunk) Large() bool  { return int64(c.size) > 2*c.target }

func (c *chunk) Reset() {
	for _, p := range c.pieces {
		release(p)
	}
	clear(c.pieces)
	c.pieces, c.rows, c.size, c.limit = c.pieces[:0], 0, 0, 0
}

func release(columns []arrow.Array) {
	for _, a := range columns {
		a.Release()
	}
}

// writer is what the writers of files and streams have in common.
type writer interface {
	Write(rec arrow18.RecordBatch) error
	Close() error
}

// encoder writes the files of one slice.
type encoder struct {
	format *Format
	info   partfile.Info
	told   *partfile.Told
	source []int            // of each column, its place in a batch
	types  []arrow.DataType // of each column, in the files if it is another there; else nil
	schema *arrow18.Schema  // of the files
	bad    []sinks.Rejected

	file    writer
	zip     *zipper // from the first file on, if it is needed
	written counter
}

func newEncoder(f *Format, i partfile.Info) (*encoder, error) {
	if err := f.Check(i.Schema); err != nil {
		return nil, err
	}
	e := &encoder{format: f, info: i, told: partfile.NewTold(i)}
	var fields []arrow.Field
	for at, field := range i.Schema.Fields() {
		if !slices.Contains(i.Omit, field.Name) {
			var other arrow.DataType
			if t := f.unit.of(field.Type); t != field.Type {
				other, field.Type = t, t
			}
			fields = append(fields, field)
			e.source, e.types = append(e.source, at), append(e.types, other)
		}
	}
	if len(fields) == 0 {
		return nil, fault.Errorf(fault.Config, "write arrow", "the path tells all columns: nothing is left for the file")
	}
	var keys, values []string
	for _, kv := range i.Metadata() {
		keys, values = append(keys, kv[0]), append(values, kv[1])
	}
	meta := arrow.NewMetadata(keys, values)
	var err error
	e.schema, err = later(arrow.NewSchema(fields, &meta))
	return e, err
}

// later returns a schema in the types of the later release.
func later(s *arrow.Schema) (*arrow18.Schema, error) {
	var buf bytes.Buffer
	if err := ipc.NewWriter(&buf, ipc.WithSchema(s)).Close(); err != nil {
		return nil, err
	}
	r, err := ipc18.NewReader(&buf)
	if err != nil {
		return nil, err
	}
	defer r.Release()
	return r.Schema(), nil
}

// laterData returns an array's data in the types of the later release, uncopied.
func laterData(d arrow.ArrayData, of arrow18.DataType) arrow18.ArrayData {
	buffers := make([]*memory18.Buffer, len(d.Buffers()))
	for i, b := range d.Buffers() {
		if b != nil {
			buffers[i] = memory18.NewBufferBytes(b.Bytes())
		}
	}
	var children []arrow18.ArrayData
	if nested, ok := of.(arrow18.NestedType); ok {
		for i, f := range nested.Fields() {
			children = append(children, laterData(d.Children()[i], f.Type))
		}
	}
	return array18.NewData(of, d.Len(), buffers, children, d.NullN(), d.Offset())
}

// Fill implements partfile.Encoder.
func (e *encoder) Fill(c partfile.Chunk, rec arrow.Record, row int) (next int, rejected []sinks.Rejected, err error) {
	rows := int(rec.NumRows())
	if row == 0 {
		if err := partfile.CheckShape("write arrow", e.info.Schema, rec); err != nil {
			return row, nil, err
		}
		e.inspect(rec)
	}
	k := c.(*chunk)
	k.limit = int(min(e.format.batch, e.info.PartSize))
	perRow := 1 + e.bytes(rec)/max(1, rows)
	for row < rows && !k.Full() {
		hi := rows
		if len(e.bad) > 0 {
			hi = e.bad[0].Row
		}
		end := min(hi, row+1+(k.limit-k.size)/perRow)
		if row < end {
			if err := k.add(e, rec, row, end, perRow); err != nil {
				return row, rejected, err
			}
		}
		if row = end; row == hi && hi < rows {
			rejected = append(rejected, e.bad[0])
			e.bad = e.bad[1:]
			row++
		}
	}
	return row, rejected, nil
}

// inspect looks for rows that can't be written.
func (e *encoder) inspect(rec arrow.Record) {
	e.bad = e.told.Misfits(e.bad[:0], "arrow", rec)
	known := len(e.bad)
	for i, at := range e.source {
		if e.types[i] == nil {
			continue
		}
		c := rec.Column(at)
		for row := range c.Len() {
			if why := e.format.unit.tooFar(c, row); why != "" {
				e.bad = append(e.bad, sinks.Rejected{Row: row, Reason: fmt.Sprintf("arrow: column %q: %s", rec.ColumnName(at), why)})
			}
		}
	}
	if len(e.bad) > known { // in their order, and each row once
		slices.SortStableFunc(e.bad, func(a, b sinks.Rejected) int { return a.Row - b.Row })
		e.bad = slices.CompactFunc(e.bad, func(a, b sinks.Rejected) bool { return a.Row == b.Row })
	}
}

// add copies the rows [lo,hi).
func (c *chunk) add(e *encoder, rec arrow.Record, lo, hi, perRow int) error {
	columns := make([]arrow.Array, 0, len(e.source))
	for i, at := range e.source {
		part := array.NewSlice(rec.Column(at), int64(lo), int64(hi))
		a, err := array.Concatenate([]arrow.Array{part}, memory.DefaultAllocator)
		part.Release()
		if err != nil {
			release(columns)
			return fmt.Errorf("copy a column: %w", err)
		}
		if e.types[i] != nil {
			sent := a
			a = retimed(sent, e.types[i])
			sent.Release()
		}
		columns = append(columns, a)
	}
	c.pieces = append(c.pieces, columns)
	c.rows += hi - lo
	c.size += (hi - lo) * perRow
	return nil
}

// bytes is about how large a batch is. One that is part of a larger one counts as that.
func (e *encoder) bytes(rec arrow.Record) (n int) {
	var count func(d arrow.ArrayData)
	count = func(d arrow.ArrayData) {
		for _, b := range d.Buffers() {
			if b != nil {
				n += b.Len()
			}
		}
		for _, c := range d.Children() {
			count(c)
		}
	}
	for _, at := range e.source {
		count(rec.Column(at).Data())
	}
	return n
}

// counter counts what goes to a file.
type counter struct {
	to io.Writer
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) { return c.to.Write(p) }

// Begin implements partfile.Encoder.
func (e *encoder) Begin(w io.Writer) (err error) {
	e.written = counter{to: w} // hides what else w can do: a writer of files would seek in it, one of streams close it
	if e.format.zip == Zstd {
		if e.zip == nil {
			if e.zip, err = e.format.zipper(); err != nil {
				return err
			}
		}
		e.file = newZipped(&e.written, e.format.kind, e.schema, e.zip)
		return nil
	}
	options := []ipc18.Option{ipc18.WithSchema(e.schema)}
	if e.format.zip == LZ4 {
		options = append(options, ipc18.WithLZ4())
	}
	if e.format.kind == Stream {
		e.file = ipc18.NewWriter(&e.written, options...)
		return nil
	}
	e.file, err = ipc18.NewFileWriter(&e.written, options...)
	return err
}

// Write implements partfile.Encoder.
func (e *encoder) Write(c partfile.Chunk) error {
	k := c.(*chunk)
	if k.rows == 0 {
		return nil
	}
	columns := k.pieces[0]
	if len(k.pieces) > 1 {
		var err error
		if columns, err = k.join(); err != nil {
			return err
		}
		defer release(columns)
	}
	out := make([]arrow18.Array, len(columns))
	for i, a := range columns {
		out[i] = array18.MakeFromData(laterData(a.Data(), e.schema.Field(i).Type))
	}
	rec := array18.NewRecordBatch(e.schema, out, int64(k.rows))
	defer rec.Release()
	return e.file.Write(rec)
}

// join makes one piece of all. The caller releases it.
func (c *chunk) join() ([]arrow.Array, error) {
	var columns []arrow.Array
	for i := range c.pieces[0] {
		all := make([]arrow.Array, len(c.pieces))
		for j, p := range c.pieces {
			all[j] = p[i]
		}
		a, err := array.Concatenate(all, memory.DefaultAllocator)
		if err != nil {
			release(columns)
			return nil, fmt.Errorf("join batches: %w", err)
		}
		columns = append(columns, a)
	}
	return columns, nil
}

// Pending implements partfile.Encoder.
func (e *encoder) Pending() int64 { return 0 }

// Finish implements partfile.Encoder.
func (e *encoder) Finish() error {
	f := e.file
	e.file = nil
	return f.Close()
}

// Release implements partfile.Encoder.
func (e *encoder) Release(bool) {
	if e.file != nil {
		e.written.to = io.Discard
		_ = e.file.Close() // its compressor may have goroutines
		e.file = nil
	}
	if e.zip != nil {
		if int64(cap(e.zip.body)) <= 2*e.format.batch { // one large record must not be remembered by its buffer
			e.format.zippers.Put(e.zip)
		}
		e.zip = nil
	}
}
