package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
)

// window is the compressor's: more would cost memory and, for lines of a log, gain little.
const window = 1 << 20

// largeFrame is the length in bytes of frames that hold one record.
const largeFrame = 4 << 20

// Writer writes one slice's file. Not safe for concurrent use. After an error only Abort is legal.
type Writer struct {
	store   *Store
	header  Header
	layout  *wire.Layout
	file    *os.File
	zip     *zstd.Encoder
	buf     bytes.Buffer // one frame
	tag     tag
	written int64
	frames  uint64
	done    bool
}

// Create begins a slice's file, in the place of one that was sealed. ErrFull: there is no room for it; ErrBusy: another writer is at it.
func (s *Store) Create(h Header) (_ *Writer, err error) {
	if err := s.claim(h.Slice.ID); err != nil {
		return nil, err
	}
	w := &Writer{store: s, header: h}
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	if err := s.Remove(h.Slice.ID); err != nil {
		return w, err
	}
	if w.layout, err = h.layout(); err != nil {
		return w, err
	}
	text, err := h.text()
	if err != nil {
		return w, err
	}
	if w.zip, err = newZip(); err != nil {
		return w, err
	}
	if w.file, err = os.OpenFile(s.path(h.Slice.ID, part), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
		return w, err
	}
	if err := s.reserve(int64(len(magic))); err != nil {
		return w, err
	}
	w.written = int64(len(magic))
	if _, err := w.file.Write(magic); err != nil {
		return w, err
	}
	return w, w.frame(kindHeader, text, 0, nil)
}

func newZip() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
}

// Write keeps an item, which it doesn't hold on to. Of a batch that others read meanwhile it needs arrays of its own.
func (w *Writer) Write(it flow.Item) error {
	w.frames++
	switch {
	case it.Batch != nil:
		f, err := w.layout.Encode(it.Batch.Records)
		if err != nil {
			return err
		}
		defer f.Release()
		meta, err := json.Marshal(batchMeta{it.Batch.Seq, f.Rows(), it.Batch.Bytes, f.NullColumns()})
		if err != nil {
			return err
		}
		return w.frame(kindBatch, meta, f.Len(), f.WriteTo)
	case it.Dead != nil:
		d := it.Dead
		meta, err := json.Marshal(deadMeta{d.Record, d.Offset, d.Last, d.Reason})
		if err != nil {
			return err
		}
		return w.frame(kindDead, meta, len(d.Bytes), func(to io.Writer) (int64, error) {
			n, err := to.Write(d.Bytes)
			return int64(n), err
		})
	}
	return errors.New("an empty item")
}

// frame writes one frame: meta as it is, then raw bytes that body writes, compressed.
func (w *Writer) frame(k kind, meta []byte, raw int, body func(io.Writer) (int64, error)) error {
	if len(meta) > maxMeta || raw > wire.MaxMessage {
		return fmt.Errorf("a frame of %d bytes and %d of meta", raw, len(meta))
	}
	w.buf.Reset()
	if raw > largeFrame { // or it would double as it grows
		w.buf.Grow(raw + raw/128 + len(meta) + prefixSize + 1024)
	}
	w.buf.Write(make([]byte, prefixSize))
	w.buf.Write(meta)
	if body != nil {
		w.zip.Reset(&w.buf)
		if _, err := body(w.zip); err != nil {
			return err
		}
		if err := w.zip.Close(); err != nil {
			return err
		}
	}
	b := w.buf.Bytes()
	prefix{k, uint32(len(meta)), uint32(len(b) - prefixSize), uint32(raw)}.put(b)
	w.tag = w.tag.next(b, b[prefixSize:])
	copy(b[16:], w.tag[:])
	if err := w.store.reserve(int64(len(b))); err != nil {
		return err
	}
	w.written += int64(len(b))
	_, err := w.file.Write(b)
	return err
}

// Seal writes the end mark and makes the file durable and findable. The writer is done, whatever comes of it.
func (w *Writer) Seal(m flow.Manifest, counters map[string]uint64) error {
	err := w.seal(m, counters)
	if err != nil {
		w.Abort()
		return err
	}
	w.release()
	return nil
}

func (w *Writer) seal(m flow.Manifest, counters map[string]uint64) error {
	if m.Slice.ID != w.header.Slice.ID {
		return errors.New("the manifest is of another slice")
	}
	text, err := json.Marshal(endText{m.Rows, m.Bytes, m.Digest, counters, w.frames})
	if err != nil {
		return err
	}
	if err := w.frame(kindEnd, text, 0, nil); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	file := w.file
	w.file = nil
	if err := file.Close(); err != nil {
		return err
	}
	s, id := w.store, w.header.Slice.ID
	if err := os.Rename(s.path(id, part), s.path(id, sealed)); err != nil {
		return err
	}
	s.mu.Lock()
	s.size[id] = w.written
	s.mu.Unlock()
	w.written = 0 // the store's from here on
	if err := s.syncDir(); err != nil {
		return errors.Join(err, s.Remove(id))
	}
	return nil
}

// Abort gives the file up. Idempotent, and legal after Seal.
func (w *Writer) Abort() {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
	if w.written > 0 {
		_ = os.Remove(w.store.path(w.header.Slice.ID, part))
		w.store.giveBack(w.written)
		w.written = 0
	}
	w.release()
}

func (w *Writer) release() {
	if w.done {
		return
	}
	w.done = true
	w.store.disclaim(w.header.Slice.ID)
	if w.layout != nil {
		w.layout.Release()
	}
	w.zip, w.buf = nil, bytes.Buffer{}
}
