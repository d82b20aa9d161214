package ledger

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")

// TestDocumentedQueries runs each query of docs/ledger.md in the sqlite3 shell beside the open ledger.
func TestDocumentedQueries(t *testing.T) {
	shell := realpart.Need(t, "sqlite3", "apt-get install sqlite3")
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "ledger.md"))
	must(t, err)
	dir := t.TempDir()
	l := open(t, dir)
	must(t, l.RecordAll(t.Context(), "A", receipts(minutes(12*60, 12*60+30), minutes(12*60+30, 13*60), minutes(14*60, 15*60))))
	must(t, l.Begin(t.Context(), []string{"B"}, minutes(0, 10), 0))
	must(t, l.Fail(t.Context(), []string{"B"}, minutes(10, 20), Quarantined, fault.Corrupt, "cut stream", "look at the proxy"))
	must(t, l.Split(t.Context(), []string{"B"}, minutes(20, 40), []flow.Slice{minutes(20, 30), minutes(30, 40)}, 7, 70))
	must(t, l.MarkUnavailable(t.Context(), testPartition, minutes(100, 110).Range(), "older than 90 days"))
	must(t, l.RecordRun(t.Context(), Run{Pipeline: "prod", Start: day0, End: day0.AddDate(0, 0, 1), Exit: 1, Summary: []byte(`{"rows":3}`)}))
	_, err = l.DB().ExecContext(t.Context(), `INSERT INTO budget_namespaces (key, namespace, boot, window_ns, allowed_requests, allowed_bytes)
		VALUES ('00ff', 'download', 'b', 900000000000, 135, 67500)`)
	must(t, err)

	digest := minutes(12*60, 13*60)
	want := []string{
		"prod|sink A|events|log-1|2026-11-01T12:00:00.000Z|2026-11-01T13:00:00.000Z|2|20|2000\n" +
			"prod|sink A|events|log-1|2026-11-01T14:00:00.000Z|2026-11-01T15:00:00.000Z|1|10|1000",
		"sink B|log-1|2026-11-01T00:10:00.000Z|2026-11-01T00:20:00.000Z|quarantined|0|corrupt|cut stream|look at the proxy",
		"sink B|log-1|reading|2026-11-01T00:00:00.000Z|2026-11-01T00:10:00.000Z|1\n" +
			"sink B|log-1|planned|2026-11-01T00:20:00.000Z|2026-11-01T00:30:00.000Z|0\n" +
			"sink B|log-1|planned|2026-11-01T00:30:00.000Z|2026-11-01T00:40:00.000Z|0",
		"sink A|events|log-1|2026-11-01|30|3000|0",
		"sink A|2026-11-01T12:00:00.000Z|2026-11-01T12:30:00.000Z|a/" + minutes(12*60, 12*60+30).ID.String() + ".log|00\n" +
			"sink A|2026-11-01T12:30:00.000Z|2026-11-01T13:00:00.000Z|a/" + minutes(12*60+30, 13*60).ID.String() + ".log|00",
		"log-1|2026-11-01T00:20:00.000Z|2026-11-01T00:40:00.000Z|7|70",
		"events|log-1|2026-11-01T01:40:00.000Z|2026-11-01T01:50:00.000Z|older than 90 days|AT|" + digest.Selection.String() + "\n" +
			"prod|2026-11-01T00:00:00.000Z|2026-11-02T00:00:00.000Z|1|3\n" +
			"00ff|download|900.0|0|135|0|67500",
	}
	var got []string
	for _, m := range sqlBlock.FindAllStringSubmatch(string(text), -1) {
		out, err := exec.Command(shell, "-readonly", "-bail", filepath.Join(dir, FileName), m[1]).CombinedOutput()
		if err != nil {
			t.Errorf("%s\n%v: %s", m[1], err, out)
		}
		got = append(got, strings.TrimSpace(string(out)))
	}
	// The one time of the list that is the test's own.
	now := regexp.MustCompile(`(older than 90 days\|)[0-9TZ:.-]+`)
	for i := range got {
		got[i] = now.ReplaceAllString(got[i], "${1}AT")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// TestDocumentedNames holds that every table and view is described.
func TestDocumentedNames(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "ledger.md"))
	must(t, err)
	l := open(t, t.TempDir())
	rows, err := l.reader.QueryContext(t.Context(), `SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'`)
	must(t, err)
	defer func() { must(t, rows.Close()) }()
	n := 0
	for rows.Next() {
		var name string
		must(t, rows.Scan(&name))
		if n++; !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/ledger.md doesn't name %s", name)
		}
	}
	must(t, rows.Err())
	if n < 10 {
		t.Errorf("%d tables and views", n)
	}
}
