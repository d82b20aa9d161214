package parquetfile

import (
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow"
)

// validity is Arrow's bitmap of the values that are there. It has no bitmap before the first null.
type validity struct {
	bits  []byte
	n     int
	nulls int
}

// add takes the rows [lo,hi) of an array.
func (v *validity) add(a arrow.Array, lo, hi int) {
	d := a.Data()
	if a.NullN() == 0 || len(d.Buffers()) == 0 || d.Buffers()[0] == nil || d.Buffers()[0].Len() == 0 {
		v.addValid(hi - lo)
		return
	}
	v.grow(hi - lo)
	bits := d.Buffers()[0].Bytes()
	bitutil.CopyBitmap(bits, d.Offset()+lo, hi-lo, v.bits, v.n)
	v.nulls += hi - lo - bitutil.CountSetBits(bits, d.Offset()+lo, hi-lo)
	v.n += hi - lo
}

func (v *validity) addValid(n int) {
	if v.nulls > 0 || len(v.bits) > 0 {
		v.grow(n)
		bitutil.SetBitsTo(v.bits, int64(v.n), int64(n), true)
	}
	v.n += n
}

func (v *validity) addNulls(n int) {
	v.grow(n)
	bitutil.SetBitsTo(v.bits, int64(v.n), int64(n), false)
	v.nulls += n
	v.n += n
}

// grow makes room for n more bits; what is there already is valid if there was no bitmap.
func (v *validity) grow(n int) {
	fresh := len(v.bits) == 0
	for want := (v.n + n + 7) / 8; len(v.bits) < want; {
		v.bits = append(v.bits, 0)
	}
	if fresh {
		bitutil.SetBitsTo(v.bits, 0, int64(v.n), true)
	}
}

// valid reports whether a value is there.
func (v *validity) valid(i int) bool { return v.nulls == 0 || bitutil.BitIsSet(v.bits, i) }

// count is how many are there.
func (v *validity) count() int { return v.n - v.nulls }

func (v *validity) present() *validity { return v }

func (v *validity) reset() { v.bits, v.n, v.nulls = v.bits[:0], 0, 0 }

func (v *validity) held() int { return cap(v.bits) }
