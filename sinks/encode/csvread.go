package encode

import (
	"bytes"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/flow"
)

// csvDecoder reads records of CSV, whose first is the header.
type csvDecoder struct {
	row    *row // nil: the text body counts
	names  []string
	at     []int    // by the column's place, the place in names; -1: not asked for
	found  [][]byte // nil: it is null
	header bool     // was read
}

func (d *csvDecoder) Close() { d.row.close() }

// Sum implements Decoder.
func (d *csvDecoder) Sum(line []byte) (flow.Sum, bool, error) {
	if !d.header {
		d.header = true
		return flow.Sum{}, false, d.readHeader(line)
	}
	clear(d.found)
	n, err := eachCell(line, func(i int, cell []byte) {
		if i < len(d.at) && d.at[i] >= 0 {
			d.found[d.at[i]] = cell
		}
	})
	if err == nil && n != len(d.at) {
		err = fmt.Errorf("a record has %d columns, the header %d", n, len(d.at))
	}
	if err != nil {
		return flow.Sum{}, false, err
	}
	sum, err := d.sum()
	return sum, err == nil, err
}

func (d *csvDecoder) sum() (flow.Sum, error) {
	if d.row == nil {
		return bodySum(d.found[0], d.found[1], d.found[1] != nil)
	}
	return d.row.sum(func(i int, b array.Builder) error {
		cell := d.found[i]
		if cell == nil {
			b.AppendNull()
			return nil
		}
		switch b.Type().(type) {
		case arrow.NestedType:
			return appendJSONValue(b, cell)
		}
		return appendText(b, string(cell))
	})
}

func (d *csvDecoder) readHeader(line []byte) error {
	all := map[string]int{}
	for i, name := range d.names {
		all[name] = i
	}
	_, err := eachCell(line, func(_ int, cell []byte) {
		at, ok := all[string(cell)]
		if !ok {
			at = -1
		}
		delete(all, string(cell))
		d.at = append(d.at, at)
	})
	delete(all, flow.ColBodyRaw) // not every stream of lines has one
	for name := range all {
		if err == nil {
			err = fmt.Errorf("the header has no column %q", name)
		}
	}
	return err
}

// eachCell calls each with the place and the text of every cell of a record, nil for one without even quotes, and returns how
// many there are. A cell with quotes is decoded in its own memory.
func eachCell(b []byte, each func(i int, cell []byte)) (n int, err error) {
	for i := 0; ; i++ {
		var cell []byte
		if len(b) > 0 && b[0] == '"' {
			if cell, b, err = quotedCell(b); err != nil {
				return i, err
			}
		} else {
			end := bytes.IndexByte(b, ',')
			if end < 0 {
				end = len(b)
			}
			if end > 0 {
				cell = b[:end]
			}
			b = b[end:]
		}
		each(i, cell)
		if len(b) == 0 {
			return i + 1, nil
		}
		if b[0] != ',' {
			return i, fmt.Errorf("unexpected %q behind a quoted cell", b[0])
		}
		b = b[1:]
	}
}

// quotedCell decodes the cell that b begins with and returns what follows.
func quotedCell(b []byte) (cell, rest []byte, err error) {
	b = b[1:]
	cell = b[:0]
	for {
		end := bytes.IndexByte(b, '"')
		if end < 0 {
			return nil, nil, fmt.Errorf("a quoted cell doesn't end")
		}
		if len(cell) == 0 {
			cell = b[:end]
		} else {
			cell = append(cell, b[:end]...)
		}
		if b = b[end+1:]; len(b) == 0 || b[0] != '"' {
			return cell, b, nil
		}
		cell = append(cell, '"') // doubled: the first of both has just been read
		b = b[1:]
	}
}
