package wire

import (
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-io/sluice/proto/arena"
	"github.com/sluice-io/sluice/proto/shm"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

// Field numbers of proto/sluice/v1 that are written and read by hand.
const (
	responseDead, responseBatch                        = 4, 15
	batchSeq, batchRows, batchNullColumns, batchFrame  = 1, 2, 3, 15
	batchShared, sharedSlot, sharedTicket, sharedBytes = 4, 1, 2, 3
	deadRecord, deadOffset, deadLast, deadWhy, deadRaw = 1, 2, 3, 4, 15
)

// OutBatch is a batch to be sent: stream.SendMsg(&OutBatch{...}) writes it as a ReadResponse without copying the frame.
// The caller keeps its own reference to the frame and may release it when SendMsg has returned.
type OutBatch struct {
	Seq    uint64
	Frame  *Frame
	Shared shm.Ref // where the frame lies already, which isn't sent then; zero: it is sent
}

// Size returns what credit counts, in bytes: the length of the whole message, and of the frame if it lies in shared memory.
func (o *OutBatch) Size() int {
	if o.shared() {
		return o.length() + o.Frame.Len()
	}
	return o.length()
}

func (o *OutBatch) shared() bool { return o.Shared.Ticket != 0 }

// length returns the length of the message.
func (o *OutBatch) length() int {
	return protowire.SizeTag(responseBatch) + protowire.SizeBytes(o.innerSize())
}

func (o *OutBatch) innerSize() int {
	var n int
	if o.shared() {
		n = protowire.SizeTag(batchShared) + protowire.SizeBytes(sharedSize(o.Shared))
	} else {
		n = protowire.SizeTag(batchFrame) + protowire.SizeBytes(o.Frame.Len())
	}
	n += numberSize(batchSeq, o.Seq) + numberSize(batchRows, o.Frame.Rows())
	if packed := packedSize(o.Frame.NullColumns()); packed > 0 {
		n += protowire.SizeTag(batchNullColumns) + protowire.SizeBytes(packed)
	}
	return n
}

// marshal returns the message; every buffer with a part of the frame holds a reference to it.
func (o *OutBatch) marshal() (mem.BufferSlice, error) {
	if o.Frame == nil {
		return nil, errors.New("batch without a frame")
	}
	if size := o.Size(); size > MaxMessage {
		return nil, fmt.Errorf("message of %d bytes is longer than %d", size, MaxMessage)
	}
	size := o.length()
	if !o.shared() {
		size -= o.Frame.Len()
	}
	h := make([]byte, 0, size)
	h = protowire.AppendTag(h, responseBatch, protowire.BytesType)
	h = protowire.AppendVarint(h, uint64(o.innerSize()))
	h = appendNumber(h, batchSeq, o.Seq)
	h = appendNumber(h, batchRows, o.Frame.Rows())
	if cols := o.Frame.NullColumns(); len(cols) > 0 {
		h = protowire.AppendTag(h, batchNullColumns, protowire.BytesType)
		h = protowire.AppendVarint(h, uint64(packedSize(cols)))
		for _, c := range cols {
			h = protowire.AppendVarint(h, uint64(c))
		}
	}
	if o.shared() {
		h = protowire.AppendTag(h, batchShared, protowire.BytesType)
		h = protowire.AppendVarint(h, uint64(sharedSize(o.Shared)))
		h = appendNumber(h, sharedSlot, uint64(o.Shared.Slot))
		h = appendNumber(h, sharedTicket, o.Shared.Ticket)
		h = appendNumber(h, sharedBytes, o.Shared.Length)
		return mem.BufferSlice{mem.SliceBuffer(h)}, nil
	}
	h = protowire.AppendTag(h, batchFrame, protowire.BytesType)
	h = protowire.AppendVarint(h, uint64(o.Frame.Len()))
	// The header belongs to the garbage collector alone, so its buffer needs no count.
	out := append(make(mem.BufferSlice, 0, 2+len(o.Frame.pieces)), mem.SliceBuffer(h))
	return o.Frame.appendTo(out), nil
}

// appendNumber appends a number as proto3 does: none if it is zero.
func appendNumber(h []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return h
	}
	return protowire.AppendVarint(protowire.AppendTag(h, num, protowire.VarintType), v)
}

