package arrowfile

import (
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

// properties describe what settings have beside those of all sinks in folders.
const properties = `"format": {
      "type": "string", "enum": ["file", "stream"], "default": "file",
      "description": "file: Arrow's file format, which can be read at any place; stream: its streaming format, which is read from its beginning."
    },
    "compression": {
      "type": "string", "enum": ["lz4", "zstd", "none"], "default": "lz4",
      "description": "Compression of the buffers in each batch; it may be changed at any time, for files that follow."
    }`

// options reads settings and validates what is this sink's own.
func options(c sinks.Config) (parts.Options, error) {
	s := settings{Settings: parts.Defaults(), Format: ipcfile.File, Compression: ipcfile.LZ4}
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return parts.Options{}, err
	}
	err := setting.Check(sinkType,
		setting.OneOf("format", s.Format, ipcfile.Kinds()...),
		setting.OneOf("compression", s.Compression, ipcfile.Compressions()...),
	)
	return parts.Options{Type: sinkType, Settings: s.Settings, Format: ipcfile.New(s.Format, s.Compression)}, err
}
