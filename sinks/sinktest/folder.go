package sinktest

import (
	"context"
	"fmt"
	"path"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// InFolder returns the config of a sink whose setting path is a root; more are further settings, as in `"format": "csv"`.
func InFolder(root, more string) sinks.Config {
	if more != "" {
		more = ", " + more
	}
	return sinks.Config{
		Settings: fmt.Appendf(nil, `{"path": %q%s}`, root, more), Pipeline: "prod", Source: "sinktest", Name: "lake",
		Streams: []sinks.Stream{Stream()}, Sluice: "0.0.0-test", Labels: map[string]string{"tenant": "acme"},
	}
}

// Visible returns a Driver's Visible that reads what is below a root as a stranger would: by names, skipping what begins with _ or a
// point. bodies returns those of one file, which has some.
func Visible(bodies func(name string, file []byte) ([]string, error)) func(commitlog.FS, string) ([]string, error) {
	var visible func(fsys commitlog.FS, root string) ([]string, error)
	visible = func(fsys commitlog.FS, root string) (all []string, err error) {
		entries, err := fsys.ReadDir(root)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := path.Join(root, e.Name())
			var more []string
			switch {
			case e.Name()[0] == '_' || e.Name()[0] == '.':
				continue
			case e.IsDir():
				more, err = visible(fsys, name)
			default:
				var file []byte
				if file, err = fsys.ReadFile(name); err == nil {
					more, err = bodies(name, file)
				}
				if err == nil && len(more) == 0 {
					err = fmt.Errorf("%s is empty", name)
				}
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all = append(all, more...)
		}
		return all, nil
	}
	return visible
}

// BodiesOf returns the bodies of a record.
func BodiesOf(rec arrow.Record) []string {
	body := rec.Column(rec.Schema().FieldIndices(flow.ColBody)[0]).(*array.String)
	out := make([]string, body.Len())
	for i := range out {
		out[i] = string([]byte(body.Value(i)))
	}
	return out
}

// OpenFolder returns a Driver's Open, or with readOnly its Look, for a sink whose folder InFolder names.
func OpenFolder[S sinks.Sink](
	open func(ctx context.Context, c sinks.Config, fsys commitlog.FS) (S, error), more string, readOnly bool,
) func(fsys commitlog.FS, root string) (sinks.Sink, error) {
	return func(fsys commitlog.FS, root string) (sinks.Sink, error) {
		c := InFolder(root, more)
		c.ReadOnly = readOnly
		k, err := open(context.Background(), c, fsys)
		if err != nil {
			return nil, err // not a nil S that isn't nil
		}
		return k, nil
	}
}
