package main

import (
	"path/filepath"
	"testing"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// TestRootOfLabels: a sink's folder is told from its settings as the sink itself tells it, whatever the labels hold.
func TestRootOfLabels(t *testing.T) {
	t.Parallel()
	for _, label := range []string{"acme", "Acme GmbH", "a/b", "..", "_x", "50%", "Zürich", `q"[1]`} {
		p := &config.Pipeline{Name: "main", Source: config.Source{Type: "elsa"}, Labels: map[string]string{"tenant": label}}
		got := config.ExpandRoot("./lake/{source}/{labels.tenant}/{pipeline}", p)
		if want := "./" + filepath.Join("lake", "elsa", commitlog.EscapeName(label), "main"); got != want {
			t.Errorf("%q: got %s, want %s", label, got, want)
		}
	}
}
