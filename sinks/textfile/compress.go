package textfile

import (
	"errors"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// Compression is how files are compressed.
type Compression string

// The compressions.
const (
	Plain Compression = "none"
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
)

// Compressions lists the compressions as settings spell them.
func Compressions() []Compression { return []Compression{Plain, Gzip, Zstd} }

// Extension returns the end of file names, behind the format's.
func (c Compression) Extension() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}

// compressor is what gzip and zstd writers have in common.
type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// zstdWindow is far beyond the distance at which log lines repeat, and bounds an encoder's memory.
const zstdWindow = 1 << 20

// memory is the most that a compressor holds, in bytes; TestNoRaceCompressorMemory measures it.
func (c Compression) memory() int64 {
	switch c {
	case Gzip:
		return (gzipPieces + 1) * 5 / 2 << 20
	case Zstd:
		return 8 << 20
	}
	return 0
}

// newCompressor returns nil for Plain.
func (c Compression) newCompressor() (compressor, error) {
	switch c {
	case Gzip:
		return newPieces(), nil
	case Zstd:
		// Less memory would cost a third more time.
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(zstdConcurrency()),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(false))
	case Plain:
		return nil, nil
	}
	return nil, errors.New("unknown Compression")
}

// zstdConcurrency is 2 where there are processors to spare: what an encoder does is then done in two steps side by side, which write
// the same bytes and take a fifth more time of processors.
func zstdConcurrency() int {
	if runtime.GOMAXPROCS(0) >= 4 {
		return 2
	}
	return 1
}
