package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestVerifyDamagedAccounts damages one entry of a sink's commit log, and then the ledger: what is told is that, and the rest is proved.
func TestVerifyDamagedAccounts(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 60)
	r.logs, r.to = r.logs[:2], seedStart.AddDate(0, 0, 1)
	root := r.fileSink("first", "ndjson", "none")
	r.fileSink("second", "raw", "none")
	r.write()
	r.run(0, "run")
	states := func(lines map[string][]obj) (out [2]any) {
		t.Helper()
		for n, l := range lines["sink_verified"] {
			out[n] = l["state"]
		}
		return out
	}
	entries, err := filepath.Glob(filepath.Join(root, "_sluice", "commits", "*", "events", "*", "*", "000001.json"))
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	whole := mustRead(t, entries[0])
	if err := os.Truncate(entries[0], int64(len(whole)/2)); err != nil {
		t.Fatal(err)
	}
	lines := r.verifies(1)
	if got := states(lines); got != [2]any{unreadable, proved} || lines["sink_verified"][0]["slices"] != 1.0 || len(lines["verified"]) != 1 {
		t.Errorf("with a damaged entry: %v", lines)
	}
	if err := os.WriteFile(entries[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}

	mustRemove(t, filepath.Join(r.dir, "state", "ledger.db-wal"), filepath.Join(r.dir, "state", "ledger.db-shm"))
	if err := os.WriteFile(filepath.Join(r.dir, "state", "ledger.db"), make([]byte, 50_000), 0o600); err != nil {
		t.Fatal(err)
	}
	lines = r.verifies(1)
	if got := states(lines); got != [2]any{proved, proved} || len(lines["finding"]) > 0 {
		t.Errorf("with a damaged ledger: %v", lines)
	}
	r.run(1, "verify").mustSay("the ledger is damaged", "ledger rebuild")
	r.run(0, "ledger", "rebuild")
	r.mustProve()
}
