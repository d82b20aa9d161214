package multiset

import (
	"errors"
	"math"
	"sort"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Options bound a Set.
type Options struct {
	// Memory is the most bytes that the Set holds in memory, apart from a few KiB of buffers. Below MinMemory it is MinMemory.
	Memory int64
	// Folder is where the file goes that holds what is too much for the memory; it has no name there once it is open, so that
	// nothing is left of it when the process dies. The folder must exist when the first digest is spilled.
	Folder string
}

// MinMemory is the least memory of a Set.
const MinMemory = 64 << 10

// entryBytes is what a digest with its count takes, in memory and in the file.
const entryBytes = 20

// Set is a multiset of digests. It isn't safe for concurrent use.
type Set struct {
	opts   Options
	keys   []flow.Digest // open addressing: a digest is at its low bits or behind them
	counts []uint32      // 0: the place is free; else the digest's count plus one, which stays when all were taken
	used   int           // places in use
	most   int           // places, a power of two
	left   uint64
	sealed bool
	file   *spill // nil: nothing was spilled
}

// New returns an empty Set. It holds no file before its memory is used up.
func New(o Options) *Set {
	o.Memory = max(o.Memory, MinMemory)
	s := &Set{opts: o, most: 1}
	// While the table grows the old one is there, too.
	for int64(s.most*2)*entryBytes*3/2 <= o.Memory {
		s.most *= 2
	}
	return s
}

// errState is a mistake of the caller.
var errState = errors.New("multiset: Add after Seal, or Take before it")

// Add adds one. An error is of the disk, or says that one digest was added more than four billion times.
func (s *Set) Add(d flow.Digest) error { return s.add(d, 1) }

func (s *Set) add(d flow.Digest, n uint32) error {
	if s.sealed {
		return errState
	}
	if s.used >= len(s.keys)/4*3 {
		if err := s.room(); err != nil {
			return err
		}
	}
	i, ok := s.find(d)
	switch {
	case !ok:
		s.keys[i], s.counts[i] = d, 1
		s.used++
	case uint64(s.counts[i])+uint64(n) > math.MaxUint32:
		return errTooMany(d)
	}
	s.counts[i] += n
	s.left += uint64(n)
	return nil
}

func errTooMany(d flow.Digest) error {
	return fault.Errorf(fault.Oversize, "multiset", "the record with the hash %s is there more than %d times", d, uint32(math.MaxUint32-1))
}

// room makes the table larger, or empties it into the file when it is as large as it may be.
func (s *Set) room() error {
	if len(s.keys) == s.most {
		return s.spill()
	}
	keys, counts := s.keys, s.counts
	size := min(max(2*len(keys), 1<<10), s.most)
	s.keys, s.counts, s.used = make([]flow.Digest, size), make([]uint32, size), 0
	for i, c := range counts {
		if c == 0 {
			continue
		}
		at, _ := s.find(keys[i])
		s.keys[at], s.counts[at] = keys[i], c
		s.used++
	}
	return nil
}

// find returns the place of a digest, or the free place where it belongs. There is always a free one.
func (s *Set) find(d flow.Digest) (at int, ok bool) {
	mask := len(s.keys) - 1
	for i := int(d.Lo) & mask; ; i = (i + 1) & mask {
		if s.counts[i] == 0 {
			return i, false
		}
		if s.keys[i] == d {
			return i, true
		}
	}
}

// Seal ends the adding; after it digests are taken.
func (s *Set) Seal() error {
	if s.sealed {
		return errState
	}
	s.sealed = true
	if s.file == nil {
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.keys, s.counts = nil, nil // the file's index takes their place
	return s.file.merge(s.opts.Memory)
}

// Take removes one of a digest and reports whether there was one.
func (s *Set) Take(d flow.Digest) (bool, error) {
	if !s.sealed {
		return false, errState
	}
	if s.file != nil {
		ok, err := s.file.take(d)
		if ok {
			s.left--
		}
		return ok, err
	}
	if s.used == 0 {
		return false, nil
	}
	i, ok := s.find(d)
	if !ok || s.counts[i] == 1 {
		return false, nil
	}
	s.counts[i]--
	s.left--
	return true, nil
}

// Left returns how many are there that weren't taken.
func (s *Set) Left() uint64 { return s.left }

// Spilled reports whether a file holds what was too much for the memory.
func (s *Set) Spilled() bool { return s.file != nil }

// Close frees the memory and the file. Idempotent.
func (s *Set) Close() error {
	s.keys, s.counts, s.used, s.sealed = nil, nil, 0, true
	if s.file == nil {
		return nil
	}
	err := s.file.close()
	s.file = nil
	return err
}

// spill writes the table, sorted, behind what the file has and empties it.
func (s *Set) spill() error {
	if s.file == nil {
		f, err := newSpill(s.opts.Folder)
		if err != nil {
			return err
		}
		s.file = f
	}
	n := 0
	for i, c := range s.counts {
		if c != 0 {
			s.keys[n], s.counts[n] = s.keys[i], c
			n++
		}
	}
	sort.Sort(table{s.keys[:n], s.counts[:n]})
	if err := s.file.append(s.keys[:n], s.counts[:n]); err != nil {
		return err
	}
	clear(s.counts)
	s.used = 0
	return nil
}

// table sorts a compact table by its keys.
type table struct {
	keys   []flow.Digest
	counts []uint32
}

func (t table) Len() int           { return len(t.keys) }
func (t table) Less(i, j int) bool { return compare(t.keys[i], t.keys[j]) < 0 }
func (t table) Swap(i, j int) {
	t.keys[i], t.keys[j] = t.keys[j], t.keys[i]
	t.counts[i], t.counts[j] = t.counts[j], t.counts[i]
}

func compare(a, b flow.Digest) int {
	switch {
	case a == b:
		return 0
	case a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo:
		return -1
	}
	return 1
}
