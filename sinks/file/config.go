package file

import (
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

// properties describe what settings have beside those of all sinks in folders.
const properties = `"format": {
      "type": "string", "enum": ["raw", "ndjson", "csv"], "default": "ndjson",
      "description": "raw: the exact bytes of each line; ndjson: one JSON object a line; csv: RFC 4180 with a header in each file."
    },
    "compression": {
      "type": "string", "enum": ["none", "gzip", "zstd"], "default": "none",
      "description": "Compression of each file; it may be changed at any time, for files that follow."
    }`

// options reads settings and validates what is this sink's own.
func options(c sinks.Config) (parts.Options, error) {
	s := settings{Settings: parts.Defaults(), Format: encode.NDJSON, Compression: textfile.Plain}
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return parts.Options{}, err
	}
	err := setting.Check(sinkType,
		setting.OneOf("format", s.Format, encode.Formats()...),
		setting.OneOf("compression", s.Compression, textfile.Compressions()...),
	)
	return parts.Options{Type: sinkType, Settings: s.Settings, Format: textfile.New(s.Format, s.Compression)}, err
}
