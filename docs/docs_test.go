// Package docs_test holds that what the documentation shows is true: links lead somewhere, tables and copied files are current,
// configs are accepted, and shell blocks marked "run" do what is printed below them.
//
//	go test ./docs -update    writes the tables and copied files anew
package docs_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/arrowfile"
	"github.com/sluice-io/sluice/sinks/file"
	"github.com/sluice-io/sluice/sinks/kafka"
	"github.com/sluice-io/sluice/sinks/object"
	"github.com/sluice-io/sluice/sinks/opensearch"
	"github.com/sluice-io/sluice/sinks/otlp"
	"github.com/sluice-io/sluice/sinks/parquet"
	"github.com/sluice-io/sluice/sinks/postgres"
	"github.com/sluice-io/sluice/sinks/splunkhec"
	"github.com/sluice-io/sluice/sinks/stdout"
	"github.com/sluice-io/sluice/sinks/syslog"
)

var update = flag.Bool("update", false, "write generated parts of the documents anew")

// root is the module's folder.
const root = ".."

// documents returns the paths of all Markdown files that people read, relative to root.
func documents(t *testing.T) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"docs", "examples", "bench"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(path) == ".md" {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range out {
		out[i] = strings.TrimPrefix(p, root+string(filepath.Separator))
	}
	if len(out) < 10 {
		t.Fatalf("%d documents, some are missing: %v", len(out), out)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// block is one fenced block of a document.
type block struct {
	info string // what follows the fence: "yaml", "sh run"
	text string
	line int    // of the fence, from 1
	mark string // the comment on the line before: "file: examples/plugin/main.go"
}

func blocks(t *testing.T, path string) []block {
	t.Helper()
	var out []block
	var open *block
	mark := ""
	for i, line := range strings.Split(read(t, path), "\n") {
		switch fence := strings.HasPrefix(line, "```"); {
		case fence && open == nil:
			open = &block{info: strings.TrimPrefix(line, "```"), line: i + 1, mark: mark}
		case fence:
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
		mark, _ = strings.CutPrefix(line, "<!-- ")
		mark = strings.TrimSuffix(mark, " -->")
	}
	if open != nil {
		t.Errorf("%s:%d: the block isn't closed", path, open.line)
	}
	return out
}

// TestLinks holds that each relative link leads to a file, and each anchor to a heading.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	n := 0
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(withoutBlocks(read(t, doc)), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			n++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := doc
			if path != "" {
				target = filepath.Join(filepath.Dir(doc), path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which isn't there", doc, m[1])
			} else if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s links to %s: no heading of that name", doc, m[1])
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d links were found", n)
	}
}

func withoutBlocks(text string) string {
	return regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(text, "")
}

// anchors returns the names under which headings can be linked to.
func anchors(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(withoutBlocks(text), -1) {
		name := strings.ToLower(m[1])
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}

// TestEveryDocumentIsLinked holds that a reader who begins with the README finds each page.
func TestEveryDocumentIsLinked(t *testing.T) {
	readme := read(t, "README.md")
	for _, doc := range documents(t) {
		if strings.HasPrefix(doc, "docs/") && !strings.Contains(readme, "]("+doc+")") {
			t.Errorf("README.md has no link to %s", doc)
		}
	}
}

// TestCopiedFiles holds that a block below "<!-- file: PATH -->" is that file, and that no Go code is shown in another way: files
// of the module are compiled and tested.
func TestCopiedFiles(t *testing.T) {
	n := 0
	for _, doc := range documents(t) {
		for _, b := range blocks(t, doc) {
			path, ok := strings.CutPrefix(b.mark, "file: ")
			if !ok {
				if b.info == "go" {
					t.Errorf("%s:%d: Go code that no test compiles: make it a file of examples/ and mark the block with it", doc, b.line)
				}
				continue
			}
			n++
			want := read(t, path)
			if *update && want != b.text {
				text := strings.Replace(read(t, doc), "<!-- "+b.mark+" -->\n```"+b.info+"\n"+b.text, "<!-- "+b.mark+" -->\n```"+b.info+"\n"+want, 1)
				write(t, doc, text)
				continue
			}
			if diff := cmp.Diff(want, b.text); diff != "" {
				t.Errorf("%s:%d isn't %s (-file +document):\n%s", doc, b.line, path, diff)
			}
		}
	}
	if n == 0 {
		t.Error("no block was compared")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// generated compares the part of a document between "<!-- NAME: begin -->" and "<!-- NAME: end -->" with what it must be.
func generated(t *testing.T, doc, name, want string) {
	t.Helper()
	text := read(t, doc)
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	i, j := strings.Index(text, begin), strings.Index(text, end)
	if i < 0 || j < i {
		t.Fatalf("%s lacks %q ... %q", doc, begin, end)
	}
	got := text[i+len(begin) : j]
	if *update && got != want {
		write(t, doc, text[:i+len(begin)]+want+text[j:])
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: the part %q is stale, `go test ./docs -update` writes it (-want +got):\n%s", doc, name, diff)
	}
}

var sinkTypes = []sinks.Definition{
	arrowfile.Definition,
	file.Definition,
	kafka.Definition,
	object.Definition,
	opensearch.Definition,
	otlp.Definition,
	parquet.Definition,
	postgres.Definition,
	splunkhec.Definition,
	stdout.Definition,
	syslog.Definition,
}

// TestSettings holds the tables of settings of every source and sink, and the promises of sinks.
func TestSettings(t *testing.T) {
	for _, d := range sourceTypes() {
		table, err := config.SettingsTable(d.Config)
		if err != nil {
			t.Fatal(err)
		}
		generated(t, "docs/sources/"+d.Name+".md", "settings", table)
	}
	for _, d := range sinkTypes {
		table, err := config.SettingsTable(d.Config)
		if err != nil {
			t.Fatal(err)
		}
		doc := "docs/sinks/" + d.Type + ".md"
		generated(t, doc, "settings", table)
		if !strings.Contains(read(t, doc), "**"+d.Promise+"**") {
			t.Errorf("%s doesn't say what the sink promises: %q", doc, d.Promise)
		}
	}
}

// registry is what a config may name: the types inside the binary.
func registry() config.Registry {
	reg := config.Registry{Sources: map[string]config.SourceType{}, Sinks: map[string]config.SinkType{}}
	for _, source := range sourceTypes() {
		kind := config.SourceType{Schema: source.Config}
		for _, s := range source.Streams {
			kind.Streams = append(kind.Streams, s.Name)
			if s.Main {
				kind.Main = append(kind.Main, s.Name)
			}
		}
		reg.Sources[source.Name] = kind
	}
	for _, d := range sinkTypes {
		reg.Sinks[d.Type] = config.SinkType{Schema: d.Config}
	}
	return reg
}
