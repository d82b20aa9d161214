package parts

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

// Settings are what all sinks of part files in folders have in common.
type Settings struct {
	Path     string       `json:"path"`
	Layout   string       `json:"layout"`
	PartSize setting.Size `json:"part_size"`
}

// Properties are the JSON Schema of Settings: the part of a sink's `properties`.
const Properties = `"path": {
      "type": "string", "minLength": 1,
      "description": "Folder that the files go to, relative to the config file. It is made if it isn't there. One folder belongs to one pipeline. {pipeline}, {source} and {labels.NAME} are replaced, their values escaped as Hive does."
    },
    "layout": {
      "type": "string", "default": "` + DefaultLayout + `",
      "description": "Folders below path. ` + layoutRest

// LayoutProperties are those of sinks whose target isn't a folder.
const LayoutProperties = `"layout": {
      "type": "string", "default": "` + DefaultLayout + `",
      "description": "Folders below prefix. ` + layoutRest

const layoutRest = `{stream}, {partition}, {partition_by} (what the stream is divided by: log_id), {log_name}, {date} and {hour} (UTC, of a slice's begin), {pipeline}, {source} and {labels.NAME} are replaced, their values escaped as Hive does. A folder that names a partition or a log is left out for streams without."
    },
    "part_size": {
      "type": ["string", "integer"], "default": "256MiB", "minimum": 1024, "pattern": "` + setting.SizePattern + `",
      "description": "A slice's file ends with the record that makes it at least this large on disk, and a next one begins. KB=1000, KiB=1024."
    }`

// minPartSize keeps a mistyped unit from making millions of files.
const minPartSize = 1 << 10

// Defaults returns the settings of a sink that is told a path alone.
func Defaults() Settings { return Settings{Layout: DefaultLayout, PartSize: 256 << 20} }

// place is Settings in the shape in which they are used.
type place struct {
	root     string // absolute
	partSize int64
	streams  map[string]stream
	owner    commitlog.Owner
}

// stream is what a place knows of a stream.
type stream struct {
	layout Layout
	omit   []string
	schema *arrow.Schema
	digest []string // its digest columns
	under  string   // the folder of a selection that isn't the root's first
}

// resolve validates settings and reports everything that is wrong with them, without the sink's name. folder says that Path names
// the target.
func (s Settings) resolve(c sinks.Config, typ string, f partfile.Format, folder bool) (place, error) {
	var errs []error
	var root string
	var err error
	if folder {
		if root, err = s.root(c); err != nil {
			errs = append(errs, fmt.Errorf("path: %w", err))
		}
	}
	if s.PartSize < minPartSize {
		errs = append(errs, fmt.Errorf("part_size: %d bytes is less than %d", s.PartSize, minPartSize))
	}
	p := place{
		root: root, partSize: int64(s.PartSize), streams: map[string]stream{},
		owner: commitlog.Owner{Type: typ, Format: f.Name(), Streams: map[string]commitlog.OwnedStream{}, Pipeline: c.Pipeline, Sink: c.Name, NewSelection: c.NewSelection},
	}
	l, err := ParseLayout(s.Layout)
	if err != nil {
		errs = append(errs, fmt.Errorf("layout: %w", err))
	}
	if whole, err := target.Parse(s.Layout); err == nil && !c.ReadOnly {
		if err := target.Separate(c, "layout", whole); err != nil {
			errs = append(errs, err)
		}
	}
	for _, st := range c.Streams {
		of, err := l.Of(c, st)
		if err != nil {
			errs = append(errs, err)
			break // it is wrong for all streams alike
		}
		var omit []string
		if f.Typed() {
			if omit, err = of.Omit(st); err != nil && !c.ReadOnly {
				errs = append(errs, fmt.Errorf("layout: %w", err))
			}
		}
		p.streams[st.Name] = stream{layout: of, omit: omit, schema: st.Schema, digest: st.DigestColumns}
		p.owner.Streams[st.Name] = commitlog.OwnedStream{Selection: st.Selection, Layout: of.String()}
	}
	return p, errors.Join(errs...)
}

// root returns the folder that path names.
func (s Settings) root(c sinks.Config) (string, error) {
	if s.Path == "" {
		return "", errors.New("a folder is needed")
	}
	t, err := target.Parse(s.Path)
	if err != nil {
		return "", err
	}
	for _, name := range target.Names() {
		if name != "pipeline" && name != "source" && t.Uses(name) {
			return "", fmt.Errorf("{%s} isn't known when the folder is opened: put it into layout", name)
		}
	}
	root, err := t.Fill(target.Values{Pipeline: c.Pipeline, Source: c.Source, Labels: c.Labels}, commitlog.EscapeName)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(root) {
		root = filepath.Join(c.Base, root)
	}
	return filepath.Abs(root)
}
