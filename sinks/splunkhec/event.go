package splunkhec

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/columns"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/target"
)

// fieldID is the indexed field with a record's ID.
const fieldID = "record_id"

// fieldPrefix stands before the name of a column or attribute that another field has.
const fieldPrefix = "sluice_"

// encoder writes one slice's records as events.
type encoder struct {
	settings  *settings
	values    target.Values
	templates [4]target.Template
	named     string // the log_name that metadata was filled for
	filled    bool
	metadata  []byte // `"host":"...","source":"...",`
	keys      []string
	text      []byte
}

func newEncoder(s *settings, c sinks.Config, sl flow.Slice) (*encoder, error) {
	e := &encoder{settings: s, values: target.Of(c, sl)}
	for i, text := range s.templates() {
		var err error
		if e.templates[i], err = target.Parse(text); err != nil {
			return nil, fmt.Errorf("%s: %w", metadataKeys[i], err)
		}
	}
	return e, nil
}

// append appends a record's event.
func (e *encoder) append(dst []byte, rows *columns.Rows, row int, id string) ([]byte, error) {
	if err := e.fill(rows.LogName(row)); err != nil {
		return dst, err
	}
	dst = append(dst, '{')
	t, dated := rows.Time(row)
	fits := t.Unix() >= 0 && t.Year() < 10000 // a number of seconds that Splunk can show
	if dated && fits {
		dst = strconv.AppendInt(append(dst, `"time":`...), t.Unix(), 10)
		dst = append(dst, fmt.Sprintf(".%09d,", t.Nanosecond())...)
	}
	dst = append(append(dst, e.metadata...), `"event":`...)
	var err error
	if dst, err = e.appendBody(dst, rows, row); err != nil {
		return dst, err
	}
	dst = encode.AppendString(append(dst, `,"fields":{"`+fieldID+`":`...), id)
	e.keys = append(e.keys[:0], fieldID)
	field := func(name, value string) {
		if value != "" {
			dst = encode.AppendString(append(dst, ','), e.unique(name))
			dst = encode.AppendString(append(dst, ':'), value)
		}
	}
	field("stream", e.values.Stream)
	if dated && !fits {
		field(flow.ColTimestamp, t.Format("2006-01-02T15:04:05.000000000Z"))
	}
	field(flow.ColLogID, rows.LogID(row))
	field(flow.ColLogName, rows.LogName(row))
	field(flow.ColSeverityText, rows.SeverityText(row))
	if n := rows.Severity(row); n != 0 {
		field(flow.ColSeverityNumber, strconv.Itoa(n))
	}
	if e.settings.Attributes {
		rows.Attributes(row, field)
		rows.Others(row, func(o *columns.Other, _ arrow.Array, text func([]byte) []byte) {
			e.text = text(e.text[:0])
			field(o.Name, string(e.text))
		})
	}
	return append(dst, "}}"...), nil
}

// appendBody appends the event itself: a text, as Splunk searches it. An object takes the place of a text that Splunk refuses (a blank
// one) and of bytes that no text holds.
func (e *encoder) appendBody(dst []byte, rows *columns.Rows, row int) ([]byte, error) {
	body, isText, err := rows.Body(row)
	switch {
	case err != nil:
		return dst, err
	case rows.IsObject():
		return append(dst, body...), nil
	case !isText:
		dst = encode.AppendString(append(dst, `{"body":`...), strings.ToValidUTF8(string(body), string(utf8.RuneError)))
		dst = append(dst, `,"body_raw":"`...)
		return append(base64.StdEncoding.AppendEncode(dst, body), `"}`...), nil
	}
	text := string(body)
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsSpace(r) && r != 0 }) < 0 {
		return append(encode.AppendString(append(dst, `{"body":`...), text), '}'), nil
	}
	return encode.AppendString(dst, text), nil
}

// fill fills the templates; they change with log_name alone.
func (e *encoder) fill(logName string) error {
	if e.filled && e.named == logName {
		return nil
	}
	e.values.LogName = strings.Clone(logName)
	e.metadata = e.metadata[:0]
	for i, t := range e.templates {
		text, err := t.Fill(e.values, target.Plain)
		if err != nil {
			return fmt.Errorf("%s: %w", metadataKeys[i], err)
		}
		if text != "" {
			e.metadata = encode.AppendString(e.metadata, metadataKeys[i])
			e.metadata = append(encode.AppendString(append(e.metadata, ':'), text), ',')
		}
	}
	e.named, e.filled = e.values.LogName, true
	return nil
}

// unique returns key, behind fieldPrefix as often as it takes: an object has each key once.
func (e *encoder) unique(key string) string {
	for i := 0; i < len(e.keys); i++ {
		if e.keys[i] == key {
			key, i = fieldPrefix+key, -1
		}
	}
	e.keys = append(e.keys, key)
	return key
}
