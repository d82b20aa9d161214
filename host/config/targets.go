package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// target is a folder that the file gives to something, which may share it with nothing else.
type target struct {
	path    string // absolute
	what    string // for messages
	key     string
	pos     Position
	name    string // of the pipeline
	sink    string // its name, if it is one
	written string // as the file has it, for a proposal
	letters bool
	given   bool // of letters: the file says where
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

// checkTargets reports folders that are used twice, those inside the state's folder, which people delete as a whole, and those
// inside of a sink's, which is read as a whole.
func (l *loader) checkTargets() {
	state := l.targets[0]
	claimed := map[string]target{state.path: state}
	var own []target
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
		own = append(own, t)
		if t.spool {
			if t.inside(filepath.Join(state.path, "spool")) {
				l.add(t.pos, t.key, "the folder is inside of `spool` in `state`, which belongs to the sources and is emptied at each start", "leave `path` out, or choose another")
			}
			continue
		}
		if t.inside(state.path) {
			l.add(t.pos, t.key, "the folder is inside of `state`", "the state may be deleted and rebuilt; keep data outside of it")
		}
	}
	for i, outer := range outers(own) {
		if outer >= 0 {
			l.nested(own[i], own[outer])
		}
	}
}

// outers returns, for each target, the index of the first sink in the file whose readers come upon it; -1 if there is none.
// Sorted by path, what is inside of a folder follows it at once, so that the folders around each are a stack: a file of
// thousands of sinks is no work of their square.
func outers(targets []target) []int {
	const separator = string(filepath.Separator)
	byPath := make([]int, len(targets))
	for i := range byPath {
		byPath[i] = i
	}
	ending := func(i int) string { return strings.TrimSuffix(targets[i].path, separator) + separator }
	slices.SortFunc(byPath, func(a, b int) int { return strings.Compare(ending(a), ending(b)) })
	found := make([]int, len(targets))
	var around []int
	for _, i := range byPath {
		t := targets[i]
		for len(around) > 0 && !t.inside(targets[around[len(around)-1]].path) {
			around = around[:len(around)-1]
		}
		found[i] = -1
		for _, o := range around {
			if (found[i] < 0 || o < found[i]) && targets[o].sink != "" && t.seenFrom(targets[o].path) {
				found[i] = o
			}
		}
		around = append(around, i)
	}
	return found
}

// nested reports a folder inside of a sink's. Another sink there, as an error may have proposed, has an account of its own and is only warned
// about, like dead letters that nobody gave a place.
func (l *loader) nested(t, outer target) {
	if t.sink != "" {
		l.warn(t.pos, t.key, fmt.Sprintf("the folder is inside of that of %s (%s): who reads all that is in there reads the records of both", outer.what, outer.key),
			"give each a folder beside the other's, if anybody reads them so; what a sink has written goes on when its folder is moved")
		return
	}
	said := fmt.Sprintf("the folder is inside of that of %s (%s), whose readers and `verify` would take what is in it for its own", outer.what, outer.key)
	var place, more string
	switch {
	case t.letters:
		place = "./dead/" + t.name
		if alone := (target{path: realPath(resolvePath(l.dir, place))}); alone.path == outer.path || alone.inside(outer.path) {
			place = outer.beside("dead")
		}
	default:
		place, more = outer.beside("spool"), ", or leave `path` out"
	}
	hint := fmt.Sprintf("write `path: %s`%s", place, more)
	if t.letters && !t.given {
		l.warn(t.pos, t.key, said, hint)
		return
	}
	l.add(t.pos, t.key, said, hint)
}

// inside reports whether the folder lies below another.
func (t target) inside(dir string) bool {
	return strings.HasPrefix(t.path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// seenFrom reports whether those who read dir, which the folder is inside of, come upon it: they leave out names that begin with
// "." or "_". The folder of a sink's own account is nobody else's.
func (t target) seenFrom(dir string) bool {
	rest, err := filepath.Rel(dir, t.path)
	if err != nil {
		return true
	}
	names := strings.Split(rest, string(filepath.Separator))
	return names[0] == "_sluice" || !slices.ContainsFunc(names, func(n string) bool { return n[0] == '.' || n[0] == '_' })
}

// beside proposes a folder next to this one, as the file writes it if that has a name to add to.
func (t target) beside(name string) string {
	written := strings.TrimRight(t.written, "/")
	if last := filepath.Base(t.written); last == "." || last == ".." || last == "/" {
		written = strings.TrimRight(t.path, "/")
	}
	return written + "-" + escapeName(name)
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
