package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
)

// Exit codes; docs/cli.md lists them.
const (
	exitOK          = 0
	exitFailed      = 1   // something failed or was quarantined, or too many dead letters
	exitUsage       = 2   // command line or file
	exitStopped     = 3   // stopped early, nothing failed: run again
	exitLocked      = 4   // another run holds this state
	exitInterrupted = 130 // SIGINT
)

// exitRank orders the codes: of several the one with the lowest rank wins.
var exitRank = []int{exitUsage, exitLocked, exitInterrupted, exitFailed, exitStopped, exitOK}

// worse returns the code that takes precedence.
func worse(a, b int) int {
	for _, code := range exitRank {
		if a == code || b == code {
			return code
		}
	}
	return exitFailed
}

// exitError ends a command with a code; err is printed if it isn't nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error  { return &exitError{exitUsage, err} }
func failedError(err error) error { return &exitError{exitFailed, err} }

// codeOf is the exit code of an error that came before anything ran: of a wrong file or setting 2, of a state that is
// held 4, else 1.
func codeOf(err error) int {
	var problems config.Problems
	var missing *config.NotFoundError
	var code *exitError
	switch {
	case errors.As(err, &code):
		return code.code
	case errors.Is(err, ledger.ErrLocked):
		return exitLocked
	case errors.As(err, &problems), errors.As(err, &missing), errors.Is(err, pipeline.ErrNoClock), errors.Is(err, pipeline.ErrFirstRun):
		return exitUsage
	}
	return exitFailed
}

// printError prints an error and its hint to stderr, secrets masked; as a line of the log where that is JSON.
func (a *app) printError(err error) {
	if a.logFormat == jsonLogs && a.log.logger != nil {
		more := []any{}
		if hint := fault.HintOf(err); hint != "" {
			more = append(more, "hint", hint)
		}
		a.log.logger.Error(err.Error(), more...)
		return
	}
	text := err.Error()
	if hint := fault.HintOf(err); hint != "" && !strings.Contains(text, hint) {
		text += "\n  " + hint
	}
	fmt.Fprintln(a.stderr, "sluice: "+a.log.redactor.Redact(text))
}
