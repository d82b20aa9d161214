package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// cancelOn ends a context when a word is written to it.
type cancelOn struct {
	strings.Builder

	word   string
	cancel func()
}

func (c *cancelOn) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.word) {
		c.cancel()
	}
	return c.Builder.Write(p)
}

// TestInterruptedBetweenPipelines: what ends after the last step of one pipeline that looks at its context isn't all that was asked for.
func TestInterruptedBetweenPipelines(t *testing.T) {
	r := seededRig(t, vendorsim.Options{}, 100)
	r.fileSink("out", "raw", "none")
	r.second = obj{"name": "other", "sinks": []map[string]any{
		{"name": "out2", "type": "file", "config": obj{"path": filepath.Join(r.dir, "out2"), "format": "raw"}},
	}}
	r.write()
	r.run(0, "run", "-q")
	t.Setenv("E2E_KEY", secretKey)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(strings.ToUpper(name), "HTTP") {
			t.Setenv(name, "")
		}
	}
	for _, when := range []string{"before", "after the first"} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if when == "before" {
			cancel()
		}
		out := &cancelOn{word: "the ledger held", cancel: cancel}
		a := &app{
			stdin: strings.NewReader(""), stdout: out, stderr: &strings.Builder{}, getenv: os.Getenv, file: r.configPath(), logLevel: "info", logFormat: "text",
		}
		if err := a.startLogging(); err != nil {
			t.Fatal(err)
		}
		if err := a.rebuild(ctx, nil, nil); err == nil || strings.Contains(out.String(), "out2") {
			t.Errorf("rebuild, interrupted %s: %v\n%s", when, err, out)
		}
		if when == "before" {
			if err := a.retry(ctx, nil, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("retry: %v\n%s", err, out)
			}
		}
	}
}
