package main

import (
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
)

func TestPluginTLS(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"": false, "mutual": true} {
		a := &app{getenv: func(string) string { return value }}
		if got, err := a.mutualTLS(); got != want || err != nil {
			t.Errorf("%q: %t, %v, want %t", value, got, err, want)
		}
	}
	a := &app{getenv: func(string) string { return "on" }}
	if _, err := a.mutualTLS(); fault.KindOf(err) != fault.Config {
		t.Errorf("a value that means nothing: %v", err)
	}
}
