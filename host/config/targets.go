package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// target is a folder that the file gives to something, which may share it with nothing else.
type target struct {
	path    string // absolute
	what    string // for messages
	key     string
	pos     Position
	name    string // of the pipeline
	written string // as the file has it, for a proposal
	letters bool
	spool   bool // may lie in the state's folder: losing it costs a download
}

// ExpandRoot replaces what of a sink's path is the same for a whole pipeline, so that paths of two pipelines can be compared
// before anything is opened: {pipeline}, {source} and {labels.NAME}, their values escaped as sinks that write files do it.
func ExpandRoot(path string, p *Pipeline) string {
	pairs := []string{"{pipeline}", escapeName(p.Name), "{source}", escapeName(p.Source.Type)}
	for name, text := range p.Labels {
		pairs = append(pairs, "{labels."+name+"}", escapeName(text))
	}
	return strings.NewReplacer(pairs...).Replace(path)
}

// escapeName escapes a value that is a folder's name as Hive does, and a first "_" or "." too.
func escapeName(v string) string {
	var b strings.Builder
	for i := range len(v) {
		c := v[i]
		if c < ' ' || c == 0x7f || strings.IndexByte(`"#%'*/:=?\{[]^`, c) >= 0 || i == 0 && (c == '_' || c == '.') {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (l *loader) claim(t target) {
	t.path = realPath(t.path)
	l.targets = append(l.targets, t)
}

// checkTargets reports folders that are used twice, and those inside the state's folder, which people delete as a whole.
func (l *loader) checkTargets() {
	state := l.targets[0]
	claimed := map[string]target{state.path: state}
	for _, t := range l.targets[1:] {
		if before, ok := claimed[t.path]; ok {
			hint := "give each a folder of its own"
			switch {
			case t.letters:
				hint = fmt.Sprintf("write `path: ./dead/%s`", t.name)
			case before.name != "" && t.name != "" && t.name != before.name:
				hint = fmt.Sprintf("write `path: %s/%s`", strings.TrimRight(t.written, "/"), t.name)
			}
			l.add(t.pos, t.key, fmt.Sprintf("the folder belongs to %s already (%s)", before.what, before.key), hint)
			continue
		}
		claimed[t.path] = t
		inside := func(dir string) bool {
			return strings.HasPrefix(t.path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
		}
		if t.spool {
			if inside(filepath.Join(state.path, "spool")) {
				l.add(t.pos, t.key, "the folder is inside of `spool` in `state`, which belongs to the sources and is emptied at each start", "leave `path` out, or choose another")
			}
			continue
		}
		if inside(state.path) {
			l.add(t.pos, t.key, "the folder is inside of `state`", "the state may be deleted and rebuilt; keep data outside of it")
		}
	}
}

// realPath resolves the symbolic links of what exists of a path, so that one folder has one name.
func realPath(path string) string {
	rest := ""
	for p := path; ; {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(real, rest)
		} else if !os.IsNotExist(err) {
			return path
		}
		parent := filepath.Dir(p)
		if parent == p {
			return path
		}
		rest, p = filepath.Join(filepath.Base(p), rest), parent
	}
}
