package syslog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/columns"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/target"
)

// bom is what RFC 5424 puts before UTF-8.
const bom = "\xef\xbb\xbf"

// headerLimits are the most characters of HOSTNAME, APP-NAME, PROCID and MSGID.
var headerLimits = [4]int{255, 48, 128, 32}

// encoder writes one slice's records as RFC 5424 messages.
type encoder struct {
	settings  *settings
	values    target.Values
	templates [4]target.Template
	columns   [4]string // empty: none
	facility  int
	severity  int
	sdID      string // "sluice@32473"
	pen       string // "@32473"

	named   string // the log_name that header was filled for
	filled  bool
	header  [4]string // filled, escaped
	scratch []byte    // a value of the record that is being written
}

func newEncoder(s *settings, c sinks.Config, sl flow.Slice) (*encoder, error) {
	e := &encoder{
		settings: s, values: target.Of(c, sl), sdID: s.SDID, pen: s.SDID[strings.IndexByte(s.SDID, '@'):],
		facility: slices.Index(facilities, s.Facility), severity: slices.Index(severities, s.Severity),
	}
	for i, text := range s.templates() {
		var err error
		if e.templates[i], err = target.Parse(text); err != nil {
			return nil, fmt.Errorf("%s: %w", headerKeys[i], err)
		}
		e.columns[i] = s.Columns[headerKeys[i]]
	}
	return e, nil
}

// severityOf is the table of the OpenTelemetry log data model, read backwards.
func severityOf(number int) (severity int, ok bool) {
	switch {
	case number <= 0:
		return 0, false
	case number <= 8: // TRACE, DEBUG
		return 7, true
	case number == 9: // INFO
		return 6, true
	case number <= 12: // INFO2 and above
		return 5, true
	case number <= 16: // WARN
		return 4, true
	case number == 17: // ERROR
		return 3, true
	case number == 18: // ERROR2
		return 2, true
	case number <= 20: // ERROR3, ERROR4
		return 1, true
	}
	return 0, true // FATAL
}

// append appends the message of a record, without its frame.
func (e *encoder) append(dst []byte, rows *columns.Rows, row int, id string) ([]byte, error) {
	severity, ok := severityOf(rows.Severity(row))
	if !ok {
		severity = e.severity
	}
	dst = strconv.AppendInt(append(dst, '<'), int64(e.facility*8+severity), 10)
	dst = append(dst, ">1 "...)
	at, ok := rows.Time(row)
	if ok && at.Year() >= 0 && at.Year() <= 9999 {
		dst = at.Truncate(time.Microsecond).AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	} else {
		dst, ok = append(dst, '-'), false
	}
	if err := e.fill(rows.LogName(row)); err != nil {
		return dst, err
	}
	for i := range e.header {
		dst = append(dst, ' ')
		if v := e.column(rows, row, e.columns[i]); v != "" {
			dst = append(dst, headerField(v, headerLimits[i])...)
		} else {
			dst = append(dst, e.header[i]...)
		}
	}
	dst = append(append(dst, " ["...), e.sdID...)
	dst = appendParam(dst, "id", id)
	dst = appendParam(dst, "log_id", rows.LogID(row))
	dst = appendParam(dst, "log_name", rows.LogName(row))
	dst = appendParam(dst, "stream", e.values.Stream)
	dst = appendParam(dst, "source", rows.Source(row))
	dst = appendParam(dst, "severity_text", rows.SeverityText(row))
	if ok && at.Nanosecond()%1000 != 0 { // TIMESTAMP has no room for it
		dst = appendParam(dst, "timestamp", at.Format("2006-01-02T15:04:05.000000000Z"))
	}
	dst = append(dst, ']')
	attributes := e.element("attributes")
	rows.Attributes(row, func(key, value string) { dst = attributes.param(dst, key, value) })
	dst = attributes.end(dst)
	others := e.element("columns")
	rows.Others(row, func(o *columns.Other, _ arrow.Array, text func([]byte) []byte) {
		e.scratch = text(e.scratch[:0])
		dst = others.param(dst, o.Name, string(e.scratch))
	})
	dst = others.end(dst)
	body, text, err := rows.Body(row)
	if err != nil {
		return dst, err
	}
	if len(body) == 0 {
		return dst, nil
	}
	dst = append(dst, ' ')
	if text && (e.settings.BOM == "always" || e.settings.BOM == "auto" && !ascii(body)) {
		dst = append(dst, bom...)
	}
	return append(dst, body...), nil
}

