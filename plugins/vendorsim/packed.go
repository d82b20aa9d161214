package vendorsim

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"
)

// packs keeps pages of a generated log compressed, so that a bulk answer as gzip costs hardly more than a plain one. A page that
// was compressed on its own, without a final block, may follow any other in one deflate stream. Safe for concurrent use.
type packs struct {
	mu     sync.Mutex
	pieces map[packKey][]byte
}

// packKey is a page of a ring that isn't written to once it is made: the same place holds the same bytes.
type packKey struct {
	first  *byte
	length int
}

// maxPacks bounds how many pages are kept: the whole ring, and a few ranges that begin or end within it.
const maxPacks = 16

// piece returns a page as deflate blocks, none of which is the last.
func (p *packs) piece(page []byte) ([]byte, error) {
	key := packKey{&page[0], len(page)}
	p.mu.Lock() // also while it compresses: two requests at once want the same pages
	defer p.mu.Unlock()
	if out, ok := p.pieces[key]; ok {
		return out, nil
	}
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(page); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	if len(p.pieces) < maxPacks {
		if p.pieces == nil {
			p.pieces = map[packKey][]byte{}
		}
		p.pieces[key] = buf.Bytes()
	}
	return buf.Bytes(), nil
}

// packedWriter is a gzip stream of kept pages.
type packedWriter struct {
	out   io.Writer
	packs *packs
	begun bool
	crc   uint32
	size  uint32 // modulo 2^32, as gzip counts
}

// Write takes one page.
func (w *packedWriter) Write(page []byte) (int, error) {
	if len(page) == 0 {
		return 0, nil
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	piece, err := w.packs.piece(page)
	if err != nil {
		return 0, err
	}
	w.crc = crc32.Update(w.crc, crc32.IEEETable, page)
	w.size += uint32(len(page))
	if _, err := w.out.Write(piece); err != nil {
		return 0, err
	}
	return len(page), nil
}

// begin writes gzip's header: deflate, no time, no name, an unknown system.
func (w *packedWriter) begin() error {
	if w.begun {
		return nil
	}
	w.begun = true
	_, err := w.out.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff})
	return err
}

// Close writes an empty last block and the trailer.
func (w *packedWriter) Close() error {
	if err := w.begin(); err != nil {
		return err
	}
	end := []byte{1, 0, 0, 0xff, 0xff}
	end = binary.LittleEndian.AppendUint32(end, w.crc)
	end = binary.LittleEndian.AppendUint32(end, w.size)
	_, err := w.out.Write(end)
	return err
}
