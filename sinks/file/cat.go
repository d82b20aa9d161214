package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// Cat writes what a file of this sink holds to w: data files decompressed (members and frames one after another are all
// read), files of the _sluice folder as indented JSON. A cut or damaged file is an error that names it, after what could be read.
func Cat(w io.Writer, path string) error {
	if err := cat(w, path); err != nil {
		var known *fault.Error
		if errors.As(err, &known) {
			return err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// CanCat reports whether Cat knows files with such a name.
func CanCat(path string) bool {
	_, _, ok := kindOf(path)
	return ok
}

func kindOf(path string) (ext string, c compression, ok bool) {
	base := filepath.Base(path)
	c = plain
	for _, z := range []compression{gz, zst} {
		if b, cut := strings.CutSuffix(base, z.extension()); cut {
			base, c = b, z
		}
	}
	ext = filepath.Ext(base)
	switch ext {
	case ".log", ".ndjson", ".csv":
		return ext, c, true
	case ".json":
		return ext, c, c == plain
	}
	return ext, c, false
}

func cat(w io.Writer, path string) error {
	ext, c, ok := kindOf(path)
	if !ok {
		return fault.New(fault.Config, "cat", "this sink writes .log, .ndjson and .csv, with .gz or .zst behind, and .json in _sluice",
			fmt.Errorf("%s isn't a file that it knows", path))
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if ext == ".json" {
		return catJSON(w, f, path)
	}
	var r io.Reader = f
	switch c {
	case gz:
		z, err := gzip.NewReader(f)
		if err != nil {
			return cut(err)
		}
		r = z
	case zst:
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, blockSize))
	return err
}

// cut makes an end before the first byte of a compressed file what it is.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func catJSON(w io.Writer, f io.Reader, path string) error {
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(b), "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	if _, err := w.Write(out.Bytes()); err != nil {
		return err
	}
	// What can be printed may still be an entry that no reader would believe.
	if isEntry(path) {
		_, err = commitlog.ParseEntry(b)
	}
	return err
}

func isEntry(path string) bool {
	base := strings.TrimSuffix(filepath.Base(path), ".json")
	return len(base) >= 6 && strings.Trim(base, "0123456789") == ""
}