// fill fills the header's templates; they change with log_name alone.
func (e *encoder) fill(logName string) error {
	if e.filled && e.named == logName {
		return nil
	}
	e.values.LogName = strings.Clone(logName)
	for i, t := range e.templates {
		text, err := t.Fill(e.values, target.Plain)
		if err != nil {
			return fmt.Errorf("%s: %w", headerKeys[i], err)
		}
		e.header[i] = headerField(text, headerLimits[i])
	}
	e.named, e.filled = e.values.LogName, true
	return nil
}

// column returns the text of a column or attribute, empty without.
func (e *encoder) column(rows *columns.Rows, row int, name string) (out string) {
	switch name {
	case "":
		return ""
	case flow.ColLogID:
		return rows.LogID(row)
	case flow.ColLogName:
		return rows.LogName(row)
	case flow.ColSource:
		return rows.Source(row)
	case flow.ColSeverityText:
		return rows.SeverityText(row)
	}
	if key, ok := strings.CutPrefix(name, flow.ColAttributes+"."); ok {
		rows.Attributes(row, func(k, v string) {
			if k == key {
				out = v
			}
		})
		return out
	}
	rows.Others(row, func(o *columns.Other, _ arrow.Array, text func([]byte) []byte) {
		if o.Name == name {
			out = string(text(nil))
		}
	})
	return out
}

// headerField makes a text fit for the header: what isn't printable ASCII becomes _, what is too long is cut (structured data has it
// whole), and nothing is -.
func headerField(text string, limit int) string {
	if text == "" {
		return "-"
	}
	var out strings.Builder
	for _, r := range text {
		if out.Len() == limit {
			break
		}
		if r <= ' ' || r >= 0x7f {
			r = '_'
		}
		out.WriteByte(byte(r))
	}
	return out.String()
}

// sdName says whether RFC 5424 allows a text as the name of a parameter.
func sdName(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '=' || c == ']' || c == '"' || c == '@' {
			return false
		}
	}
	return true
}

// appendParam appends a parameter unless it is empty; what the RFC reserves is escaped.
func appendParam(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendValue(append(append(dst, ' '), name...), value)
}

func appendValue(dst []byte, value string) []byte {
	dst = append(dst, '=', '"')
	start := 0
	for i := range len(value) {
		if c := value[i]; c == '"' || c == '\\' || c == ']' {
			dst = append(append(dst, value[start:i]...), '\\')
			start = i
		}
	}
	return append(append(dst, value[start:]...), '"')
}

// element is a structured data element that begins with its first parameter. Names that the RFC doesn't allow go, with their values, into
// a JSON object in an element of its own, so that no two names become one.
type element struct {
	name, pen string
	begun     bool
	rest      []byte
}

func (e *encoder) element(name string) element { return element{name: name, pen: e.pen} }

func (x *element) param(dst []byte, name, value string) []byte {
	if !sdName(name) {
		if len(x.rest) > 0 {
			x.rest = append(x.rest, ',')
		}
		x.rest = encode.AppendString(x.rest, name)
		x.rest = encode.AppendString(append(x.rest, ':'), value)
		return dst
	}
	if !x.begun {
		dst = append(append(append(dst, '['), x.name...), x.pen...)
		x.begun = true
	}
	return appendValue(append(append(dst, ' '), name...), value)
}

func (x *element) end(dst []byte) []byte {
	if x.begun {
		dst = append(dst, ']')
	}
	if len(x.rest) > 0 {
		dst = append(append(append(dst, '['), x.name...), "_json"...)
		dst = append(append(dst, x.pen...), " json"...)
		dst = append(appendValue(dst, "{"+string(x.rest)+"}"), ']')
	}
	return dst
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
