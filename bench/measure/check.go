package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/apache/arrow-go/v18/parquet/file"
)

// The contents are compared after each run, outside what is timed.

func checkCurl(_ context.Context, b *bench, folder string) error {
	return compare(b.reference, []string{filepath.Join(folder, curlOutput)})
}

// checkRaw compares the parts, one behind the other, with what curl got.
func checkRaw(_ context.Context, b *bench, folder string) error {
	parts, err := committedParts(folder, rawExtension)
	if err != nil {
		return err
	}
	return compare(b.reference, parts)
}

// checkNDJSON counts the objects.
func checkNDJSON(_ context.Context, b *bench, folder string) error {
	return checkCount(folder, ndjsonExtension, countLines, b.lines)
}

// checkParquet counts the rows.
func checkParquet(_ context.Context, b *bench, folder string) error {
	return checkCount(folder, parquetExtension, countRows, b.lines)
}

// checkCount counts the records of all parts.
func checkCount(folder, extension string, count func(name string) (int64, error), want int64) error {
	parts, err := committedParts(folder, extension)
	if err != nil {
		return err
	}
	var records int64
	for _, p := range parts {
		n, err := count(p)
		if err != nil {
			return err
		}
		records += n
	}
	if records != want {
		return fmt.Errorf("%d records came, %d were served", records, want)
	}
	return nil
}

// committedParts returns the parts in the order of their names, which is that of time.
func committedParts(folder, extension string) ([]string, error) {
	parts, err := filepath.Glob(filepath.Join(folder, "out", "stream=*", "log_id=*", "date=*", "*"+extension))
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%s holds no part", folder)
	}
	slices.Sort(parts)
	return parts, nil
}

// compare compares a file with several that are read one behind the other.
func compare(want string, parts []string) error {
	w, err := os.Open(want)
	if err != nil {
		return err
	}
	defer w.Close()
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	var at int64
	for _, p := range parts {
		if err := func() error {
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			for {
				n, err := f.Read(b)
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if m, err := io.ReadFull(w, a[:n]); err != nil {
					return fmt.Errorf("%s is longer than what curl got, which ends at byte %d", p, at+int64(m))
				}
				if !bytes.Equal(a[:n], b[:n]) {
					return fmt.Errorf("%s differs from what curl got in the %d bytes at %d", p, n, at)
				}
				at += int64(n)
			}
		}(); err != nil {
			return err
		}
	}
	if n, _ := w.Read(a[:1]); n > 0 {
		return fmt.Errorf("%d bytes came, curl got more", at)
	}
	return nil
}

func countLines(name string) (lines int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// countRows reads the number of rows from a Parquet file's footer.
func countRows(name string) (rows int64, err error) {
	f, err := file.OpenParquetFile(name, false)
	if err != nil {
		return 0, err
	}
	return f.NumRows(), f.Close()
}
