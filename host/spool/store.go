package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Buffer is the most that one slice holds for its spool's sake, in bytes: one frame as it is written, with the compressor's own
// memory. A slice that is read from the spool holds one frame twice instead, once compressed, and nothing of the window.
const Buffer = 24 << 20

var (
	// ErrNone says that a slice isn't in the spool.
	ErrNone = errors.New("not in the spool")
	// ErrFull says that the spool would grow beyond its maximum.
	ErrFull = errors.New("the spool is full")
	// ErrBusy says that the slice is being written already, by another read of it.
	ErrBusy = errors.New("the slice is being spooled already")
)

// DamagedError says that a file isn't what was sealed. It was removed: the slice has to be read from the vendor again.
type DamagedError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *DamagedError) Error() string { return fmt.Sprintf("spool file %s: %v", e.Path, e.Err) }

// Unwrap returns what is wrong.
func (e *DamagedError) Unwrap() error { return e.Err }

const (
	sealed = ".spool" // ends the name of a whole file, behind the slice's ID
	part   = ".part"  // ends the name of one that is being written
)

// Store is the spool of one pipeline. Safe for concurrent use.
type Store struct {
	dir  string
	max  int64
	lock *os.File

	mu   sync.Mutex
	used int64
	size map[flow.SliceID]int64 // of sealed files
	busy map[flow.SliceID]bool  // being written
}

// Open takes the folder's lock, makes the folder (0700, parents 0777 less the umask) if it isn't there, and removes what a run that
// ended left half written. max bounds the bytes of all files together. The caller closes the store.
func Open(dir string, max int64) (*Store, error) {
	// Data may lie below the same parents, so only the spool itself is closed to others.
	err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o777)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fault.New(fault.Config, "spool "+dir, "choose a spool folder that can be written", err)
	}
	held, err := lock(dir)
	if err != nil {
		if fault.KindOf(err) == fault.Config {
			return nil, err
		}
		return nil, fault.New(fault.Config, "spool "+dir, "choose a spool folder that can be written", err)
	}
	s := &Store{dir: dir, max: max, lock: held, size: map[flow.SliceID]int64{}, busy: map[flow.SliceID]bool{}}
	if err := s.scan(); err != nil {
		return nil, errors.Join(fault.New(fault.Config, "spool "+dir, "check the folder's permissions", err), s.Close())
	}
	return s, nil
}

// scan counts what is there. Files of other names are left alone, and not counted.
func (s *Store) scan() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, end, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		if end == part {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.size[id] = st.Size()
		s.used += st.Size()
	}
	return nil
}

func parseName(name string) (id flow.SliceID, end string, ok bool) {
	end = filepath.Ext(name)
	if end != sealed && end != part {
		return id, "", false
	}
	return id, end, id.UnmarshalText([]byte(strings.TrimSuffix(name, end))) == nil
}

// Close gives up the folder's lock; files stay.
func (s *Store) Close() error { return s.lock.Close() }

// Used returns the bytes of all files.
func (s *Store) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Max returns how many bytes all files may have together.
func (s *Store) Max() int64 { return s.max }

// Has reports whether a slice was sealed and not removed since.
func (s *Store) Has(id flow.SliceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.size[id]
	return ok
}

// Sweep removes the files that keep doesn't want. It is told the slice and when it was sealed; a file whose header can't be read goes,
// too. It returns how many were removed.
func (s *Store) Sweep(keep func(slice flow.Slice, at time.Time) (bool, error)) (removed int, err error) {
	s.mu.Lock()
	var ids []flow.SliceID
	for id := range s.size {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	var errs []error
	for _, id := range ids {
		if h, at, err := s.peek(id); err == nil {
			wanted, err := keep(h.Slice, at)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if wanted {
				continue
			}
		}
		errs = append(errs, s.Remove(id))
		removed++
	}
	return removed, errors.Join(errs...)
}

// peek reads a file's header alone.
func (s *Store) peek(id flow.SliceID) (h Header, at time.Time, err error) {
	f, err := os.Open(s.path(id, sealed))
	if err != nil {
		return h, at, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return h, at, err
	}
	w := walker{r: f}
	if err := w.begin(); err != nil {
		return h, at, err
	}
	p, payload, err := w.next()
	if err == nil && p.kind != kindHeader {
		err = errors.New("no header")
	}
	if err == nil {
		h, err = parseHeader(payload)
	}
	if err == nil && h.Slice.ID != id {
		err = errors.New("the file is of another slice")
	}
	return h, st.ModTime(), err
}

// Remove deletes a slice's file. It is no error if there is none.
func (s *Store) Remove(id flow.SliceID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.size[id]
	if !ok {
		return nil
	}
	if err := os.Remove(s.path(id, sealed)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	delete(s.size, id)
	s.used -= n
	return nil
}

func (s *Store) path(id flow.SliceID, end string) string {
	return filepath.Join(s.dir, id.String()+end)
}

// reserve takes up n bytes, or returns ErrFull.
func (s *Store) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.max {
		return ErrFull
	}
	s.used += n
	return nil
}

// claim makes sure that a slice's file has one writer.
func (s *Store) claim(id flow.SliceID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[id] {
		return ErrBusy
	}
	s.busy[id] = true
	return nil
}

func (s *Store) disclaim(id flow.SliceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, id)
}

func (s *Store) giveBack(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
}

// syncDir makes names in the folder durable.
func (s *Store) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
