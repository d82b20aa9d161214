package elsa

import (
	"bytes"
	"fmt"
)

// csvScanner takes records out of a text by RFC 4180: fields may be quoted and then hold commas, quotes (doubled) and line
// breaks, which stay as they are. Records end in LF or CRLF, the last one perhaps in nothing.
type csvScanner struct {
	scratch []byte
	fields  []csvField
}

// csvField is one field. An unquoted field without text has no value; a quoted one is an empty text.
type csvField struct {
	text   []byte
	quoted bool
}

func (f csvField) value() value {
	if len(f.text) == 0 && !f.quoted {
		return value{form: formNull}
	}
	return value{formText, f.text}
}

// maxCSVFields is how many fields a CSV record may have: each takes more memory than a comma.
const maxCSVFields = 100_000

const errBehindQuoted = "text behind a quoted field"

// record reads one record at the beginning of p, which isn't empty, and returns its length, line break included. final says
// that nothing follows p. The fields are valid until the next record. It fails with errShort or a *syntaxError.
func (s *csvScanner) record(p []byte, final bool) ([]csvField, int, error) {
	s.scratch, s.fields = s.scratch[:0], s.fields[:0]
	for i := 0; ; i++ {
		if len(s.fields) == maxCSVFields {
			return nil, 0, &syntaxError{i, fmt.Sprintf("a record of more than %d fields", maxCSVFields)}
		}
		var f csvField
		var err error
		if i < len(p) && p[i] == '"' {
			f.quoted = true
			f.text, i, err = s.quoted(p, i+1, final)
		} else {
			from := i
			for i < len(p) && p[i] != ',' && p[i] != '\n' {
				i++
			}
			f.text = p[from:i:i]
		}
		if err != nil {
			return nil, 0, err
		}
		end := i
		// A carriage return belongs to the line break behind it.
		switch {
		case f.quoted && i+1 < len(p) && p[i] == '\r' && p[i+1] == '\n':
			end = i + 1
		case f.quoted && i+1 == len(p) && p[i] == '\r':
			if !final {
				return nil, 0, errShort
			}
			end = i + 1
		}
		s.fields = append(s.fields, f)
		switch {
		case end == len(p) && !final:
			return nil, 0, errShort
		case end == len(p):
			return s.fields, end, nil
		case p[end] == '\n':
			if last := &s.fields[len(s.fields)-1]; !last.quoted {
				last.text = bytes.TrimSuffix(last.text, []byte{'\r'})
			}
			return s.fields, end + 1, nil
		case p[end] != ',':
			return nil, 0, &syntaxError{end, errBehindQuoted}
		}
		i = end
	}
}

// quoted reads a quoted field from behind its quote on and returns where its closing quote has been passed.
func (s *csvScanner) quoted(p []byte, i int, final bool) ([]byte, int, error) {
	from, start := len(s.scratch), i
	for {
		n := bytes.IndexByte(p[i:], '"')
		if n < 0 {
			if final {
				return nil, 0, &syntaxError{start, "a quoted field has no end"}
			}
			return nil, 0, errShort
		}
		n += i
		if n+1 == len(p) && !final {
			return nil, 0, errShort // the quote may be doubled
		}
		if n+1 < len(p) && p[n+1] == '"' {
			s.scratch = append(s.scratch, p[i:n+1]...)
			i = n + 2
			continue
		}
		if from == len(s.scratch) {
			return p[i:n:n], n + 1, nil
		}
		s.scratch = append(s.scratch, p[i:n]...)
		return s.scratch[from:len(s.scratch):len(s.scratch)], n + 1, nil
	}
}

// csvEnd finds the end of a record that is too long to be held, with csvScanner's rules: a quote opens a field only at its beginning.
type csvEnd struct {
	state  csvState
	commas int // between fields
}

// csvState is where in a record a text has come.
type csvState uint8

const (
	csvBegin  csvState = iota // of a field
	csvPlain                  // in an unquoted field
	csvQuoted                 // in a quoted one
	csvQuote                  // behind a quote in it: its end, or the first half of a doubled one
	csvReturn                 // behind that and a carriage return
	csvBroken                 // behind text where none may be
)

func (e *csvEnd) next(c byte) (done bool) {
	switch e.state {
	case csvQuoted:
		if c == '"' {
			e.state = csvQuote
		}
		return false
	case csvQuote:
		switch c {
		case '"':
			e.state = csvQuoted
		case '\r':
			e.state = csvReturn
		case ',':
			e.state = csvBegin
			e.commas++
		case '\n':
		default:
			e.state = csvBroken
		}
	case csvReturn:
		if c != '\n' {
			e.state = csvBroken
		}
	default:
		switch {
		case c == ',':
			e.state = csvBegin
			e.commas++
		case c == '"' && e.state == csvBegin:
			e.state = csvQuoted
		default:
			e.state = csvPlain
		}
	}
	return c == '\n' || e.state == csvBroken
}

// check says what is wrong with the record, of which nothing more will come.
func (e *csvEnd) check(bool) error {
	switch e.state {
	case csvBroken:
		return &syntaxError{0, errBehindQuoted}
	case csvQuoted:
		return errShort
	}
	return nil // the last record may have no line break
}
