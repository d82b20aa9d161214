package config

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Load reads and checks a file. A file that can't be read is an error of package os; one that is wrong is Problems, all
// of them at once; any other error says that the registry's schemas are broken. It asks nobody, reads no secret and
// creates nothing.
func Load(path string, reg Registry) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	f, err := os.Open(abs)
	if err != nil {
		return nil, hinted(hintUnreadable, "config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	return Parse(path, data, reg)
}

// Parse is Load for a file's content. path is shown in messages as it is; relative paths in the file are relative to its
// folder.
func Parse(path string, data []byte, reg Registry) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	tree, problems := parseTree(path, data)
	if tree == nil {
		return nil, problems.sorted()
	}
	l := &loader{decoder: decoder{file: path, problems: problems}, reg: reg, schemas: newSchemaSet(reg), dir: filepath.Dir(abs)}
	root := l.section(tree, fileKeys(), "", tree.pos)
	c := l.config(root)
	c.Path = abs
	if l.schemas.broken != nil {
		return nil, l.schemas.broken
	}
	if len(l.problems) > 0 {
		return nil, l.problems.sorted()
	}
	c.Warnings = l.warnings.sorted()
	return c, nil
}

// loader builds a Config from decoded sections and checks what no single key can.
type loader struct {
	decoder
	reg     Registry
	schemas *schemaSet
	dir     string
	targets []target // folders that only one may have, the state's first
}

func (l *loader) config(s *section) *Config {
	c := &Config{
		Dir:             l.dir,
		State:           resolvePath(l.dir, s.text("state")),
		Listen:          s.text("listen"),
		ShutdownTimeout: time.Duration(s.number("shutdown_timeout")),
	}
	l.claim(target{path: c.State, what: "the state", key: "state", pos: s.position("state")})
	names := map[string]Position{}
	for _, sub := range s.values["pipelines"].sections {
		p := l.pipeline(sub)
		if first, ok := names[p.Name]; ok && p.Name != "" {
			l.add(sub.position("name"), sub.path+".name", fmt.Sprintf("two pipelines are named %q", p.Name),
				fmt.Sprintf("the first is in line %d", first.Line))
		} else {
			names[p.Name] = sub.position("name")
		}
		c.Pipelines = append(c.Pipelines, p)
	}
	l.checkTargets()
	return c
}

func (l *loader) pipeline(s *section) Pipeline {
	p := Pipeline{
		Name:     s.text("name"),
		Source:   l.source(s.sub("source")),
		Range:    l.timeRange(s.sub("range"), s.has("range")),
		Lag:      time.Duration(s.number("lag")),
		Flow:     l.flow(s.sub("flow")),
		Position: s.pos,
	}
	if clock := s.text("clock"); clock != "vendor" {
		p.Clock = clock
	}
	p.Priority = s.text("priority")
	if s.has("follow") {
		p.Follow = time.Duration(s.sub("follow").number("every"))
	} else if s.has("priority") {
		l.warn(s.position("priority"), joinPath(s.path, "priority"), "`priority` without `follow` changes nothing",
			"add `follow: {every: 15m}`, or remove it")
	}
	p.Streams, p.Labels = l.streams(s, p.Source.Type), s.values["labels"].labels
	retry := s.sub("retry")
	p.Retry = Retry{Attempts: int(retry.number("attempts")), MaxBackoff: time.Duration(retry.number("max_backoff"))}

	again := s.sub("recheck")
	for _, n := range again.values["after"].list {
		p.Recheck.After, p.Recheck.When = append(p.Recheck.After, time.Duration(n)), again.text("when")
	}
	letters := s.sub("dead_letter")
	p.DeadLetter = DeadLetter{Max: letters.number("max"), MaxRecord: letters.number("max_record")}
	path := letters.text("path")
	if path == "" {
		path = "./dead/" + p.Name
	}
	p.DeadLetter.Path = resolvePath(l.dir, path)
	if p.Name != "" {
		l.claim(target{
			path: p.DeadLetter.Path, what: fmt.Sprintf("the dead letters of pipeline %q", p.Name),
			key: joinPath(letters.path, "path"), pos: letters.position("path"), name: p.Name, letters: true, given: letters.text("path") != "",
		})
	}
	p.Spool = l.spool(s, p.Name)
	names := map[string]Position{}
	for _, sub := range s.values["sinks"].sections {
		sink := l.sink(sub, &p)
		if first, ok := names[sink.Name]; ok && sink.Name != "" {
			l.add(sub.position("name"), sub.path+".name", fmt.Sprintf("two sinks of the pipeline are named %q", sink.Name),
				fmt.Sprintf("give each a name of its own; the first is in line %d", first.Line))
		} else {
			names[sink.Name] = sub.position("name")
		}
		p.Sinks = append(p.Sinks, sink)
	}
	l.untaken(s, &p)
	return p
}

