// Package ipcfile writes Arrow's own files and streams (IPC) and reads them back as lines of JSON. Types stay what they are, but
// for the unit of timestamps if one is asked for.
//
// Batches are of arrow/go v15; a later release of the library writes them, uncopied, since it keeps a compressor for a whole file.
// What is compressed with zstd is compressed here: see zipped.
package ipcfile

import (
	"fmt"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// Compression is how the buffers of a batch are compressed.
type Compression string

// The compressions.
const (
	Zstd Compression = "zstd"
	LZ4  Compression = "lz4"
	None Compression = "none"
)

// Compressions lists the compressions as settings spell them.
func Compressions() []Compression { return []Compression{LZ4, Zstd, None} }

// Kind is a file, which can be read at any place, or a stream, which is read from its beginning.
type Kind string

// The kinds.
const (
	File   Kind = "file"
	Stream Kind = "stream"
)

// Kinds lists the kinds as settings spell them.
func Kinds() []Kind { return []Kind{File, Stream} }

// Extension returns the end of file names.
func (k Kind) Extension() string {
	if k == Stream {
		return ".arrows"
	}
	return ".arrow"
}

const (
	// DefaultBatch makes batches of some thousand log lines, and bounds memory.
	DefaultBatch = 2 << 20
	// minBatch and maxBatch are the bounds of Options.Batch: below, a file would be all headers; above, no process could hold one.
	minBatch = 64 << 10
	maxBatch = 1 << 30
	// chunks is how many a slice has: one is filled, one written, one levels out.
	chunks = 3
	// codecMemory is the most that compressors hold; TestNoRaceMemory measures all of it.
	codecMemory = 8 << 20
)

// Options are the settings of a format.
type Options struct {
	Kind        Kind
	Compression Compression
	Batch       int64 // in bytes before compression, at which a batch of the file ends; 0: DefaultBatch
	Timestamps  Unit
}

// CheckBatch is an error that names the key unless n bytes can be a batch's.
func CheckBatch(key string, n int64) error {
	if n < minBatch || n > maxBatch {
		return fmt.Errorf("%s: %d bytes isn't between 64KiB and 1GiB", key, n)
	}
	return nil
}

// Format is Arrow IPC with a compression.
type Format struct {
	kind    Kind
	zip     Compression
	batch   int64
	unit    Unit
	zippers sync.Pool // of *zipper
}

func (f *Format) zipper() (*zipper, error) {
	if z, ok := f.zippers.Get().(*zipper); ok {
		return z, nil
	}
	z, err := newZipper()
	if err != nil {
		return nil, fmt.Errorf("make a compressor: %w", err)
	}
	return z, nil
}

var _ partfile.Format = (*Format)(nil)

// New returns a format; the options' texts are of Kinds, Compressions and Units.
func New(o Options) *Format {
	if o.Batch == 0 {
		o.Batch = DefaultBatch
	}
	return &Format{kind: o.Kind, zip: o.Compression, batch: o.Batch, unit: o.Timestamps}
}

// Name implements partfile.Format. The compression isn't in it: readers see it in each batch. The unit of timestamps is, if there is
// one: readers want one type for one column.
func (f *Format) Name() string {
	if f.unit == AsSent {
		return "arrow-" + string(f.kind)
	}
	return "arrow-" + string(f.kind) + "-" + string(f.unit)
}

// Extension implements partfile.Format.
func (f *Format) Extension() string { return f.kind.Extension() }

// Typed implements partfile.Format.
func (f *Format) Typed() bool { return true }

// Check implements partfile.Format.
func (f *Format) Check(s *arrow.Schema) error {
	for _, field := range s.Fields() {
		if err := check(field.Type); err != nil {
			return fault.New(fault.Config, "write arrow", "leave the column out, or have the source send it as another type",
				fmt.Errorf("column %q can't be held by the format: %w", field.Name, err))
		}
	}
	return nil
}

// check refuses types that hold references outside of their buffers, and what other formats of files refuse too.
func check(t arrow.DataType) error {
	switch t := t.(type) {
	case *arrow.DictionaryType, arrow.ExtensionType, *arrow.RunEndEncodedType, *arrow.StringViewType, *arrow.BinaryViewType,
		*arrow.ListViewType, *arrow.LargeListViewType, *arrow.MonthIntervalType, *arrow.DayTimeIntervalType, *arrow.MonthDayNanoIntervalType,
		*arrow.SparseUnionType, *arrow.DenseUnionType:
		return fmt.Errorf("it is %s", t)
	case arrow.NestedType:
		for _, f := range t.Fields() {
			if err := check(f.Type); err != nil {
				return err
			}
		}
	}
	return nil
}

// Chunks implements partfile.Format.
func (f *Format) Chunks() int { return chunks }

// Buffer implements partfile.Format: chunks, one of them once more in one piece, and compressed.
func (f *Format) Buffer() int64 {
	n := (chunks + 2) * 2 * f.batch
	if f.zip != None {
		n += codecMemory
	}
	return n
}

// NewChunk implements partfile.Format.
func (f *Format) NewChunk() partfile.Chunk { return &chunk{target: f.batch} }

// NewEncoder implements partfile.Format.
func (f *Format) NewEncoder(i partfile.Info) (partfile.Encoder, error) { return newEncoder(f, i) }
