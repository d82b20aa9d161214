package vendorsim

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"strings"

	"github.com/klauspost/compress/flate"
)

// elsaArchive is the answer to a download: a zip file whose layout is the simulator's guess, since the vendor documents none.
type elsaArchive struct {
	project   *elsaProject
	query     elsaQuery
	options   *Elsa
	lo, hi    int64
	truncated bool
}

// errEnough ends an archive whose reader has left.
var errEnough = errors.New("nobody reads on")

// yieldWriter hands on what is written.
type yieldWriter func([]byte) bool

func (y yieldWriter) Write(p []byte) (int, error) {
	if !y(p) {
		return 0, errEnough
	}
	return len(p), nil
}

// pages yields the archive's bytes, spoilt as a fault asks.
func (a *elsaArchive) pages(spoil string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if spoil == "" {
			// It ends early only when nobody reads on.
			_ = a.write(yieldWriter(yield), a.entryName)
			return
		}
		yield(a.spoilt(spoil))
	}
}

func (a *elsaArchive) entryName(i int) string {
	return fmt.Sprintf("%s_%d.%s", a.project.Key, i+1, strings.ToLower(a.query.Format))
}

// spoilt returns the whole archive with damage.
func (a *elsaArchive) spoilt(how string) []byte {
	var b bytes.Buffer
	name := a.entryName
	if how == "traversal" {
		name = func(int) string { return "../../../../tmp/sluice-traversal.json" }
	}
	if how == "bomb" {
		return bomb()
	}
	if err := a.write(&b, name); err != nil {
		panic(err) // a buffer takes everything
	}
	text := b.Bytes()
	switch how {
	case "truncated":
		return text[:len(text)/2]
	case "checksum":
		// In the directory, behind the data: signature, versions, flags, method and time take 16 bytes.
		at := bytes.LastIndex(text, []byte("PK\x01\x02")) + 16
		binary.LittleEndian.PutUint32(text[at:], ^binary.LittleEndian.Uint32(text[at:]))
	case "garbage":
		for i := range min(16, len(text)/4) {
			text[60+i+len(name(0))] ^= 0x5a
		}
	case "nested":
		return archiveOf("inner.zip", func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	return text
}

func archiveOf(name string, write func(io.Writer) error) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		err = write(w)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// bomb is an archive of 256 MiB in about 260 KiB. A megabyte is compressed once; its bytes then stand for every other one.
func bomb() []byte {
	const blocks, size = 256, 1 << 20
	blank := bytes.Repeat([]byte{' '}, size)
	var first, packed bytes.Buffer
	f, err := flate.NewWriter(&first, flate.BestCompression)
	for range 2 {
		packed.Reset()
		begin := first.Len()
		if err == nil {
			_, err = f.Write(blank)
		}
		if err = errors.Join(err, f.Flush()); err != nil {
			panic(err) // a buffer takes everything
		}
		packed.Write(first.Bytes()[begin:])
	}
	text := append(first.Bytes(), bytes.Repeat(packed.Bytes(), blocks-2)...)
	text = append(text, 0x03, 0x00) // an empty final block
	sum := crc32.NewIEEE()
	for range blocks {
		_, _ = sum.Write(blank)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{
		Name: "bomb.json", Method: zip.Deflate, CRC32: sum.Sum32(),
		CompressedSize64: uint64(len(text)), UncompressedSize64: blocks * size,
	})
	if err == nil {
		_, err = w.Write(text)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// write writes the archive: the records in Entries pieces, each a file of its own.
func (a *elsaArchive) write(out io.Writer, name func(int) string) error {
	z := zip.NewWriter(out)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	n := int64(a.options.Entries)
	for i := range n {
		w, err := z.Create(name(int(i)))
		if err != nil {
			return err
		}
		total := a.hi - a.lo
		if err := a.entry(w, total*i/n, total*(i+1)/n); err != nil {
			return err
		}
	}
	return z.Close()
}

// at returns the record that comes at a place of the answer.
func (a *elsaArchive) at(place int64) ProjectRecord {
	switch a.options.Order {
	case NewestFirst:
		place = a.hi - a.lo - 1 - place
	case MixedOrder:
		// A step without a common divisor visits every place once.
		total := a.hi - a.lo
		step := int64(7919)
		for gcd(step, total) != 1 {
			step++
		}
		place = place * step % total
	}
	return a.project.record(a.lo + place)
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

const entryPage = 64 << 10

// entry writes the records at the places [from, to).
func (a *elsaArchive) entry(w io.Writer, from, to int64) error {
	var page []byte
	if a.options.BOM {
		page = append(page, "\uFEFF"...)
	}
	want := a.query.IncludeFields
	isCSV, isArray := a.query.Format == "CSV", a.options.Layout == LayoutArray
	var names []string
	switch {
	case isCSV:
		names = a.project.names(a.lo, a.hi, want)
		for i, name := range names {
			if i > 0 {
				page = append(page, ',')
			}
			page = appendCSVField(page, name)
		}
		page = append(page, '\r', '\n')
	case isArray:
		page = append(page, '[')
	}
	for i := from; i < to; i++ {
		switch {
		case isCSV:
			page = appendCSV(page, a.at(i), names)
		case isArray && i > from:
			page = appendJSON(append(page, ",\n"...), a.at(i), want)
		case isArray:
			page = appendJSON(page, a.at(i), want)
		default:
			page = append(appendJSON(page, a.at(i), want), '\n')
		}
		if len(page) >= entryPage {
			if _, err := w.Write(page); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	if isArray && !isCSV {
		page = append(page, ']')
	}
	_, err := w.Write(page)
	return err
}
