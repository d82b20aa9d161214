package wire

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
	"google.golang.org/grpc/mem"
)

const (
	// alignment of the body and of each buffer in it. Arrow asks for 8 and recommends 64.
	alignment = 64
	// Buffers up to this length are copied: a system call's extra segment costs more.
	copyBelow = 4 << 10
	// gRPC doesn't count references of buffers whose capacity is up to 1 KiB, so every piece of a frame has more.
	uncounted = 1 << 10
)

// Frame is one encapsulated RecordBatch message that is written from the record's own buffers. It holds a reference to
// the record until it is released and, once handed to the transport, until the transport is done. Not safe for concurrent
// use, except that the transport frees its part from any goroutine.
type Frame struct {
	refs        atomic.Int32
	rec         arrow.Record
	rows        uint64
	nullColumns []uint32
	length      int

	head     []byte   // continuation, length, metadata, padding
	pieces   [][]byte // of the body, in order
	scratch  []byte   // what isn't in the record: head, shifted offsets and bitmaps, padding, small buffers
	adjacent bool     // the last piece ends where scratch ends
	body     int
	nodes    []span // length, null count
	buffers  []span // offset, length
	builder  *flatbuffers.Builder
}

type span struct{ a, b int64 }

var frames = sync.Pool{New: func() any { return &Frame{builder: flatbuffers.NewBuilder(2048)} }}

// Encode returns the frame of a record with the layout's full schema or with its carried columns alone. It drops the
// constant columns and those that are null in every row, and retains rec. Release the frame.
func (l *Layout) Encode(rec arrow.Record) (*Frame, error) {
	if rec.NumRows() < 1 || rec.NumRows() > MaxRows {
		return nil, fmt.Errorf("frame of %d rows, want 1 to %d", rec.NumRows(), MaxRows)
	}
	return l.encode(rec, false)
}

func (l *Layout) encode(rec arrow.Record, keepNull bool) (*Frame, error) {
	full := int(rec.NumCols()) == l.schema.NumFields()
	want := l.partial
	if full {
		want = l.schema
	}
	if rec.Schema() != want && !sameColumns(rec.Schema(), want) {
		return nil, fmt.Errorf("frame: columns %s, want %s", fieldNames(rec.Schema()), fieldNames(want))
	}
	f := frames.Get().(*Frame)
	f.refs.Store(1)
	f.rec, f.rows = rec, uint64(rec.NumRows())
	rec.Retain()
	for i, c := range l.carried {
		if full {
			i = c
		}
		col := rec.Column(i)
		if !keepNull && col.NullN() == col.Len() {
			f.nullColumns = append(f.nullColumns, uint32(c))
			continue
		}
		if err := f.array(col.Data(), 0, col.Len()); err != nil {
			f.Release()
			return nil, fmt.Errorf("frame: column %q: %w", l.schema.Field(c).Name, err)
		}
	}
	f.pad()
	f.finish(rec.NumRows())
	return f, nil
}

// Len returns the frame's length in bytes.
func (f *Frame) Len() int { return f.length }

// Rows returns the number of rows.
func (f *Frame) Rows() uint64 { return f.rows }

// NullColumns returns the indexes in the full schema of the columns that were left out as null; the frame owns them.
func (f *Frame) NullColumns() []uint32 { return f.nullColumns }

// Bytes returns a copy of the frame.
func (f *Frame) Bytes() []byte {
	out := make([]byte, f.length)
	f.CopyTo(out)
	return out
}

// CopyTo copies the frame to a place of its length.
func (f *Frame) CopyTo(place []byte) {
	n := copy(place, f.head)
	for _, p := range f.pieces {
		n += copy(place[n:], p)
	}
}

// Release gives up the caller's reference; the frame must not be used afterwards.
func (f *Frame) Release() {
	switch n := f.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("wire: frame released too often")
	}
	f.rec.Release()
	f.rec, f.length, f.body, f.head = nil, 0, 0, nil
	clear(f.pieces)
	f.pieces, f.nodes, f.buffers, f.nullColumns = f.pieces[:0], f.nodes[:0], f.buffers[:0], f.nullColumns[:0]
	f.scratch, f.adjacent = f.scratch[:0], false
	if cap(f.scratch) > 1<<20 {
		f.scratch = nil // one odd frame must not hold its memory
	}
	frames.Put(f)
}

