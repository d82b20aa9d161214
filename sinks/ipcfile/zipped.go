package ipcfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	arrow18 "github.com/apache/arrow-go/v18/arrow"
	array18 "github.com/apache/arrow-go/v18/arrow/array"
	ipc18 "github.com/apache/arrow-go/v18/arrow/ipc"
	memory18 "github.com/apache/arrow-go/v18/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/klauspost/compress/zstd"
)

// zipper is what compressing buffers needs, used again for the next file. The library makes a compressor for each file, of a slower
// level and with a window of 8 MiB.
type zipper struct {
	zstd *zstd.Encoder
	body []byte // of the message that is made
}

func newZipper() (*zipper, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true),
		zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	return &zipper{zstd: e}, err
}

// zipped writes files and streams whose buffers are compressed with zstd. The library makes schemas and batches without compression;
// here their buffers are compressed, batches told of it, and a file's footer is told where they are.
type zipped struct {
	to     io.Writer
	at     int64
	kind   Kind
	zip    *zipper
	schema *arrow18.Schema
	stream *ipc18.Writer
	begun  bool // the schema is written
	blocks []block
	build  *flatbuffers.Builder
}

// block is where a batch lies in a file: its message, how long that is without the body, and the body.
type block struct{ at, meta, body int64 }

var fileMagic = []byte("ARROW1\x00\x00")

func newZipped(to io.Writer, kind Kind, s *arrow18.Schema, zip *zipper) *zipped {
	z := &zipped{to: to, kind: kind, zip: zip, schema: s, build: flatbuffers.NewBuilder(2 << 10)}
	z.stream = ipc18.NewWriterWithPayloadWriter(messages{z}, ipc18.WithSchema(s))
	return z
}

// Write writes a batch.
func (z *zipped) Write(rec arrow18.RecordBatch) error { return z.stream.Write(rec) }

// Close ends the file or stream.
func (z *zipped) Close() error { return z.stream.Close() }

func (z *zipped) put(b []byte) error {
	n, err := z.to.Write(b)
	z.at += int64(n)
	return err
}

// messages takes what the library makes.
type messages struct{ *zipped }

// Start implements ipc18.PayloadWriter.
func (m messages) Start() error {
	if m.kind == File {
		return m.put(fileMagic)
	}
	return nil
}

// WritePayload implements ipc18.PayloadWriter. The first is the schema.
func (m messages) WritePayload(p ipc18.Payload) error {
	if !m.begun {
		m.begun = true
		n, err := p.WritePayload(m.to)
		m.at += int64(n)
		return err
	}
	meta := p.Meta()
	defer meta.Release()
	head, err := m.batch(meta.Bytes(), &p)
	if err != nil {
		return err
	}
	m.blocks = append(m.blocks, block{at: m.at, meta: int64(len(head)), body: int64(len(m.zip.body))})
	if err := m.put(head); err != nil {
		return err
	}
	return m.put(m.zip.body)
}

// Close implements ipc18.PayloadWriter.
func (m messages) Close() error {
	end := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, continuation), 0)
	if m.kind == File {
		footer, err := m.footer()
		if err != nil {
			return fmt.Errorf("make the footer: %w", err)
		}
		end = append(end, footer...)
	}
	return m.put(end)
}

// Places of fields in Arrow's flatbuffers, and numbers in them.
const (
	continuation = 0xffffffff

	messageVersion, messageHeaderType, messageHeader, messageBody = 0, 1, 2, 3
	batchRows, batchNodes, batchBuffers, batchCompression         = 0, 1, 2, 3
	compressionCodec                                              = 0
	footerBatches                                                 = 3

	version5, headerBatch, codecZstd = 4, 3, 1
	spanSize, blockSize              = 16, 24 // of the structs in vectors
)

// vector returns the bytes of a vector of structs; nil if the table has none.
func vector(t *flatbuffers.Table, slot, size int) []byte {
	o := flatbuffers.UOffsetT(t.Offset(flatbuffers.VOffsetT(4 + 2*slot)))
	if o == 0 {
		return nil
	}
	from := int(t.Vector(o))
	return t.Bytes[from : from+t.VectorLen(o)*size]
}

// batch compresses the buffers of a batch into the zipper's body and returns the message that goes before it.
func (z *zipped) batch(meta []byte, p *ipc18.Payload) ([]byte, error) {
	message := &flatbuffers.Table{Bytes: meta, Pos: flatbuffers.GetUOffsetT(meta)}
	at := message.Pos + flatbuffers.UOffsetT(message.Offset(4+2*messageHeader))
	if kind := message.GetByteSlot(4+2*messageHeaderType, 0); kind != headerBatch || at == message.Pos {
		return nil, fmt.Errorf("a message is of kind %d, want a batch", kind)
	}
	batch := &flatbuffers.Table{Bytes: meta, Pos: at + flatbuffers.GetUOffsetT(meta[at:])}
	rows := batch.GetInt64Slot(4+2*batchRows, 0)
	nodes, buffers := vector(batch, batchNodes, spanSize), vector(batch, batchBuffers, spanSize)
	body := &bodyZip{zipper: z.zip, lengths: buffers}
	z.zip.body = z.zip.body[:0]
	if err := p.SerializeBody(body); err != nil {
		return nil, err
	}
	if err := body.rest(); err != nil {
		return nil, err
	}
	return z.message(rows, nodes, body.spans, len(z.zip.body)), nil
}

