package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// Limits bound what Decode accepts. Zero fields mean the protocol's own bounds.
type Limits struct {
	MaxRows  int // at most MaxRows
	MaxBytes int // of the frame; at most MaxMessage
}

// Decode returns the record of a batch with the full schema. Everything is checked before an array is built: FORMAT.md
// lists what. The record's arrays point into the received message, which lives until the record's last release; the message
// itself may be released before. An error, of kind Crash, says that the sender broke the protocol.
func (l *Layout) Decode(b *InBatch, limits Limits) (arrow.Record, error) {
	maxRows, maxBytes := MaxRows, MaxMessage
	if limits.MaxRows > 0 {
		maxRows = min(maxRows, limits.MaxRows)
	}
	if limits.MaxBytes > 0 {
		maxBytes = min(maxBytes, limits.MaxBytes)
	}
	switch {
	case b.Rows < 1 || b.Rows > uint64(maxRows):
		return nil, corrupt(fmt.Errorf("frame of %d rows, want 1 to %d", b.Rows, maxRows))
	case b.root == nil:
		return nil, corrupt(errors.New("batch without a frame"))
	case b.FrameBytes() > maxBytes:
		return nil, corrupt(fmt.Errorf("frame of %d bytes, want at most %d", b.FrameBytes(), maxBytes))
	}
	return l.decode(b.root, b.at, b.to, int(b.Rows), b.NullColumns)
}

// decode reads the frame in root's bytes [at, to).
func (l *Layout) decode(root *memory.Buffer, at, to, rows int, nullColumns []uint32) (arrow.Record, error) {
	header, _, body, err := openMessage(root.Bytes()[at:to:to], headerRecords)
	if err != nil {
		return nil, corrupt(err)
	}
	r := reader{root: root, body: body, bodyAt: to - len(body), rows: rows}
	if err := r.open(header); err != nil {
		return nil, corrupt(err)
	}

	columns := make([]arrow.Array, l.schema.NumFields())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	for _, i := range l.constants {
		if columns[i], err = l.slice(i, rows); err != nil {
			return nil, corrupt(err)
		}
	}
	nextNull := 0
	for _, i := range l.carried {
		field := l.schema.Field(i)
		if nextNull < len(nullColumns) && nullColumns[nextNull] == uint32(i) {
			nextNull++
			if !field.Nullable {
				return nil, corrupt(fmt.Errorf("column %q may not be null", field.Name))
			}
			if columns[i], err = l.slice(i, rows); err != nil {
				return nil, corrupt(err)
			}
			continue
		}
		data, err := r.array(field.Type)
		if err != nil {
			return nil, corrupt(fmt.Errorf("column %q: %w", field.Name, err))
		}
		nulls, length := data.NullN(), data.Len()
		columns[i] = array.MakeFromData(data)
		data.Release()
		if length != rows {
			return nil, corrupt(fmt.Errorf("column %q: %d values in a batch of %d rows", field.Name, length, rows))
		}
		if nulls > 0 && !field.Nullable {
			return nil, corrupt(fmt.Errorf("column %q: %d nulls where none may be", field.Name, nulls))
		}
	}
	if nextNull != len(nullColumns) {
		return nil, corrupt(fmt.Errorf("null columns %v: not ascending indexes of carried columns", nullColumns))
	}
	if err := r.done(); err != nil {
		return nil, corrupt(err)
	}
	return array.NewRecord(l.schema, columns, int64(rows)), nil
}

// reader walks nodes and buffers in the order of the schema.
type reader struct {
	root           *memory.Buffer // holds the body at bodyAt
	body           []byte
	bodyAt         int
	rows           int
	meta           []byte
	nodes, buffers int // positions in meta of the next one
	nodesLeft      int
	buffersLeft    int
}

func (r *reader) open(header table) error {
	length, err := header.int64(batchLength)
	if err != nil {
		return err
	}
	if length != int64(r.rows) {
		return fmt.Errorf("the frame says %d rows, the batch %d", length, r.rows)
	}
	if compressed, err := header.has(batchCompression); err != nil {
		return err
	} else if compressed {
		return errors.New("the body is compressed")
	}
	if _, n, err := header.vector(batchVariadic, 8); err != nil {
		return err
	} else if n != 0 {
		return errors.New("variadic buffers")
	}
	r.meta = header.b
	if r.nodes, r.nodesLeft, err = header.vector(batchNodes, 16); err != nil {
		return err
	}
	if r.buffers, r.buffersLeft, err = header.vector(batchBuffers, 16); err != nil {
		return err
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(r.body)))%8 != 0 && len(r.body) > 0 {
		// The message wasn't laid out so that its frame is aligned: move the body once.
		moved := make([]byte, len(r.body))
		copy(moved, r.body)
		r.root, r.body, r.bodyAt = memory.NewBufferBytes(moved), moved, 0
	}
	return nil
}

