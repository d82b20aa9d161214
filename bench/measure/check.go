package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// The contents are compared after each run, outside what is timed.

func checkCurl(b *bench, folder string) error {
	return compare(b.reference, []string{filepath.Join(folder, curlOutput)})
}

// checkRaw compares the parts, one behind the other, with what curl got.
func checkRaw(b *bench, folder string) error {
	parts, err := committedParts(folder, ".log")
	if err != nil {
		return err
	}
	return compare(b.reference, parts)
}

// checkNDJSON counts the objects.
func checkNDJSON(b *bench, folder string) error {
	parts, err := committedParts(folder, ".ndjson")
	if err != nil {
		return err
	}
	var lines int64
	for _, p := range parts {
		n, err := countLines(p)
		if err != nil {
			return err
		}
		lines += n
	}
	if lines != b.lines {
		return fmt.Errorf("%d objects, curl got %d lines", lines, b.lines)
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
