package multiset

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sort"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// spill is what didn't fit into memory. First sorted runs are appended to a file; merge makes one sorted file of them, with an index of
// the first digest of each block in memory. An entry is the digest in big-endian order and its count, big-endian.
type spill struct {
	folder string
	file   *os.File
	size   int64   // bytes in the file
	runs   []int64 // where each run ends

	block int64 // bytes of a block, but for the last
	index []flow.Digest
	buf   []byte
}

// Bounds of the buffers of files, and of the index's blocks.
const (
	minBuffer = 4 << 10
	maxBuffer = 256 << 10
	minBlock  = 256 // entries
)

func newSpill(folder string) (*spill, error) {
	f, err := openNameless(folder)
	if err != nil {
		return nil, broken(err)
	}
	return &spill{folder: folder, file: f}, nil
}

// openNameless makes a file that is gone when it is closed, and when the process dies.
func openNameless(folder string) (*os.File, error) {
	f, err := os.CreateTemp(folder, "multiset-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func broken(err error) error {
	return fault.New(fault.Config, "spool", "check the disk of the state folder: what is held in a sink is counted there when it is too much for the memory", err)
}

func (p *spill) close() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file, p.index = nil, nil
	return err
}

// append writes a sorted run; counts are one more than what they count.
func (p *spill) append(keys []flow.Digest, counts []uint32) error {
	if len(keys) == 0 {
		return nil
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(p.file, p.size), 64<<10)
	var e [entryBytes]byte
	for i, k := range keys {
		put(e[:], k, counts[i]-1)
		if _, err := out.Write(e[:]); err != nil {
			return broken(err)
		}
	}
	if err := out.Flush(); err != nil {
		return broken(err)
	}
	p.size += int64(len(keys)) * entryBytes
	p.runs = append(p.runs, p.size)
	return nil
}

func put(e []byte, d flow.Digest, n uint32) {
	binary.BigEndian.PutUint64(e[0:], d.Hi)
	binary.BigEndian.PutUint64(e[8:], d.Lo)
	binary.BigEndian.PutUint32(e[16:], n)
}

func get(e []byte) (flow.Digest, uint32) {
	return flow.Digest{Hi: binary.BigEndian.Uint64(e[0:]), Lo: binary.BigEndian.Uint64(e[8:])}, binary.BigEndian.Uint32(e[16:])
}

// cursor is a place in a run.
type cursor struct {
	in  *bufio.Reader
	key flow.Digest
	n   uint32
}

// next moves on; io.EOF at the run's end.
func (c *cursor) next() error {
	var e [entryBytes]byte
	if _, err := io.ReadFull(c.in, e[:]); err != nil {
		return err
	}
	c.key, c.n = get(e[:])
	return nil
}

type cursors []*cursor

func (c cursors) Len() int           { return len(c) }
func (c cursors) Less(i, j int) bool { return compare(c[i].key, c[j].key) < 0 }
func (c cursors) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(x any)        { *c = append(*c, x.(*cursor)) }
func (c *cursors) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// merge makes one sorted file of the runs, each digest once, with its index; together with the buffers it keeps within memory.
func (p *spill) merge(memory int64) error {
	entries := p.size / entryBytes // at most
	inBlock := max(minBlock, (entries*16+memory/4-1)/(memory/4))
	p.block = inBlock * entryBytes
	buffer := int(min(max(memory/2/int64(len(p.runs)+1), minBuffer), maxBuffer))
	out, err := openNameless(p.folder)
	if err != nil {
		return broken(err)
	}
	n, err := p.mergeInto(out, buffer, inBlock)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	if err := p.file.Close(); err != nil {
		return errors.Join(broken(err), out.Close())
	}
	p.file, p.size, p.runs = out, n*entryBytes, nil
	p.buf = make([]byte, p.block)
	return nil
}

// mergeInto writes the merged entries and returns their number.
func (p *spill) mergeInto(w io.Writer, buffer int, inBlock int64) (n int64, err error) {
	var open cursors
	begin := int64(0)
	for _, end := range p.runs {
		c := &cursor{in: bufio.NewReaderSize(io.NewSectionReader(p.file, begin, end-begin), buffer)}
		begin = end
		if err := c.next(); err != nil {
			return 0, broken(err) // no run is empty
		}
		open = append(open, c)
	}
	heap.Init(&open)
	out := bufio.NewWriterSize(w, buffer)
	var e [entryBytes]byte
	for len(open) > 0 {
		key, count := open[0].key, uint64(0)
		for len(open) > 0 && open[0].key == key {
			count += uint64(open[0].n)
			switch err := open[0].next(); {
			case errors.Is(err, io.EOF):
				heap.Pop(&open)
			case err != nil:
				return n, broken(err)
			default:
				heap.Fix(&open, 0)
			}
		}
		if count > math.MaxUint32 {
			return n, errTooMany(key)
		}
		if n%inBlock == 0 {
			p.index = append(p.index, key)
		}
		put(e[:], key, uint32(count))
		if _, err := out.Write(e[:]); err != nil {
			return n, broken(err)
		}
		n++
	}
	p.index = slices.Clip(p.index)
	if err := out.Flush(); err != nil {
		return n, broken(err)
	}
	return n, nil
}

// take looks a digest up and counts it down in the file.
func (p *spill) take(d flow.Digest) (bool, error) {
	i, exact := slices.BinarySearchFunc(p.index, d, compare)
	if !exact {
		i-- // the block before begins with less
	}
	if i < 0 {
		return false, nil
	}
	begin := int64(i) * p.block
	block := p.buf[:min(p.block, p.size-begin)]
	if _, err := p.file.ReadAt(block, begin); err != nil {
		return false, broken(fmt.Errorf("read what is held: %w", err))
	}
	n := len(block) / entryBytes
	at := sort.Search(n, func(i int) bool {
		key, _ := get(block[i*entryBytes:])
		return compare(key, d) >= 0
	})
	if at == n {
		return false, nil
	}
	key, count := get(block[at*entryBytes:])
	if key != d || count == 0 {
		return false, nil
	}
	var e [4]byte
	binary.BigEndian.PutUint32(e[:], count-1)
	if _, err := p.file.WriteAt(e[:], begin+int64(at)*entryBytes+16); err != nil {
		return false, broken(fmt.Errorf("count what is held: %w", err))
	}
	return true, nil
}