func (r *reader) done() error {
	if r.nodesLeft != 0 || r.buffersLeft != 0 {
		return fmt.Errorf("%d nodes and %d buffers more than the schema has", r.nodesLeft, r.buffersLeft)
	}
	return nil
}

// node returns the next array's length and number of nulls.
func (r *reader) node() (n, nulls int, err error) {
	if r.nodesLeft == 0 {
		return 0, 0, errors.New("fewer nodes than the schema has")
	}
	length := int64(binary.LittleEndian.Uint64(r.meta[r.nodes:]))
	nullCount := int64(binary.LittleEndian.Uint64(r.meta[r.nodes+8:]))
	r.nodes += 16
	r.nodesLeft--
	// Nothing takes less than a bit, so a longer array is one that isn't there: a few bytes must not become many values.
	if longest := int64(max(r.rows, 8*len(r.body))); length < 0 || length > longest {
		return 0, 0, fmt.Errorf("%d values in a body of %d bytes", length, len(r.body))
	}
	if nullCount < 0 || nullCount > length {
		return 0, 0, fmt.Errorf("%d nulls among %d values", nullCount, length)
	}
	return int(length), int(nullCount), nil
}

// buffer returns the position and length in the body of the next buffer, which must hold at least want bytes.
func (r *reader) buffer(want int) (at, n int, err error) {
	if r.buffersLeft == 0 {
		return 0, 0, errors.New("fewer buffers than the schema has")
	}
	off := int64(binary.LittleEndian.Uint64(r.meta[r.buffers:]))
	length := int64(binary.LittleEndian.Uint64(r.meta[r.buffers+8:]))
	r.buffers += 16
	r.buffersLeft--
	size := int64(len(r.body))
	if off < 0 || length < 0 || off > size || length > size-off {
		return 0, 0, fmt.Errorf("buffer of %d bytes at %d in a body of %d", length, off, size)
	}
	if off%8 != 0 && length > 0 {
		return 0, 0, fmt.Errorf("buffer at %d isn't aligned", off)
	}
	if length < int64(want) {
		return 0, 0, fmt.Errorf("buffer of %d bytes, want %d", length, want)
	}
	return int(off), int(length), nil
}

// keep returns a part of the body as a buffer that holds a reference to the message.
func (r *reader) keep(at, n int) *memory.Buffer { return memory.SliceBuffer(r.root, r.bodyAt+at, n) }

// validity returns the bitmap of n values, nil if none is null, and checks that it holds as many nulls as was said.
func (r *reader) validity(n, nulls int) (*memory.Buffer, error) {
	want := 0
	if nulls > 0 {
		want = int(bitutil.BytesForBits(int64(n)))
	}
	at, _, err := r.buffer(want)
	if err != nil {
		return nil, fmt.Errorf("validity: %w", err)
	}
	if nulls == 0 {
		return nil, nil
	}
	if got := n - bitutil.CountSetBits(r.body[at:at+want], 0, n); got != nulls {
		return nil, fmt.Errorf("validity: %d nulls, the node says %d", got, nulls)
	}
	return r.keep(at, want), nil
}

