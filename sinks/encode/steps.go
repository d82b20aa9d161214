package encode

import (
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// texts are the values of a column of text, without a call for each.
type texts struct {
	values  string // in the array's memory
	offsets []int32
	base    int32 // of the first row: values begin there
}

func textsOf(a *array.String) texts {
	t := texts{offsets: a.ValueOffsets()}
	if len(t.offsets) > 0 {
		t.base = t.offsets[0]
	}
	values := a.ValueBytes()
	t.values = unsafe.String(unsafe.SliceData(values), len(values))
	return t
}

func (t *texts) at(row int) string {
	return t.values[t.offsets[row]-t.base : t.offsets[row+1]-t.base]
}

// step is a part of each row: text that is the same in all rows of a batch, then the value of a column.
type step struct {
	before []byte
	texts  texts       // of a column of text
	value  appender    // of any other; nil: there is none
	nulls  arrow.Array // rows where it is null leave the step out; nil: there are none
	isText bool
}

// newStep returns the step of a field.
func newStep(before []byte, b *bound) step {
	s := step{before: before, value: b.value}
	if t, ok := b.array.(*array.String); ok {
		s.texts, s.isText = textsOf(t), true
	}
	if b.nulls {
		s.nulls = b.array
	}
	return s
}

// steps are how the rows of a batch are written, and what comes behind the last value of each.
type steps struct {
	all    []step
	behind []byte
}

// append appends the rows of a batch, from row on, until dst has limit bytes. text appends a value of texts.
func (s *steps) append(dst []byte, row, rows, limit int, text func([]byte, string) []byte) ([]byte, int) {
	for ; row < rows && len(dst) < limit; row++ {
		for i := range s.all {
			at := &s.all[i]
			if at.nulls != nil && at.nulls.IsNull(row) {
				continue
			}
			dst = append(dst, at.before...)
			switch {
			case at.isText:
				dst = text(dst, at.texts.at(row))
			case at.value != nil:
				dst = at.value(dst, row)
			}
		}
		dst = append(dst, s.behind...)
	}
	return dst, row
}

func (s *steps) add(at step) { s.all = append(s.all, at) }

// reset forgets a batch.
func (s *steps) reset() {
	clear(s.all[:cap(s.all)])
	s.all, s.behind = s.all[:0], nil
}
