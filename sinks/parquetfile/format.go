// Package parquetfile writes Parquet files and reads them back as lines of JSON.
//
// Rows are copied once, into chunks whose columns lie as they do in pages; several goroutines make pages of a chunk, which are
// compressed where they were filled. The pages of a row group are held until it ends. What the footer says of columns is counted
// while rows are copied, and compared at last with what can be read of the footer: see output.end. Schema and footer are made by a
// later release of Arrow than batches are of, which also reads files back.
package parquetfile

import (
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/sinks/partfile"
)

// Compression is how pages are compressed.
type Compression string

// The compressions.
const (
	Zstd   Compression = "zstd"
	Snappy Compression = "snappy"
	None   Compression = "none"
)

// Compressions lists the compressions as settings spell them.
func Compressions() []Compression { return []Compression{Zstd, Snappy, None} }

func (c Compression) codec() compress.Compression {
	switch c {
	case Zstd:
		return compress.Codecs.Zstd
	case Snappy:
		return compress.Codecs.Snappy
	}
	return compress.Codecs.Uncompressed
}

const (
	// chunkSize is how many bytes of rows are copied before they are written: enough rows that a column's turn costs nothing,
	// and few enough that copies are small beside the row group.
	chunkSize = 2 << 20
	// chunks is how many a slice has: one is filled, one written, one levels out.
	chunks = 3
	// pageSize is about how large a page is before compression. A chunk should have some, for as many processors; a compressor's
	// speed doesn't depend on it.
	pageSize = 512 << 10
	// maxRows and maxRatio end a row group of rows that compress to nothing: the second as times its size.
	maxRows  = 1 << 20
	maxRatio = 16
	// codecMemory is what compressors and pages on their way hold; TestNoRaceMemory measures all of it.
	codecMemory = 12 << 20
)

// Options are the settings of a format.
type Options struct {
	Compression Compression
	Timestamps  Unit
	RowGroup    int64 // in bytes of the file, at which a row group ends
}

// DefaultRowGroup makes row groups of some hundred thousand log lines, which is what readers like, and bounds memory.
const DefaultRowGroup = 8 << 20

// Bounds of Options.RowGroup: below, a file would be all footer; above, no process could hold one.
const (
	minRowGroup = 64 << 10
	maxRowGroup = 1 << 30
)

// CheckRowGroup is an error that names the key unless n bytes can be a row group's.
func CheckRowGroup(key string, n int64) error {
	if n < minRowGroup || n > maxRowGroup {
		return fmt.Errorf("%s: %d bytes isn't between 64KiB and 1GiB", key, n)
	}
	return nil
}

// Defaults returns the options of a sink that isn't told others.
func Defaults() Options {
	return Options{Compression: Zstd, Timestamps: Micros, RowGroup: DefaultRowGroup}
}

// Format is Parquet.
type Format struct {
	options Options
	presses sync.Pool // of *press
	groups  sync.Pool // of *[]pages
}

var _ partfile.Format = (*Format)(nil)

// New returns a format; the options' texts are of Compressions and Units.
func New(o Options) *Format { return &Format{options: o} }

// Name implements partfile.Format. The unit of timestamps is in it, since readers want one type for one column.
func (f *Format) Name() string { return "parquet-" + string(f.options.Timestamps) }

// Extension implements partfile.Format.
func (f *Format) Extension() string { return Extension }

// Extension is the end of the names of Parquet files.
const Extension = ".parquet"

// Typed implements partfile.Format.
func (f *Format) Typed() bool { return true }

// Check implements partfile.Format.
func (f *Format) Check(s *arrow.Schema) error {
	_, err := newTable(s, nil, f.options.Timestamps)
	return err
}

// Chunks implements partfile.Format.
func (f *Format) Chunks() int { return chunks }

// Buffer implements partfile.Format: chunks and the pages of a row group, whose buffers grow by doubling.
func (f *Format) Buffer() int64 { return 2*chunks*chunkSize + 2*f.options.RowGroup + codecMemory }

// NewChunk implements partfile.Format.
func (f *Format) NewChunk() partfile.Chunk { return &chunk{} }

// NewEncoder implements partfile.Format.
func (f *Format) NewEncoder(i partfile.Info) (partfile.Encoder, error) {
	return newEncoder(f, i)
}
