package arrowfile

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/ipcfile"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(root string, more string) sinks.Config {
	if more != "" {
		more = ", " + more
	}
	return sinks.Config{
		Settings: fmt.Appendf(nil, `{"path": %q%s}`, root, more), Pipeline: "prod", Source: "sinktest", Name: "lake",
		Streams: []sinks.Stream{sinktest.Stream()}, Sluice: "0.0.0-test", Labels: map[string]string{"tenant": "acme"},
	}
}

func TestConformance(t *testing.T) {
	for i, k := range ipcfile.Kinds() {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			sinktest.Run(t, func(*testing.T) sinktest.Driver {
				open := func(readOnly bool) func(fsys commitlog.FS, root string) (sinks.Sink, error) {
					return func(fsys commitlog.FS, root string) (sinks.Sink, error) {
						c := config(root, fmt.Sprintf(`"format": %q, "compression": %q, "part_size": 4096`, k, ipcfile.Compressions()[i]))
						c.ReadOnly = readOnly
						return Open(context.Background(), c, fsys)
					}
				}
				return sinktest.Driver{
					Open: open(false), Look: open(true), Visible: visible,
					Stride: 29 + 30*i, // what differs from the file sink is the bytes of parts, and zstd takes its time to begin each
				}
			})
		})
	}
}

// visible reads what is below a root as a stranger would: by names, skipping what begins with _ or a point.
func visible(fsys commitlog.FS, root string) ([]string, error) {
	var out []string
	entries, err := fsys.ReadDir(root)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := path.Join(root, e.Name())
		switch {
		case e.Name()[0] == '_' || e.Name()[0] == '.':
		case e.IsDir():
			more, err := visible(fsys, name)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		default:
			b, err := fsys.ReadFile(name)
			if err != nil {
				return nil, err
			}
			err = ipcfile.Read(bytes.NewReader(b), func(rec arrow.Record) error {
				body := rec.Column(rec.Schema().FieldIndices("body")[0]).(*array.String)
				for i := range body.Len() {
					out = append(out, body.Value(i))
				}
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return out, nil
}
