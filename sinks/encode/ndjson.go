package encode

import (
	"bytes"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// ndjson writes one object a line: the columns in the schema's order, nulls left out.
type ndjson struct {
	schema *arrow.Schema
	fields []field
	last   arrow.Record // compared by pointer within one batch only, see Append
	bound  []bound
	text   []byte // of the fields with one value in the batch
	steps  steps  // of bound; none if any field may be the first one
	lines  []byte // what stands between their values
}

func newNDJSON(schema *arrow.Schema) (Encoder, error) {
	e := &ndjson{schema: schema, fields: make([]field, schema.NumFields())}
	for i, f := range schema.Fields() {
		var err error
		if e.fields[i], err = newField(NDJSON, f.Name, f.Name, f.Type); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (*ndjson) Header() []byte { return nil }

func (e *ndjson) Append(dst []byte, rec arrow.Record, row, limit int) ([]byte, int, error) {
	// The columns are bound once a batch. A batch begins with row 0, so a record whose memory is used again can't be taken
	// for the one before.
	if row == 0 || e.last != rec {
		if err := checkSchema(e.schema, rec); err != nil {
			return dst, row, err
		}
		e.bound = e.bound[:0]
		for i := range e.fields {
			e.bound = append(e.bound, e.fields[i].bind(rec.Column(i)))
		}
		e.bound, e.text = fixFields(liveFields(e.bound), e.text[:0])
		e.plan()
		e.last = rec
	}
	rows := int(rec.NumRows())
	if len(e.steps.behind) > 0 {
		dst, row = e.steps.append(dst, row, rows, limit, appendJSONString)
	}
	for ; row < rows && len(dst) < limit; row++ {
		dst = append(appendObject(dst, e.bound, row), '\n')
	}
	if row == rows {
		clear(e.bound[:cap(e.bound)])
		e.steps.reset()
		e.bound, e.last = e.bound[:0], nil
	}
	return dst, row, nil
}

// plan makes steps of the fields if the first is in every row: then commas are, too.
func (e *ndjson) plan() {
	e.steps.reset()
	if len(e.bound) == 0 || e.bound[0].nulls {
		return
	}
	lines, start := append(e.lines[:0], '{'), 0
	for i := range e.bound {
		b := &e.bound[i]
		if b.nulls && start < len(lines) { // what is there in every row isn't left out with it
			e.steps.add(step{before: lines[start:len(lines):len(lines)]})
			start = len(lines)
		}
		if i > 0 {
			lines = append(lines, ',')
		}
		if lines = append(lines, b.key...); b.fixed {
			continue
		}
		e.steps.add(newStep(lines[start:len(lines):len(lines)], b))
		start = len(lines)
	}
	lines = append(lines, "}\n"...)
	e.steps.behind, e.lines = lines[start:], lines
}

// liveFields leaves out the columns that are null in every row.
func liveFields(all []bound) []bound {
	live := all[:0]
	for _, b := range all {
		if b.array.Len() == 0 || b.array.NullN() < b.array.Len() && b.array.DataType().ID() != arrow.NULL {
			live = append(live, b)
		}
	}
	return live
}

// fixFields encodes the fields that have one value in the whole batch once instead of in every row: most of a log line's
// columns say where it comes from. Neighbours become one. text is where their bytes go.
func fixFields(all []bound, text []byte) (fixed []bound, out []byte) {
	fixed = all[:0]
	for _, b := range all {
		if b.nulls || !uniform(b.array) {
			fixed = append(fixed, b)
			continue
		}
		start := len(text)
		if last := len(fixed) - 1; last >= 0 && fixed[last].fixed {
			start -= len(fixed[last].key) // it lies at the end of text
			fixed = fixed[:last]
			text = append(text, ',')
		}
		text = b.value(append(text, b.key...), 0)
		fixed = append(fixed, bound{key: text[start:len(text):len(text)], fixed: true})
	}
	return fixed, text
}

// uniform says whether all values of an array without nulls are known to be the same. It looks at the types of columns
// that are so in practice.
func uniform(a arrow.Array) bool {
	if a.Len() == 0 {
		return false
	}
	switch a := a.(type) {
	case *array.Timestamp:
		return repeats(arrow.TimestampTraits.CastToBytes(a.TimestampValues()), arrow.TimestampSizeBytes)
	case *array.String:
		offsets := a.ValueOffsets()
		width := offsets[1] - offsets[0]
		for i := 2; i < len(offsets); i++ {
			if offsets[i]-offsets[i-1] != width {
				return false
			}
		}
		return repeats(a.ValueBytes(), int(width))
	}
	return false
}

// repeats says whether b is its own first width bytes again and again: then it equals itself moved by as many.
func repeats(b []byte, width int) bool {
	return bytes.Equal(b[min(width, len(b)):], b[:max(0, len(b)-width)])
}
