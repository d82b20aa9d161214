package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestFiguresFindWhatNoAnswerShows has two downloads end early and cleanly, which nobody can see from the answers: a run covers them, and
// the vendor's own figures give them away to verify and report.
func TestFiguresFindWhatNoAnswerShows(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{Usage: vendorsim.UsageOptions{Days: 30, Overhead: 17}}, 3000)
	r.sim.Clock().Set(seedEnd.AddDate(0, 0, 3))
	none, some := int64(0), int64(30_000)
	if err := r.sim.SetFaults(vendorsim.Script{Rules: []vendorsim.Rule{
		{Name: "short", Log: "web", Nth: []int{3}, Fault: vendorsim.Fault{EndAfter: &some}},
		{Name: "empty", Log: "app", Nth: []int{5}, Fault: vendorsim.Fault{EndAfter: &none}},
	}}); err != nil {
		t.Fatal(err)
	}
	r.fileSink("lake", "ndjson", "zstd")
	r.write()
	r.run(exitOK, "run")
	usage := 0
	for _, q := range r.sim.Requests() {
		if strings.HasPrefix(q.Path, "/usage/") {
			usage++
		}
	}
	if usage != 1 {
		t.Errorf("%d requests for figures, want one for all logs and days", usage)
	}

	c := r.run(exitFailed, "verify", "--json")
	found := map[string]string{}
	compared := 0
	for line := range strings.Lines(c.stdout.String()) {
		var l struct{ Event, Kind, Partition, From, Hint string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		switch l.Event {
		case "finding":
			found[l.Partition+" "+l.From[:10]] = l.Kind
			if l.Hint == "" {
				t.Errorf("%s has no hint", line)
			}
		case "usage_compared":
			compared++
		}
	}
	day := func(n int) string { return seedStart.AddDate(0, 0, n-1).Format(time.DateOnly) }
	want := map[string]string{vendorsim.SeedWebID + " " + day(3): "usage_short", vendorsim.SeedAppID + " " + day(5): "usage_empty"}
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
	if compared != len(r.logs) {
		t.Errorf("%d logs were compared, want %d", compared, len(r.logs))
	}
	text := r.run(exitFailed, "verify").stdout.String()
	for _, words := range []string{"usage_short: events/" + vendorsim.SeedWebID, "7 full days", "6      1"} {
		if !strings.Contains(text, words) {
			t.Errorf("verify doesn't say %q:\n%s", words, text)
		}
	}
	r.run(exitOK, "verify", "--from", day(6))

	one := r.run(exitOK, "report", "--month", "2026-03").stdout.String()
	for _, words := range []string{day(3), "less was delivered than", "nothing was delivered, and", "| 168 | 168 |"} {
		if !strings.Contains(one, words) {
			t.Errorf("the report doesn't say %q:\n%s", words, one)
		}
	}
	r.env = append(r.env, "TZ=Asia/Tokyo", "LC_ALL=de_DE.UTF-8")
	if again := r.run(exitOK, "report", "--month", "2026-03").stdout.String(); again != one {
		t.Errorf("the same ledger gave another report:\n%s", cmp.Diff(one, again))
	}
	path := filepath.Join(r.dir, "march.html")
	r.run(exitOK, "report", "--month", "2026-03", "--html", "-o", path)
	page, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(page), "less was delivered than") || strings.Contains(string(page), "<script") {
		t.Errorf("the page (%v):\n%s", err, tail(string(page)))
	}
	r.run(exitUsage, "report")
	r.run(exitUsage, "report", "--month", "March").mustSay("2026-10")
	r.run(exitUsage, "report", "--month", "2026-03", "--html", "--json")
}
