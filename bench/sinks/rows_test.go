package sinks

import "testing"

// rows starts what the sinks need and returns the cases. The first stands again at the end: an A/A pair.
func rows(b *testing.B) []row {
	b.Helper()
	raw := row{"file, raw", `{name: out, type: file, config: {path: ./out, format: raw}}`}
	return []row{
		raw,
		{"file, ndjson", `{name: out, type: file, config: {path: ./out, format: ndjson}}`},
		{"file, ndjson, zstd", `{name: out, type: file, config: {path: ./out, format: ndjson, compression: zstd}}`},
		{raw.title + ", again", raw.sink},
	}
}
