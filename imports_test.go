package sluice_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/sluice-io/sluice"

// pkg is what the rules look at: one package of this module without its tests. Paths of our own packages are relative to the module.
type pkg struct {
	path    string
	imports []string // our own, relative
	foreign []string // everything else
	inits   []string // files with an init function, generated ones left out
}

// rule is one sentence about the import graph. bad returns what breaks it in p, one line each.
type rule struct {
	name string
	bad  func(p pkg) []string
}

// support lists the packages below plugins/ and sinks/ that are no implementation of a source or sink: several may import them.
// Everything else there is concrete. A new shared package is named here, deliberately.
var support = []string{
	"plugins/rest", "plugins/rapid7", "plugins/logtime", "plugins/plugintest", "plugins/vendorsim",
	"sinks/sinktest",
	"sinks/commitlog",
	"sinks/encode",
	"sinks/setting",
	"sinks/target",
	"sinks/secure",
	"sinks/recordid",
	"sinks/columns",
	"sinks/attempt",
	"sinks/sending",
	"sinks/partfile",
	"sinks/parts",
	"sinks/textfile",
	"sinks/parquetfile",
	"sinks/ipcfile",
}

// testOnly lists the packages that import testing, with those below them; no binary may link them.
var testOnly = []string{"plugins/plugintest", "sinks/sinktest", "sinks/partfile/filetest", "internal/realpart", "bench/parquet"}

// forbiddenNames say nothing about what a package holds.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "manager", "managers", "shared", "lib"}

var rules = []rule{
	{"proto imports nothing of ours above it", func(p pkg) []string {
		if !under(p.path, "proto") {
			return nil
		}
		return filter(p.imports, func(i string) bool { return !under(i, "proto") })
	}},
	{"host, plugins and sinks import of each other only contracts", func(p pkg) []string {
		side, _, _ := strings.Cut(p.path, "/")
		others := map[string][]string{
			"host":    {"plugins", "sinks"},
			"plugins": {"host", "sinks"},
			"sinks":   {"host", "plugins"},
		}[side]
		return filter(p.imports, func(i string) bool {
			return i != "plugins" && i != "sinks" && slices.ContainsFunc(others, func(o string) bool { return under(i, o) })
		})
	}},
	{"contracts import no implementation", func(p pkg) []string {
		if p.path != "plugins" && p.path != "sinks" {
			return nil
		}
		return filter(p.imports, func(i string) bool { return !under(i, "proto") && !under(i, "internal") })
	}},
	{"only cmd imports concrete sources and sinks", func(p pkg) []string {
		if under(p.path, "cmd") {
			return nil
		}
		own := concrete(p.path)
		return filter(p.imports, func(i string) bool { c := concrete(i); return c != "" && c != own })
	}},
	{"nothing imports cmd", func(p pkg) []string {
		return filter(p.imports, func(i string) bool { return under(i, "cmd") && !under(p.path, "cmd") })
	}},
	{"the simulator is imported by cmd and bench only", func(p pkg) []string {
		if under(p.path, "cmd") || under(p.path, "bench") || under(p.path, "plugins/vendorsim") {
			return nil
		}
		return filter(p.imports, func(i string) bool { return under(i, "plugins/vendorsim") })
	}},
	{"messages of proto/sluice/v1 are seen by proto/wire, plugins, its conformance suite and host/supervisor only", func(p pkg) []string {
		if slices.Contains([]string{"proto/wire", "plugins", "plugins/plugintest", "host/supervisor"}, p.path) {
			return nil
		}
		return filter(p.imports, func(i string) bool { return under(i, "proto/sluice") })
	}},
	{"testing is never linked into a binary", func(p pkg) []string {
		if forTests(p.path) {
			return nil
		}
		return append(
			filter(p.imports, forTests),
			filter(p.foreign, func(i string) bool { return under(i, "testing") })...)
	}},
	{"a package's name says what it holds", func(p pkg) []string {
		return filter(strings.Split(p.path, "/"), func(s string) bool { return slices.Contains(forbiddenNames, s) })
	}},
	{"nothing registers itself in init", func(p pkg) []string { return p.inits }},
}

