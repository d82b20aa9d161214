package config

import (
	"fmt"
	"path/filepath"
)

// spoolFolder is the folder in the state that holds one for each pipeline's spool, unless the file names another place.
const spoolFolder = "slices"

// spool returns what a pipeline's slices are kept in, nil without the key.
func (l *loader) spool(s *section, name string) *Spool {
	if !s.has("spool") {
		return nil
	}
	sub := s.sub("spool")
	out := &Spool{Max: sub.number("max")}
	path := sub.text("path")
	if path == "" {
		out.Path = filepath.Join(l.targets[0].path, spoolFolder, name)
		return out
	}
	out.Path = resolvePath(l.dir, path)
	if name != "" {
		l.claim(target{
			path: out.Path, what: fmt.Sprintf("the spool of pipeline %q", name), key: joinPath(sub.path, "path"), pos: sub.position("path"),
			name: name, written: path, spool: true,
		})
	}
	return out
}