// untaken reports streams that would be read for nobody.
func (l *loader) untaken(s *section, p *Pipeline) {
	wrong := func(x Problem) bool { return strings.HasPrefix(x.Path, s.path+".sinks") }
	if len(p.Sinks) == 0 || slices.ContainsFunc(l.problems, wrong) {
		return
	}
	for _, stream := range p.Streams {
		if slices.ContainsFunc(p.Sinks, func(k Sink) bool { return k.Takes(stream) }) {
			continue
		}
		pos := s.position("sinks")
		if s.has("streams") {
			pos = s.position("streams")
		}
		l.add(pos, s.path+".streams", fmt.Sprintf("no sink takes the stream %q", stream),
			"name it in a sink's `streams`, or leave it out of the pipeline's")
	}
}

// sinkStreams returns the streams that a sink is given.
func (l *loader) sinkStreams(s *section, p *Pipeline) []string {
	given := s.values["streams"].names
	if len(given) == 0 {
		return slices.Clone(p.Streams)
	}
	typ, known := l.reg.Sources[p.Source.Type]
	var out []string
	for i, g := range given {
		at := fmt.Sprintf("%s.streams[%d]", s.path, i)
		switch {
		case slices.Contains(p.Streams, g.name) || !known:
			out = append(out, g.name)
		case slices.Contains(typ.Streams, g.name):
			l.add(g.pos, at, fmt.Sprintf("the pipeline doesn't read the stream %q", g.name),
				"add it to the pipeline's `streams`: it has "+strings.Join(p.Streams, ", "))
		default:
			l.add(g.pos, at, fmt.Sprintf("source %s has no stream %s", p.Source.Type, strconv.Quote(shorten(g.name))), didYouMean(g.name, p.Streams))
		}
	}
	return out
}

func (l *loader) source(s *section) Source {
	src := Source{Type: s.text("type")}
	if src.Type == "" {
		return src
	}
	schema, ok := l.schemas.source(src.Type)
	if !ok {
		l.unknownType(s, "source", src.Type, mapKeys(l.reg.Sources), "a third party's plugin in a config comes with a later version")
		return src
	}
	src.Config = l.settings(s, schema)
	src.Account = accountOf(s.values["config"].raw)
	return src
}

func (l *loader) sink(s *section, p *Pipeline) Sink {
	sink := Sink{
		Name: s.text("name"), Type: s.text("type"), OnFailure: s.text("on_failure"), DetachAfter: time.Duration(s.number("detach_after")),
		Position: s.pos,
	}
	sink.Streams = l.sinkStreams(s, p)
	if sink.Name == "" {
		sink.Name = sink.Type
	}
	if sink.Type == "" {
		return sink
	}
	schema, ok := l.schemas.sink(sink.Type)
	if !ok {
		l.unknownType(s, "sink", sink.Type, mapKeys(l.reg.Sinks), "")
		return sink
	}
	sink.Config = l.settings(s, schema)
	if path := s.values["config"].raw.get("path"); path != nil && path.kind == text && path.text != "" && !hasPlaceholder(path.text) {
		l.claim(target{
			path: resolvePath(l.dir, ExpandRoot(path.text, p)), what: fmt.Sprintf("sink %q of pipeline %q", sink.Name, p.Name),
			key: s.path + ".config.path", pos: path.pos, name: p.Name, sink: sink.Name, written: path.text,
		})
	}
	return sink
}

