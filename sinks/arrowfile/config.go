package arrowfile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/ipcfile"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/setting"
)

const sinkType = "arrow"

// settings are an arrow sink's keys in a config.
type settings struct {
	parts.Settings
	Format      ipcfile.Kind        `json:"format"`
	Compression ipcfile.Compression `json:"compression"`
}

// schema describes settings.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "arrow sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "properties": {
    ` + parts.Properties + `,
    "format": {
      "type": "string", "enum": ["file", "stream"], "default": "file",
      "description": "file: Arrow's file format, which can be read at any place; stream: its streaming format, which is read from its beginning."
    },
    "compression": {
      "type": "string", "enum": ["lz4", "zstd", "none"], "default": "lz4",
      "description": "Compression of the buffers in each batch; it may be changed at any time, for files that follow."
    }
  }
}`

func defaults() settings {
	return settings{Settings: parts.Defaults(), Format: ipcfile.File, Compression: ipcfile.LZ4}
}

// parse reads settings and validates what is this sink's own.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return s, err
	}
	var errs []error
	if !slices.Contains(ipcfile.Kinds(), s.Format) {
		errs = append(errs, fmt.Errorf("format: %q isn't one of file, stream", s.Format))
	}
	if !slices.Contains(ipcfile.Compressions(), s.Compression) {
		errs = append(errs, fmt.Errorf("compression: %q isn't one of lz4, zstd, none", s.Compression))
	}
	if len(errs) > 0 {
		return s, setting.Wrong(sinkType, errors.Join(errs...))
	}
	return s, nil
}

func (s settings) options() parts.Options {
	return parts.Options{Type: sinkType, Settings: s.Settings, Format: ipcfile.New(s.Format, s.Compression)}
}