// array reads an array and its children. The caller releases it.
func (r *reader) array(dt arrow.DataType) (arrow.ArrayData, error) {
	n, nulls, err := r.node()
	if err != nil {
		return nil, err
	}
	validity, err := r.validity(n, nulls)
	if err != nil {
		return nil, err
	}
	buffers := append(make([]*memory.Buffer, 0, 3), validity)
	var children []arrow.ArrayData
	defer func() {
		for _, b := range buffers {
			if b != nil {
				b.Release()
			}
		}
		for _, c := range children {
			c.Release()
		}
	}()
	child := func(dt arrow.DataType) (arrow.ArrayData, error) {
		c, err := r.array(dt)
		if err == nil {
			children = append(children, c)
		}
		return c, err
	}
	switch dt := dt.(type) {
	case *arrow.BooleanType:
		err = r.values(&buffers, int(bitutil.BytesForBits(int64(n))))
	case *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		err = r.strings(&buffers, dt, n)
	case *arrow.ListType, *arrow.LargeListType:
		err = r.list(&buffers, dt, n, func() (int, error) {
			c, err := child(dt.(arrow.ListLikeType).Elem())
			if err != nil {
				return 0, err
			}
			return c.Len(), nil
		})
	case *arrow.MapType:
		err = r.list(&buffers, dt, n, func() (int, error) {
			c, err := child(dt.Elem())
			if err != nil {
				return 0, err
			}
			if c.NullN() != 0 || c.Children()[0].NullN() != 0 {
				return 0, errors.New("a map's entries and keys may not be null")
			}
			return c.Len(), nil
		})
	case *arrow.FixedSizeListType:
		var c arrow.ArrayData
		if c, err = child(dt.Elem()); err == nil && int64(c.Len()) != int64(n)*int64(dt.Len()) {
			err = fmt.Errorf("%d elements in %d lists of %d", c.Len(), n, dt.Len())
		}
	case *arrow.StructType:
		for _, f := range dt.Fields() {
			var c arrow.ArrayData
			if c, err = child(f.Type); err != nil {
				err = fmt.Errorf("%s: %w", f.Name, err)
				break
			}
			if c.Len() != n {
				err = fmt.Errorf("%s: %d values in %d structs", f.Name, c.Len(), n)
				break
			}
		}
	case arrow.FixedWidthDataType:
		err = r.values(&buffers, n*(dt.BitWidth()/8))
	default:
		err = fmt.Errorf("type %s can't be carried", dt)
	}
	if err != nil {
		return nil, err
	}
	return array.NewData(dt, n, buffers, children, nulls, 0), nil
}

// values reads a buffer of at least size bytes.
func (r *reader) values(buffers *[]*memory.Buffer, size int) error {
	at, _, err := r.buffer(size)
	if err != nil {
		return fmt.Errorf("values: %w", err)
	}
	*buffers = append(*buffers, r.keep(at, size))
	return nil
}

// strings reads offsets and values of strings or bytes.
func (r *reader) strings(buffers *[]*memory.Buffer, dt arrow.DataType, n int) error {
	width := offsetWidth(dt)
	at, size, err := r.offsets(n, width)
	if err != nil {
		return err
	}
	valuesAt, valuesLen, err := r.buffer(0)
	if err != nil {
		return fmt.Errorf("values: %w", err)
	}
	values := r.body[valuesAt : valuesAt+valuesLen]
	offsets := r.body[at : at+size]
	isText := dt.ID() == arrow.STRING || dt.ID() == arrow.LARGE_STRING
	if width == 4 {
		err = checkStrings(arrow.Int32Traits.CastFromBytes(offsets), values, isText)
	} else {
		err = checkStrings(arrow.Int64Traits.CastFromBytes(offsets), values, isText)
	}
	if err != nil {
		return err
	}
	*buffers = append(*buffers, r.offsetsBuffer(at, size), r.keep(valuesAt, valuesLen))
	return nil
}

// list reads offsets, then the child, whose length the last offset may not pass.
func (r *reader) list(buffers *[]*memory.Buffer, dt arrow.DataType, n int, child func() (int, error)) error {
	width := offsetWidth(dt)
	at, size, err := r.offsets(n, width)
	if err != nil {
		return err
	}
	length, err := child()
	if err != nil {
		return err
	}
	offsets := r.body[at : at+size]
	if width == 4 {
		err = checkOffsets(arrow.Int32Traits.CastFromBytes(offsets), length)
	} else {
		err = checkOffsets(arrow.Int64Traits.CastFromBytes(offsets), length)
	}
	if err != nil {
		return err
	}
	*buffers = append(*buffers, r.offsetsBuffer(at, size))
	return nil
}

// offsets returns where the n+1 offsets are; for no values there may be none.
func (r *reader) offsets(n, width int) (at, size int, err error) {
	want := 0
	if n > 0 {
		if n > math.MaxInt32-1 {
			return 0, 0, fmt.Errorf("offsets of %d values", n)
		}
		want = (n + 1) * width
	}
	if at, _, err = r.buffer(want); err != nil {
		return 0, 0, fmt.Errorf("offsets: %w", err)
	}
	return at, want, nil
}

func (r *reader) offsetsBuffer(at, size int) *memory.Buffer {
	if size == 0 {
		return memory.NewBufferBytes(make([]byte, 8)) // one offset, as some readers expect even for no values
	}
	return r.keep(at, size)
}

func offsetWidth(dt arrow.DataType) int {
	switch dt.ID() {
	case arrow.LARGE_STRING, arrow.LARGE_BINARY, arrow.LARGE_LIST:
		return 8
	}
	return 4
}
