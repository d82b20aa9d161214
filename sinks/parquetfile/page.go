package parquetfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
)

// encoding is how the values of a page are encoded, as Parquet numbers it.
type encoding int

// The encodings that are written.
const (
	encPlain      encoding = 0
	encRLE        encoding = 3 // of levels
	encDelta      encoding = 5 // of integers, by their differences
	encDictionary encoding = 8 // places in a dictionary
)

// Parquet's numbers of kinds of pages.
const (
	dataPage       = 0
	dictionaryPage = 2
)

// appendHeader appends the header of a page in Thrift's compact protocol. body is the page as it lies in the file, raw its size
// before compression. A page has a checksum: who asks a reader to look at it hears of a damaged page without its manifest.
func appendHeader(dst []byte, kind, raw, values int, e encoding, body []byte) ([]byte, error) {
	if raw > math.MaxInt32 || len(body) > math.MaxInt32 || values > math.MaxInt32 {
		return dst, fmt.Errorf("a page of %d values has %d bytes, more than the format holds", values, max(raw, len(body)))
	}
	const i32 = 0x15 // the next field, a number
	dst = appendNumber(append(dst, i32), int64(kind))
	dst = appendNumber(append(dst, i32), int64(raw))
	dst = appendNumber(append(dst, i32), int64(len(body)))
	dst = appendNumber(append(dst, i32), int64(int32(crc32.ChecksumIEEE(body))))
	if kind == dictionaryPage {
		dst = append(dst, 0x3c) // a struct three fields on
	} else {
		dst = append(dst, 0x1c)
	}
	dst = appendNumber(append(dst, i32), int64(values))
	dst = appendNumber(append(dst, i32), int64(e))
	if kind == dataPage {
		dst = appendNumber(append(dst, i32), int64(encRLE))
		dst = appendNumber(append(dst, i32), int64(encRLE))
	}
	return append(dst, 0, 0), nil // the struct's end and the header's
}

// appendNumber appends a signed number as Thrift and Parquet's deltas have it.
func appendNumber(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

// appendHybrid appends numbers of so many bits in Parquet's RLE and bit-packed hybrid: runs as their length, others packed.
func appendHybrid[T uint8 | uint32](dst []byte, all []T, width int) []byte {
	const worth = 16 // of a run; a shorter one is packed with what is around it
	for len(all) > 0 {
		if n := runOf(all, len(all)); n >= worth || n == len(all) {
			dst = appendRun(dst, n, uint32(all[0]), width)
			all = all[n:]
			continue
		}
		n := min(8, len(all)) // packed numbers come in eights
		for n < len(all) && runOf(all[n:], worth) < worth {
			n = min(n+8, len(all))
		}
		dst = binary.AppendUvarint(dst, uint64((n+7)/8)<<1|1)
		dst = appendPacked(dst, all[:n], width)
		all = all[n:]
	}
	return dst
}

// runOf returns how many numbers at the beginning are the same, up to a limit.
func runOf[T comparable](all []T, limit int) int {
	n := 1
	for n < limit && n < len(all) && all[n] == all[0] {
		n++
	}
	return n
}

// appendRun appends n times the same number.
func appendRun(dst []byte, n int, v uint32, width int) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1)
	for ; width > 0; width -= 8 {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst
}

// appendPacked appends the bits of numbers; what is missing of the last eight is zeros.
func appendPacked[T uint8 | uint32 | uint64](dst []byte, all []T, width int) []byte {
	end := len(dst) + (len(all)+7)/8*width
	var word uint64
	used := 0
	for _, v := range all {
		word |= uint64(v) << used
		if used += width; used >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, word)
			used -= 64
			word = uint64(v) >> (width - used) // of 64 bits nothing is left
		}
	}
	for len(dst) < end {
		dst = append(dst, byte(word))
		word >>= 8
	}
	return dst
}

// widthOf is how many bits the numbers up to most take.
func widthOf(most int) int { return bits.Len(uint(most)) }

const (
	deltaBlock  = 128 // values
	deltaMini   = 32  // of a block, with a width of their own
	deltaMinis  = deltaBlock / deltaMini
	deltaWorth  = 6 // bytes a value: with more, differences say nothing
	deltaHeader = 2 + 1 + 5 + 10
)

// appendDelta appends integers of 64 bits by their differences (DELTA_BINARY_PACKED). It gives up, with nil, if that is no
// smaller than they are.
func appendDelta(dst []byte, all []int64) []byte {
	if len(all) == 0 {
		return nil
	}
	most := len(dst) + deltaHeader + deltaWorth*len(all)
	dst = binary.AppendUvarint(dst, deltaBlock)
	dst = binary.AppendUvarint(dst, deltaMinis)
	dst = binary.AppendUvarint(dst, uint64(len(all)))
	dst = appendNumber(dst, all[0])
	var deltas [deltaBlock]uint64
	last := all[0]
	for rest := all[1:]; len(rest) > 0; {
		n := min(deltaBlock, len(rest))
		least := int64(math.MaxInt64)
		for i, v := range rest[:n] {
			d := v - last // which may wrap around, and does so for who reads it
			deltas[i], last = uint64(d), v
			least = min(least, d)
		}
		rest = rest[n:]
		for i := range deltas[:n] {
			deltas[i] -= uint64(least)
		}
		clear(deltas[n:])
		dst = appendNumber(dst, least)
		widths := len(dst)
		dst = append(dst, make([]byte, deltaMinis)...)
		for i := 0; i*deltaMini < n; i++ {
			mini := deltas[i*deltaMini:][:deltaMini]
			var any uint64
			for _, d := range mini {
				any |= d
			}
			w := bits.Len64(any)
			dst[widths+i] = byte(w)
			dst = appendPacked(dst, mini, w)
		}
		if len(dst) > most {
			return nil
		}
	}
	return dst
}
