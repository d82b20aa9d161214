package file

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/encode"
)

const defaultLayout = "stream={stream}/{partition_by}={partition}/date={date}/"

var placeholders = []string{"{stream}", "{partition}", "{partition_by}", "{date}", "{hour}"}

// layout is the folders below the root, outermost first, with placeholders.
type layout []string

// parseLayout checks a layout: what it makes must lie below the root and be taken for data.
func parseLayout(text string) (layout, error) {
	var l layout
	trimmed := strings.TrimSuffix(text, "/")
	if trimmed == "" {
		if text != "" {
			return nil, errors.New("it must be relative to path")
		}
		return nil, nil
	}
	for elem := range strings.SplitSeq(trimmed, "/") {
		rest := elem
		for _, p := range placeholders {
			rest = strings.ReplaceAll(rest, p, "")
		}
		switch {
		case elem == "":
			return nil, errors.New("a folder's name is empty: it must be relative to path, with one slash between names")
		case elem[0] == '_' || elem[0] == '.':
			return nil, fmt.Errorf("folder %q: a name that begins with _ or . isn't taken for data", elem)
		case strings.ContainsAny(rest, "{}"):
			return nil, fmt.Errorf("folder %q: placeholders are %s", elem, strings.Join(placeholders, ", "))
		case strings.ContainsAny(rest, "\\\x00"):
			return nil, fmt.Errorf("folder %q has a backslash or NUL", elem)
		}
		l = append(l, elem)
	}
	return l, nil
}

// of returns the layout of one stream: partition_by is filled in, and folders that name a partition are left out for a
// stream without.
func (l layout) of(s sinks.Stream) layout {
	var out layout
	for _, elem := range l {
		if s.PartitionBy == "" && (strings.Contains(elem, "{partition}") || strings.Contains(elem, "{partition_by}")) {
			continue
		}
		out = append(out, fill(elem, "{partition_by}", s.PartitionBy))
	}
	return out
}

// String returns the layout as it stands in owner.json.
func (l layout) String() string { return strings.Join(l, "/") }

// dir returns the folder of a slice's parts, relative to the root and with slashes. l is of the slice's stream.
func (l layout) dir(s flow.Slice) string {
	out := slices.Clone(l)
	from := s.From.UTC()
	for i, elem := range out {
		elem = fill(elem, "{stream}", s.Stream)
		elem = fill(elem, "{date}", from.Format("2006-01-02"))
		elem = fill(elem, "{hour}", from.Format("15"))
		out[i] = fill(elem, "{partition}", s.Key) // last: a value may look like a placeholder
	}
	return path.Join(out...)
}

// fill replaces a placeholder by an escaped value.
func fill(elem, placeholder, value string) string {
	if strings.HasPrefix(elem, placeholder) {
		elem = commitlog.EscapeName(value) + strings.TrimPrefix(elem, placeholder)
	}
	return strings.ReplaceAll(elem, placeholder, commitlog.EscapeValue(value))
}

// partName returns the name of a slice's part. Names sort by time.
func partName(s flow.Slice, i int, f encode.Format, c compression) string {
	return fmt.Sprintf("%s-%s-%05d%s%s", s.From.UTC().Format("20060102T150405.000Z"), s.ID.String()[:16], i, f.Extension(), c.extension())
}