// frameRef is the reference that each buffer given to the transport holds: freeing the buffer releases it.
type frameRef Frame

// Get implements mem.BufferPool; nobody asks a frame for memory.
func (*frameRef) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Put implements mem.BufferPool.
func (r *frameRef) Put(*[]byte) { (*Frame)(r).Release() }

// appendTo appends the frame to a message without copying it. Each buffer holds a reference.
func (f *Frame) appendTo(out mem.BufferSlice) mem.BufferSlice {
	add := func(p *[]byte) {
		f.refs.Add(1)
		out = append(out, mem.NewBuffer(p, (*frameRef)(f)))
	}
	add(&f.head)
	for i := range f.pieces {
		add(&f.pieces[i])
	}
	return out
}

// room returns n bytes of scratch whose capacity is above the transport's threshold.
func (f *Frame) room(n int) []byte {
	if cap(f.scratch)-len(f.scratch) < n+uncounted+1 {
		f.scratch = make([]byte, 0, max(16<<10, 2*n+2*uncounted)) // pieces of the old one stay valid
		f.adjacent = false
	}
	start := len(f.scratch)
	f.scratch = f.scratch[:start+n]
	return f.scratch[start:]
}

// own appends n bytes of scratch to the body and returns them to be filled.
func (f *Frame) own(n int) []byte {
	b := f.room(n)
	if last := len(f.pieces) - 1; f.adjacent {
		f.pieces[last] = f.pieces[last][:len(f.pieces[last])+n]
	} else {
		f.pieces = append(f.pieces, b)
	}
	f.adjacent = true
	f.body += n
	return b
}

// pad fills the body up to the next aligned offset.
func (f *Frame) pad() {
	if n := -f.body & (alignment - 1); n > 0 {
		clear(f.own(n))
	}
}

// empty appends a buffer without bytes.
func (f *Frame) empty() { f.buffers = append(f.buffers, span{int64(f.body), 0}) }

// fresh appends a buffer of n bytes to be filled.
func (f *Frame) fresh(n int) []byte {
	f.pad()
	f.buffers = append(f.buffers, span{int64(f.body), int64(n)})
	return f.own(n)
}

// alias appends a buffer of the record.
func (f *Frame) alias(b []byte) {
	if len(b) <= copyBelow || cap(b) <= uncounted {
		copy(f.fresh(len(b)), b)
		return
	}
	f.pad()
	f.buffers = append(f.buffers, span{int64(f.body), int64(len(b))})
	f.pieces = append(f.pieces, b)
	f.adjacent = false
	f.body += len(b)
}

// array appends n values of an array from its value from on.
func (f *Frame) array(data arrow.ArrayData, from, n int) error {
	at := data.Offset() + from
	validity := bufferBytes(data, 0)
	nulls := 0
	if validity != nil {
		if nulls = data.NullN(); nulls < 0 || from != 0 || n != data.Len() {
			nulls = n - bitutil.CountSetBits(validity, at, n)
		}
	}
	f.nodes = append(f.nodes, span{int64(n), int64(nulls)})
	if nulls == 0 {
		f.empty()
	} else {
		f.bitmap(validity, at, n)
	}
	switch dt := data.DataType().(type) {
	case *arrow.BooleanType:
		f.bitmap(bufferBytes(data, 1), at, n)
	case *arrow.StringType, *arrow.BinaryType:
		lo, hi := f.offsets32(bufferBytes(data, 1), at, n)
		f.alias(bufferBytes(data, 2)[lo:hi])
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		lo, hi := f.offsets64(bufferBytes(data, 1), at, n)
		f.alias(bufferBytes(data, 2)[lo:hi])
	case *arrow.ListType, *arrow.MapType:
		lo, hi := f.offsets32(bufferBytes(data, 1), at, n)
		return f.array(data.Children()[0], int(lo), int(hi-lo))
	case *arrow.LargeListType:
		lo, hi := f.offsets64(bufferBytes(data, 1), at, n)
		return f.array(data.Children()[0], int(lo), int(hi-lo))
	case *arrow.FixedSizeListType:
		size := int(dt.Len())
		return f.array(data.Children()[0], at*size, n*size)
	case *arrow.StructType:
		for _, child := range data.Children() {
			if err := f.array(child, at, n); err != nil {
				return err
			}
		}
	case arrow.FixedWidthDataType:
		width := dt.BitWidth() / 8
		if n == 0 {
			f.empty()
		} else {
			f.alias(bufferBytes(data, 1)[at*width : (at+n)*width])
		}
	default:
		return fmt.Errorf("type %s can't be carried", dt)
	}
	return nil
}

