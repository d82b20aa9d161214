package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file, or unwise. It never holds a secret.
type Problem struct {
	File    string
	Line    int    // from 1; 0 if the file as a whole is meant
	Col     int    // from 1, in characters
	Path    string // "pipelines[0].source.config.region"; empty if the problem belongs to no key
	Message string // what is wrong
	Hint    string // what to do about it; may be empty
}

// newProblem bounds the path: a key may be as long as the file.
func newProblem(file string, pos Position, path, message, hint string) Problem {
	const longest = 200
	if len(path) > longest {
		path = strings.ToValidUTF8(path[:longest], "") + "..."
	}
	return Problem{File: file, Line: pos.Line, Col: pos.Column, Path: path, Message: message, Hint: hint}
}

// String returns the problem as one line: "file:line:col: path: message; hint".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, max(p.Col, 1))
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems is everything that is wrong with a file, in the file's order: the error of Load and Resolve. A caller ends
// with the exit code of a wrong file.
type Problems []Problem

// Error returns one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted orders problems by their place and drops repeated ones.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return slices.Compact(ps)
}

// parentPath cuts the last step off a key path: "a.b[2]" becomes "a.b", "a" becomes "".
func parentPath(path string) string {
	if i := strings.LastIndexAny(path, ".["); i > 0 {
		return path[:i]
	}
	return ""
}

// joinPath adds a key to a path.
func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