// message builds a batch's message around its flatbuffer.
func (z *zipped) message(rows int64, nodes []byte, buffers [][2]int64, body int) []byte {
	b := z.build
	b.Reset()
	b.StartVector(spanSize, len(nodes)/spanSize, 8)
	for i := len(nodes); i > 0; i -= spanSize {
		b.Prep(8, spanSize)
		b.PrependUint64(binary.LittleEndian.Uint64(nodes[i-8:]))
		b.PrependUint64(binary.LittleEndian.Uint64(nodes[i-16:]))
	}
	nodesAt := b.EndVector(len(nodes) / spanSize)
	b.StartVector(spanSize, len(buffers), 8)
	for i := len(buffers) - 1; i >= 0; i-- {
		b.Prep(8, spanSize)
		b.PrependInt64(buffers[i][1])
		b.PrependInt64(buffers[i][0])
	}
	buffersAt := b.EndVector(len(buffers))
	b.StartObject(2)
	b.PrependInt8Slot(compressionCodec, codecZstd, 0)
	compressionAt := b.EndObject()
	b.StartObject(5)
	b.PrependInt64Slot(batchRows, rows, 0)
	b.PrependUOffsetTSlot(batchNodes, nodesAt, 0)
	b.PrependUOffsetTSlot(batchBuffers, buffersAt, 0)
	b.PrependUOffsetTSlot(batchCompression, compressionAt, 0)
	batchAt := b.EndObject()
	b.StartObject(5)
	b.PrependInt64Slot(messageBody, int64(body), 0)
	b.PrependUOffsetTSlot(messageHeader, batchAt, 0)
	b.PrependInt16Slot(messageVersion, version5, 0)
	b.PrependByteSlot(messageHeaderType, headerBatch, 0)
	b.Finish(b.EndObject())
	meta := b.FinishedBytes()
	size := (len(meta) + 7) &^ 7
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, 8+size), continuation)
	out = append(binary.LittleEndian.AppendUint32(out, uint32(size)), meta...)
	return append(out, make([]byte, size-len(meta))...)
}

// bodyZip is given the buffers of a body one after the other, each followed by what fills it up to eight bytes.
type bodyZip struct {
	*zipper
	lengths []byte // of the buffers as the message has them
	spans   [][2]int64
	padding int
}

// Write implements io.Writer.
func (b *bodyZip) Write(raw []byte) (int, error) {
	if b.padding > 0 {
		if len(raw) != b.padding {
			return 0, fmt.Errorf("a buffer is filled up with %d bytes, want %d", len(raw), b.padding)
		}
		b.padding = 0
		return len(raw), nil
	}
	b.empty()
	if len(b.spans)*spanSize >= len(b.lengths) {
		return 0, errors.New("a batch has more buffers than its message")
	}
	const prefix = 8 // the length before compression; -1: there is none
	at := len(b.body)
	b.body = b.zstd.EncodeAll(raw, binary.LittleEndian.AppendUint64(b.body, uint64(len(raw))))
	if len(b.body)-at-prefix >= len(raw) {
		b.body = append(binary.LittleEndian.AppendUint64(b.body[:at], ^uint64(0)), raw...)
	}
	b.spans = append(b.spans, [2]int64{int64(at), int64(len(b.body) - at)})
	b.body = append(b.body, make([]byte, -len(b.body)&7)...)
	b.padding = -len(raw) & 7
	return len(raw), nil
}

// empty passes over the buffers that have nothing.
func (b *bodyZip) empty() {
	for len(b.spans)*spanSize < len(b.lengths) && binary.LittleEndian.Uint64(b.lengths[len(b.spans)*spanSize+8:]) == 0 {
		b.spans = append(b.spans, [2]int64{int64(len(b.body)), 0})
	}
}

// rest is called after the last buffer.
func (b *bodyZip) rest() error {
	b.empty()
	if len(b.spans)*spanSize != len(b.lengths) || b.padding > 0 {
		return fmt.Errorf("a batch has %d buffers, its message %d", len(b.spans), len(b.lengths)/spanSize)
	}
	return nil
}

// footer returns the end of a file: the library's, of a file of as many empty batches, with the places of those that were written.
func (z *zipped) footer() ([]byte, error) {
	builder := array18.NewRecordBuilder(memory18.DefaultAllocator, z.schema)
	defer builder.Release()
	none := builder.NewRecordBatch()
	defer none.Release()
	var out bytes.Buffer
	w, err := ipc18.NewFileWriter(&out, ipc18.WithSchema(z.schema))
	if err != nil {
		return nil, err
	}
	for range z.blocks {
		if err := w.Write(none); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	all := out.Bytes()
	tail := len(magic) + 4
	n := int(binary.LittleEndian.Uint32(all[len(all)-tail:]))
	end := all[len(all)-tail-n:]
	root := &flatbuffers.Table{Bytes: end, Pos: flatbuffers.GetUOffsetT(end)}
	blocks := vector(root, footerBatches, blockSize)
	if len(blocks) != len(z.blocks)*blockSize {
		return nil, fmt.Errorf("it has %d batches, %d were written", len(blocks)/blockSize, len(z.blocks))
	}
	for i, b := range z.blocks {
		at := blocks[i*blockSize:]
		binary.LittleEndian.PutUint64(at, uint64(b.at))
		binary.LittleEndian.PutUint32(at[8:], uint32(b.meta))
		binary.LittleEndian.PutUint64(at[16:], uint64(b.body))
	}
	return end, nil
}
