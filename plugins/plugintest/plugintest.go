// Package plugintest is the conformance suite for source plugins: ours and anyone's, in process or as a process. It speaks
// the raw protocol, so it also tests plugins that don't use this SDK.
//
//	func TestConformance(t *testing.T) {
//		plugintest.Run(t, plugintest.Options{Definition: &acme.Definition, Settings: settings, Gaps: gaps})
//	}
//
// It asks for little: settings that work against a simulated vendor, and gaps of which at least one holds records.
package plugintest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// Options say what is tested. Exactly one of Definition and Command is set.
type Options struct {
	Definition *plugins.Definition // run in this process
	Command    []string            // run as a process: path and arguments
	Env        []string            // of the process, beside the handshake; it sees nothing of this process's own

	Settings json.RawMessage // as a host would send them, secrets resolved
	Secrets  []string        // must appear nowhere on stderr or in an error
	Gaps     []flow.Gap      // of one or more streams; the slices of at least one hold records
	Reads    int             // slices of each gap to read; zero: 2

	// Alloc is the allocator that the source uses in this process, if it was made to: it must be empty at the end.
	Alloc *memory.CheckedAllocator

	// Skip names checks that don't apply, each with the reason, which is logged.
	Skip map[string]string
}

// check is one promise of a plugin. An error says how it was broken.
type check struct {
	name  string
	run   func(ctx context.Context, s *subject) error
	waits bool // most of the time, so that it runs beside the others that do
}

// checks lists every promise, in the order in which they are tested. The names are stable: they stand in Options.Skip.
var checks = []check{
	{"describe", checkDescribe, false},
	{"plan covers the gap exactly", checkPlan, false},
	{"plan is pure", checkPure, false},
	{"manifest equals what was sent", checkManifest, false},
	{"reading again gives the same manifest", checkSameManifest, false},
	{"no credit stops emission and one grant resumes it", checkCredit, true},
	{"stop ends a read in time", checkStop, true},
	{"the end of a context ends a read in time", checkCancel, true},
	{"measures are of what was asked", checkMeasures, false},
	{"errors are statuses with a kind", checkErrors, false},
	{"a second configure is refused", checkConfigureOnce, false},
	{"no secret on stderr or in errors", checkSecrets, false},
}

// timeout bounds each check. The slowest waits for a heartbeat and for a stop, both of which the protocol limits.
const timeout = 60 * time.Second

func (c check) within(ctx context.Context, s *subject) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.run(ctx, s)
}

// Run tests a plugin. Every check is a subtest of its own name.
func Run(t *testing.T, o Options) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	s, err := start(t.Context(), o)
	if err != nil {
		t.Fatalf("start the plugin: %v", err)
	}
	var waiting sync.WaitGroup
	found := make([]error, len(checks)) // by those that wait
	for i, c := range checks {
		if _, skip := o.Skip[c.name]; skip || !c.waits {
			continue
		}
		waiting.Go(func() { found[i] = c.within(t.Context(), s) })
	}
	for i, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if reason, skip := o.Skip[c.name]; skip {
				t.Skipf("doesn't apply: %s", reason)
			}
			if c.waits {
				waiting.Wait()
			} else {
				found[i] = c.within(t.Context(), s)
			}
			if found[i] != nil {
				t.Error(found[i])
			}
		})
	}
	waiting.Wait() // none of them may have been asked for
	for name := range o.Skip {
		if !known(name) {
			t.Errorf("Skip names %q, which is no check", name)
		}
	}
	if err := s.close(); err != nil {
		t.Errorf("end of the plugin: %v", err)
	}
	t.Run("nothing leaks", func(t *testing.T) {
		if err := goleak.Find(before, ignoreTesting); err != nil {
			t.Error(err)
		}
		if o.Alloc != nil {
			o.Alloc.AssertSize(t, 0)
		}
	})
}

// ignoreTesting leaves out the goroutine that waits for this subtest.
var ignoreTesting = goleak.IgnoreAnyFunction("testing.(*T).Run")

func known(name string) bool {
	for _, c := range checks {
		if c.name == name {
			return true
		}
	}
	return false
}
