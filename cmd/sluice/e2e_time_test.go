package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestTimesOfLinesArrive has each source of logs find the times that lines tell of themselves. A vendor's own time, where there is one, is
// kept beside a line's, and stands for a line that tells none.
func TestTimesOfLinesArrive(t *testing.T) {
	t.Parallel()
	at := seedStart.Add(8 * time.Hour)
	lines := []string{"2026-03-01T07:59:59.5Z a line", "no time", `{"@timestamp":"2026-03-01T08:59:57+01:00"}`}
	own := []any{"2026-03-01T07:59:59.500000000Z", nil, "2026-03-01T07:59:57.000000000Z"}
	const vendor = "2026-03-01T08:00:00.000000000Z"
	var records []vendorsim.Record
	project := vendorsim.Project{Key: vendorsim.SeedProject, ID: vendorsim.SeedProjectID}
	for _, line := range lines {
		records = append(records, vendorsim.Record{Time: at, Line: []byte(line)})
		project.Records = append(project.Records, vendorsim.ProjectRecord{Time: at, Fields: []vendorsim.Field{vendorsim.TextField("body", []byte(line))}})
	}
	for _, tt := range []struct {
		source string
		vendor bool // tells a time of its own
		config obj
	}{
		{"rapid7-download", false, obj{"logs": []any{vendorsim.SeedWebID}}},
		{"logentries", true, obj{"logs": []any{vendorsim.SeedWebID}}},
		{"elsa", true, obj{"project_key": project.Key, "project_id": project.ID}},
	} {
		t.Run(tt.source, func(t *testing.T) {
			t.Parallel()
			r := sourcesRig(t, func(o *vendorsim.Options) {
				o.Logs = []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web", Records: records}}
				o.Elsa.Projects, o.Query.Immediate = []vendorsim.Project{project}, true
			})
			tt.config["time"] = "auto"
			p, root := r.pipelineOf("out", tt.source, "ndjson", tt.config)
			r.only(p)
			r.run(0, "run").mustSay("without time: 1")
			got := map[any]obj{}
			for _, record := range recordsOf(t, filepath.Join(root, "stream=events")) {
				got[record["body"]] = record
			}
			for i, line := range lines {
				want, attributes := own[i], any(nil)
				switch {
				case tt.vendor && want == nil:
					want = vendor
				case tt.vendor:
					attributes = obj{logtime.VendorTimestamp: vendor}
				}
				if diff := cmp.Diff([]any{want, attributes}, []any{got[line]["timestamp"], got[line]["attributes"]}); diff != "" {
					t.Errorf("%s: timestamp and attributes (-want +got):\n%s", line, diff)
				}
			}
		})
	}
}
