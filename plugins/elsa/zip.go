package elsa

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/sluice-io/sluice/proto/fault"
)

// archiveLimits bound what an archive may cost. All are far beyond an honest download of 200,000 records.
type archiveLimits struct {
	size      int64         // bytes of the archive
	unpacked  int64         // bytes of all entries
	entries   int           // of the directory
	directory int64         // bytes read to find the entries
	ratio     int64         // unpacked bytes for one of the archive,
	ratioFrom int64         // beyond so many unpacked bytes
	time      time.Duration // of unpacking and decoding
}

var defaultLimits = archiveLimits{
	size: 8 << 30, unpacked: 32 << 30, entries: 10_000, directory: 8 << 20, ratio: 500, ratioFrom: 64 << 20, time: 30 * time.Minute,
}

const opUnpack = "unpack the download"

// broken is the error of an archive that isn't as it should be.
func broken(format string, args ...any) error {
	return fault.Errorf(fault.Corrupt, opUnpack, format, args...)
}

// fetch copies an answer to a spool file.
func fetch(answer io.Reader, spool spool, most int64) (*os.File, int64, error) {
	f, err := spool.create()
	if err != nil {
		return nil, 0, err
	}
	in := &readErr{r: io.LimitReader(answer, most+1)}
	n, err := io.CopyBuffer(onlyWriter{f}, in, make([]byte, writeBlock))
	switch {
	case in.err != nil:
		err = in.err
	case err != nil:
		err = spoolError(err)
	case n > most:
		err = broken("the archive is larger than %d bytes", most)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, n, nil
}

// onlyWriter hides what a file could do beside writing.
type onlyWriter struct{ io.Writer }

// readErr remembers the error of a reader, to tell it from the writer's.
type readErr struct {
	r   io.Reader
	err error
}

func (r *readErr) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// archive is a zip file that is read entry by entry. The names of its entries are shown, never used.
type archive struct {
	disk    *boundedReaderAt
	size    int64
	limits  archiveLimits
	files   []*zip.File
	now     func() time.Time
	started time.Time
	paused  time.Duration // that something else took
	total   int64         // unpacked so far
}

// openArchive reads and checks the directory of an archive of so many bytes.
func openArchive(r io.ReaderAt, size int64, limits archiveLimits, now func() time.Time) (*archive, error) {
	bounded := &boundedReaderAt{r: r, left: limits.directory}
	z, err := zip.NewReader(bounded, size)
	switch {
	case bounded.err != nil:
		return nil, spoolError(bounded.err)
	case bounded.left < 0:
		return nil, broken("the archive's directory takes more than %d bytes", limits.directory)
	case errors.Is(err, zip.ErrFormat):
		return nil, broken("the archive is cut or no zip file (%d bytes): %w", size, err)
	case err != nil && !errors.Is(err, zip.ErrInsecurePath):
		return nil, broken("the archive's directory can't be read (%d bytes): %w", size, err)
	}
	bounded.unbounded = true
	z.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser { return flate.NewReader(r) })
	a := &archive{disk: bounded, size: size, limits: limits, now: now, started: now()}
	if len(z.File) > limits.entries {
		return nil, broken("the archive has %d entries, more than %d", len(z.File), limits.entries)
	}
	var packed, unpacked uint64
	for _, f := range z.File {
		if err := checkEntry(f); err != nil {
			return nil, err
		}
		if f.CompressedSize64 > uint64(size) || f.UncompressedSize64 > uint64(limits.unpacked) {
			return nil, broken("entry %s says it holds %d bytes, unpacked %d: the archive has %d", shown(f.Name), f.CompressedSize64, f.UncompressedSize64, size)
		}
		packed += f.CompressedSize64
		unpacked += f.UncompressedSize64
		if strings.HasSuffix(f.Name, "/") && f.UncompressedSize64 == 0 {
			continue // a folder
		}
		a.files = append(a.files, f)
	}
	switch {
	case packed > uint64(size):
		return nil, broken("the entries claim %d bytes of an archive of %d: they overlap", packed, size)
	case unpacked > uint64(limits.unpacked):
		return nil, broken("the archive would unpack to %d bytes, more than %d", unpacked, limits.unpacked)
	}
	return a, nil
}

