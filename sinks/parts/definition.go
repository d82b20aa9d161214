package parts

import (
	"context"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// Type is a type of sink that writes part files of one kind of format into a folder.
type Type struct {
	Name   string // as in a config
	Schema string // JSON Schema of its settings
	// Options reads settings and validates what is this type's own.
	Options func(c sinks.Config) (Options, error)
}

// Definition returns the type's.
func (t Type) Definition() sinks.Definition {
	return sinks.Definition{
		Type:    t.Name,
		Promise: "exactly once per slice",
		Config:  []byte(t.Schema),
		Open: func(ctx context.Context, c sinks.Config) (sinks.Sink, error) {
			return t.Open(ctx, c, commitlog.OS{})
		},
		Check: func(_ context.Context, c sinks.Config) error {
			o, err := t.Options(c)
			if err != nil {
				return err
			}
			return Check(c, o)
		},
		Buffer: func(c sinks.Config) (int64, error) {
			o, err := t.Options(c)
			if err != nil {
				return 0, err
			}
			return o.Format.Buffer(), nil
		},
		Files: func(c sinks.Config) (sinks.Files, error) {
			o, err := t.Options(c)
			if err != nil {
				return sinks.Files{}, err
			}
			return Files(c, o)
		},
	}
}

// Open opens a sink of the type on a file system; Definition's does so on the machine's own.
func (t Type) Open(ctx context.Context, c sinks.Config, fsys commitlog.FS) (*Sink, error) {
	o, err := t.Options(c)
	if err != nil {
		return nil, err
	}
	return Open(ctx, c, o, fsys)
}

// FolderSchema returns the JSON Schema of a type's settings: Properties and the type's own, which begin with a quotation mark.
func FolderSchema(name, own string) string {
	return `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "` + name + ` sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "properties": {
    ` + Properties + `,
    ` + own + `
  }
}`
}
