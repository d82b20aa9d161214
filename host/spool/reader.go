package spool

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-io/sluice/proto/arena"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
)

// blocks keeps the memory of frames that were read, for the next.
var blocks = arena.NewPool(16 << 20)

// Reader gives a slice's items again as they were read. It implements flow.Reader, with the items' records owned as its contract
// says. Its manifest is the one that was sealed; whoever reads proves it against the records.
type Reader struct {
	store    *Store
	header   Header
	file     *os.File
	walk     walker
	zip      *zstd.Decoder
	layout   *wire.Layout
	seq      uint64
	frames   uint64
	manifest flow.Manifest
	counters map[string]uint64
	err      error // final

	closing sync.Once
}

var _ flow.Reader = (*Reader)(nil)

// Open returns a reader of a sealed slice. The whole file is proved before: what doesn't fit its checksums, has no end mark or is of
// another slice is a *DamagedError, and removed. A file of another origin or schema is removed, too, and ErrNone. The caller closes
// the reader.
func (s *Store) Open(slice flow.Slice, schema *arrow.Schema, origin Origin) (*Reader, error) {
	if !s.Has(slice.ID) {
		return nil, ErrNone
	}
	r, err := s.open(slice, schema, origin)
	if err == nil {
		return r, nil
	}
	removed := s.Remove(slice.ID)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNone) {
		return nil, errors.Join(ErrNone, removed)
	}
	return nil, errors.Join(&DamagedError{s.path(slice.ID, sealed), err}, removed)
}

func (s *Store) open(slice flow.Slice, schema *arrow.Schema, origin Origin) (_ *Reader, err error) {
	f, err := os.Open(s.path(slice.ID, sealed))
	if err != nil {
		return nil, err
	}
	r := &Reader{store: s, file: f}
	defer func() {
		if err != nil {
			_ = r.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := prove(bufio.NewReaderSize(f, 1<<20), st.Size()); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r.walk = walker{r: f}
	if err := r.walk.begin(); err != nil {
		return nil, err
	}
	_, payload, err := r.walk.next()
	if err != nil {
		return nil, err
	}
	if r.header, err = parseHeader(payload); err != nil {
		return nil, err
	}
	switch {
	case r.header.Slice.ID != slice.ID:
		return nil, errors.New("it is of another slice")
	case r.header.Origin != origin, schema != nil && !schema.Equal(r.header.Schema):
		return nil, ErrNone
	}
	if r.zip, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(wire.MaxMessage), zstd.WithDecoderLowmem(true)); err != nil {
		return nil, err
	}
	r.layout, err = r.header.layout()
	return r, err
}

// Schema returns the full schema of the batches.
func (r *Reader) Schema() *arrow.Schema { return r.header.Schema }

// VendorTime returns the vendor's clock in the answer that the slice was read from, zero if it told none.
func (r *Reader) VendorTime() time.Time { return r.header.VendorTime }

// ReadAt returns the clock that the slice was found closed by.
func (r *Reader) ReadAt() time.Time { return r.header.ReadAt }

// Counters returns what the source counted; valid after io.EOF.
func (r *Reader) Counters() map[string]uint64 { return r.counters }

// Manifest implements flow.Reader.
func (r *Reader) Manifest() flow.Manifest { return r.manifest }

// Release implements flow.Reader.
func (*Reader) Release(it flow.Item) {
	if it.Batch != nil {
		it.Batch.Records.Release()
	}
}

// Close implements flow.Reader.
func (r *Reader) Close() error {
	var err error
	r.closing.Do(func() {
		err = r.file.Close()
		if r.zip != nil {
			r.zip.Close()
		}
		if r.layout != nil {
			r.layout.Release()
		}
	})
	return err
}

// Next implements flow.Reader. An error other than the end of ctx means that the file is damaged after all: it is removed.
func (r *Reader) Next(ctx context.Context) (flow.Item, error) {
	if r.err != nil {
		return flow.Item{}, r.err
	}
	if err := ctx.Err(); err != nil {
		return flow.Item{}, fault.New(fault.Canceled, "spool", "", context.Cause(ctx))
	}
	it, err := r.item()
	if err != nil {
		if r.err = err; !errors.Is(err, io.EOF) {
			damaged := &DamagedError{r.store.path(r.header.Slice.ID, sealed), err}
			r.err = fault.New(fault.Transient, "spool", "", errors.Join(damaged, r.store.Remove(r.header.Slice.ID)))
		}
	}
	return it, r.err
}

func (r *Reader) item() (it flow.Item, err error) {
	p, payload, err := r.walk.next()
	if err != nil {
		return it, err
	}
	r.frames++
	meta, stored := payload[:p.meta], payload[p.meta:]
	switch p.kind {
	case kindBatch:
		return r.batch(p, meta, stored)
	case kindDead:
		var m deadMeta
		if err := json.Unmarshal(meta, &m); err != nil {
			return it, err
		}
		raw, err := r.zip.DecodeAll(stored, make([]byte, 0, p.raw))
		if err != nil {
			return it, err
		}
		return flow.Item{Dead: &flow.DeadPiece{Record: m.Record, Offset: m.Offset, Bytes: raw, Last: m.Last, Reason: m.Reason}}, nil
	case kindEnd:
		var end endText
		if err := json.Unmarshal(payload, &end); err != nil {
			return it, err
		}
		if end.Frames != r.frames-1 {
			return it, fmt.Errorf("%d frames, the end mark says %d", r.frames-1, end.Frames)
		}
		r.manifest = flow.Manifest{Slice: r.header.Slice, Sum: flow.Sum{Rows: end.Rows, Bytes: end.Bytes, Digest: end.Digest}}
		r.counters = end.Counters
		return it, io.EOF
	}
	return it, fmt.Errorf("a frame of kind %d", p.kind)
}

func (r *Reader) batch(p prefix, meta, stored []byte) (it flow.Item, err error) {
	var m batchMeta
	if err := json.Unmarshal(meta, &m); err != nil {
		return it, err
	}
	if m.Seq != r.seq {
		return it, fmt.Errorf("batch %d where %d was due", m.Seq, r.seq)
	}
	r.seq++
	block := blocks.Get(int(p.raw))
	raw, err := r.zip.DecodeAll(stored, block[:0])
	if err == nil && len(raw) != int(p.raw) {
		err = fmt.Errorf("a frame of %d bytes became %d", p.raw, len(raw))
	}
	if err != nil {
		blocks.Put(block)
		return it, err
	}
	rec, err := r.layout.DecodeStored(wire.Stored{Frame: raw, Rows: m.Rows, NullColumns: m.Nulls}, func() { blocks.Put(block) })
	if err != nil {
		return it, err
	}
	return flow.Item{Batch: &flow.Batch{Slice: r.header.Slice.ID, Seq: m.Seq, Records: rec, Bytes: m.Bytes}}, nil
}
