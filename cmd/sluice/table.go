package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// printTable prints rows with aligned columns to stdout, secrets masked. A row whose only filled cell is the first is left
// out: there is nothing to say.
func (a *app) printTable(rows [][]string) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		if len(row) > 1 && strings.Join(row[1:], "") == "" {
			continue
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n") // the last column is padded too
	}
	return a.printText(out.String())
}

// printText prints to stdout, secrets masked.
func (a *app) printText(text string) error {
	a.printMu.Lock()
	defer a.printMu.Unlock()
	_, err := fmt.Fprint(a.stdout, a.log.redactor.Redact(text))
	a.printFailed(err)
	return err
}

// printFailed keeps the first error of standard output, which ends the command as a failure. The caller holds printMu.
func (a *app) printFailed(err error) {
	if a.printErr == nil {
		a.printErr = err
	}
}

// say tells the operator something on stderr, unless -q was given.
func (a *app) say(format string, args ...any) {
	switch {
	case a.quiet:
	case a.logFormat == jsonLogs:
		a.log.logger.Info(fmt.Sprintf(format, args...))
	default:
		fmt.Fprintln(a.log.out, a.log.redactor.Redact(fmt.Sprintf(format, args...)))
	}
}