func numberSize(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

func sharedSize(r shm.Ref) int {
	return numberSize(sharedSlot, uint64(r.Slot)) + numberSize(sharedTicket, r.Ticket) + numberSize(sharedBytes, r.Length)
}

func packedSize(columns []uint32) int {
	n := 0
	for _, c := range columns {
		n += protowire.SizeVarint(uint64(c))
	}
	return n
}

// InMessage is a ReadResponse that was received by stream.RecvMsg(&in): exactly one of Response, Batch and Dead is set.
// Release it when it isn't needed; a record that was decoded from it stays valid.
type InMessage struct {
	Response *v1.ReadResponse // all but batches and dead-letter pieces
	Batch    *InBatch
	Dead     *InDead
	Size     int // as credit counts it: of the whole message in bytes, with the frame if that lay in shared memory
	// Gone says that the batch's frame isn't in shared memory any more: its sender gave the read up. It is set instead of Batch.
	Gone bool

	root *memory.Buffer
}

// InBatch is a batch that was received. Layout.Decode turns it into a record.
type InBatch struct {
	Seq, Rows   uint64
	NullColumns []uint32

	root   *memory.Buffer // the message, whose reference the InMessage holds
	at, to int            // the frame in root
	shared shm.Ref        // where the frame lies, until it is copied to root
}

// FrameBytes returns the length of the frame in bytes.
func (b *InBatch) FrameBytes() int { return b.to - b.at }

// Frame returns the frame's bytes, valid until the message is released.
func (b *InBatch) Frame() []byte { return b.root.Bytes()[b.at:b.to:b.to] }

// InDead is a piece of a dead letter that was received. Data is valid until the message is released.
type InDead struct {
	Record, Offset uint64
	Last           bool
	Reason         string
	Data           []byte
}

// Release gives up the message's memory. Idempotent.
func (m *InMessage) Release() {
	if m.root != nil {
		m.root.Release()
	}
	*m = InMessage{}
}

// codec is wire-compatible with plain protobuf. Its pool holds the one copy that is made of each frame received.
type codec struct {
	plain  encoding.CodecV2
	pool   *arena.Pool
	shared *shm.Memory // nil: without
}

// idleReceived bounds in bytes the blocks of received frames that wait for reuse.
const idleReceived = 16 << 20

// Codec returns a codec named "proto" that writes *OutBatch and reads *InMessage without copying frames more than once, and
// every other message as plain protobuf does. Each codec has its own pool.
func Codec() encoding.CodecV2 { return CodecWith(arena.NewPool(idleReceived), nil) }

// CodecWith is Codec with a pool of the caller's and, unless it is nil, the memory in which the other side may put frames.
func CodecWith(pool *arena.Pool, shared *shm.Memory) encoding.CodecV2 {
	return &codec{plain: encoding.GetCodecV2(protocodec.Name), pool: pool, shared: shared}
}

// Name implements encoding.CodecV2.
func (c *codec) Name() string { return protocodec.Name }

// Marshal implements encoding.CodecV2.
func (c *codec) Marshal(v any) (mem.BufferSlice, error) {
	if out, ok := v.(*OutBatch); ok {
		return out.marshal()
	}
	return c.plain.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c *codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*InMessage)
	if !ok {
		return c.plain.Unmarshal(data, v)
	}
	in.Release()
	n := data.Len()
	if n > MaxMessage {
		return fmt.Errorf("message of %d bytes is longer than %d", n, MaxMessage)
	}
	// The frame should begin at an aligned address, so where it is has to be known before the copy. Senders write it last
	// and behind little else; if it isn't found here, Decode moves the body.
	pad := 0
	if len(data) > 0 {
		if at := frameStart(data[0].ReadOnlyData(), n); at > 0 {
			pad = -at & (alignment - 1)
		}
	}
	block := c.pool.Get(pad + n)
	msg := block[pad : pad+n]
	data.CopyTo(msg)
	// One root for the message: the frame is a part of it, and the block goes back when the last array is released.
	root := memory.NewBufferWithAllocator(msg, &blockOwner{pool: c.pool, block: block})
	if err := in.parse(msg, root); err != nil {
		root.Release()
		*in = InMessage{}
		return err
	}
	in.Size = n
	if in.Batch != nil && in.Batch.shared != (shm.Ref{}) {
		root.Release()
		err := c.fetch(in)
		if errors.Is(err, shm.ErrGone) {
			*in = InMessage{Gone: true}
			return nil
		}
		if err != nil {
			*in = InMessage{}
		}
		return err
	}
	if in.Response != nil {
		root.Release()
		return nil
	}
	in.root = root
	return nil
}

