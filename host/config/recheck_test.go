package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRecheck reads both forms of the key: a list, and a group of which the list is the first key.
func TestRecheck(t *testing.T) {
	for _, tc := range []struct {
		name, written string
		want          Recheck
	}{
		{"none", "", Recheck{}},
		{"list", "recheck: [24h, 1h]", Recheck{After: []time.Duration{time.Hour, 24 * time.Hour}, When: RecheckMoved}},
		{"group", "recheck: {after: [90m]}", Recheck{After: []time.Duration{90 * time.Minute}, When: RecheckMoved}},
		{"always", "recheck: {after: [1d], when: always}", Recheck{After: []time.Duration{24 * time.Hour}, When: RecheckAlways}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.ReplaceAll(`
pipelines:
  - name: a
    source: {type: rapid7-download, config: {region: eu, api_key: "${env:KEY}", logs: [aee00b66-a543-43dc-b093-53963c2e8f41]}}
    range: {last: 1d}
    sinks: [{type: file, config: {path: ./a}}]
    RECHECK
`, "RECHECK", tc.written)
			c, err := Parse("sluice.yaml", []byte(text), testRegistry(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, c.Pipelines[0].Recheck); diff != "" {
				t.Error(diff)
			}
		})
	}
}
