package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sluice-io/sluice/proto/wire"
)

// magic begins every file; its last byte is the format's version.
var magic = []byte("SLSPOOL\x01")

// kind says what a frame holds.
type kind uint8

const (
	kindHeader kind = iota + 1
	kindBatch
	kindDead
	kindEnd
)

const (
	tagSize    = 16
	prefixSize = 16 + tagSize
	// maxMeta bounds what stands before a payload's compressed part.
	maxMeta = 1 << 20
	// maxStored bounds a payload: zstd makes what it can't compress longer by next to nothing.
	maxStored = wire.MaxMessage + maxMeta + 1<<16
)

// tag is the checksum of a frame and all before it: the first 16 bytes of SHA-256(tag before, the prefix's first 16 bytes, payload).
type tag [tagSize]byte

func (t tag) next(prefix, payload []byte) tag {
	h := sha256.New()
	h.Write(t[:])
	h.Write(prefix[:16])
	h.Write(payload)
	var out tag
	copy(out[:], h.Sum(nil))
	return out
}

// prefix stands before each payload: kind, length of the meta, of the payload, and of what the compressed part becomes; then the tag.
type prefix struct {
	kind              kind
	meta, stored, raw uint32
}

func (p prefix) put(b []byte) {
	binary.LittleEndian.PutUint32(b, uint32(p.kind))
	binary.LittleEndian.PutUint32(b[4:], p.meta)
	binary.LittleEndian.PutUint32(b[8:], p.stored)
	binary.LittleEndian.PutUint32(b[12:], p.raw)
}

func parsePrefix(b []byte) (p prefix, err error) {
	k := binary.LittleEndian.Uint32(b)
	p = prefix{kind(k), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])}
	switch {
	case k < uint32(kindHeader) || k > uint32(kindEnd):
		return p, fmt.Errorf("a frame of kind %d", k)
	case p.stored > maxStored || p.meta > maxMeta || p.meta > p.stored || p.raw > wire.MaxMessage:
		return p, fmt.Errorf("a frame of %d bytes, %d of them meta, that hold %d", p.stored, p.meta, p.raw)
	}
	return p, nil
}

// walker reads frames one after the other and proves their tags.
type walker struct {
	r    io.Reader
	tag  tag
	read int64 // bytes so far
	buf  []byte
}

func (w *walker) begin() error {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(w.r, head); err != nil {
		return short(err)
	}
	if !bytes.Equal(head, magic) {
		return errors.New("it isn't a spool file of this version")
	}
	w.read = int64(len(magic))
	return nil
}

// next returns the next frame, whose payload is valid until the next call.
func (w *walker) next() (prefix, []byte, error) {
	var head [prefixSize]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return prefix{}, nil, short(err)
	}
	p, err := parsePrefix(head[:])
	if err != nil {
		return p, nil, err
	}
	if cap(w.buf) < int(p.stored) {
		w.buf = make([]byte, p.stored)
	}
	payload := w.buf[:p.stored]
	if _, err := io.ReadFull(w.r, payload); err != nil {
		return p, nil, short(err)
	}
	w.tag = w.tag.next(head[:], payload)
	if !bytes.Equal(w.tag[:], head[16:]) {
		return p, nil, fmt.Errorf("the frame at %d doesn't fit its checksum", w.read)
	}
	w.read += prefixSize + int64(p.stored)
	return p, payload, nil
}

// short turns the end of a file that should go on into what it is.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// prove reads a file to its end mark, which must be its end.
func prove(r io.Reader, size int64) error {
	w := walker{r: r}
	if err := w.begin(); err != nil {
		return err
	}
	for first := true; ; first = false {
		p, _, err := w.next()
		switch {
		case err != nil:
			return err
		case first != (p.kind == kindHeader):
			return fmt.Errorf("a frame of kind %d at %d", p.kind, w.read)
		case p.kind == kindEnd && w.read != size:
			return fmt.Errorf("%d bytes after the end mark", size-w.read)
		case p.kind == kindEnd:
			return nil
		}
	}
}
