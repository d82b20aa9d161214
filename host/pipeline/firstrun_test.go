package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
)

// TestFirstRun: a sink that keeps no account is sent nothing under an empty ledger unless someone says so, and after that its rows are
// the truth.
func TestFirstRun(t *testing.T) {
	b := newBench(t, 4, 2)
	var first, from bool
	b.edit = func(c *Config) {
		c.Sinks[1].Sink = noMemory{b.sinks[1]}
		c.FirstRun, c.FromSaid = first, from
	}
	b.sinks[1].takesTwice = true
	refused := func(words ...string) {
		t.Helper()
		before := len(b.source.reads)
		_, err := b.run(span(0, 50))
		if !errors.Is(err, ErrFirstRun) || fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "--first-run") {
			t.Fatalf("got %v (%s)", err, fault.HintOf(err))
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v doesn't say %q", err, w)
			}
		}
		if len(b.source.reads) > before {
			t.Error("the vendor was asked")
		}
	}
	taken := func(n int) {
		t.Helper()
		if s, err := b.run(span(0, 50)); err != nil || !s.Complete() {
			t.Fatalf("got %v, %+v", err, s)
		}
		sum := 0
		for _, times := range b.sinks[1].store.bodies {
			sum += times
		}
		if sum != n {
			t.Errorf("it was sent %d records, want %d", sum, n)
		}
	}
	refused("everything from 2026-11-02T00:00:00Z on")
	first = true
	taken(50)
	first = false
	taken(50) // its rows are the truth

	// A ledger that was lost is told from a sink that is new.
	state := filepath.Join(b.dir, "state")
	for _, name := range []string{ledger.FileName, ledger.FileName + "-wal", ledger.FileName + "-shm"} {
		if err := os.Remove(filepath.Join(state, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	refused("this state has written to it since")

	// --from says so for what begins there, and for no more.
	from = true
	if s, err := b.run(span(40, 50)); err != nil || !s.Complete() {
		t.Fatalf("got %v, %+v", err, s)
	}
	from = false
	if s, err := b.run(span(40, 50)); err != nil || !s.Complete() {
		t.Fatalf("got %v, %+v", err, s)
	}
	refused("--from")
	first = true
	taken(50 + 10 + 40)
}

// TestOneRun: what is meant to last for one run only needs no leave.
func TestOneRun(t *testing.T) {
	b := newBench(t, 4, 1)
	b.sinks[0].takesTwice = true
	b.edit = func(c *Config) {
		c.Sinks[0].Sink, c.Sinks[0].OneRun = noMemory{b.sinks[0]}, true
	}
	if s, err := b.run(span(0, 50)); err != nil || !s.Complete() {
		t.Fatalf("got %v, %+v", err, s)
	}
}