// fetch copies a batch's frame out of shared memory, which frees its slot there.
func (c *codec) fetch(in *InMessage) error {
	b := in.Batch
	length := b.shared.Length
	switch {
	case c.shared == nil:
		return errors.New("a frame in shared memory, of which there is none")
	case length < 1 || length > uint64(c.shared.Most()): // before there is a block of so many
		return fmt.Errorf("a frame of %d bytes in shared memory", length)
	}
	block := c.pool.Get(int(length))
	if err := c.shared.Take(b.shared, block); err != nil {
		c.pool.Put(block)
		return err
	}
	in.root = memory.NewBufferWithAllocator(block, &blockOwner{pool: c.pool, block: block})
	in.Size += int(length)
	b.root, b.at, b.to = in.root, 0, int(length)
	return nil
}

// blockOwner gives a block back to its pool when the last reference to a message ends.
type blockOwner struct {
	pool  *arena.Pool
	block []byte
}

// Allocate implements memory.Allocator; received messages never grow.
func (*blockOwner) Allocate(n int) []byte { return make([]byte, n) }

// Reallocate implements memory.Allocator.
func (*blockOwner) Reallocate(n int, b []byte) []byte { return append(make([]byte, 0, n), b...)[:n] }

// Free implements memory.Allocator.
func (o *blockOwner) Free([]byte) { o.pool.Put(o.block) }

