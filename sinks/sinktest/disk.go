package sinktest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-io/sluice/sinks/commitlog"
)

// Disk is a file system in memory that knows what a power cut would take: content that wasn't synced, and names whose
// folder wasn't. It is harsher than real ones: each name is kept or lost by itself, so a move between folders may lose both
// names or keep both. A rename within a folder is one change, as on every file system with a journal.
type Disk struct {
	mu   sync.Mutex
	root *inode
	held map[string]bool
}

type inode struct {
	dir       bool
	now, kept map[string]*inode // of a folder: its names, and those that are durable
	data      []byte            // of a file
	synced    []byte            // what is durable of it
	perm      fs.FileMode
	moved     map[string]string // of a folder: old names by the new ones, since it was synced
}

var _ commitlog.FS = (*Disk)(nil)

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{root: newDir(), held: map[string]bool{}} }

func newDir() *inode {
	return &inode{dir: true, now: map[string]*inode{}, kept: map[string]*inode{}, moved: map[string]string{}, perm: 0o777}
}

// Loss says what a crash takes of all that wasn't synced.
type Loss int

// The losses.
const (
	LoseNothing Loss = iota // the process died, the machine didn't
	LoseAll
	LoseSome // by chance
)

// Crash returns the disk as the next start finds it. d must not be used any more.
func (d *Disk) Crash(loss Loss, seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if loss == LoseNothing { // and nothing becomes durable by it
		return &Disk{root: d.root, held: map[string]bool{}}
	}
	r := rand.New(rand.NewPCG(seed, 1))
	keep := func() bool { return loss == LoseSome && r.IntN(2) == 0 }
	copies := map[*inode]*inode{}
	var after func(n *inode) *inode
	after = func(n *inode) *inode {
		if c := copies[n]; c != nil {
			return c
		}
		c := &inode{dir: n.dir, perm: n.perm}
		copies[n] = c
		if !n.dir {
			c.data = slices.Clone(n.synced)
			if keep() {
				c.data = slices.Clone(n.data)
			} else if loss == LoseSome && len(n.data) > len(n.synced) {
				c.data = slices.Clone(n.data[:len(n.synced)+r.IntN(len(n.data)-len(n.synced))])
			}
			c.synced = c.data
			return c
		}
		c.now, c.moved = map[string]*inode{}, map[string]string{}
		names := slices.Sorted(maps.Keys(n.now))
		for name := range n.kept {
			if _, ok := n.now[name]; !ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)            // so that a seed means the same each time
		together := map[string]bool{} // what was decided for a rename, by both of its names
		for _, name := range names {
			was := n.kept[name]
			kept, decided := together[name]
			if !decided {
				kept = keep()
				for to, from := range n.moved {
					if name == to || name == from {
						together[to], together[from] = kept, kept
					}
				}
			}
			if is := n.now[name]; is == was || kept {
				was = is
			}
			if was != nil {
				c.now[name] = after(was)
			}
		}
		c.kept = maps.Clone(c.now)
		return c
	}
	return &Disk{root: after(d.root), held: map[string]bool{}}
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// find returns the inode of a name. d.mu is held.
func (d *Disk) find(name string) (*inode, error) {
	n := d.root
	for elem := range strings.SplitSeq(strings.Trim(filepath.Clean(name), "/"), "/") {
		if elem == "" {
			continue
		}
		if !n.dir {
			return nil, syscall.ENOTDIR
		}
		if n = n.now[elem]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// parent returns the folder that a name is in, and its last element.
func (d *Disk) parent(name string) (*inode, string, error) {
	p, err := d.find(filepath.Dir(name))
	if err == nil && !p.dir {
		err = syscall.ENOTDIR
	}
	return p, filepath.Base(name), err
}

// Create implements commitlog.FS.
func (d *Disk) Create(name string, perm fs.FileMode) (commitlog.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, base, err := d.parent(name)
	if err == nil && p.now[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n := &inode{perm: perm}
	p.now[base] = n
	return &diskFile{disk: d, node: n}, nil
}

type diskFile struct {
	disk *Disk
	node *inode
}

func (f *diskFile) Write(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.data = append(f.node.data, b...)
	return len(b), nil
}

func (f *diskFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.synced = slices.Clone(f.node.data)
	return nil
}

func (f *diskFile) Close() error { return nil }

// ReadFile implements commitlog.FS.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err == nil && n.dir {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return bytes.Clone(n.data), nil
}

// Open implements commitlog.FS.
func (d *Disk) Open(name string) (commitlog.PartFile, error) {
	b, err := d.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return openFile{bytes.NewReader(b)}, nil
}

type openFile struct{ *bytes.Reader }

func (openFile) Close() error { return nil }

// ReadDir implements commitlog.FS.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	var out []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(n.now)) {
		out = append(out, fs.FileInfoToDirEntry(info{base, n.now[base]}))
	}
	return out, nil
}

// Lstat implements commitlog.FS.
func (d *Disk) Lstat(name string) (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil {
		return nil, pathError("lstat", name, err)
	}
	return info{filepath.Base(name), n}, nil
}

// Mkdir implements commitlog.FS.
func (d *Disk) Mkdir(name string, _ fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, base, err := d.parent(name)
	if err == nil && p.now[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError("mkdir", name, err)
	}
	p.now[base] = newDir()
	return nil
}

// PutAbsent implements commitlog.FS as link(2) does.
func (d *Disk) PutAbsent(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(oldname)
	if err != nil {
		return pathError("link", oldname, err)
	}
	p, base, err := d.parent(newname)
	if err == nil && p.now[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError("link", newname, err)
	}
	p.now[base] = n
	return nil
}

// Rename implements commitlog.FS.
func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	from, oldbase, err := d.parent(oldname)
	if err == nil && from.now[oldbase] == nil {
		err = syscall.ENOENT
	}
	if err != nil {
		return pathError("rename", oldname, err)
	}
	to, newbase, err := d.parent(newname)
	if err == nil && to.now[newbase] != nil && to.now[newbase].dir && len(to.now[newbase].now) > 0 {
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return pathError("rename", newname, err)
	}
	n := from.now[oldbase]
	delete(from.now, oldbase)
	to.now[newbase] = n
	if from == to {
		to.moved[newbase] = oldbase
	}
	return nil
}

