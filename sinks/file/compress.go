package file

import (
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compression is how files are compressed.
type compression string

const (
	plain compression = "none"
	gz    compression = "gzip"
	zst   compression = "zstd"
)

var compressions = []compression{plain, gz, zst}

func (c compression) extension() string {
	switch c {
	case gz:
		return ".gz"
	case zst:
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
func (c compression) memory() int64 {
	switch c {
	case gz:
		return 1 << 20
	case zst:
		return 4 << 20
	}
	return 0
}

// newCompressor returns nil for plain.
func (c compression) newCompressor() (compressor, error) {
	switch c {
	case gz:
		return gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	case zst:
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	case plain:
		return nil, nil
	}
	return nil, errors.New("unknown compression")
}
