package parts

import (
	"strings"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// Files returns where and how the part files of a sink with these options lie. The root of one whose target isn't a folder is left to the
// caller.
func Files(c sinks.Config, o Options) (sinks.Files, error) {
	p, err := o.resolve(c)
	if err != nil {
		return sinks.Files{}, err
	}
	f := sinks.Files{Place: sinks.OnDisk, Root: p.root, Extension: o.Format.Extension(), Streams: map[string]sinks.StreamFiles{}}
	switch f.Format = o.Format.Name(); {
	case strings.HasPrefix(f.Format, "parquet-"):
		f.Nanos = f.Format == "parquet-ns"
		f.Format = "parquet"
	case strings.HasPrefix(f.Format, "arrow-file"):
		f.Format = "arrow"
	case strings.HasPrefix(f.Format, "arrow-stream"):
		f.Format = "arrow-stream"
	}
	fixed := map[string]string{"{pipeline}": c.Pipeline, "{source}": c.Source}
	for name, value := range c.Labels {
		fixed["{labels."+name+"}"] = value
	}
	for name, s := range p.streams {
		one := sinks.StreamFiles{Omitted: s.omit}
		for _, t := range s.layout {
			folder := t.String()
			fixed["{stream}"] = name
			for placeholder, value := range fixed {
				if rest, ok := strings.CutPrefix(folder, placeholder); ok {
					folder = commitlog.EscapeName(value) + rest
				}
				folder = strings.ReplaceAll(folder, placeholder, commitlog.EscapeValue(value))
			}
			one.Folders = append(one.Folders, folder)
		}
		f.Streams[name] = one
	}
	return f, nil
}
