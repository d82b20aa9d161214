package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestToBound: check --online finds out what the vendor makes of `to`, by few requests and whatever the setting says.
func TestToBound(t *testing.T) {
	t.Parallel()
	records := []vendorsim.Record{{Time: seedStart.Add(7*time.Hour + 123*time.Millisecond), Line: []byte("one")}}
	for n := range 50 {
		records = append(records, vendorsim.Record{Time: seedStart.Add(9*time.Hour + time.Duration(n)*17*time.Minute), Line: fmt.Appendf(nil, "line %d", n)})
	}
	tests := []struct {
		vendor, set string
		records     []vendorsim.Record
		code        int
		is          string
		say         string
	}{
		{"exclusive", "exclusive", records, 0, "exclusive", ""},
		{"inclusive", "inclusive", records[:1], 0, "inclusive", ""},
		{"inclusive", "exclusive", records, 2, "inclusive", "come a second time"},
		{"exclusive", "inclusive", records[:1], 2, "exclusive", "never read"},
		{"exclusive", "exclusive", nil, 0, "", "has no records"},
	}
	for _, tt := range tests {
		t.Run(tt.vendor+" set "+tt.set, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, vendorsim.Options{
				Logs:        []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web", Records: tt.records}},
				ToInclusive: tt.vendor == "inclusive",
			})
			r.source["to_bound"] = tt.set
			r.to = seedStart.AddDate(0, 0, 1)
			r.fileSink("out", "raw", "none")
			r.write()
			if tt.code != 0 {
				r.run(tt.code, "check", "--online").mustSay(tt.say, "set to_bound: "+tt.is)
				return
			}
			c := r.run(0, "check", "--online", "--json")
			var line checkedPipeline
			for _, text := range strings.Split(c.stdout.String(), "\n") {
				if strings.Contains(text, `"pipeline_checked"`) {
					if err := json.Unmarshal([]byte(text), &line); err != nil {
						t.Fatal(err)
					}
				}
			}
			if line.Vendor == nil || line.Vendor.ToBound == nil {
				t.Fatalf("nothing was told: %s", c.stdout.String())
			}
			if got := *line.Vendor.ToBound; got.Is != tt.is || got.Set != tt.set || got.Reads > 45 || !strings.Contains(got.Why, tt.say) {
				t.Errorf("%+v", got)
			}
		})
	}
}
