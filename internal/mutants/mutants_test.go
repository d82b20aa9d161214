package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMutantsFitTheSource keeps the table current: what a mutant changes stands once in its file, and its test exists.
func TestMutantsFitTheSource(t *testing.T) {
	function := regexp.MustCompile(`Test\w+`)
	for _, m := range all() {
		t.Run(m.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m.file)))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.old); n != 1 {
				t.Errorf("%s holds what is to be changed %d times, want once", m.file, n)
			}
			if m.new == m.old {
				t.Error("it changes nothing")
			}
			tests, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(m.tests()), "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, name := range tests {
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(text)
			}
			for _, name := range function.FindAllString(m.test, -1) {
				if !strings.Contains(all.String(), "func "+name+"(t *testing.T)") {
					t.Errorf("%s has no %s", m.tests(), name)
				}
			}
		})
	}
}

// TestMutantThatDoesNotFit shows that a mutant that can't be applied, or whose file is gone, is an error and not a success.
func TestMutantThatDoesNotFit(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a.go", []byte("package a // one one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, m := range []mutant{{file: "a.go", old: "two"}, {file: "a.go", old: "one"}} {
		if err := m.mustBeCaught(t.Context(), t.TempDir()); !errors.Is(err, errDoesNotFit) {
			t.Errorf("%q: %v, want that it doesn't fit", m.old, err)
		}
	}
	if err := (mutant{file: "b.go", old: "one"}).mustBeCaught(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no such file", err)
	}
}
