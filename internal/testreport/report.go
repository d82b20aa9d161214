package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json` and `go help buildjson`.
type event struct {
	Action     string
	Package    string // of a test event
	ImportPath string // of a build event
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// unit is what output is collected for: a test, a package (empty test), or a build.
type unit struct{ pkg, test string }

// report gathers events. It is not safe for concurrent use.
type report struct {
	out     io.Writer
	output  map[unit][]string
	open    map[string]bool // packages that have begun and not ended
	skipped []string        // "package Test: reason"
	failed  []string        // packages and builds, in the order of their failure
	tests   int             // tests and subtests that ran to an end
	pkgs    int             // packages that ended
	parents map[unit]bool   // tests that have subtests
	seconds map[unit]float64
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[unit][]string{}, open: map[string]bool{}, parents: map[unit]bool{}, seconds: map[unit]float64{}}
}

// read consumes events until EOF and prints packages as they end. A line that is not an event is an error: output that can't be
// understood must not look like success.
func (r *report) read(in io.Reader) error {
	br := bufio.NewReader(in)
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read line %d: %w", n, err)
		}
		if len(strings.TrimSpace(string(line))) > 0 {
			var e event
			if jerr := json.Unmarshal(line, &e); jerr != nil || e.Action == "" {
				return fmt.Errorf("line %d is not an event of go test -json: %q", n, line)
			}
			if werr := r.add(e); werr != nil {
				return fmt.Errorf("write report: %w", werr)
			}
		}
		if err != nil {
			return nil //nolint:nilerr // io.EOF
		}
	}
}

func (r *report) add(e event) error {
	u := unit{e.Package, e.Test}
	if e.ImportPath != "" {
		u.pkg = "build " + e.ImportPath
	}
	switch e.Action {
	case "start":
		r.open[e.Package] = true
	case "output", "build-output":
		r.output[u] = append(r.output[u], e.Output)
	case "build-fail":
		r.failed = append(r.failed, u.pkg)
		return r.dump(u)
	case "pass", "fail", "skip":
		if e.Test != "" {
			return r.endTest(e, u)
		}
		return r.endPackage(e.Action, u)
	}
	return nil
}

func (r *report) endTest(e event, u unit) error {
	r.tests++
	r.clock(e, u)
	if e.Action == "fail" {
		return r.dump(u)
	}
	if e.Action == "skip" {
		r.skipped = append(r.skipped, u.pkg+" "+u.test+": "+reason(r.output[u]))
	}
	delete(r.output, u)
	return nil
}

func (r *report) endPackage(action string, u unit) error {
	delete(r.open, u.pkg)
	r.pkgs++
	lines := r.output[u]
	delete(r.output, u)
	if action == "fail" {
		r.failed = append(r.failed, u.pkg)
		// A test that a panic or a timeout cut short has output and no end of its own.
		for _, cut := range r.unended(u.pkg) {
			if err := r.dump(cut); err != nil {
				return err
			}
		}
		_, err := io.WriteString(r.out, strings.Join(lines, ""))
		return err
	}
	for _, line := range lines {
		if isClosing(line) {
			if _, err := io.WriteString(r.out, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// unended returns the tests of a package that have output left, in order.
func (r *report) unended(pkg string) []unit {
	var left []unit
	for u := range r.output {
		if u.pkg == pkg && u.test != "" {
			left = append(left, u)
		}
	}
	slices.SortFunc(left, func(a, b unit) int { return strings.Compare(a.test, b.test) })
	return left
}

func (r *report) dump(u unit) error {
	_, err := io.WriteString(r.out, strings.Join(r.output[u], ""))
	delete(r.output, u)
	return err
}

// clock adds what a test without subtests took to its outermost one. The time of a test with subtests that are parallel holds that for
// which they wait for others.
func (r *report) clock(e event, u unit) {
	if i := strings.LastIndexByte(u.test, '/'); i >= 0 {
		r.parents[unit{u.pkg, u.test[:i]}] = true
	}
	if !r.parents[u] {
		outer, _, _ := strings.Cut(u.test, "/")
		r.seconds[unit{u.pkg, outer}] += e.Elapsed
	}
}

// slowest prints the n tests that took longest, by the sum of their subtests.
func (r *report) slowest(n int) error {
	all := slices.SortedFunc(maps.Keys(r.seconds), func(a, b unit) int {
		return cmp.Or(cmp.Compare(r.seconds[b], r.seconds[a]), strings.Compare(a.pkg, b.pkg), strings.Compare(a.test, b.test))
	})
	for i, u := range all[:min(n, len(all))] {
		if i == 0 {
			if _, err := io.WriteString(r.out, "slowest:\n"); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
		}
		if _, err := fmt.Fprintf(r.out, "  %6.1fs  %s %s\n", r.seconds[u], u.pkg, u.test); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

// finish prints what was skipped and the count, and returns why the run is a failure, or nil.
func (r *report) finish(forbidSkips bool) error {
	if len(r.skipped) > 0 {
		if _, err := fmt.Fprintf(r.out, "skipped:\n  %s\n", strings.Join(r.skipped, "\n  ")); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if _, err := fmt.Fprintf(r.out, "%d tests and subtests ended, %d skipped\n", r.tests, len(r.skipped)); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	var errs []error
	if r.pkgs == 0 && len(r.open) == 0 {
		errs = append(errs, errors.New("no package was tested"))
	}
	if len(r.failed) > 0 {
		errs = append(errs, fmt.Errorf("failed: %s", strings.Join(r.failed, ", ")))
	}
	if len(r.open) > 0 {
		var open []string
		for pkg := range r.open {
			open = append(open, pkg)
		}
		slices.Sort(open)
		errs = append(errs, fmt.Errorf("never ended: %s", strings.Join(open, ", ")))
	}
	if forbidSkips && len(r.skipped) > 0 {
		errs = append(errs, fmt.Errorf("%d tests were skipped, and skips are forbidden here", len(r.skipped)))
	}
	return errors.Join(errs...)
}

// isClosing says whether a line of a package that passed is the one go test closes it with.
func isClosing(line string) bool {
	return strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "?   \t")
}

// reason is what a skipped test logged, on one line, without go test's own frame lines.
func reason(output []string) string {
	var words []string
	for _, line := range output {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "=== ") || strings.HasPrefix(trimmed, "--- ") {
			continue
		}
		words = append(words, trimmed)
	}
	if len(words) == 0 {
		return "no reason given"
	}
	return strings.Join(words, " ")
}
