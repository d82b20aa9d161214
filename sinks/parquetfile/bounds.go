package parquetfile

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// bounds are the least and the greatest value of a column.
type bounds interface {
	// merge takes the bounds of another part of the same column.
	merge(other bounds)
	// get returns the bounds as Parquet writes them; ok is false without a value, or if there is no exact form of a sensible size.
	get() (lo, hi []byte, ok bool)
	// fresh returns bounds of the same kind that have seen nothing.
	fresh() bounds
	reset()
}

// number is what Go has an order for.
type numeric interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~float32 | ~float64
}

// numbers are bounds of integers and floats. A NaN is in no order, so it is left out.
type numbers[T numeric] struct {
	lo, hi T
	any    bool
}

func (b *numbers[T]) observe(v T) {
	if v != v { // NaN
		return
	}
	if !b.any {
		b.lo, b.hi, b.any = v, v, true
		return
	}
	b.lo, b.hi = min(b.lo, v), max(b.hi, v)
}

// observeAll is observe of many, of which it keeps the bounds in registers.
func (b *numbers[T]) observeAll(all []T) {
	for len(all) > 0 && !b.any {
		b.observe(all[0])
		all = all[1:]
	}
	lo, hi := b.lo, b.hi
	for _, v := range all {
		if v < lo { // never for a NaN
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	b.lo, b.hi = lo, hi
}

func (b *numbers[T]) merge(other bounds) {
	if o := other.(*numbers[T]); o.any {
		b.observe(o.lo)
		b.observe(o.hi)
	}
}

func (b *numbers[T]) fresh() bounds { return &numbers[T]{} }
func (b *numbers[T]) reset()        { *b = numbers[T]{} }

func (b *numbers[T]) get() (lo, hi []byte, ok bool) {
	return plain(b.lo, true), plain(b.hi, false), b.any
}

// plain is a number in Parquet's PLAIN encoding. A zero of a float is written as -0 where it is the least value and +0 where it
// is the greatest, as the format asks.
func plain[T numeric](v T, least bool) []byte {
	le := binary.LittleEndian
	switch v := any(v).(type) {
	case float32:
		if v == 0 {
			v = float32(math.Copysign(0, sign(least)))
		}
		return le.AppendUint32(nil, math.Float32bits(v))
	case float64:
		if v == 0 {
			v = math.Copysign(0, sign(least))
		}
		return le.AppendUint64(nil, math.Float64bits(v))
	case int64:
		return le.AppendUint64(nil, uint64(v))
	case uint32:
		return le.AppendUint32(nil, v)
	case uint16:
		return le.AppendUint32(nil, uint32(v))
	case uint8:
		return le.AppendUint32(nil, uint32(v))
	}
	return le.AppendUint32(nil, uint32(int32(v)))
}

func sign(least bool) float64 {
	if least {
		return -1
	}
	return 1
}

// booleans are bounds of false and true.
type booleans struct{ no, yes bool }

func (b *booleans) merge(other bounds) {
	o := other.(*booleans)
	b.no, b.yes = b.no || o.no, b.yes || o.yes
}

func (b *booleans) fresh() bounds { return &booleans{} }
func (b *booleans) reset()        { *b = booleans{} }

func (b *booleans) get() (lo, hi []byte, ok bool) {
	lo, hi = []byte{1}, []byte{0}
	if b.no {
		lo[0] = 0
	}
	if b.yes {
		hi[0] = 1
	}
	return lo, hi, b.no || b.yes
}

// maxBound is the longest text that is written as a bound. A longer one is left out: readers of older versions would take a cut
// one for a value that is there.
const maxBound = 1 << 10

// texts are bounds of texts and bytes, in the order of their bytes.
type texts struct {
	lo, hi     []byte // of one that is too long the first maxBound+1 bytes
	loAt, hiAt uint64 // the first eight bytes, for a quick look
	any        bool
}

// first8 returns the first eight bytes as a number of the same order.
func first8(v []byte) uint64 {
	if len(v) >= 8 {
		return binary.BigEndian.Uint64(v)
	}
	var b [8]byte
	copy(b[:], v)
	return binary.BigEndian.Uint64(b[:])
}

func (b *texts) observe(v []byte) {
	at := first8(v)
	if b.any && at > b.loAt && at < b.hiAt {
		return
	}
	if !b.any || bytes.Compare(v, b.lo) < 0 {
		b.lo, b.loAt = keep(b.lo, v), at
	}
	// Whether a text that begins as one does that is too long to be kept comes behind it can't be seen, and needn't: neither is
	// written.
	if !b.any || bytes.Compare(v, b.hi) > 0 && (len(b.hi) <= maxBound || !bytes.HasPrefix(v, b.hi)) {
		b.hi, b.hiAt = keep(b.hi, v), at
	}
	b.any = true
}

func keep(dst, v []byte) []byte { return append(dst[:0], v[:min(len(v), maxBound+1)]...) }

func (b *texts) merge(other bounds) {
	if o := other.(*texts); o.any {
		b.observe(o.lo)
		b.observe(o.hi)
	}
}

func (b *texts) fresh() bounds { return &texts{} }
func (b *texts) reset()        { b.any = false }

func (b *texts) get() (lo, hi []byte, ok bool) {
	if !b.any || len(b.lo) > maxBound || len(b.hi) > maxBound {
		return nil, nil, false
	}
	return append([]byte{}, b.lo...), append([]byte{}, b.hi...), true // an empty text is a bound, nil is none
}

// decimals are bounds of decimals of size bytes in the file.
type decimals struct {
	size   int
	lo, hi decimal128.Num
	any    bool
}

func (b *decimals) observe(v decimal128.Num) {
	if !b.any {
		b.lo, b.hi, b.any = v, v, true
		return
	}
	if v.Less(b.lo) {
		b.lo = v
	}
	if b.hi.Less(v) {
		b.hi = v
	}
}

func (b *decimals) merge(other bounds) {
	if o := other.(*decimals); o.any {
		b.observe(o.lo)
		b.observe(o.hi)
	}
}

func (b *decimals) fresh() bounds { return &decimals{size: b.size} }
func (b *decimals) reset()        { b.any = false }

func (b *decimals) get() (lo, hi []byte, ok bool) { return b.bytes(b.lo), b.bytes(b.hi), b.any }

// bytes is big-endian two's complement.
func (b *decimals) bytes(v decimal128.Num) []byte {
	all := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(v.HighBits())), v.LowBits())
	return all[16-b.size:]
}

// noBounds is for types without an order.
type noBounds struct{}

func (noBounds) merge(bounds)                  {}
func (noBounds) fresh() bounds                 { return noBounds{} }
func (noBounds) reset()                        {}
func (noBounds) get() (lo, hi []byte, ok bool) { return nil, nil, false }
