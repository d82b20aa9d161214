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
	Format       ipcfile.Kind        `json:"format"`
	Compression  ipcfile.Compression `json:"compression"`
	RowGroupSize setting.Size        `json:"row_group_size"`
	Timestamps   ipcfile.Unit        `json:"timestamps"`
}

// properties describe what settings have beside those of all sinks in folders.
const properties = `"format": {
      "type": "string", "enum": ["file", "stream"], "default": "file",
      "description": "file: Arrow's file format, which can be read at any place; stream: its streaming format, which is read from its beginning."
    },
    "compression": {
      "type": "string", "enum": ["lz4", "zstd", "none"], "default": "lz4",
      "description": "Compression of the buffers in each batch; it may be changed at any time, for files that follow."
    },
    "row_group_size": {
      "type": ["string", "integer"], "default": "2MiB", "minimum": 65536, "maximum": 1073741824, "pattern": "` + setting.SizePattern + `",
      "description": "A record batch of the file ends when it is about this large, before compression. Ten times of it is held in memory for each slice in work."
    },
    "timestamps": {
      "type": "string", "enum": ["us", "ns", "ms"],
      "description": "Unit of timestamps; without it each stays in the unit that the source sends. What is finer is cut off."
    }`

// options reads settings and validates what is this sink's own.
func options(c sinks.Config) (parts.Options, error) {
	s := settings{Settings: parts.Defaults(), Format: ipcfile.File, Compression: ipcfile.LZ4, RowGroupSize: ipcfile.DefaultBatch}
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return parts.Options{}, err
	}
	var wrongUnit error
	if s.Timestamps != ipcfile.AsSent {
		wrongUnit = setting.OneOf("timestamps", s.Timestamps, ipcfile.Units()...)
	}
	err := setting.Check(sinkType,
		setting.OneOf("format", s.Format, ipcfile.Kinds()...),
		setting.OneOf("compression", s.Compression, ipcfile.Compressions()...),
		wrongUnit,
		ipcfile.CheckBatch("row_group_size", int64(s.RowGroupSize)),
	)
	return parts.Options{Type: sinkType, Settings: s.Settings, Format: ipcfile.New(ipcfile.Options{
		Kind: s.Format, Compression: s.Compression, Batch: int64(s.RowGroupSize), Timestamps: s.Timestamps,
	})}, err
}
