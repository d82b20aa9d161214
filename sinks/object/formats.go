package object

import (
	"fmt"
	"slices"

	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/textfile"
)

type format = partfile.Format

const (
	formatEnum      = `"raw", "ndjson", "csv"`
	formatDoc       = "raw: the exact bytes of each line; ndjson: one JSON object a line; csv: RFC 4180 with a header in each object."
	compressionEnum = `"none", "gzip", "zstd"`
	compressionDoc  = "Compression of each object; it may be changed at any time, for objects that follow. Default: none."
)

// newFormat returns the format with its compression, empty for the format's default.
func newFormat(name, compression string) (format, error) {
	if f := encode.Format(name); slices.Contains(encode.Formats(), f) {
		if compression == "" {
			compression = string(textfile.Plain)
		}
		c := textfile.Compression(compression)
		if !slices.Contains(textfile.Compressions(), c) {
			return nil, fmt.Errorf("compression: %q isn't one of none, gzip, zstd", compression)
		}
		return textfile.New(f, c), nil
	}
	return nil, fmt.Errorf("format: %q isn't one of raw, ndjson, csv", name)
}
