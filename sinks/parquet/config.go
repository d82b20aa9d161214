package parquet

import (
	"errors"
	"fmt"
	"slices"

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

// schema describes settings.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "parquet sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "properties": {
    ` + parts.Properties + `,
    "compression": {
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
    }
  }
}`

// Bounds of row_group_size: below, a file would be all footer; above, no process could hold one.
const (
	minRowGroup = 64 << 10
	maxRowGroup = 1 << 30
)

func defaults() settings {
	o := parquetfile.Defaults()
	return settings{Settings: parts.Defaults(), Compression: o.Compression, RowGroupSize: setting.Size(o.RowGroup), Timestamps: o.Timestamps}
}

// parse reads settings and validates what is this sink's own.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return s, err
	}
	var errs []error
	if !slices.Contains(parquetfile.Compressions(), s.Compression) {
		errs = append(errs, fmt.Errorf("compression: %q isn't one of zstd, snappy, none", s.Compression))
	}
	if !slices.Contains(parquetfile.Units(), s.Timestamps) {
		errs = append(errs, fmt.Errorf("timestamps: %q isn't one of us, ns, ms", s.Timestamps))
	}
	if s.RowGroupSize < minRowGroup || s.RowGroupSize > maxRowGroup {
		errs = append(errs, fmt.Errorf("row_group_size: %d bytes isn't between 64KiB and 1GiB", s.RowGroupSize))
	}
	if len(errs) > 0 {
		return s, setting.Wrong(sinkType, errors.Join(errs...))
	}
	return s, nil
}

func (s settings) options() parts.Options {
	return parts.Options{Type: sinkType, Settings: s.Settings, Format: parquetfile.New(parquetfile.Options{
		Compression: s.Compression, Timestamps: s.Timestamps, RowGroup: int64(s.RowGroupSize),
	})}
}
