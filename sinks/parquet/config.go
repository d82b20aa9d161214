package parquet

import (
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/parquetfile"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/setting"
)

const sinkType = "parquet"

// settings are a parquet sink's keys in a config.
type settings struct {
	parts.Settings
	Compression  parquetfile.Compression `json:"compression"`
	RowGroupSize setting.Size            `json:"row_group_size"`
	Timestamps   parquetfile.Unit        `json:"timestamps"`
}

// properties describe what settings have beside those of all sinks in folders.
const properties = `"compression": {
      "type": "string", "enum": ["zstd", "snappy", "none"], "default": "zstd",
      "description": "Compression of the pages; it may be changed at any time, for files that follow."
    },
    "row_group_size": {
      "type": ["string", "integer"], "default": "8MiB", "minimum": 65536, "maximum": 1073741824, "pattern": "` + setting.SizePattern + `",
      "description": "A row group ends when it is about this large in the file, that is after compression, or has about a million rows. Twice of it is held in memory for each slice in work."
    },
    "timestamps": {
      "type": "string", "enum": ["us", "ns", "ms"], "default": "us",
      "description": "Unit of timestamps. What is finer is cut off; Spark refuses ns."
    }`

// options reads settings and validates what is this sink's own.
func options(c sinks.Config) (parts.Options, error) {
	d := parquetfile.Defaults()
	s := settings{Settings: parts.Defaults(), Compression: d.Compression, RowGroupSize: setting.Size(d.RowGroup), Timestamps: d.Timestamps}
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return parts.Options{}, err
	}
	err := setting.Check(sinkType,
		setting.OneOf("compression", s.Compression, parquetfile.Compressions()...),
		setting.OneOf("timestamps", s.Timestamps, parquetfile.Units()...),
		parquetfile.CheckRowGroup("row_group_size", int64(s.RowGroupSize)),
	)
	return parts.Options{Type: sinkType, Settings: s.Settings, Format: parquetfile.New(parquetfile.Options{
		Compression: s.Compression, Timestamps: s.Timestamps, RowGroup: int64(s.RowGroupSize),
	})}, err
}