func (l *loader) unknownType(s *section, what, name string, known []string, hint string) {
	path, pos := joinPath(s.path, "type"), s.position("type")
	mean := didYouMean(name, known)
	if hint != "" && mean != "" && nearest(name, known) == "" {
		mean += "; " + hint
	}
	l.add(pos, path, fmt.Sprintf("unknown %s %q", what, name), mean)
}

func (l *loader) streams(s *section, source string) []string {
	typ, ok := l.reg.Sources[source]
	given := s.values["streams"].names
	if !ok || len(given) == 0 {
		return append([]string(nil), typ.Main...)
	}
	var out []string
	for i, g := range given {
		if !slices.Contains(typ.Streams, g.name) {
			l.add(g.pos, fmt.Sprintf("%s.streams[%d]", s.path, i),
				fmt.Sprintf("source %s has no stream %s", source, strconv.Quote(shorten(g.name))), didYouMean(g.name, typ.Streams))
		}
		out = append(out, g.name)
	}
	return out
}

func (l *loader) timeRange(s *section, given bool) Range {
	var r Range
	from, to, last := s.values["from"], s.values["to"], s.values["last"]
	switch {
	case s.has("from") && s.has("last"):
		l.add(last.pos, s.path+".last", "`from` and `last` exclude each other", "keep one of them")
	case s.has("last") && s.has("to"):
		l.add(to.pos, s.path+".to", "`last` counts back from now and takes no `to`", "use `from` and `to`")
	case given && len(s.values) == 0 && s.pos != (Position{}) && !l.reported(s.path):
		l.add(s.pos, s.path, "neither `from` nor `last`", "write `from: 2026-11-01` or `last: 24h`")
	case s.has("to") && !s.has("from") && !l.reported(s.path):
		l.add(to.pos, s.path+".to", "`to` without `from`", "write `from`, too")
	case s.has("from") && s.has("to") && !from.time.Before(to.time.Time):
		l.add(to.pos, s.path+".to", fmt.Sprintf("the range is empty: `to` (%s) is not after `from` (%s)", to.time, from.time), "`to` itself is not part of the range")
	}
	r.From, r.Last = from.time.Time, time.Duration(last.n)
	if s.has("to") {
		t := to.time.Time
		r.To = &t
	}
	return r
}

// reported says whether there is a problem at or below a path already: another about what is missing would only confuse.
func (l *loader) reported(path string) bool {
	for _, p := range l.problems {
		if p.Path == path || strings.HasPrefix(p.Path, path+".") {
			return true
		}
	}
	return false
}

func (l *loader) flow(s *section) Flow {
	f := Flow{Window: s.number("window"), Parallel: int(s.number("parallel")), Slice: Slice{Auto: true}}
	if v, ok := s.values["slice"]; ok {
		f.Slice = v.slice
	}
	if share := f.Window / int64(f.Parallel); share < MinShare {
		key := "window"
		if !s.has(key) {
			key = "parallel"
		}
		l.add(s.position(key), joinPath(s.path, key),
			fmt.Sprintf("window %s / parallel %d leaves %.1f MiB for a slice; the least is %s", Size(f.Window), f.Parallel, float64(share)/(1<<20), Size(MinShare)),
			fmt.Sprintf("write `window: %s` or more, or a smaller `parallel`", Size(int64(f.Parallel)*MinShare)))
	}
	return f
}

// mapKeys returns the keys in order, so that messages are the same each time.
func mapKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
