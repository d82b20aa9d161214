package elsa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// runJSON decodes a sequence of values: arrays of objects, or objects, perhaps each on a line of its own.
func (e *entryDecoder) runJSON(ctx context.Context) error {
	inArray, after := false, false // after: a record has come, so that a comma or the array's end must follow
	for {
		c, err := e.feed.token()
		switch {
		case err == io.EOF && !inArray:
			return nil
		case err != nil && err != io.EOF:
			return err
		case err == io.EOF:
			return e.broken(err)
		case !inArray && c == '[':
			inArray, after = true, false
			e.feed.pass(1)
			if c, err = e.feed.token(); err == nil && c == ']' {
				inArray = false
				e.feed.pass(1)
			}
			continue
		case inArray && after && c == ']':
			inArray = false
			e.feed.pass(1)
			continue
		case inArray && after:
			if c != ',' {
				return e.broken(&syntaxError{0, "neither a comma nor the array's end behind a record"})
			}
			after = false
			e.feed.pass(1)
			continue
		case c != '{':
			return e.broken(&syntaxError{0, fmt.Sprintf("%q where a record should begin: want an object", c)})
		}
		if err := e.object(ctx, inArray); err != nil {
			return err
		}
		after = true
	}
}

// object decodes the record at the feed's beginning.
func (e *entryDecoder) object(ctx context.Context, inArray bool) error {
	for {
		e.row.reset()
		p := e.feed.data()
		n, err := e.json.object(p, e.row.set)
		switch {
		case err == nil:
			if err := e.suspect(p[:n], inArray); err != nil {
				return err
			}
			if err := e.take(ctx, p[:n]); err != nil {
				return err
			}
			e.feed.pass(n)
			return nil
		case !errors.Is(err, errShort):
			return e.broken(err)
		case len(p) > e.record:
			if err := e.suspectLong(p, inArray); err != nil {
				return err
			}
			return e.long(ctx, &jsonEnd{})
		}
		if err := e.feed.more(); err == io.EOF {
			return e.broken(err)
		} else if err != nil {
			return err
		}
	}
}

// suspect refuses an object that isn't a record: an error, or something around records. Taken for one record, that would lose those
// that it holds, or follow it. In an array, an object of other fields may be a record that has nothing else, but for the gateway's own error;
// on its own it is none.
func (e *entryDecoder) suspect(p []byte, inArray bool) error {
	if e.row.isRecord() {
		return nil
	}
	if e.row.members == 1 && e.row.nestedErrors && (!inArray || isRefusal(p)) {
		return refusedBy(p, opUnpack, "in entry "+shown(e.name))
	}
	known, err := e.members()
	if err == nil && !known && !inArray {
		err = e.unknownForm("without a known field")
	}
	return err
}

// suspectLong is suspect for an object that is too long to be held, of which p is the beginning.
func (e *entryDecoder) suspectLong(p []byte, inArray bool) error {
	name, at := e.json.open, e.json.openAt
	if field := fieldOf(name); e.row.isRecord() || at > 0 && (field == recordBody || field == recordTime) {
		return nil
	}
	known, err := e.members()
	if err != nil || at == 0 || e.isKnown(name) || p[at] != '[' && p[at] != '{' {
		return err
	}
	if !known && !inArray || holdsList(p[at:]) {
		return e.unknownForm(fmt.Sprintf("with a long member %q", name))
	}
	return nil
}

// members looks at the members so far of an object that may be no record: whether one has a known name, and whether another holds what
// may be records.
func (e *entryDecoder) members() (known bool, err error) {
	known = e.row.documented > 0
	for _, a := range e.row.attributes {
		switch {
		case e.isKnown(a.name):
			known = true
		case holdsList(a.value):
			return known, e.unknownForm(fmt.Sprintf("with a list %q", a.name))
		}
	}
	return known, nil
}

func (e *entryDecoder) isKnown(name []byte) bool { return slices.Contains(e.known, string(name)) }

func (e *entryDecoder) unknownForm(what string) error {
	return e.broken(fmt.Errorf("an object %s where a record should be: the answer's form isn't known", what))
}

// holdsList says whether a nested value, or the beginning of one, may hold a list of objects.
func holdsList(p []byte) bool {
	if !bytes.HasPrefix(p, []byte("[")) && !bytes.HasPrefix(p, []byte("{")) {
		return false
	}
	list := bytes.IndexByte(p, '[')
	return list >= 0 && bytes.IndexByte(p[list:], '{') >= 0
}
