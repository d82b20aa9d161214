package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart/hec"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// dataFiles counts the part files below a root.
func dataFiles(t testing.TB, root string) (n int) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "_sluice" {
			return filepath.SkipDir
		}
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestForget makes a day a gap again and reads it anew: whole commits only, never while their data is there, and with the data if that
// is wanted.
func TestForget(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 2000)
	r.logs = []string{vendorsim.SeedWebID, vendorsim.SeedAppID}
	r.to = seedStart.AddDate(0, 0, 3)
	root := r.fileSink("out", "raw", "none")
	r.write()
	r.run(0, "run")
	all, files := len(commits(t, root)), dataFiles(t, root)

	day := []string{"forget", "main", "--from", "2026-03-02", "--to", "2026-03-03"}
	r.run(2, "forget", "main", "--from", "2026-03-02T06:00:00Z", "--to", "2026-03-02T07:00:00Z", "--yes").
		mustSay("only whole commits", "--from 2026-03-02T00:00:00.000Z --to 2026-03-03T00:00:00.000Z")
	if text := r.run(2, append(day, "--dry-run", "--delete", "--partition", "nobody")...).stderr.String(); !strings.Contains(text, `no partition is called "nobody"`) {
		t.Errorf("an unknown partition: %s", text)
	}
	if text := r.run(2, append(day, "--dry-run")...).stdout.String(); strings.Count(text, "1 commit would be forgotten") != 2 {
		t.Errorf("dry run: %s", text)
	}
	r.run(2, append(day, "--yes")...).mustSay("would be there twice", "--delete")
	r.run(2, append(day, "--delete")...).mustSay("--yes does it")
	r.run(2, append(day, "--keep", "--yes")...).mustSay("--keep is for sinks that can't delete")
	if n := len(commits(t, root)); n != all || dataFiles(t, root) != files {
		t.Fatalf("%d entries and %d files after what was refused", n, dataFiles(t, root))
	}

	r.run(0, append(day, "--delete", "--yes", "--partition", vendorsim.SeedWebID)...)
	if n := dataFiles(t, root); n != files-1 {
		t.Errorf("%d files, were %d", n, files)
	}
	if text := r.run(0, append(day, "--dry-run", "--delete")...).stdout.String(); strings.Count(text, "would be forgotten") != 1 {
		t.Errorf("after the first: %s", text)
	}
	r.run(0, "run").mustSay("committed")
	r.mustHold(root, "raw", r.from, r.to)
	if n := dataFiles(t, root); n != files {
		t.Errorf("%d files, were %d", n, files)
	}

	// The file is gone already, as by someone's retention: then nothing need be deleted. The ledger needn't be there either.
	gone, err := filepath.Glob(filepath.Join(root, "stream=events", "*", "date=2026-03-01", "*"))
	if err != nil || len(gone) != 2 {
		t.Fatalf("%v, %v", gone, err)
	}
	mustRemove(t, append(gone, filepath.Join(r.dir, "state"))...)
	r.run(0, "forget", "--from", "2026-03-01", "--to", "2026-03-02", "--yes") // the only pipeline needs no name
	r.run(0, "forget", "main", "--from", "2026-03-01", "--to", "2026-03-02", "--yes").mustSay("nothing of")
	r.run(0, "run").mustSay("committed")
	r.mustHold(root, "raw", r.from, r.to)
}

// TestForgetBesideARun is refused.
func TestForgetBesideARun(t *testing.T) {
	t.Parallel()
	r, _, _ := followRig(t)
	r.fileSink("out", "raw", "none")
	r.write()
	c := r.prepare("run").start()
	c.await("the lock", func() bool {
		_, err := os.Stat(filepath.Join(r.dir, "state", "control.json"))
		return err == nil
	})
	r.run(4, "forget", "main", "--from", "2026-03-01", "--to", "2026-03-02", "--yes").mustSay("stop the run first")
	c.kill()
}

// TestForgetAtLeastOnce: of a sink that keeps no account only the ledger forgets, and all of the range is sent again.
func TestForgetAtLeastOnce(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 500)
	r.logs = []string{vendorsim.SeedWebID}
	r.to = seedStart.AddDate(0, 0, 2)
	const token = "t0ken-0f-the-receiver"
	server := hec.Start(t, hec.Options{Tokens: map[string]hec.Token{token: {Ack: true}}, MaxContent: 16 << 20})
	r.sinks = append(r.sinks, obj{"name": "siem", "type": "splunk_hec", "config": obj{"endpoint": server.URL, "token": token}})
	r.write()
	r.run(0, "run", "--first-run")
	once := len(server.Events())
	r.run(0, "forget", "main", "--from", "2026-03-02", "--to", "2026-03-03", "--yes")
	r.run(0, "run")
	r.run(0, "run").mustSay("nothing to do")
	if n := len(server.Events()); n <= once || n >= 2*once {
		t.Errorf("%d records were received, %d before", n, once)
	}
}