func (f *Frame) bitmap(b []byte, at, n int) {
	size := int(bitutil.BytesForBits(int64(n)))
	switch {
	case n == 0:
		f.empty()
	case at%8 == 0:
		f.alias(b[at/8 : at/8+size])
	default:
		dst := f.fresh(size)
		clear(dst)
		bitutil.CopyBitmap(b, at, n, dst, 0)
	}
}

// offsets32 appends offsets that begin at 0 and returns the range of values that they lead to.
func (f *Frame) offsets32(b []byte, at, n int) (lo, hi int64) {
	if n == 0 {
		f.empty()
		return 0, 0
	}
	b = b[4*at : 4*(at+n+1)]
	first := binary.LittleEndian.Uint32(b)
	last := binary.LittleEndian.Uint32(b[4*n:])
	if first == 0 {
		f.alias(b)
	} else {
		dst := f.fresh(len(b))
		src, to := arrow.Int32Traits.CastFromBytes(b), arrow.Int32Traits.CastFromBytes(dst)
		for i, o := range src {
			to[i] = o - int32(first)
		}
	}
	return int64(first), int64(last)
}

func (f *Frame) offsets64(b []byte, at, n int) (lo, hi int64) {
	if n == 0 {
		f.empty()
		return 0, 0
	}
	b = b[8*at : 8*(at+n+1)]
	first := int64(binary.LittleEndian.Uint64(b))
	last := int64(binary.LittleEndian.Uint64(b[8*n:]))
	if first == 0 {
		f.alias(b)
	} else {
		dst := f.fresh(len(b))
		src, to := arrow.Int64Traits.CastFromBytes(b), arrow.Int64Traits.CastFromBytes(dst)
		for i, o := range src {
			to[i] = o - first
		}
	}
	return first, last
}

// bufferBytes returns a buffer's bytes, nil if the array hasn't it.
func bufferBytes(data arrow.ArrayData, i int) []byte {
	var b *memory.Buffer
	if bs := data.Buffers(); i < len(bs) {
		b = bs[i]
	}
	if b == nil {
		return nil
	}
	return b.Bytes()
}

// finish writes the metadata (Arrow's Message.fbs) in front of the body.
func (f *Frame) finish(rows int64) {
	b := f.builder
	b.Reset()
	vector := func(spans []span) flatbuffers.UOffsetT {
		b.StartVector(16, len(spans), 8)
		for i := len(spans) - 1; i >= 0; i-- {
			b.Prep(8, 16)
			b.PrependInt64(spans[i].b)
			b.PrependInt64(spans[i].a)
		}
		return b.EndVector(len(spans))
	}
	nodes := vector(f.nodes)
	buffers := vector(f.buffers)
	b.StartObject(5)
	b.PrependInt64Slot(batchLength, rows, 0)
	b.PrependUOffsetTSlot(batchNodes, nodes, 0)
	b.PrependUOffsetTSlot(batchBuffers, buffers, 0)
	batch := b.EndObject()
	b.StartObject(5)
	b.PrependInt64Slot(messageBodyLength, int64(f.body), 0)
	b.PrependUOffsetTSlot(messageHeader, batch, 0)
	b.PrependInt16Slot(messageVersion, metadataV5, 0)
	b.PrependByteSlot(messageHeaderType, headerRecords, 0)
	b.Finish(b.EndObject())
	meta := b.FinishedBytes()

	size := 8 + len(meta)
	size += -size & (alignment - 1)
	f.head = f.room(size)
	binary.LittleEndian.PutUint32(f.head, continuation)
	binary.LittleEndian.PutUint32(f.head[4:], uint32(size-8))
	clear(f.head[8+copy(f.head[8:], meta):])
	f.length = size + f.body
}
