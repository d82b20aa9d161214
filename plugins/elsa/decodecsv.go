package elsa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// runCSV decodes records behind a header.
func (e *entryDecoder) runCSV(ctx context.Context) error {
	for first := true; ; {
		if len(e.feed.data()) == 0 {
			if err := e.feed.more(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
		fields, n, err := e.fields(ctx)
		if err != nil {
			return err
		}
		if n == 0 { // it was long, and went to the dead letters
			if len(e.header) == 0 {
				return e.broken(errors.New("the header is too long"))
			}
			first = false
			continue
		}
		empty := len(fields) == 1 && len(fields[0].text) == 0 && !fields[0].quoted
		isHeader := false
		if first && !empty {
			first = false
			if isHeader, err = e.isHeader(fields); err != nil {
				return err
			}
		}
		switch {
		case isHeader:
			e.header = e.header[:0]
			fields[0].text = bytes.TrimLeft(fields[0].text, " \t")
			for _, f := range fields {
				e.header = append(e.header, bytes.Clone(f.text))
			}
		case empty && len(e.header) > 1:
			// An empty line between records of several fields.
		case len(fields) != len(e.header):
			return e.otherFields(len(fields))
		default:
			e.row.reset()
			for i, f := range fields {
				v := f.value()
				if v.form == formNull {
					continue // no value: CSV has a column for every field that any record has
				}
				e.row.set(e.header[i], v)
			}
			if err := e.take(ctx, e.feed.data()[:n]); err != nil {
				return err
			}
		}
		e.feed.pass(n)
	}
}

// fields returns the next record's fields and its length, 0 if it was too long and is dealt with.
func (e *entryDecoder) fields(ctx context.Context) ([]csvField, int, error) {
	for {
		p := e.feed.data()
		fields, n, err := e.csv.record(p, e.feed.ended)
		switch {
		case err == nil:
			return fields, n, nil
		case !errors.Is(err, errShort):
			return nil, 0, e.broken(err)
		case len(p) > e.record:
			end := &csvEnd{}
			err := e.long(ctx, end)
			if n := end.commas + 1; err == nil && len(e.header) > 0 && n != len(e.header) {
				err = e.otherFields(n)
			}
			return nil, 0, err
		}
		if err := e.feed.more(); err != nil && err != io.EOF {
			return nil, 0, err
		}
	}
}

// otherFields is the error of a record whose fields aren't those of the header.
func (e *entryDecoder) otherFields(n int) error {
	return e.broken(fmt.Errorf("%d fields, the header names %d", n, len(e.header)))
}

// isHeader says whether an entry's first record names fields. One behind another entry may go on with that one's header, and its values may
// be words such as host: where they could be records, only the time's name, which any header has, or the same names make a header.
func (e *entryDecoder) isHeader(fields []csvField) (bool, error) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = string(f.text)
	}
	names[0] = strings.TrimLeft(names[0], " \t") // which may stand before a header, too
	goesOn := len(e.header) > 0 && len(fields) == len(e.header)
	switch {
	case slices.Contains(names, fieldLogTime), goesOn && e.sameNames(names):
		return true, nil
	case goesOn:
		return false, nil
	case slices.ContainsFunc(names, func(n string) bool { return slices.Contains(e.known, n) }):
		return true, nil
	}
	const most = 200
	text := strings.Join(names, ",")
	return false, e.broken(fmt.Errorf("neither JSON nor CSV with a header that names a known field: it begins with %.*q", most, text[:min(len(text), most)]))
}

// sameNames says whether names are those of the header that stands, in any order.
func (e *entryDecoder) sameNames(names []string) bool {
	standing := make([]string, len(e.header))
	for i, name := range e.header {
		standing[i] = string(name)
	}
	slices.Sort(standing)
	return slices.Equal(standing, slices.Sorted(slices.Values(names)))
}
