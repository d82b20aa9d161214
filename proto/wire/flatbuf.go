package wire

import (
	"encoding/binary"
	"errors"
)

// The flatbuffers runtime for Go trusts the buffer: a bad offset panics. What a frame's metadata needs of the format is
// little, so it is read here with every access checked. Only reading is here; metadata is written with the runtime's
// builder.

var errFlatbuf = errors.New("the metadata's flatbuffer points outside itself")

// table is a position in a flatbuffer at which a table starts. Offsets lead only forwards except from a table to its
// vtable, so a walk ends.
type table struct {
	b         []byte
	pos       int
	vtable, n int // position and length of the vtable
}

func rootTable(b []byte) (table, error) {
	if len(b) < 4 {
		return table{}, errFlatbuf
	}
	return tableAt(b, int(binary.LittleEndian.Uint32(b)))
}

func tableAt(b []byte, pos int) (table, error) {
	if pos < 0 || pos > len(b)-4 {
		return table{}, errFlatbuf
	}
	vt := pos - int(int32(binary.LittleEndian.Uint32(b[pos:])))
	if vt < 0 || vt > len(b)-4 {
		return table{}, errFlatbuf
	}
	n := int(binary.LittleEndian.Uint16(b[vt:]))
	size := int(binary.LittleEndian.Uint16(b[vt+2:]))
	if n < 4 || n%2 != 0 || vt+n > len(b) || size < 4 || pos+size > len(b) {
		return table{}, errFlatbuf
	}
	return table{b: b, pos: pos, vtable: vt, n: n}, nil
}

// field returns the position of a field of width bytes, or 0 if the table hasn't it.
func (t table) field(slot, width int) (int, error) {
	entry := 4 + 2*slot
	if entry+2 > t.n {
		return 0, nil
	}
	off := int(binary.LittleEndian.Uint16(t.b[t.vtable+entry:]))
	if off == 0 {
		return 0, nil
	}
	if t.pos+off+width > len(t.b) {
		return 0, errFlatbuf
	}
	return t.pos + off, nil
}

func (t table) uint8(slot int) (uint8, error) {
	p, err := t.field(slot, 1)
	if err != nil || p == 0 {
		return 0, err
	}
	return t.b[p], nil
}

func (t table) int16(slot int) (int16, error) {
	p, err := t.field(slot, 2)
	if err != nil || p == 0 {
		return 0, err
	}
	return int16(binary.LittleEndian.Uint16(t.b[p:])), nil
}

func (t table) int64(slot int) (int64, error) {
	p, err := t.field(slot, 8)
	if err != nil || p == 0 {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint64(t.b[p:])), nil
}

// has reports whether the table holds the field.
func (t table) has(slot int) (bool, error) {
	p, err := t.field(slot, 1)
	return p != 0, err
}

// table returns the table that a field points to; ok is false if there is none.
func (t table) table(slot int) (_ table, ok bool, err error) {
	p, err := t.field(slot, 4)
	if err != nil || p == 0 {
		return table{}, false, err
	}
	sub, err := tableAt(t.b, p+int(binary.LittleEndian.Uint32(t.b[p:])))
	return sub, err == nil, err
}

// vector returns the position of the first element of a vector of fixed-size elements and their number, which is 0 if
// there is none.
func (t table) vector(slot, width int) (pos, n int, err error) {
	p, err := t.field(slot, 4)
	if err != nil || p == 0 {
		return 0, 0, err
	}
	start := p + int(binary.LittleEndian.Uint32(t.b[p:]))
	if start > len(t.b)-4 {
		return 0, 0, errFlatbuf
	}
	n = int(binary.LittleEndian.Uint32(t.b[start:]))
	if n > (len(t.b)-start-4)/width {
		return 0, 0, errFlatbuf
	}
	return start + 4, n, nil
}

// tables returns the tables of a vector of tables.
func (t table) tables(slot int) ([]table, error) {
	pos, n, err := t.vector(slot, 4)
	if err != nil || n == 0 {
		return nil, err
	}
	out := make([]table, n)
	for i := range out {
		p := pos + 4*i
		if out[i], err = tableAt(t.b, p+int(binary.LittleEndian.Uint32(t.b[p:]))); err != nil {
			return nil, err
		}
	}
	return out, nil
}
