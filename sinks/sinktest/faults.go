package sinktest

import (
	"errors"
	"io"
	"io/fs"
	"sync"

	"github.com/sluice-io/sluice/sinks/commitlog"
)

// ErrCrash is what every call gets from a file system whose process has died.
var ErrCrash = errors.New("the process has died")

// Step is one call of a file system that changes something.
type Step struct {
	N    int    // counts from 1
	Op   string // "create", "write", "sync", "close", "mkdir", "put", "rename", "remove", "syncdir"
	Name string // the new name, of two
}

// Faults is a file system that calls At around each step of another one. At runs the step by do, or not, and returns what the
// caller shall get. Steps are numbered in the order in which they begin. Reads are no steps; they fail once Dead is true.
type Faults struct {
	FS commitlog.FS
	At func(s Step, do func() error) error
	// Read, if not nil, is called before each read.
	Read func(op, name string) error
	// NoLock lets anyone have the lock: two hosts on a network file system that forgot it.
	NoLock bool

	mu    sync.Mutex
	steps int
	dead  bool
}

var _ commitlog.FS = (*Faults)(nil)

// CrashAt returns an At that ends the process at a step: before it is taken, or after.
func (f *Faults) CrashAt(n int, after bool) func(Step, func() error) error {
	return func(s Step, do func() error) error {
		if s.N != n {
			return do()
		}
		if after {
			_ = do()
		}
		f.Kill()
		return ErrCrash
	}
}

// Kill lets every later call fail with ErrCrash.
func (f *Faults) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
}

// Steps returns how many steps were begun.
func (f *Faults) Steps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps
}

func (f *Faults) step(op, name string, do func() error) error {
	f.mu.Lock()
	if f.dead {
		f.mu.Unlock()
		return ErrCrash
	}
	f.steps++
	s := Step{N: f.steps, Op: op, Name: name}
	f.mu.Unlock()
	if f.At == nil {
		return do()
	}
	return f.At(s, do)
}

func (f *Faults) read(op, name string) error {
	f.mu.Lock()
	dead := f.dead
	f.mu.Unlock()
	if dead {
		return ErrCrash
	}
	if f.Read != nil {
		return f.Read(op, name)
	}
	return nil
}

// Create implements commitlog.FS.
func (f *Faults) Create(name string, perm fs.FileMode) (file commitlog.File, err error) {
	err = f.step("create", name, func() error {
		var err error
		file, err = f.FS.Create(name, perm)
		return err
	})
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, err
	}
	return &faultyFile{f, file, name}, nil
}

type faultyFile struct {
	f    *Faults
	file commitlog.File
	name string
}

func (w *faultyFile) Write(b []byte) (n int, err error) {
	err = w.f.step("write", w.name, func() error {
		var err error
		n, err = w.file.Write(b)
		return err
	})
	if err != nil {
		n = 0
	}
	return n, err
}

func (w *faultyFile) Sync() error { return w.f.step("sync", w.name, w.file.Sync) }

// Close always closes, for file descriptors don't outlive a process.
func (w *faultyFile) Close() error {
	closed := false
	err := w.f.step("close", w.name, func() error { closed = true; return w.file.Close() })
	if !closed {
		_ = w.file.Close()
	}
	return err
}

// Open implements commitlog.FS. What is opened can be read even after the process has died.
func (f *Faults) Open(name string) (commitlog.PartFile, error) {
	if err := f.read("open", name); err != nil {
		return nil, err
	}
	return f.FS.Open(name)
}

// ReadFile implements commitlog.FS.
func (f *Faults) ReadFile(name string) ([]byte, error) {
	if err := f.read("readfile", name); err != nil {
		return nil, err
	}
	return f.FS.ReadFile(name)
}

// ReadDir implements commitlog.FS.
func (f *Faults) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.read("readdir", name); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(name)
}

// Lstat implements commitlog.FS.
func (f *Faults) Lstat(name string) (fs.FileInfo, error) {
	if err := f.read("lstat", name); err != nil {
		return nil, err
	}
	return f.FS.Lstat(name)
}

// Mkdir implements commitlog.FS.
func (f *Faults) Mkdir(name string, perm fs.FileMode) error {
	return f.step("mkdir", name, func() error { return f.FS.Mkdir(name, perm) })
}

// PutAbsent implements commitlog.FS.
func (f *Faults) PutAbsent(oldname, newname string) error {
	return f.step("put", newname, func() error { return f.FS.PutAbsent(oldname, newname) })
}

// Rename implements commitlog.FS.
func (f *Faults) Rename(oldname, newname string) error {
	return f.step("rename", newname, func() error { return f.FS.Rename(oldname, newname) })
}

// Remove implements commitlog.FS.
func (f *Faults) Remove(name string) error {
	return f.step("remove", name, func() error { return f.FS.Remove(name) })
}

// SyncDir implements commitlog.FS.
func (f *Faults) SyncDir(name string) error {
	return f.step("syncdir", name, func() error { return f.FS.SyncDir(name) })
}

// Same implements commitlog.FS.
func (f *Faults) Same(a, b string) (bool, error) {
	if err := f.read("same", a); err != nil {
		return false, err
	}
	return f.FS.Same(a, b)
}

// RealPath implements commitlog.FS.
func (f *Faults) RealPath(name string) (string, error) {
	if err := f.read("realpath", name); err != nil {
		return "", err
	}
	return f.FS.RealPath(name)
}

// Lock implements commitlog.FS.
func (f *Faults) Lock(name, note string) (io.Closer, error) {
	if err := f.read("lock", name); err != nil {
		return nil, err
	}
	if f.NoLock {
		return unlock(func() error { return nil }), nil
	}
	return f.FS.Lock(name, note)
}
