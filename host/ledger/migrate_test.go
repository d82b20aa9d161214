package ledger

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
)

// TestSchemaGolden pins what people query.
func TestSchemaGolden(t *testing.T) {
	l := open(t, t.TempDir())
	var dump strings.Builder
	must(t, l.query(t.Context(), "dump", func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		dump.WriteString(text + ";\n")
		return err
	}, `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name`))
	golden := filepath.Join("testdata", "schema.sql")
	if *update {
		must(t, os.MkdirAll("testdata", 0o777))
		must(t, os.WriteFile(golden, []byte(dump.String()), 0o666))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(string(want), dump.String()); diff != "" {
		t.Errorf("the schema has changed: a new file in schema/, never another text in one that was released (-want +got):\n%s", diff)
	}
}

func TestMigrate(t *testing.T) {
	dir := t.TempDir()
	old := Options{Version: "v0.1.0", migrations: migrations()[:1]}
	l, err := Open(t.Context(), dir, old)
	must(t, err)
	must(t, l.RegisterSink(t.Context(), SinkInfo{Identity: "A"}, nil))
	must(t, l.Record(t.Context(), "A", receipt(minutes(0, 1), 1)))
	must(t, l.Close())

	// A step that fails leaves the old schema.
	bad := Options{Version: "v0.2.0", migrations: append(migrations()[:1:1], migration{2, `CREATE TABLE x (y); CREATE TABLE x (y);`})}
	if _, err := Open(t.Context(), dir, bad); err == nil {
		t.Fatal("a bad migration succeeded")
	}
	l, err = Open(t.Context(), dir, Options{Version: "v0.2.0"})
	must(t, err)
	want := flow.Ranges{minutes(0, 1).Range()}
	got, err := l.Coverage(t.Context(), "A", testPartition)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("coverage (-want +got):\n%s", diff)
	}
	must(t, l.Record(t.Context(), "A", receipt(minutes(1, 2), 2)))
	must(t, l.Close())

	// The older binary refuses, by name, to write and to read.
	_, err = Open(t.Context(), dir, old)
	var newer *NewerError
	if !errors.As(err, &newer) || !strings.Contains(err.Error(), "written by Sluice v0.2.0") || !strings.Contains(err.Error(), "this is Sluice v0.1.0") {
		t.Errorf("an older binary: %v", err)
	}
	future := append(migrations(), migration{len(migrations()) + 1, `CREATE TABLE future (x)`})
	l, err = Open(t.Context(), dir, Options{Version: "v9.0.0", migrations: future})
	must(t, err)
	must(t, l.Close())
	if _, err := OpenReadOnly(t.Context(), dir); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "v9.0.0") {
		t.Errorf("read only: %v", err)
	}

	// The copy is a whole ledger of the old schema.
	bak := filepath.Join(dir, FileName+".v1.bak")
	st, err := os.Stat(bak)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("backup: %v, %v", st, err)
	}
	back := t.TempDir()
	must(t, os.Rename(bak, filepath.Join(back, FileName)))
	l, err = Open(t.Context(), back, old)
	must(t, err)
	defer func() { must(t, l.Close()) }()
	got, err = l.Coverage(t.Context(), "A", testPartition)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("coverage of the backup (-want +got):\n%s", diff)
	}
}
