package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
)

// applicationID marks the file as a ledger of Sluice ("SLCE") for file(1) and for us.
const applicationID = 0x534c4345

// quickCheckMax is up to which size a ledger is checked page by page when it is opened; it takes about a second.
const quickCheckMax = 256 << 20

//go:embed schema/*.sql
var schemaFiles embed.FS

// migration takes the schema from version-1 to version.
type migration struct {
	version int
	sql     string
}

// migrations returns the files of schema/ in the order of their numbers, which start at 1 and have no gaps. A file that was
// released is never changed.
func migrations() []migration {
	names, err := fs.Glob(schemaFiles, "schema/*.sql") // sorted by name
	if err != nil {
		panic(err) // the pattern is a constant
	}
	all := make([]migration, len(names))
	for i, name := range names {
		text, err := schemaFiles.ReadFile(name)
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err2 := strconv.Atoi(number)
		if err != nil || err2 != nil || version != i+1 {
			panic(fmt.Sprintf("%s: %v, want number %d", name, errors.Join(err, err2), i+1)) // they are part of the binary
		}
		all[i] = migration{version: version, sql: string(text)}
	}
	return all
}

// check fails for a file that isn't a ledger or is damaged.
func check(ctx context.Context, db *sql.DB) error {
	var version, application, tables, pages, pageSize int64
	for query, v := range map[string]*int64{
		`PRAGMA user_version`: &version, `PRAGMA application_id`: &application, `PRAGMA page_count`: &pages,
		`PRAGMA page_size`: &pageSize, `SELECT count(*) FROM sqlite_schema`: &tables,
	} {
		if err := db.QueryRowContext(ctx, query).Scan(v); err != nil {
			return err
		}
	}
	if tables > 0 && application != applicationID {
		return fault.New(fault.Config, "ledger", "choose another `state`, or move the file away",
			fmt.Errorf("%w: it is a database of another program", ErrCorrupt))
	}
	if pages*pageSize > quickCheckMax {
		return nil
	}
	var answer string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return fault.New(fault.Config, "ledger", hintRebuild, fmt.Errorf("%w: %s", ErrCorrupt, answer))
	}
	return nil
}

// migrate brings the schema up to date, each step in a transaction. Before the first step a copy of a ledger that holds anything
// is made beside it.
func migrate(ctx context.Context, db *sql.DB, path string, opts Options) error {
	have, writer, err := version(ctx, db)
	if err != nil {
		return err
	}
	known := len(opts.migrations)
	if have > known {
		return newer(path, have, known, writer, opts.Version)
	}
	// The mode is a property of the file: it outlives the connection.
	var mode string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fault.Errorf(fault.Config, "ledger", "the file system doesn't allow a write-ahead log (journal mode %s)", mode).
			WithHint("put `state` on a local disk")
	}
	if have > 0 && have < known {
		if err := backUp(ctx, db, fmt.Sprintf("%s.v%d.bak", path, have)); err != nil {
			return fmt.Errorf("back up before migrating from schema %d: %w", have, err)
		}
	}
	for _, m := range opts.migrations[have:] {
		if err := step(ctx, db, m, opts.Version); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", m.version, err)
		}
	}
	if writer != opts.Version {
		return stampVersion(ctx, db, opts.Version)
	}
	return nil
}

func step(ctx context.Context, db *sql.DB, m migration, version string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, m.sql); err != nil {
		return err
	}
	// Neither takes parameters; both are part of the transaction.
	pragmas := fmt.Sprintf(`PRAGMA user_version = %d; PRAGMA application_id = %d`, m.version, applicationID)
	if _, err := tx.ExecContext(ctx, pragmas); err != nil {
		return err
	}
	if err := stampVersion(ctx, tx, version); err != nil {
		return err
	}
	return tx.Commit()
}

func stampVersion(ctx context.Context, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, version string,
) error {
	_, err := db.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('sluice', ?)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`, version)
	return err
}

// version returns the file's schema and the version of Sluice that last wrote it.
func version(ctx context.Context, db *sql.DB) (schema int, writer string, err error) {
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&schema); err != nil || schema == 0 {
		return schema, "", err
	}
	err = db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'sluice'`).Scan(&writer)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return schema, writer, err
}

func checkVersion(ctx context.Context, db *sql.DB, path string) error {
	have, writer, err := version(ctx, db)
	if err != nil {
		return err
	}
	switch known := len(migrations()); {
	case have > known:
		return newer(path, have, known, writer, "")
	case have == 0:
		return fmt.Errorf("%s: %w", path, ErrNoLedger)
	case have < known:
		return fault.Errorf(fault.Config, "ledger "+path, "it has schema %d, this Sluice reads schema %d", have, known).
			WithHint("the next 'sluice run' migrates it")
	}
	return nil
}

func newer(path string, have, known int, writer, binary string) error {
	return fault.New(fault.Config, "", fmt.Sprintf("use Sluice %s or later, or another `state`", orUnknown(writer)),
		&NewerError{Path: path, Schema: have, Known: known, Writer: writer, Binary: binary})
}

// backUp writes a whole copy of the database to file, in one piece or not at all, replacing an earlier one.
func backUp(ctx context.Context, db *sql.DB, file string) error {
	part := file + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, part); err != nil {
		return err
	}
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, file)
}
