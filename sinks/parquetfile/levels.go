package parquetfile

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
)

// step is what lies between the rows of a chunk and the values of one of its leaves: a list, a struct, or the leaf itself.
type step struct {
	nulls   *validity
	maybe   bool    // it may be null by the file's schema
	offsets []int32 // of a list's elements; nil: it is none
}

// leafPath is a leaf with the steps to it, its own the last.
type leafPath struct {
	steps []step
	values
}

// most returns the greatest levels that an entry of the leaf can have: of repetition and of definition.
func (p *leafPath) most() (rep, def int) {
	for _, s := range p.steps {
		if s.maybe {
			def++
		}
		if s.offsets != nil {
			rep, def = rep+1, def+1
		}
	}
	return rep, def
}

// levels are Parquet's form of nesting: for each entry of a leaf, how much of its path is there, and which list it goes on with.
type levels struct {
	rep, def []uint8
	at       []int32 // the row of the next step; -1: the path has ended
}

func (l *levels) reset() { l.rep, l.def, l.at = l.rep[:0], l.def[:0], l.at[:0] }

func (l *levels) add(rep, def uint8, at int32) {
	l.rep, l.def, l.at = append(l.rep, rep), append(l.def, def), append(l.at, at)
}

// entries walks the rows [0,n) of a chunk down the path. spare is memory for it.
func (p *leafPath) entries(n int, l, spare *levels) *levels {
	l.reset()
	for i := range n {
		l.add(0, 0, int32(i))
	}
	list := uint8(0)
	for _, s := range p.steps {
		if s.maybe {
			for i, at := range l.at {
				if at < 0 {
					continue
				}
				if s.nulls.valid(int(at)) {
					l.def[i]++
				} else {
					l.at[i] = -1
				}
			}
		}
		if s.offsets == nil {
			continue
		}
		list++
		spare.reset()
		for i, at := range l.at {
			if at < 0 || s.offsets[at] == s.offsets[at+1] {
				spare.add(l.rep[i], l.def[i], -1)
				continue
			}
			for j := s.offsets[at]; j < s.offsets[at+1]; j++ {
				rep := list
				if j == s.offsets[at] {
					rep = l.rep[i]
				}
				spare.add(rep, l.def[i]+1, j)
			}
		}
		l, spare = spare, l
	}
	return l
}

// sized appends what do appends, behind its length.
func sized(dst []byte, do func(dst []byte) []byte) []byte {
	at := len(dst)
	dst = do(append(dst, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// appendLevels appends the levels of a leaf that isn't flat: it and all around it.
func (l *levels) appendLevels(dst []byte, rep, def int) []byte {
	if rep > 0 {
		dst = sized(dst, func(dst []byte) []byte { return appendHybrid(dst, l.rep, widthOf(rep)) })
	}
	if def > 0 {
		dst = sized(dst, func(dst []byte) []byte { return appendHybrid(dst, l.def, widthOf(def)) })
	}
	return dst
}

// appendNone appends the levels of a leaf of which nothing is there in so many rows.
func appendNone(dst []byte, rows, rep, def int) []byte {
	for _, most := range []int{rep, def} {
		if most > 0 {
			dst = sized(dst, func(dst []byte) []byte { return appendRun(dst, rows, 0, widthOf(most)) })
		}
	}
	return dst
}

// appendFlat appends the levels of the rows [lo,hi) of a leaf that is a column. Arrow's bitmap is their packed form.
func (v *validity) appendFlat(dst []byte, lo, hi int) []byte {
	return sized(dst, func(dst []byte) []byte {
		there := hi - lo
		if v.nulls > 0 {
			there = bitutil.CountSetBits(v.bits, lo, hi-lo)
		}
		switch there {
		case hi - lo:
			return appendRun(dst, hi-lo, 1, 1)
		case 0:
			return appendRun(dst, hi-lo, 0, 1)
		}
		size := (hi - lo + 7) / 8
		dst = binary.AppendUvarint(dst, uint64(size)<<1|1)
		at := len(dst)
		dst = append(dst, make([]byte, size)...)
		bitutil.CopyBitmap(v.bits, lo, hi-lo, dst[at:], 0)
		return dst
	})
}
