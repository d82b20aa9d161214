// Package textfile writes files of raw lines, NDJSON and CSV, plain or compressed. How records become text is package encode's.
package textfile

import (
	"bufio"
	"io"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/partfile"
)

const (
	// blockSize is how much is encoded, hashed and written at a time: large enough that a system call costs nothing beside
	// its copy, small enough that a block is still in the processor's cache when it is hashed and written.
	blockSize = 256 << 10
	// blocks is how many a slice has: three frames' worth. With as many as one frame fills, encoder and writer took turns, and waking each other
	// was a tenth of the path's CPU (bench/DATAPATH.md).
	blocks = 12
)

// Format is a text format with a compression.
type Format struct {
	text encode.Format
	zip  Compression

	mu   sync.Mutex
	idle []compressor // that no encoder has
}

var _ partfile.Format = (*Format)(nil)

// New returns a format. text is one of encode.Formats and zip one of Compressions.
func New(text encode.Format, zip Compression) *Format { return &Format{text: text, zip: zip} }

// Name implements partfile.Format. The compression isn't in it: it may change from file to file.
func (f *Format) Name() string { return string(f.text) }

// Extension implements partfile.Format.
func (f *Format) Extension() string { return f.text.Extension() + f.zip.Extension() }

// Typed implements partfile.Format: a line tells all there is.
func (f *Format) Typed() bool { return false }

// Check implements partfile.Format.
func (f *Format) Check(s *arrow.Schema) error {
	_, err := encode.New(f.text, s)
	return err
}

// Chunks implements partfile.Format.
func (f *Format) Chunks() int { return blocks }

// Buffer implements partfile.Format.
func (f *Format) Buffer() int64 {
	n := int64(blocks) * 2 * blockSize
	if f.zip != Plain {
		n += blockSize + f.zip.memory()
	}
	return n
}

// block is a chunk: encoded records.
type block struct {
	bytes []byte
	rows  uint64
	size  int // it is full at this length; 0 before the first Fill
}

func (b *block) Rows() uint64 { return b.rows }
func (b *block) Full() bool   { return b.size > 0 && len(b.bytes) >= b.size }
func (b *block) Large() bool  { return cap(b.bytes) > 2*blockSize }
func (b *block) Reset()       { b.bytes, b.rows, b.size = b.bytes[:0], 0, 0 }

// NewChunk implements partfile.Format.
func (f *Format) NewChunk() partfile.Chunk {
	return &block{bytes: make([]byte, 0, blockSize+blockSize/4)} // most records end within it, so it hardly ever grows
}

// NewEncoder implements partfile.Format.
func (f *Format) NewEncoder(i partfile.Info) (partfile.Encoder, error) {
	enc, err := encode.New(f.text, i.Schema)
	if err != nil {
		return nil, err
	}
	return &encoder{format: f, enc: enc, size: int(min(blockSize, i.PartSize)), part: i.PartSize}, nil
}

func (f *Format) compressor() (compressor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.idle); n > 0 {
		c := f.idle[n-1]
		f.idle = f.idle[:n-1]
		return c, nil
	}
	return f.zip.newCompressor()
}

// encoder encodes into blocks and compresses them into a file.
type encoder struct {
	format *Format
	enc    encode.Encoder
	size   int   // a block is full at this length
	part   int64 // a file is full at this length

	file io.Writer
	zip  compressor // kept from file to file; nil without compression
	buf  *bufio.Writer
}

// Fill implements partfile.Encoder. Text formats reject nothing.
func (e *encoder) Fill(c partfile.Chunk, rec arrow.Record, row int) (next int, _ []sinks.Rejected, err error) {
	b := c.(*block)
	b.size = e.size
	b.bytes, next, err = e.enc.Append(b.bytes, rec, row, e.size)
	b.rows += uint64(next - row)
	return next, nil, err
}

// Begin implements partfile.Encoder.
func (e *encoder) Begin(w io.Writer) (err error) {
	e.file = w
	if e.format.zip != Plain {
		if e.zip == nil {
			if e.zip, err = e.format.compressor(); err != nil {
				return err
			}
			e.buf = bufio.NewWriterSize(nil, blockSize)
		}
		if g, ok := e.zip.(*pieces); ok {
			g.expect(e.part)
		}
		e.buf.Reset(w)
		e.zip.Reset(e.buf)
		e.file = e.zip
	}
	if header := e.enc.Header(); len(header) > 0 {
		_, err = e.file.Write(header)
	}
	return err
}

// Write implements partfile.Encoder.
func (e *encoder) Write(c partfile.Chunk) error {
	_, err := e.file.Write(c.(*block).bytes)
	return err
}

// Pending implements partfile.Encoder. What a zstd encoder holds is little and of unknown size.
func (e *encoder) Pending() int64 {
	if g, ok := e.zip.(*pieces); ok {
		return g.pending()
	}
	return 0
}

// Finish implements partfile.Encoder.
func (e *encoder) Finish() error {
	e.file = nil
	if e.zip == nil {
		return nil
	}
	if err := e.zip.Close(); err != nil {
		return err
	}
	return e.buf.Flush()
}

// Release implements partfile.Encoder. A compressor that holds half a file isn't used again.
func (e *encoder) Release(broken bool) {
	if e.zip == nil || broken {
		return
	}
	e.format.mu.Lock()
	defer e.format.mu.Unlock()
	e.format.idle = append(e.format.idle, e.zip)
	e.zip = nil
}