// under says whether path is the folder dir or lies below it.
// forTests reports whether a package is one of testOnly or below one.
func forTests(path string) bool {
	return slices.ContainsFunc(testOnly, func(dir string) bool { return under(path, dir) })
}

func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func filter(in []string, bad func(string) bool) []string {
	var out []string
	for _, s := range in {
		if bad(s) {
			out = append(out, s)
		}
	}
	return out
}

// concrete returns the root of the source or sink that a package belongs to ("sinks/file" for "sinks/file/format"), or "".
func concrete(path string) string {
	parts := strings.SplitN(path, "/", 3)
	if len(parts) < 2 || parts[0] != "plugins" && parts[0] != "sinks" {
		return ""
	}
	root := parts[0] + "/" + parts[1]
	if slices.Contains(support, root) {
		return ""
	}
	return root
}

func violations(r rule, pkgs []pkg) []string {
	var out []string
	for _, p := range pkgs {
		for _, b := range r.bad(p) {
			out = append(out, p.path+": "+b)
		}
	}
	return out
}

func TestImportGraph(t *testing.T) {
	pkgs := listPackages(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, v := range violations(r, pkgs) {
				t.Error(v)
			}
		})
	}
}

// TestImportRules holds the rules themselves: each one lets good packages pass and names bad ones.
func TestImportRules(t *testing.T) {
	held := map[string]bool{}
	for _, tt := range []struct {
		rule string
		good []pkg
		bad  []pkg
		want []string
	}{
		{
			rule: "proto imports nothing of ours above it",
			good: []pkg{{path: "proto/wire", imports: []string{"proto/flow", "proto/sluice/v1"}}, {path: "host/ledger", imports: []string{"sinks"}}},
			bad:  []pkg{{path: "proto/flow", imports: []string{"plugins", "internal/x"}}, {path: "proto/wire", imports: []string{"host/budget"}}},
			want: []string{"proto/flow: plugins", "proto/flow: internal/x", "proto/wire: host/budget"},
		},
		{
			rule: "host, plugins and sinks import of each other only contracts",
			good: []pkg{
				{path: "host/pipeline", imports: []string{"sinks", "plugins", "host/ledger", "proto/flow"}},
				{path: "cmd/sluice", imports: []string{"sinks/file", "host/control", "plugins/rest"}},
			},
			bad: []pkg{
				{path: "host/pipeline", imports: []string{"sinks/commitlog", "plugins/rest"}},
				{path: "plugins/rest", imports: []string{"host/budget", "sinks/file"}},
				{path: "sinks/file", imports: []string{"host/ledger", "plugins/rest"}},
			},
			want: []string{
				"host/pipeline: sinks/commitlog", "host/pipeline: plugins/rest",
				"plugins/rest: host/budget", "plugins/rest: sinks/file", "sinks/file: host/ledger", "sinks/file: plugins/rest",
			},
		},
		{
			rule: "contracts import no implementation",
			good: []pkg{{path: "sinks", imports: []string{"proto/flow"}}, {path: "sinks/file", imports: []string{"sinks"}}},
			bad:  []pkg{{path: "sinks", imports: []string{"sinks/commitlog"}}, {path: "plugins", imports: []string{"plugins/rest"}}},
			want: []string{"sinks: sinks/commitlog", "plugins: plugins/rest"},
		},
		{
			rule: "only cmd imports concrete sources and sinks",
			good: []pkg{
				{path: "cmd/sluice", imports: []string{"sinks/file", "plugins/rapid7download"}},
				{path: "sinks/file", imports: []string{"sinks/file/format", "sinks/commitlog"}},
				{path: "sinks/file/format", imports: []string{"sinks/file"}},
			},
			bad: []pkg{
				{path: "sinks/parquet", imports: []string{"sinks/file"}},
				{path: "plugins/elsa", imports: []string{"plugins/rapid7download/lines"}},
				{path: "sinks/commitlog", imports: []string{"sinks/file"}},
				{path: "bench/load", imports: []string{"sinks/file"}},
			},
			want: []string{
				"sinks/parquet: sinks/file", "plugins/elsa: plugins/rapid7download/lines",
				"sinks/commitlog: sinks/file", "bench/load: sinks/file",
			},
		},
		{
			rule: "nothing imports cmd",
			good: []pkg{{path: "cmd/sluice", imports: []string{"cmd/sluice/terminal"}}},
			bad:  []pkg{{path: "host/control", imports: []string{"cmd/sluice/terminal"}}},
			want: []string{"host/control: cmd/sluice/terminal"},
		},
		{
			rule: "the simulator is imported by cmd and bench only",
			good: []pkg{{path: "cmd/sluice", imports: []string{"plugins/vendorsim"}}, {path: "bench/load", imports: []string{"plugins/vendorsim"}}},
			bad:  []pkg{{path: "plugins/elsa", imports: []string{"plugins/vendorsim/lines"}}},
			want: []string{"plugins/elsa: plugins/vendorsim/lines"},
		},
		{
			rule: "messages of proto/sluice/v1 are seen by proto/wire, plugins, its conformance suite and host/supervisor only",
			good: []pkg{
				{path: "proto/wire", imports: []string{"proto/sluice/v1"}},
				{path: "plugins", imports: []string{"proto/sluice/v1"}},
				{path: "host/supervisor", imports: []string{"proto/sluice/v1"}},
			},
			bad: []pkg{
				{path: "host/pipeline", imports: []string{"proto/sluice/v1"}}, {path: "plugins/elsa", imports: []string{"proto/sluice/v1"}},
			},
			want: []string{"host/pipeline: proto/sluice/v1", "plugins/elsa: proto/sluice/v1"},
		},
		{
			rule: "testing is never linked into a binary",
			good: []pkg{{path: "sinks/sinktest", foreign: []string{"testing"}}},
			bad: []pkg{
				{path: "plugins/vendorsim", foreign: []string{"testing", "io"}},
				{path: "cmd/sluice", imports: []string{"sinks/sinktest"}, foreign: []string{"testing/fstest"}},
			},
			want: []string{"plugins/vendorsim: testing", "cmd/sluice: sinks/sinktest", "cmd/sluice: testing/fstest"},
		},
		{
			rule: "a package's name says what it holds",
			good: []pkg{{path: "host/ledger"}, {path: "plugins/database"}},
			bad:  []pkg{{path: "host/util"}, {path: "common/lines"}},
			want: []string{"host/util: util", "common/lines: common"},
		},
		{
			rule: "nothing registers itself in init",
			good: []pkg{{path: "sinks/file"}},
			bad:  []pkg{{path: "sinks/kafka", inits: []string{"register.go"}}},
			want: []string{"sinks/kafka: register.go"},
		},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			held[tt.rule] = true
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == tt.rule })
			if i < 0 {
				t.Fatal("no such rule")
			}
			if got := violations(rules[i], tt.good); got != nil {
				t.Errorf("good packages: got %q", got)
			}
			if diff := cmp.Diff(tt.want, violations(rules[i], tt.bad)); diff != "" {
				t.Errorf("bad packages (-want +got):\n%s", diff)
			}
		})
	}
	for _, r := range rules {
		if !held[r.name] {
			t.Errorf("rule %q has no case here", r.name)
		}
	}
}

// listPackages asks go list for the module's packages and reads the imports of every file that is not a test, those for other
// systems included.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l struct {
			ImportPath, Dir                   string
			GoFiles, CgoFiles, IgnoredGoFiles []string
		}
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		p := pkg{path: relative(l.ImportPath)}
		for _, name := range slices.Concat(l.GoFiles, l.CgoFiles, l.IgnoredGoFiles) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			if err := p.addFile(filepath.Join(l.Dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 2 {
		t.Fatalf("go list found %d packages: is this the module's root?", len(pkgs))
	}
	return pkgs
}

// relative turns an import path of this module into a path below its root ("." for the root itself).
func relative(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func (p *pkg) addFile(file string) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: import %s: %w", file, spec.Path.Value, err)
		}
		if under(path, module) {
			p.imports = append(p.imports, relative(path))
		} else {
			p.foreign = append(p.foreign, path)
		}
	}
	if ast.IsGenerated(f) {
		return nil
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			p.inits = append(p.inits, filepath.Base(file))
		}
	}
	return nil
}
