package textfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// maxWindow is how far back a zstd file may refer: many times of what this package's own do.
const maxWindow = 64 << 20

// maxLine is the longest line that a record can make: a frame has 64 MiB at most, and an escape writes six bytes for one. What is longer is
// damage, such as a file that goes on with zeros, and mustn't be held in memory whole.
const maxLine = 512 << 20

// Lossy implements partfile.Format.
func (f *Format) Lossy(of partfile.Stored) string {
	if f.text == encode.Raw {
		return "a record with a line end in it is written as several lines of a raw file"
	}
	return encode.Lossy(f.text, of.Schema, of.Digest)
}

// Scan implements partfile.Format. The end of the file's name says how it is compressed.
func (f *Format) Scan(in partfile.Input, of partfile.Stored, each func(flow.Sum) error) error {
	text, zip, ok := KindOf(of.Path)
	if !ok || text != f.text {
		return fmt.Errorf("its name isn't that of a %s file", f.text)
	}
	dec, err := encode.NewDecoder(text, of.Schema, of.Digest)
	if err != nil {
		return err
	}
	defer dec.Close()
	r, done, err := plain(in, zip)
	if err != nil {
		return err
	}
	defer done()
	lines := lines{r: r, quoted: text == encode.CSV, most: maxLine}
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		sum, record, err := dec.Sum(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", lines.read, err)
		}
		if !record {
			continue
		}
		if err := each(sum); err != nil {
			return err
		}
	}
}

// plain returns what is in a file, decompressed.
func plain(r io.Reader, zip Compression) (out io.Reader, done func(), err error) {
	done = func() {}
	switch zip {
	case Gzip:
		out, err = gzip.NewReader(r)
		return out, done, cut(err)
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, done, err
		}
		return z, z.Close, nil
	}
	return r, done, nil
}

// lines cuts text into lines. Its memory is that of the longest one, doubled at most.
type lines struct {
	r      io.Reader
	quoted bool // a line ends with CR LF outside of quotes
	most   int  // bytes of a line, about

	buf        []byte
	start, end int // of what is read and not yet returned
	read       uint64
	err        error // of r
}

// next returns the next line without its end; it is good until the next call and may be written to.
func (l *lines) next() ([]byte, error) {
	seen, open := 0, false // bytes of the line that were looked at; an odd number of quotes is among them
	for {
		rest := l.buf[l.start+seen : l.end]
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			if l.quoted && bytes.Count(rest, quote)%2 == 1 {
				open = !open
			}
			seen += len(rest)
			if err := l.fill(); err != nil {
				return nil, err
			}
			continue
		}
		if l.quoted && bytes.Count(rest[:n], quote)%2 == 1 {
			open = !open
		}
		line := l.buf[l.start : l.start+seen+n]
		if l.quoted && (open || !bytes.HasSuffix(line, carriage)) {
			seen += n + 1
			continue
		}
		l.start += seen + n + 1
		l.read++
		if l.quoted {
			line = line[:len(line)-1]
		}
		return line, nil
	}
}

var (
	quote    = []byte{'"'}
	carriage = []byte{'\r'}
)

// fill reads more of the line that isn't whole.
func (l *lines) fill() error {
	if l.err != nil {
		if errors.Is(l.err, io.EOF) && l.start < l.end {
			return fmt.Errorf("the last line has no end: %w", io.ErrUnexpectedEOF)
		}
		return l.err
	}
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	}
	if l.end >= l.most {
		return fmt.Errorf("line %d is longer than any record: %d bytes without an end", l.read+1, l.end)
	}
	if l.end == len(l.buf) {
		l.buf = append(l.buf, make([]byte, max(len(l.buf), blockSize))...)
	}
	n, err := l.r.Read(l.buf[l.end:])
	l.end += n
	l.err = err
	return nil
}