// Remove implements commitlog.FS.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, base, err := d.parent(name)
	if err == nil {
		switch n := p.now[base]; {
		case n == nil:
			err = syscall.ENOENT
		case n.dir && len(n.now) > 0:
			err = syscall.ENOTEMPTY
		}
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	delete(p.now, base)
	return nil
}

// SyncDir implements commitlog.FS: the names become durable, not the content of what they name.
func (d *Disk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("sync", name, err)
	}
	n.kept = maps.Clone(n.now)
	clear(n.moved)
	return nil
}

// Same implements commitlog.FS.
func (d *Disk) Same(a, b string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, err := d.find(a)
	y, err2 := d.find(b)
	if err := errors.Join(err, err2); err != nil {
		return false, pathError("stat", a, err)
	}
	return x == y, nil
}

// RealPath implements commitlog.FS; there are no symbolic links.
func (d *Disk) RealPath(name string) (string, error) {
	if _, err := d.Lstat(name); err != nil {
		return "", err
	}
	return filepath.Clean(name), nil
}

// Lock implements commitlog.FS.
func (d *Disk) Lock(name, note string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held[name] {
		return nil, &commitlog.HeldError{Name: name, Note: note}
	}
	d.held[name] = true
	return unlock(func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.held, name)
		return nil
	}), nil
}

type unlock func() error

func (u unlock) Close() error { return u() }

type info struct {
	name string
	n    *inode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.n.data)) }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.n.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.n.dir {
		return i.n.perm | fs.ModeDir
	}
	return i.n.perm
}
