package object

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/ipcfile"
	"github.com/sluice-io/sluice/sinks/parquetfile"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/textfile"
)

// content is the settings of what stands in the objects: those of the file, parquet and arrow sinks.
type content struct {
	Format       string           `json:"format"`
	Compression  string           `json:"compression"`
	RowGroupSize setting.Size     `json:"row_group_size"`
	Timestamps   parquetfile.Unit `json:"timestamps"`
}

// contentProperties are the JSON Schema of content.
const contentProperties = `"format": {
      "type": "string", "enum": ["raw", "ndjson", "csv", "parquet", "arrow", "arrow-stream"], "default": "ndjson",
      "description": "raw: the exact bytes of each line; ndjson: one JSON object a line; csv: RFC 4180 with a header in each object; parquet: Apache Parquet; arrow: Arrow's file format; arrow-stream: its streaming format."
    },
    "compression": {
      "type": "string", "enum": ["none", "gzip", "zstd", "snappy", "lz4"],
      "description": "raw, ndjson and csv: none (default), gzip or zstd; parquet: zstd (default), snappy or none; arrow: zstd (default), lz4 or none. It may be changed at any time, for objects that follow."
    },
    "row_group_size": {
      "type": ["string", "integer"], "default": "8MiB", "minimum": 65536, "maximum": 1073741824, "pattern": "` + setting.SizePattern + `",
      "description": "Parquet: a row group ends when it is about this large after compression, or has about a million rows. Twice of it is held in memory for each slice in work."
    },
    "timestamps": {
      "type": "string", "enum": ["us", "ns", "ms"], "default": "us",
      "description": "Parquet: unit of timestamps. What is finer is cut off; Spark refuses ns."
    }`

const (
	formatParquet     = "parquet"
	formatArrow       = "arrow"
	formatArrowStream = "arrow-stream"
)

func contentDefaults() content {
	o := parquetfile.Defaults()
	return content{Format: string(encode.NDJSON), RowGroupSize: setting.Size(o.RowGroup), Timestamps: o.Timestamps}
}

// newFormat returns the format and reports everything that is wrong with its settings.
func (c content) newFormat() (partfile.Format, error) {
	if err := parquetfile.CheckRowGroup("row_group_size", int64(c.RowGroupSize)); err != nil {
		return nil, err
	}
	if err := setting.OneOf("timestamps", c.Timestamps, parquetfile.Units()...); err != nil {
		return nil, err
	}
	switch text := encode.Format(c.Format); {
	case slices.Contains(encode.Formats(), text):
		zip, err := choose(c, textfile.Plain, textfile.Compressions())
		return textfile.New(text, zip), err
	case c.Format == formatParquet:
		zip, err := choose(c, parquetfile.Defaults().Compression, parquetfile.Compressions())
		return parquetfile.New(parquetfile.Options{Compression: zip, Timestamps: c.Timestamps, RowGroup: int64(c.RowGroupSize)}), err
	case c.Format == formatArrow:
		zip, err := choose(c, ipcfile.Zstd, ipcfile.Compressions())
		return ipcfile.New(ipcfile.Options{Kind: ipcfile.File, Compression: zip}), err
	case c.Format == formatArrowStream:
		zip, err := choose(c, ipcfile.Zstd, ipcfile.Compressions())
		return ipcfile.New(ipcfile.Options{Kind: ipcfile.Stream, Compression: zip}), err
	}
	return nil, fmt.Errorf("format: %q isn't one of raw, ndjson, csv, parquet, arrow, arrow-stream", c.Format)
}

// choose returns the compression of a format that has these; without one, its usual one.
func choose[C ~string](c content, usual C, all []C) (C, error) {
	if c.Compression == "" {
		return usual, nil
	}
	if !slices.Contains(all, C(c.Compression)) {
		names := make([]string, len(all))
		for i, one := range all {
			names[i] = string(one)
		}
		return usual, fmt.Errorf("compression: format %s has %s, not %q", c.Format, strings.Join(names, ", "), c.Compression)
	}
	return C(c.Compression), nil
}
