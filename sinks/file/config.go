package file

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/textfile"
)

const sinkType = "file"

// settings are a file sink's keys in a config.
type settings struct {
	parts.Settings
	Format      encode.Format        `json:"format"`
	Compression textfile.Compression `json:"compression"`
}

// schema describes settings.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "file sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "properties": {
    ` + parts.Properties + `,
    "format": {
      "type": "string", "enum": ["raw", "ndjson", "csv"], "default": "ndjson",
      "description": "raw: the exact bytes of each line; ndjson: one JSON object a line; csv: RFC 4180 with a header in each file."
    },
    "compression": {
      "type": "string", "enum": ["none", "gzip", "zstd"], "default": "none",
      "description": "Compression of each file; it may be changed at any time, for files that follow."
    }
  }
}`

func defaults() settings {
	return settings{Settings: parts.Defaults(), Format: encode.NDJSON, Compression: textfile.Plain}
}

// parse reads settings and validates what is this sink's own.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return s, err
	}
	var errs []error
	if !slices.Contains(encode.Formats(), s.Format) {
		errs = append(errs, fmt.Errorf("format: %q isn't one of raw, ndjson, csv", s.Format))
	}
	if !slices.Contains(textfile.Compressions(), s.Compression) {
		errs = append(errs, fmt.Errorf("compression: %q isn't one of none, gzip, zstd", s.Compression))
	}
	if len(errs) > 0 {
		return s, setting.Wrong(sinkType, errors.Join(errs...))
	}
	return s, nil
}

func (s settings) options() parts.Options {
	return parts.Options{Type: sinkType, Settings: s.Settings, Format: textfile.New(s.Format, s.Compression)}
}
