// Package logtime finds the time that a log line tells of itself, for sources whose vendor tells none, or another.
//
//	"time": "auto"
//	"time": {"regex": "at=(\\S+)", "layout": "%Y/%m/%d %H:%M:%S", "zone": "Europe/Berlin"}
//
// A line whose time can't be told for certain has none: the column is null, and the source counts it as "without_time".
// So it is with a time without a zone that the zone's clocks never showed, because they went forward, or showed twice, because they went back.
// The package deliberately guesses neither zones nor the order of day and month.
package logtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // zones by name, also where the machine has no database of them
)

// Without is the counter of lines whose time can't be told.
const Without = "without_time"

// Schema is the text of the JSON Schema property time, to be put among a source's own properties. It is no part of the
// selection: it decides no record, only what stands in a column that no digest covers.
const Schema = schema + `
  "description": "Where the column timestamp comes from: none (null), ` + forms + ` A line without a time that is certain has null."}`

// VendorSchema is Schema for sources whose vendor tells a time, which is kept where the line tells none.
const VendorSchema = schema + `
  "description": "Where the column timestamp comes from: none (the vendor's time), ` + forms + ` A line without a time that is certain keeps the vendor's; where the line's takes its place, the vendor's is the attribute vendor_timestamp."}`

const forms = "auto (RFC 3339, RFC 3164, the common log format, seconds or milliseconds since 1970, or JSON's @timestamp, timestamp or time), or a regex with a layout."

const schema = `
"time": {"default": "none", "oneOf": [
  {"enum": ["none", "auto"]},
  {"type": "object", "additionalProperties": false, "minProperties": 1,
    "dependentRequired": {"regex": ["layout"], "layout": ["regex"]},
    "properties": {
      "regex": {"type": "string", "minLength": 1, "description": "Where the time stands: the group called time, else the first group, else the whole match."},
      "layout": {"type": "string", "minLength": 1, "examples": ["2006-01-02 15:04:05", "%d/%b/%Y %H:%M:%S", "rfc3339", "epoch", "epoch_ms"],
        "description": "How it is written, as Go or strptime write it, or one of rfc3339, epoch, epoch_ms."},
      "zone": {"type": "string", "minLength": 1, "examples": ["UTC", "Europe/Berlin"],
        "description": "Time zone of times that name none; a layout without a zone needs it. Alone, it goes with auto, where UTC is taken for RFC 3164 without it."}}}],`

// Settings is the value of the key time. The zero Settings is none.
type Settings struct {
	auto                bool
	regex, layout, zone string
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Settings) UnmarshalJSON(data []byte) error {
	var word string
	if json.Unmarshal(data, &word) == nil {
		switch word {
		case "none":
			*s = Settings{}
		case "auto":
			*s = Settings{auto: true}
		default:
			return fmt.Errorf("time: %q: want none, auto, or regex, layout and zone", word)
		}
		return nil
	}
	var object struct {
		Regex  string `json:"regex"`
		Layout string `json:"layout"`
		Zone   string `json:"zone"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&object); err != nil {
		return fmt.Errorf("time: want none, auto, or regex, layout and zone: %w", err)
	}
	*s = Settings{regex: object.Regex, layout: object.Layout, zone: object.Zone, auto: object.Regex == ""}
	return nil
}

// Parser returns the parser of the settings, nil for none. Its error lists everything that is wrong, each with its key.
func (s Settings) Parser() (*Parser, error) {
	if s == (Settings{}) {
		return nil, nil
	}
	var errs []error
	p := &Parser{zone: time.UTC, zoned: s.zone != ""}
	if s.zone != "" {
		zone, err := time.LoadLocation(s.zone)
		if err != nil || s.zone == "Local" {
			errs = append(errs, fmt.Errorf("time.zone: %q is no time zone: want one such as UTC or Europe/Berlin", s.zone))
		} else {
			p.zone = zone
		}
	}
	switch {
	case s.auto && s.layout != "":
		errs = append(errs, errors.New("time.regex: is missing: a layout needs to know where the time stands"))
	case !s.auto && s.layout == "":
		errs = append(errs, errors.New("time.layout: is missing: say how the time is written"))
	case !s.auto:
		errs = append(errs, p.find(s.regex), p.read(s.layout))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// Validate returns everything that is wrong, each with its key.
func (s Settings) Validate() error {
	_, err := s.Parser()
	return err
}

func (p *Parser) find(pattern string) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("time.regex: %w", err)
	}
	p.regex = re
	if n := re.SubexpIndex("time"); n > 0 {
		p.group = n
	} else if re.NumSubexp() > 0 {
		p.group = 1
	}
	return nil
}

// Words that stand for layouts.
const (
	layoutRFC3339 = "rfc3339"
	layoutEpoch   = "epoch"
	layoutEpochMs = "epoch_ms"
)

func (p *Parser) read(layout string) error {
	p.layout = layout
	switch layout {
	case layoutRFC3339, layoutEpoch, layoutEpochMs:
		return nil
	}
	if strings.Contains(layout, "%") {
		var err error
		if p.layout, err = fromStrptime(layout); err != nil {
			return fmt.Errorf("time.layout: %w", err)
		}
	}
	base := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	same := func(other time.Time) bool { return base.Format(p.layout) == other.Format(p.layout) }
	switch {
	case strings.Contains(p.layout, "MST"):
		return fmt.Errorf("time.layout: %q: names of zones such as CST mean several: leave it out of the group and give zone, or use an offset", layout)
	case same(base.AddDate(0, 1, 0)) || same(base.AddDate(0, 0, 1)):
		return fmt.Errorf("time.layout: %q holds no day and month: want a layout as Go (2006-01-02 15:04:05) or strptime (%%Y-%%m-%%d %%H:%%M:%%S) write it", layout)
	}
	p.yearless = same(base.AddDate(1, 0, 0))
	p.offset = base.Format(p.layout) != base.In(time.FixedZone("", 3600)).Add(-time.Hour).Format(p.layout)
	if !p.zoned && !p.offset {
		return fmt.Errorf("time.zone: is missing: times of the layout %q name none", layout)
	}
	return nil
}

// strptime's directives in Go's layout.
var strptime = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday",
	'H': "15", 'I': "03", 'p': "PM", 'M': "04", 'S': "05", 'j': "002", 'z': "-0700", 'Z': "MST",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'L': "000", 'f': "000000", '%': "%",
}

func fromStrptime(layout string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' {
			if c := layout[i]; c >= '0' && c <= '9' || c == '_' && i+1 < len(layout) && layout[i+1] == '2' {
				return "", fmt.Errorf("%q mixes digits with strptime's directives", layout)
			}
			out.WriteByte(layout[i])
			continue
		}
		i++
		if i == len(layout) {
			return "", fmt.Errorf("%q ends with %%", layout)
		}
		word, ok := strptime[layout[i]]
		if !ok {
			return "", fmt.Errorf("%q: %%%c isn't known", layout, layout[i])
		}
		out.WriteString(word)
	}
	return out.String(), nil
}