// checkEntry refuses what no honest download has.
func checkEntry(f *zip.File) error {
	name := shown(f.Name)
	const encrypted = 1
	switch {
	case !local(f.Name):
		return broken("entry %s has a name that leads out of the archive", name)
	case f.Flags&encrypted != 0:
		return broken("entry %s is encrypted", name)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return broken("entry %s is compressed by method %d: want 0 (stored) or 8 (deflate)", name, f.Method)
	case !f.Mode().IsRegular() && !f.Mode().IsDir():
		return broken("entry %s is no regular file (%v)", name, f.Mode().Type())
	}
	return nil
}

// local says whether a name stays inside of a folder on every system. Times with colons do, drives don't; a backslash divides folders, as
// on the system that may have packed them.
func local(name string) bool {
	name = strings.TrimSuffix(strings.ReplaceAll(name, "\\", "/"), "/")
	isDrive := len(name) > 1 && name[1] == ':' && (name[0]|0x20 >= 'a' && name[0]|0x20 <= 'z')
	return !isDrive && !strings.ContainsRune(name, 0) && !strings.HasPrefix(name, "/") && filepath.IsLocal(name)
}

// shown is an entry's name for people: quoted, and not too long.
func shown(name string) string {
	const most = 100
	if len(name) > most {
		return fmt.Sprintf("%q...", name[:most])
	}
	return fmt.Sprintf("%q", name)
}

// each calls use with every entry in turn. What use leaves unread is checked too. An entry's end is only told when its
// size and checksum are right.
func (a *archive) each(ctx context.Context, use func(name string, r io.Reader) error) error {
	for _, f := range a.files {
		r, err := f.Open()
		if err != nil {
			return a.failed(broken("entry %s: %w", shown(f.Name), err))
		}
		e := &entry{ctx: ctx, archive: a, file: f, r: r, crc: crc32.NewIEEE()}
		err = use(f.Name, e)
		if err == nil {
			_, err = io.Copy(io.Discard, e)
		}
		// Nothing but what was read matters.
		_ = r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// failed returns an error of reading the archive, or the disk's if that is why it can't be read: then the archive may be as it should be.
func (a *archive) failed(err error) error {
	if a.disk.err != nil {
		return spoolError(a.disk.err)
	}
	return err
}

// entry is one entry's unpacked bytes.
type entry struct {
	ctx     context.Context //nolint:containedctx // of the read that the archive lives in
	archive *archive
	file    *zip.File
	r       io.Reader
	crc     interface {
		io.Writer
		Sum32() uint32
	}
	n   int64
	err error
}

func (e *entry) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := e.r.Read(p)
	// A hash never fails to take bytes.
	_, _ = e.crc.Write(p[:n])
	e.n += int64(n)
	e.archive.total += int64(n)
	name := shown(e.file.Name)
	switch a := e.archive; {
	case err == io.EOF && e.n != int64(e.file.UncompressedSize64):
		e.err = broken("entry %s has %d bytes, the directory says %d", name, e.n, e.file.UncompressedSize64)
	case err == io.EOF && e.crc.Sum32() != e.file.CRC32:
		e.err = broken("entry %s: %w", name, zip.ErrChecksum)
	case err == io.EOF:
		e.err = io.EOF
	case err != nil:
		e.err = a.failed(broken("entry %s, %d bytes in: %w", name, e.n, err))
	case a.total > a.limits.unpacked:
		e.err = broken("the archive unpacks to more than %d bytes: is it a bomb?", a.limits.unpacked)
	case a.total > a.limits.ratioFrom && a.total/a.limits.ratio > a.size:
		e.err = broken("%d bytes have come out of an archive of %d, more than %d for one: is it a bomb?", a.total, a.size, a.limits.ratio)
	case a.now().Sub(a.started)-a.paused > a.limits.time:
		e.err = broken("unpacking took longer than %v", a.limits.time)
	}
	if e.err != nil && e.err != io.EOF {
		return 0, e.err
	}
	return n, e.err
}

// pause leaves what f takes out of the archive's time.
func (a *archive) pause(f func() error) error {
	began := a.now()
	err := f()
	a.paused += a.now().Sub(began)
	return err
}

// boundedReaderAt reads at most so many bytes, until it is unbounded.
type boundedReaderAt struct {
	r         io.ReaderAt
	left      int64
	unbounded bool
	err       error // of the disk
}

func (b *boundedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if !b.unbounded {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, errors.New("too much is read")
		}
	}
	n, err := b.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}
