package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/encode"
)

// settings are a file sink's keys in a config.
type settings struct {
	Path        string        `json:"path"`
	Layout      string        `json:"layout"`
	Format      encode.Format `json:"format"`
	Compression compression   `json:"compression"`
	PartSize    size          `json:"part_size"`
}

// schema describes settings; config_test.go holds it and defaults together.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "file sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "properties": {
    "path": {
      "type": "string", "minLength": 1,
      "description": "Folder that the files go to, relative to the config file. It is made if it isn't there. One folder belongs to one pipeline."
    },
    "layout": {
      "type": "string", "default": "stream={stream}/{partition_by}={partition}/date={date}/",
      "description": "Folders below path. {stream}, {partition}, {partition_by} (what the stream is divided by: log_id), {date} and {hour} (UTC, of a slice's begin) are replaced, their values escaped as Hive does. A folder that names a partition is left out for streams without."
    },
    "format": {
      "type": "string", "enum": ["raw", "ndjson", "csv"], "default": "ndjson",
      "description": "raw: the exact bytes of each line; ndjson: one JSON object a line; csv: RFC 4180 with a header in each file."
    },
    "compression": {
      "type": "string", "enum": ["none", "gzip", "zstd"], "default": "none",
      "description": "Compression of each file; it may be changed at any time, for files that follow."
    },
    "part_size": {
      "type": ["string", "integer"], "default": "256MiB", "minimum": 1024, "pattern": "^[0-9]+(\\.[0-9]+)? ?([KMGT]i?B|B)?$",
      "description": "A slice's file ends with the record that makes it at least this large on disk, and a next one begins. KB=1000, KiB=1024."
    }
  }
}`

func defaults() settings {
	return settings{Layout: defaultLayout, Format: encode.NDJSON, Compression: plain, PartSize: 256 << 20}
}

// parse reads and validates settings and reports everything that is wrong with them.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	dec := json.NewDecoder(bytes.NewReader(c.Settings))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, bad(err)
	}
	var errs []error
	if s.Path == "" {
		errs = append(errs, errors.New("path: a folder is needed"))
	}
	if !slices.Contains(encode.Formats(), s.Format) {
		errs = append(errs, fmt.Errorf("format: %q isn't one of raw, ndjson, csv", s.Format))
	}
	if !slices.Contains(compressions, s.Compression) {
		errs = append(errs, fmt.Errorf("compression: %q isn't one of none, gzip, zstd", s.Compression))
	}
	if s.PartSize < minPartSize {
		errs = append(errs, fmt.Errorf("part_size: %d bytes is less than %d", s.PartSize, minPartSize))
	}
	if _, err := parseLayout(s.Layout); err != nil {
		errs = append(errs, fmt.Errorf("layout: %w", err))
	}
	if len(errs) > 0 {
		return s, bad(errors.Join(errs...))
	}
	if !filepath.IsAbs(s.Path) {
		s.Path = filepath.Join(c.Base, s.Path)
	}
	abs, err := filepath.Abs(s.Path)
	if err != nil {
		return s, bad(fmt.Errorf("path: %w", err))
	}
	s.Path = abs
	for _, st := range c.Streams {
		if _, err := encode.New(s.Format, st.Schema); err != nil {
			return s, fmt.Errorf("stream %s: %w", st.Name, err)
		}
	}
	return s, nil
}

func bad(err error) error { return fault.New(fault.Config, "read the file sink's settings", "", err) }

// owner returns what the root's owner must be for these settings.
func (s settings) owner(c sinks.Config) commitlog.Owner {
	o := commitlog.Owner{Type: "file", Format: string(s.Format), Streams: map[string]commitlog.OwnedStream{}, Pipeline: c.Pipeline, Sink: c.Name}
	l, _ := parseLayout(s.Layout) // parse has checked it
	for _, st := range c.Streams {
		o.Streams[st.Name] = commitlog.OwnedStream{Selection: st.Selection, Layout: l.of(st).String()}
	}
	return o
}

// minPartSize keeps a mistyped unit from making millions of files.
const minPartSize = 1 << 10

// size is a number of bytes, in JSON a number or a string with a unit: KB=1000, KiB=1024.
type size int64

// UnmarshalJSON implements json.Unmarshaler.
func (z *size) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		var n int64
		if err := json.Unmarshal(b, &n); err != nil {
			return fmt.Errorf("part_size: %s isn't a size: write it as 256MiB", b)
		}
		*z = size(n)
		return nil
	}
	n, err := parseSize(text)
	*z = n
	return err
}

func parseSize(text string) (size, error) {
	digits := strings.TrimRight(text, "KMGTiB ")
	unit := strings.TrimSpace(text[len(digits):])
	factor, known := map[string]float64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[unit]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !known || n < 0 || n*factor > math.MaxInt64/2 {
		return 0, fmt.Errorf("part_size: %q isn't a size: write it as 256MiB or 500MB", text)
	}
	return size(n * factor), nil
}
