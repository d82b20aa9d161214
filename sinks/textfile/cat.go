package textfile

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-io/sluice/sinks/encode"
)

// KindOf says what a file of this package is by its name; ok is false for others.
func KindOf(path string) (text encode.Format, zip Compression, ok bool) {
	base := filepath.Base(path)
	zip = Plain
	for _, z := range []Compression{Gzip, Zstd} {
		if b, cut := strings.CutSuffix(base, z.Extension()); cut {
			base, zip = b, z
		}
	}
	formats := encode.Formats()
	i := slices.IndexFunc(formats, func(f encode.Format) bool { return filepath.Ext(base) == f.Extension() })
	if i < 0 {
		return "", zip, false
	}
	return formats[i], zip, true
}

// Copy writes what a file holds to w, decompressed: members and frames one after another are all read. A cut or damaged file
// is an error, after what could be read.
func Copy(w io.Writer, r io.Reader, zip Compression) error {
	switch zip {
	case Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return cut(err)
		}
		r = z
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, blockSize))
	return err
}

// cut makes an end before the first byte of a compressed file what it is.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
