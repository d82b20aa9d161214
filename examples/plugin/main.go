// Command plugin is a complete source of its own: it reads records from a text file whose lines begin with a time.
//
//	2026-11-01T12:00:00Z the text of the record
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var schema = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
}, nil)

var definition = plugins.Definition{
	Name: "dated-lines", Version: "1.0.0",
	Streams: []plugins.Stream{{Name: "events", Kind: plugins.Time, Schema: schema, Main: true}},
	Config: plugins.Schema(`{
		"type": "object", "additionalProperties": false, "required": ["path"],
		"properties": {"path": {"type": "string", "description": "File whose lines begin with a time.", "x-sluice-selection": true}}
	}`),
	Open: open,
}

func main() { plugins.Serve(definition) }

type source struct {
	path   string
	target plugins.SliceTarget
}

// open reads the settings, which are valid by the schema.
func open(_ context.Context, cfg plugins.Config) (plugins.Source, error) {
	var settings struct {
		Path string `json:"path"`
	}
	if err := json.Unmarshal(cfg.Settings, &settings); err != nil {
		return nil, fault.New(fault.Config, "read the settings", "", err)
	}
	return &source{settings.Path, cfg.Slice}, nil
}

// Plan leaves the cutting to the SDK.
func (s *source) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	return plugins.CutGap(g, s.target, plugins.CutOptions{}), nil
}

// Read emits the records of one slice. Nil means that it read all of them: an error in the middle must never become nil.
func (s *source) Read(ctx context.Context, sl flow.Slice, out plugins.Emitter) error {
	f, err := os.Open(s.path)
	if err != nil {
		return fault.New(fault.Config, "open the lines", "check the setting path", err)
	}
	defer f.Close()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		stamp, text, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.RFC3339, stamp)
		switch {
		case err != nil:
			return fault.New(fault.Corrupt, "read a line", "each line must begin with a time and a blank", err)
		case at.Before(sl.From) || !at.Before(sl.To): // [From, To)
			continue
		case !utf8.ValidString(text):
			err = out.Dead(ctx, "not UTF-8", strings.NewReader(text))
		default:
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixNano()))
			b.Field(1).(*array.StringBuilder).Append(text)
			if b.Field(0).Len() == 1000 {
				err = emit(ctx, b, out)
			}
		}
		if err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fault.New(fault.Transient, "read the lines", "", err)
	}
	return emit(ctx, b, out)
}

// emit sends what the builder holds. Whoever makes a record releases it.
func emit(ctx context.Context, b *array.RecordBuilder, out plugins.Emitter) error {
	rec := b.NewRecord()
	defer rec.Release()
	return out.Batch(ctx, rec)
}
