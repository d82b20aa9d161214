package parts

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/target"
)

// DefaultLayout is the layout of a sink that isn't told another.
const DefaultLayout = "stream={stream}/{partition_by}={partition}/date={date}/"

// nullName is how Hive names the folder of records without the value that the folder is for.
const nullName = "__HIVE_DEFAULT_PARTITION__"

// Layout is the folders below the root, outermost first, as templates.
type Layout []target.Template

// ParseLayout checks a layout: what it makes must lie below the root and be taken for data.
func ParseLayout(text string) (Layout, error) {
	var l Layout
	trimmed := strings.TrimSuffix(text, "/")
	if trimmed == "" {
		if text != "" {
			return nil, errors.New("it must be relative to path")
		}
		return nil, nil
	}
	for elem := range strings.SplitSeq(trimmed, "/") {
		switch {
		case elem == "":
			return nil, errors.New("a folder's name is empty: it must be relative to path, with one slash between names")
		case elem[0] == '_' || elem[0] == '.':
			return nil, fmt.Errorf("folder %q: a name that begins with _ or . isn't taken for data", elem)
		case strings.ContainsAny(elem, "\\\x00"):
			return nil, fmt.Errorf("folder %q has a backslash or NUL", elem)
		}
		t, err := target.Parse(elem)
		if err != nil {
			return nil, err
		}
		l = append(l, t)
	}
	return l, nil
}

// Of returns the layout of one stream: {partition_by} and what doesn't change in the life of a sink are filled in, and folders
// that name a partition or its name are left out for a stream without partitions.
func (l Layout) Of(c sinks.Config, s sinks.Stream) (Layout, error) {
	var out Layout
	for _, t := range l {
		if s.PartitionBy == "" && (t.Uses("partition") || t.Uses("partition_by") || t.Uses("log_name")) {
			continue
		}
		text := strings.ReplaceAll(t.String(), "{partition_by}", s.PartitionBy)
		t, err := target.Parse(text)
		if err != nil {
			return nil, err
		}
		if err := target.Check(sinks.Config{Labels: c.Labels}, "layout", t); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Uses reports whether a folder has a placeholder of that name.
func (l Layout) Uses(name string) bool {
	for _, t := range l {
		if t.Uses(name) {
			return true
		}
	}
	return false
}

// String returns the layout as it stands in owner.json.
func (l Layout) String() string {
	all := make([]string, len(l))
	for i, t := range l {
		all[i] = t.String()
	}
	return strings.Join(all, "/")
}

// Dir returns the folder of a slice's parts, relative to the root and with slashes. l is of the slice's stream.
func (l Layout) Dir(v target.Values) (string, error) {
	out := make([]string, len(l))
	for i, t := range l {
		whole := strings.HasPrefix(t.String(), "{") // the first value begins the folder's name
		name, err := t.Fill(v, func(value string) string {
			if whole {
				whole = false
				if value == "" {
					value = nullName // escaped, or it wouldn't be taken for data
				}
				return commitlog.EscapeName(value)
			}
			return commitlog.EscapeValue(value)
		})
		if err != nil {
			return "", err
		}
		out[i] = name
	}
	return path.Join(out...), nil
}

// Omit returns the columns whose value a folder NAME=VALUE of the layout tells. A folder that takes the name of a column and has
// another value would hide it from readers: an error.
func (l Layout) Omit(s sinks.Stream) ([]string, error) {
	var out []string
	for _, t := range l {
		key, value, ok := strings.Cut(t.String(), "=")
		if !ok || strings.Contains(key, "{") || len(s.Schema.FieldIndices(key)) == 0 {
			continue
		}
		if key == s.PartitionBy && value == "{partition}" || key == flow.ColLogName && value == "{log_name}" {
			out = append(out, key)
			continue
		}
		return nil, fmt.Errorf("folder %q: stream %s has a column of that name, and a reader that takes folders for columns would lose it", t, s.Name)
	}
	return out, nil
}