// parse reads the outer message. A batch or dead-letter piece must be alone in it: merging several, as protobuf would, has
// no use, and one that says more than one thing is refused.
func (m *InMessage) parse(msg []byte, root *memory.Buffer) error {
	alone, other := 0, 0
	err := eachField(msg, 0, len(msg), func(f field) error {
		switch {
		case f.num == responseBatch && f.typ == protowire.BytesType:
			alone++
			m.Batch = &InBatch{root: root}
			return m.Batch.parse(msg, f.at, f.to)
		case f.num == responseDead && f.typ == protowire.BytesType:
			alone++
			m.Dead = &InDead{}
			return m.Dead.parse(msg, f.at, f.to)
		case f.num < responseBatch:
			other++
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case alone > 1 || alone == 1 && other > 0:
		return errors.New("a message with more than one meaning")
	case alone == 1:
		return nil
	case len(msg) > MaxFree:
		return fmt.Errorf("message of %d bytes without credit, want at most %d", len(msg), MaxFree)
	}
	m.Response = new(v1.ReadResponse)
	return proto.Unmarshal(msg, m.Response)
}

func (b *InBatch) parse(msg []byte, at, to int) error {
	frames := 0
	err := eachField(msg, at, to, func(f field) error {
		switch {
		case f.num == batchSeq && f.typ == protowire.VarintType:
			b.Seq = f.varint
		case f.num == batchRows && f.typ == protowire.VarintType:
			b.Rows = f.varint
		case f.num == batchNullColumns && f.typ == protowire.VarintType:
			return b.addNull(f.varint)
		case f.num == batchNullColumns && f.typ == protowire.BytesType:
			for packed := msg[f.at:f.to]; len(packed) > 0; {
				v, n := protowire.ConsumeVarint(packed)
				if n < 0 {
					return protowire.ParseError(n)
				}
				if err := b.addNull(v); err != nil {
					return err
				}
				packed = packed[n:]
			}
		case f.num == batchFrame && f.typ == protowire.BytesType:
			frames++
			b.at, b.to = f.at, f.to
		case f.num == batchShared && f.typ == protowire.BytesType:
			frames++
			return b.parseShared(msg, f.at, f.to)
		}
		return nil
	})
	if err == nil && frames != 1 {
		err = fmt.Errorf("batch with %d frames", frames)
	}
	return err
}

func (b *InBatch) parseShared(msg []byte, at, to int) error {
	err := eachField(msg, at, to, func(f field) error {
		switch {
		case f.num == sharedSlot && f.typ == protowire.VarintType:
			b.shared.Slot = uint32(min(f.varint, math.MaxUint32))
		case f.num == sharedTicket && f.typ == protowire.VarintType:
			b.shared.Ticket = f.varint
		case f.num == sharedBytes && f.typ == protowire.VarintType:
			b.shared.Length = f.varint
		}
		return nil
	})
	if err == nil && b.shared.Ticket == 0 {
		err = errors.New("a frame in shared memory without a ticket")
	}
	return err
}

func (b *InBatch) addNull(column uint64) error {
	if column >= maxFields || len(b.NullColumns) >= maxFields {
		return fmt.Errorf("null column %d is beyond %d", column, maxFields)
	}
	b.NullColumns = append(b.NullColumns, uint32(column))
	return nil
}

func (d *InDead) parse(msg []byte, at, to int) error {
	err := eachField(msg, at, to, func(f field) error {
		switch {
		case f.num == deadRecord && f.typ == protowire.VarintType:
			d.Record = f.varint
		case f.num == deadOffset && f.typ == protowire.VarintType:
			d.Offset = f.varint
		case f.num == deadLast && f.typ == protowire.VarintType:
			d.Last = f.varint != 0
		case f.num == deadWhy && f.typ == protowire.BytesType:
			d.Reason = bounded(string(msg[f.at:f.to]), maxErrorText)
		case f.num == deadRaw && f.typ == protowire.BytesType:
			d.Data = msg[f.at:f.to:f.to]
		}
		return nil
	})
	if err == nil && len(d.Data) > MaxDeadPiece {
		err = fmt.Errorf("piece of a dead letter of %d bytes, want at most %d", len(d.Data), MaxDeadPiece)
	}
	return err
}

// field is one field of a message: a number, or bytes at [at, to).
type field struct {
	num    protowire.Number
	typ    protowire.Type
	varint uint64
	at, to int
}

// eachField calls yield for each field of the message in msg[at:to]. Positions are those in msg.
func eachField(msg []byte, at, to int, yield func(field) error) error {
	for at < to {
		num, typ, n := protowire.ConsumeTag(msg[at:to])
		if n < 0 {
			return protowire.ParseError(n)
		}
		at += n
		size := protowire.ConsumeFieldValue(num, typ, msg[at:to])
		if size < 0 {
			return protowire.ParseError(size)
		}
		f := field{num: num, typ: typ, at: at, to: at + size}
		switch typ {
		case protowire.VarintType:
			f.varint, _ = protowire.ConsumeVarint(msg[at:to])
		case protowire.BytesType:
			_, n := protowire.ConsumeVarint(msg[at:to])
			f.at += n
		}
		if err := yield(f); err != nil {
			return err
		}
		at += size
	}
	return nil
}

// frameStart returns where in a message of n bytes its frame begins, as far as the message's first bytes tell; 0 if they
// don't or it holds no frame.
func frameStart(first []byte, n int) int {
	at := 0
	for _, want := range []protowire.Number{responseBatch, batchFrame} {
		found := false
		for !found {
			num, typ, size := protowire.ConsumeTag(first[min(at, len(first)):])
			if size < 0 {
				return 0
			}
			at += size
			if found = num == want && typ == protowire.BytesType; found {
				if _, size = protowire.ConsumeVarint(first[at:]); size < 0 {
					return 0
				}
			} else if size = protowire.ConsumeFieldValue(num, typ, first[at:]); size < 0 {
				return 0
			}
			at += size
		}
	}
	if at >= n {
		return 0
	}
	return at
}
