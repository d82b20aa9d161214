// Package partfile is what formats of data files have in common: how batches of a slice become the bytes of its part files,
// whatever takes those bytes. Packages textfile, parquetfile and ipcfile have the formats; package parts writes them to folders.
//
// An Encoder works in two steps, so that they can run side by side: Fill copies or encodes rows into a Chunk in the goroutine
// of the sink's Append, Write turns filled chunks into the bytes of a file in another.
//
//	enc, err := format.NewEncoder(info)
//	next, rejected, err := enc.Fill(chunk, rec, row)     // until chunk.Full() or the batch ends
//	err = enc.Begin(w); enc.Write(chunk); enc.Finish()   // any number of chunks a file
package partfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Format makes files of one kind with one group of settings. It may be used concurrently and keeps what encoders have given
// back for others.
type Format interface {
	// Name is the format as the target's owner has it: what must not change while files of it are there.
	Name() string
	// Extension is the end of file names, with the dot: ".ndjson.zst".
	Extension() string
	// Typed says that files have a schema of their own, of which columns that the path tells are left out.
	Typed() bool
	// Check reports whether records of a schema can be written; the error names the column.
	Check(s *arrow.Schema) error
	// Chunks is how many chunks one slice's writer should have.
	Chunks() int
	// Buffer is the most bytes that an encoder and its chunks hold. A single record larger than a chunk isn't in it.
	Buffer() int64
	// NewChunk returns an empty chunk for the encoders of this format.
	NewChunk() Chunk
	// NewEncoder returns an encoder for one slice.
	NewEncoder(i Info) (Encoder, error)
	// Scan reads a file back and calls each with the Sum of every record, as the stream's digest counts it, in the file's order. An
	// error of each ends it and is returned; any other error is damage that comes after what each was called with.
	Scan(in Input, of Stored, each func(flow.Sum) error) error
	// Lossy says why files of this format may not give back exactly what a stream's digest counts; empty if they always do.
	Lossy(of Stored) string
}

// Input is a file that is read back: Read goes through it once from its beginning, ReadAt to any place.
type Input interface {
	io.Reader
	io.ReaderAt
	Size() int64
}

// Stored is what Scan knows of the records in a file.
type Stored struct {
	Path   string        // of the part: the end of its name says how it is compressed
	Schema *arrow.Schema // of the stream
	Digest []string      // the columns that the stream's digest hashes; empty: the text body
	// Told are the columns that the path tells, by name. They are in no file of a format with a schema of its own.
	Told map[string]string
}

// Info is what an encoder knows of its slice.
type Info struct {
	Slice    flow.Slice
	Schema   *arrow.Schema // of every batch
	PartSize int64         // in bytes on disk, at which a file ends; an encoder needs it to make no chunk larger
	// Omit names columns that the path of the file tells and that formats with a schema of their own leave out of it.
	Omit []string
	// Source is the type of the source, Sluice the host's version; they only inform.
	Source, SourceVersion, Sluice string
}

// Chunk is whole records on their way into a file.
type Chunk interface {
	Rows() uint64
	// Full says that Fill would add nothing more.
	Full() bool
	// Large says that one record made the chunk much larger than it should be: it isn't to be kept.
	Large() bool
	// Reset empties the chunk.
	Reset()
}

// Encoder writes the files of one slice, one after the other. Fill may run in one goroutine while Begin, Write and Finish run
// in another, on different chunks.
type Encoder interface {
	// Fill adds rows of rec to c, beginning with row, until c is full or the batch ends, and returns the row to go on with.
	// Nothing of rec is referred to when it has returned. rejected are rows that the format can't hold: they aren't in c.
	Fill(c Chunk, rec arrow.Record, row int) (next int, rejected []sinks.Rejected, err error)
	// Begin begins a file on w, which is used until Finish has returned.
	Begin(w io.Writer) error
	// Write adds the records of a chunk to the file. It leaves the chunk as it is.
	Write(c Chunk) error
	// Pending is how many bytes of the file the encoder holds yet, about.
	Pending() int64
	// Finish ends the file: all of it has been written to w.
	Finish() error
	// Release gives back what the encoder has, for other slices' use; broken says that a file was begun and not finished.
	Release(broken bool)
}

// Name returns the name of a slice's part file. Names sort by time.
func Name(s flow.Slice, i int, extension string) string {
	return fmt.Sprintf("%s-%s-%05d%s", s.From.UTC().Format("20060102T150405.000Z"), s.ID.String()[:16], i, extension)
}

// SchemaVersion is of the table in docs/types.md, by which the schema of a stream becomes that of a file.
const SchemaVersion = 1

// Metadata is what files with a place for it say of their origin, as keys and values.
func (i Info) Metadata() [][2]string {
	s := i.Slice
	sum := sha256.Sum256([]byte(i.Schema.String()))
	return [][2]string{
		{"sluice.slice", s.ID.String()},
		{"sluice.stream", s.Stream},
		{"sluice.partition", s.Key},
		{"sluice.selection", s.Selection.String()},
		{"sluice.from", s.From.UTC().Format(time.RFC3339Nano)},
		{"sluice.to", s.To.UTC().Format(time.RFC3339Nano)},
		{"sluice.revision", strconv.FormatUint(uint64(s.Rev), 10)},
		{"sluice.source", i.Source},
		{"sluice.source_version", i.SourceVersion},
		{"sluice.version", i.Sluice},
		{"sluice.schema_version", strconv.Itoa(SchemaVersion)},
		{"sluice.schema", hex.EncodeToString(sum[:8])}, // the same for the same columns
	}
}
