package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// FS is what the log and the sinks on it need of a file system. OS is the real one; tests put crashes, full disks and
// losses of what wasn't synced between. Names are absolute paths. Errors are *fs.PathError or *os.LinkError as package
// os returns them. All methods may be called concurrently.
type FS interface {
	// Create makes a new file and opens it for writing; fs.ErrExist if the name is taken.
	Create(name string, perm fs.FileMode) (File, error)
	// Open opens a file for reading.
	Open(name string) (PartFile, error)
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Lstat(name string) (fs.FileInfo, error)
	Mkdir(name string, perm fs.FileMode) error
	// PutAbsent gives the file at oldname the name newname if that is free, in one step, and fails with fs.ErrExist if it
	// isn't. oldname may stay or go.
	PutAbsent(oldname, newname string) error
	// Rename replaces what newname names, in one step.
	Rename(oldname, newname string) error
	Remove(name string) error
	// SyncDir makes the names in a folder durable.
	SyncDir(name string) error
	// Same reports whether both names lead to one file.
	Same(a, b string) (bool, error)
	// Lock takes an exclusive lock that ends with this process, and leaves note for others to read. It doesn't wait: *HeldError.
	Lock(name, note string) (io.Closer, error)
	// RealPath resolves symbolic links.
	RealPath(name string) (string, error)
}

// File is a file that is written once, from its beginning to its end.
type File interface {
	io.Writer
	Sync() error // makes what was written durable
	Close() error
}

// PartFile is a part that is read back. Read goes through it once, ReadAt may be called concurrently.
type PartFile interface {
	io.Reader
	io.ReaderAt
	io.Closer
	Size() int64
}

// HeldError says that another process holds a lock; Note is what that one left.
type HeldError struct{ Name, Note string }

// Error implements error.
func (e *HeldError) Error() string {
	if e.Note == "" {
		return e.Name + " is held by another process"
	}
	return fmt.Sprintf("%s is held by %s", e.Name, e.Note)
}

// OS is the machine's own file system.
type OS struct{}

var _ FS = OS{}

// Create implements FS.
func (OS) Create(name string, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// ErrNotRegular says that a folder, a pipe or a device stands where a part is looked for.
var ErrNotRegular = errors.New("it isn't a regular file")

// Open implements FS.
func (OS) Open(name string) (PartFile, error) {
	info, err := os.Stat(name) // to open a pipe would wait for someone who writes into it
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return openFile{f, info.Size()}, nil
}

type openFile struct {
	*os.File
	size int64
}

func (f openFile) Size() int64 { return f.size }

// ReadFile implements FS.
func (OS) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// ReadDir implements FS.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Lstat implements FS.
func (OS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// Mkdir implements FS.
func (OS) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

// PutAbsent implements FS by link(2), on file systems without hard links by a rename that replaces nothing.
func (OS) PutAbsent(oldname, newname string) error {
	err := os.Link(oldname, newname)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
		return renameAbsent(oldname, newname, err)
	}
	return err
}

// Rename implements FS.
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Same implements FS.
func (OS) Same(a, b string) (bool, error) {
	x, err := os.Lstat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Lstat(b)
	if err != nil {
		return false, err
	}
	return os.SameFile(x, y), nil
}

// RealPath implements FS.
func (OS) RealPath(name string) (string, error) { return filepath.EvalSymlinks(name) }

// Writable says whether this process could make files in a folder, without making one.
func (OS) Writable(name string) error {
	if err := unix.Access(name, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "access", Path: name, Err: err}
	}
	return nil
}

// Lock implements FS by flock(2).
func (OS) Lock(name, note string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		held := &HeldError{Name: name}
		if b, rerr := io.ReadAll(io.LimitReader(f, 1024)); rerr == nil {
			held.Note = noteText(b)
		}
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, held
		}
		return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	// The note only informs: a full disk must not keep a sink from its lock.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(note+"\n"), 0)
	}
	return lockFile{f}, nil
}

type lockFile struct{ f *os.File }

func (l lockFile) Close() error {
	_ = l.f.Truncate(0) // a note without a holder would mislead
	return l.f.Close()
}

func noteText(b []byte) string {
	for i, c := range b {
		if c < ' ' {
			b = b[:i]
			break
		}
	}
	return string(b)
}

// writebackStep is how many bytes are written before the kernel is asked to begin writing them out: without it a commit
// waits for the whole part, with it for the last step.
const writebackStep = 8 << 20

// osFile starts writeback early, so that Sync finds little to do.
type osFile struct {
	*os.File
	written, started int64
}

func (f *osFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written += int64(n)
	if f.written-f.started >= writebackStep {
		startWriteback(f.File, f.started, f.written-f.started)
		f.started = f.written
	}
	return n, err
}
