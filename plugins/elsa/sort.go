package elsa

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"unsafe"

	"github.com/sluice-io/sluice/proto/fault"
)

// Sizes of a sort, in bytes.
const (
	sortMemory = 8 << 20   // packed rows that are held before they go to the spool
	readBlock  = 256 << 10 // read at once from rows that lie behind each other
	writeBlock = 256 << 10
)

// untimedKey sorts rows without a time behind all others.
const untimedKey = math.MaxInt64

// sorter puts packed rows in the order of their times; rows of one time keep theirs. What doesn't fit in memory goes to a
// spool file in sorted runs, and the merge follows an index, which holds 24 bytes a row: at most as many rows as the vendor's
// cap. Not safe for concurrent use.
type sorter struct {
	memory int // bytes of rows held at most, unless one row is longer
	create func() (*os.File, error)

	index   []rowRef
	sorted  bool // the index is in order so far
	arena   []byte
	held    int   // where the arena's rows begin in the index
	spilled int64 // bytes in the file
	file    *os.File
}

// rowRef is where a packed row lies: in the file, and behind its end in the arena.
type rowRef struct {
	key    int64
	offset int64
	size   int
}

const rowRefBytes = int(unsafe.Sizeof(rowRef{}))

func newSorter(memory int, create func() (*os.File, error)) *sorter {
	return &sorter{memory: memory, create: create, sorted: true}
}

// add takes a row.
func (s *sorter) add(r *row) error {
	if len(s.arena) > 0 && len(s.arena)+r.weight() > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	key := int64(untimedKey)
	if r.timed {
		key = r.time
	}
	if n := len(s.index); n > 0 && s.index[n-1].key > key {
		s.sorted = false
	}
	from := len(s.arena)
	s.arena = r.pack(s.arena)
	s.index = append(s.index, rowRef{key, s.spilled + int64(from), len(s.arena) - from})
	return nil
}

func byKey(a, b rowRef) int { return cmp.Compare(a.key, b.key) }

// spill writes the arena's rows to the file as a sorted run.
func (s *sorter) spill() error {
	if s.file == nil {
		f, err := s.create()
		if err != nil {
			return err
		}
		s.file = f
	}
	run := s.index[s.held:]
	w := bufio.NewWriterSize(io.NewOffsetWriter(s.file, s.spilled), writeBlock)
	if slices.IsSortedFunc(run, byKey) {
		if _, err := w.Write(s.arena); err != nil {
			return spoolError(err)
		}
	} else {
		slices.SortStableFunc(run, byKey)
		at := s.spilled
		for i, ref := range run {
			from := ref.offset - s.spilled
			if _, err := w.Write(s.arena[from : from+int64(ref.size)]); err != nil {
				return spoolError(err)
			}
			run[i].offset = at
			at += int64(ref.size)
		}
	}
	if err := w.Flush(); err != nil {
		return spoolError(err)
	}
	s.spilled += int64(len(s.arena))
	s.held = len(s.index)
	if cap(s.arena) > 2*s.memory { // one long row made it grow
		s.arena = nil
	}
	s.arena = s.arena[:0]
	return nil
}

// each calls use with every row in order. The row is use's until it returns.
func (s *sorter) each(ctx context.Context, use func(packed []byte) error) error {
	if !s.sorted {
		// Runs lie in the order in which they came, so offsets decide between equal times.
		slices.SortFunc(s.index, func(a, b rowRef) int {
			return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.offset, b.offset))
		})
	}
	var block []byte
	var begin, next int64 // where block lies in the file; where the row before ended
	for i, ref := range s.index {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if ref.offset >= s.spilled {
			from := ref.offset - s.spilled
			if err := use(s.arena[from : from+int64(ref.size)]); err != nil {
				return err
			}
			continue
		}
		if ref.offset < begin || ref.offset+int64(ref.size) > begin+int64(len(block)) {
			want := ref.size
			if ref.offset == next { // the rows lie in order: read ahead
				want = max(want, int(min(readBlock, s.spilled-ref.offset)))
			}
			block = slices.Grow(block[:0], want)[:want]
			begin = ref.offset
			if _, err := s.file.ReadAt(block, begin); err != nil {
				return spoolError(err)
			}
		}
		from := ref.offset - begin
		if err := use(block[from : from+int64(ref.size)]); err != nil {
			return err
		}
		next = ref.offset + int64(ref.size)
	}
	return nil
}

// close gives up the file, whose name is gone already.
func (s *sorter) close() {
	if s.file != nil {
		// Nothing of it is wanted any more.
		_ = s.file.Close()
	}
}

// spoolError is what the spool folder's disk did.
func spoolError(err error) error {
	return fault.New(fault.Transient, "use the spool", "check that the spool folder is writable and its disk has room", fmt.Errorf("spool file: %w", err))
}

// spool makes files without a name: what a process leaves behind, however it ends, is nothing.
type spool struct{ dir string }

func (s spool) create() (*os.File, error) {
	f, err := os.CreateTemp(s.dir, "elsa-*.spool")
	if err != nil {
		return nil, spoolError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, spoolError(err)
	}
	return f, nil
}
