package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/plugintest"
	"github.com/sluice-io/sluice/proto/flow"
)

// asPlugin makes the test binary the plugin.
const asPlugin = "EXAMPLE_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

func options(t *testing.T) plugintest.Options {
	t.Helper()
	from := time.Date(2026, 11, 1, 22, 0, 0, 0, time.UTC)
	var lines strings.Builder
	for at := from; at.Before(from.Add(4 * time.Hour)); at = at.Add(time.Second) {
		fmt.Fprintf(&lines, "%s request %d took a while: %s\n", at.Format(time.RFC3339), at.Unix(), strings.Repeat("x", 100))
	}
	fmt.Fprintf(&lines, "%s \xff\n", from.Format(time.RFC3339)) // becomes a dead letter
	path := filepath.Join(t.TempDir(), "lines.txt")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]string{"path": path})
	if err != nil {
		t.Fatal(err)
	}
	return plugintest.Options{
		Settings: settings,
		Gaps:     []flow.Gap{{Partition: flow.Partition{Stream: "events"}, From: from, To: from.Add(4 * time.Hour)}},
	}
}

func TestInProcess(t *testing.T) {
	o := options(t)
	o.Definition = &definition
	plugintest.Run(t, o)
}

func TestAsAProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Command, o.Env = []string{self}, []string{asPlugin + "=1"}
	plugintest.Run(t, o)
}
