// Command mutants shows that the tests would catch the mistakes that matter most: it breaks one rule of the program at a time and
// requires that a named test fails. The source tree isn't touched: a mutant is an overlay of the compiler's.
//
//	go run ./internal/mutants            all mutants
//	go run ./internal/mutants -run grant those whose name matches
//	go run ./internal/mutants -list
//
// It exits with 1 if a mutant survives, doesn't compile, or no longer fits the source.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// mutant is one broken rule.
type mutant struct {
	name string // the rule that is broken
	file string
	old  string // stands exactly once in the file
	new  string
	pkg  string // whose test has to fail; empty: the file's own
	test string // pattern of go test -run
}

// errDoesNotFit is of a mutant that can't be applied, which shows nothing.
var errDoesNotFit = errors.New("it doesn't fit the code")

func main() {
	pattern := flag.String("run", "", "only mutants whose name matches this regular expression")
	list := flag.Bool("list", false, "print the mutants and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *pattern, *list)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pattern string, list bool) error {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var errs []error
	tried := 0
	for _, m := range all() {
		if !wanted.MatchString(m.name) {
			continue
		}
		tried++
		if list {
			fmt.Printf("%-60s %s\n", m.name, m.file)
			continue
		}
		began := time.Now()
		err := m.mustBeCaught(ctx, dir)
		verdict := "caught by " + m.tests() + " " + m.test
		if err != nil {
			verdict = "NOT CAUGHT"
			if errors.Is(err, errDoesNotFit) {
				verdict = "DOESN'T FIT THE CODE"
			}
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
		}
		fmt.Printf("%-60s %s (%.1fs)\n", m.name, verdict, time.Since(began).Seconds())
	}
	if tried == 0 {
		return fmt.Errorf("no mutant's name matches %q", pattern)
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d mutants weren't caught:\n%w", len(errs), tried, errors.Join(errs...))
	}
	return nil
}

// tests returns the package whose test has to fail.
func (m mutant) tests() string { return cmp.Or(m.pkg, "./"+path.Dir(m.file)) }

// mustBeCaught builds the mutant, which must work, and runs its test, which must not.
func (m mutant) mustBeCaught(ctx context.Context, dir string) error {
	overlay, err := m.overlay(dir)
	if err != nil {
		return err
	}
	binary := filepath.Join(dir, "mutant.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-w", "-o", binary, "-overlay", overlay, m.tests())
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("it doesn't compile: %w\n%s", err, out)
	}
	test := exec.CommandContext(ctx, binary, "-test.v", "-test.run", m.test, "-test.timeout", "4m", "-test.failfast")
	test.Dir = filepath.FromSlash(m.tests())
	// A server that isn't installed would fail the test where it is required, and that would pass for a mutant that was caught.
	test.Env = append(os.Environ(), "GOTRACEBACK=single", "SLUICE_TEST_SIZE=full", "SLUICE_REQUIRE_PARTS=")
	out, err := test.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && strings.Contains(string(out), "no tests to run"):
		return fmt.Errorf("%s has no test that matches %s", m.tests(), m.test)
	case err == nil && strings.Contains(string(out), "--- SKIP: "):
		return fmt.Errorf("%s %s was skipped: install what it runs against\n%s", m.tests(), m.test, out)
	case err == nil:
		return fmt.Errorf("%s %s passes all the same", m.tests(), m.test)
	case !strings.Contains(string(out), "--- FAIL: "):
		return fmt.Errorf("%s %s doesn't fail as a test does: %w\n%s", m.tests(), m.test, err, out)
	}
	return nil
}

// overlay writes the changed file and what tells the compiler of it.
func (m mutant) overlay(dir string) (string, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return "", fmt.Errorf("run it in the module's root: %w", err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("%w: %s holds what is to be changed %d times, want once: adapt the mutant", errDoesNotFit, m.file, n)
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		return "", err
	}
	path, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, replaced, 0o600)
}
