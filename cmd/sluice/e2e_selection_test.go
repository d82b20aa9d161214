package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestNewSelection lets another query into a folder: it lies apart, goes on by itself afterwards, and so does the first.
func TestNewSelection(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 500)
	r.logs = []string{vendorsim.SeedWebID}
	r.to = seedStart.AddDate(0, 0, 1)
	root := r.fileSink("out", "raw", "none")
	r.write()
	r.run(0, "run")

	r.source["query"] = "where(GET)"
	r.write()
	c := r.run(2, "run")
	c.mustSay("belongs to pipeline", "with selection", "--new-selection")
	r.run(0, "run", "--new-selection").mustSay("committed")
	apart, err := filepath.Glob(filepath.Join(root, "selection=*", "stream=events", "log_id="+vendorsim.SeedWebID, "date=2026-03-01", "*.log"))
	if err != nil || len(apart) != 1 {
		t.Fatalf("apart: %v, %v", apart, err)
	}
	text, err := os.ReadFile(apart[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if !strings.Contains(line, "GET") {
			t.Errorf("a line that the query doesn't want: %q", line)
		}
	}
	views := r.run(0, "sql", "duckdb")
	folder := strings.Split(strings.TrimPrefix(apart[0], root+"/"), "/")[0]
	for _, want := range []string{
		`_events" AS`, "_events_" + strings.TrimPrefix(folder, "selection="), filepath.Join(root, folder, "stream=events"), filepath.Join(root, "stream=events"),
	} {
		if !strings.Contains(views.stdout.String(), want) {
			t.Errorf("sql duckdb doesn't say %q:\n%s", want, views.stdout.String())
		}
	}
	r.run(0, "run").mustSay("nothing to do")
	r.to = seedStart.AddDate(0, 0, 2)
	r.write()
	r.run(0, "run").mustSay("committed")

	delete(r.source, "query")
	r.write()
	r.run(0, "run").mustSay("committed")
	r.mustProve() // both selections
	mustRemove(t, filepath.Join(r.dir, "state"))
	r.run(0, "ledger", "rebuild")
	r.run(0, "run").mustSay("nothing to do")
	r.run(0, "status")
	r.mustHoldLog(root, "raw", vendorsim.SeedWebID, r.from, r.to)
	owner, err := os.ReadFile(filepath.Join(root, "_sluice", "owner.json"))
	if err != nil || strings.Count(string(owner), `"layout"`) != 2 || !strings.Contains(string(owner), `"v": 2`) {
		t.Errorf("owner.json: %s, %v", owner, err)
	}
}
