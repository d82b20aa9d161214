package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
)

// maxSecretFile bounds what ${file:...} reads, in bytes.
const maxSecretFile = 64 << 10

// Environment is where placeholders are looked up. The zero Environment is the process's own.
type Environment struct {
	LookupEnv func(name string) (string, bool)
	ReadFile  func(path string) ([]byte, error) // a longer file than 64 KiB is an error
}

// Resolve replaces the placeholders by what they stand for now, reads files again at each call, checks the result by the
// schema and returns it with the secrets in it: those of keys that the schema marks, passwords in URLs, and everything
// that ${file:...} read. The JSON holds secrets in clear: never log it. The error is of kind Config, names the variable or file and the
// key, and holds no value. Safe for concurrent use.
func (s Settings) Resolve(env Environment) (json.RawMessage, Secrets, error) {
	if s.tree == nil {
		return nil, nil, fault.New(fault.Config, "resolve settings", "", errors.New("these settings come from no file"))
	}
	env.setDefaults()
	r := &resolver{
		env:     env,
		checker: &checker{decoder: &decoder{file: s.file}, schema: s.schema, path: s.path, resolved: map[string]bool{}, omitted: map[string]bool{}, positions: map[string]Position{}},
		dir:     s.dir,
	}
	r.root = r.tree(s.tree, nil, s.path)
	var out bytes.Buffer
	if len(r.problems) == 0 {
		r.write(&out, r.root, nil, s.path)
		r.validate(out.Bytes())
	}
	if len(r.problems) > 0 {
		return nil, nil, fault.New(fault.Config, "", "", r.problems.sorted())
	}
	return out.Bytes(), r.secrets, nil
}

func (e *Environment) setDefaults() {
	if e.LookupEnv == nil {
		e.LookupEnv = os.LookupEnv
	}
	if e.ReadFile == nil {
		e.ReadFile = readSecretFile
	}
}

func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSecretFile+1))
}

type resolver struct {
	*checker
	env     Environment
	dir     string
	secrets Secrets
}

// tree copies a tree with every placeholder replaced.
func (r *resolver) tree(n *node, location []string, path string) *node {
	out := *n
	out.keys, out.items = nil, nil
	for _, e := range n.keys {
		e.value = r.tree(e.value, append(slices.Clone(location), e.name), joinPath(path, e.name))
		out.keys = append(out.keys, e)
	}
	for i, item := range n.items {
		out.items = append(out.items, r.tree(item, append(slices.Clone(location), strconv.Itoa(i)), fmt.Sprintf("%s[%d]", path, i)))
	}
	if n.kind != text {
		return &out
	}
	replaced, err := expandPlaceholders(n.text, func(p placeholder) (string, error) {
		r.resolved[path] = true
		value, err := r.look(p)
		if err == nil && p.kind == "file" {
			r.keep(value)
		}
		return value, err
	})
	if err != nil {
		r.add(n.pos, path, err.Error(), fault.HintOf(err))
		return &out
	}
	out.text = replaced
	if password := passwordOf(out.text); password != "" {
		r.keep(password)
	}
	if r.schema.isSecret(location) {
		if out.text == "" {
			r.add(n.pos, path, "the secret is empty", "give it a value")
		}
		r.keep(out.text)
	}
	return &out
}

func (r *resolver) keep(value string) {
	if s := NewSecret(value); value != "" && !slices.Contains(r.secrets, s) {
		r.secrets = append(r.secrets, s)
	}
}

func (r *resolver) look(p placeholder) (string, error) {
	if p.kind == "env" {
		value, ok := r.env.LookupEnv(p.name)
		switch {
		case value != "":
			return value, nil
		case p.hasDefault:
			return p.def, nil
		}
		wrong := "not set"
		if ok {
			wrong = "empty"
		}
		return "", hinted("set it where sluice is started, or read a file with ${file:PATH}", "environment variable %s is %s", p.name, wrong)
	}
	data, err := r.env.ReadFile(resolvePath(r.dir, p.name))
	if err != nil {
		hint := "make it, or correct the path: a relative one begins at the config file's folder"
		if errors.Is(err, fs.ErrPermission) {
			hint = "let this user read it"
		}
		return "", hinted(hint, "secret file: %w", err)
	}
	if len(data) > maxSecretFile {
		return "", hinted("name a file that holds the secret alone", "secret file %s is larger than %s", p.name, Size(maxSecretFile))
	}
	value := strings.TrimSpace(string(data))
	if value == "" {
		return "", hinted("put the secret into it", "secret file %s is empty", p.name)
	}
	return value, nil
}

// hinted makes an error that says what to do about it.
func hinted(hint, format string, args ...any) error {
	return fault.New(fault.Config, "", hint, fmt.Errorf(format, args...))
}

// placeholder is ${env:NAME}, ${env:NAME:-default} or ${file:PATH}.
type placeholder struct {
	kind, name string
	def        string
	hasDefault bool
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expandPlaceholders replaces each placeholder in s by what look returns, and $${ by ${. What was put in is not looked at
// again: a secret may hold anything. It stops at look's first error.
func expandPlaceholders(s string, look func(placeholder) (string, error)) (string, error) {
	var out strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			out.WriteString(s)
			return out.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			out.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		out.WriteString(s[:i])
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return "", errors.New("a placeholder ${ without its }")
		}
		p, err := parsePlaceholder(s[i+2 : i+end])
		if err != nil {
			return "", err
		}
		value, err := look(p)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		s = s[i+end+1:]
	}
}

func parsePlaceholder(inner string) (placeholder, error) {
	kind, name, _ := strings.Cut(inner, ":")
	p := placeholder{kind: kind, name: name}
	switch kind {
	case "env":
		p.name, p.def, p.hasDefault = strings.Cut(name, ":-")
		if !envName.MatchString(p.name) {
			return p, errors.New("${env:...} without the name of an environment variable")
		}
		return p, nil
	case "file":
		if name == "" || strings.ContainsRune(name, 0) {
			return p, errors.New("${file:...} without a path")
		}
		return p, nil
	}
	return p, errors.New("a placeholder ${...} of unknown kind")
}

func checkPlaceholders(s string) error {
	_, err := expandPlaceholders(s, func(placeholder) (string, error) { return "", nil })
	return err
}

// hasPlaceholder reports whether a text, which checkPlaceholders accepts, has a placeholder.
func hasPlaceholder(s string) bool {
	found := false
	_, err := expandPlaceholders(s, func(placeholder) (string, error) { found = true; return "", nil })
	return found || err != nil
}
