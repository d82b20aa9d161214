package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// FileName is the ledger's name in the state folder.
const FileName = "ledger.db"

const (
	busyTimeout = 10 * time.Second // of other programs that hold the database, such as a shell
	readers     = 4                // connections for queries
)

// Options is what a ledger is opened with.
type Options struct {
	Version string           // of Sluice: an older one names it when it refuses the file
	Now     func() time.Time // for the rows' own stamps; nil: time.Now

	migrations []migration // nil: those of this package
}

// Ledger is an open ledger. All methods are safe for concurrent use. Writes are on disk when they return without an error, each in
// a transaction of its own; a ctx that ends stops the wait for a turn, never a transaction that has begun.
type Ledger struct {
	path   string
	now    func() time.Time
	lock   *os.File // nil: read only
	writer *sql.DB  // one connection; nil: read only
	reader *sql.DB

	ids      ids
	coverage coverageCache
	close    func() error
}

// Open takes the state's lock, makes what is missing (folder 0700, file 0600, parents 0777 less the umask) and brings the schema up
// to date after a copy of the file was put beside it. Errors: ErrLocked, ErrNewer, ErrCorrupt; the others have hints where there is
// something to do. dir must be on a local file system. The caller closes the ledger; ctx is for Open alone.
func Open(ctx context.Context, dir string, opts Options) (*Ledger, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.migrations == nil {
		opts.migrations = migrations()
	}
	lock, err := prepare(ctx, dir)
	if err != nil {
		return nil, err
	}
	l := &Ledger{path: filepath.Join(dir, FileName), now: opts.Now, lock: lock}
	l.close = sync.OnceValue(l.closeAll)
	if err := l.open(ctx, opts); err != nil {
		return nil, errors.Join(explain(l.path, err), l.Close())
	}
	return l, nil
}

// prepare makes the folder, checks its file system, takes the lock and makes sure that a new file isn't open to others.
func prepare(ctx context.Context, dir string) (*os.File, error) {
	// Data may lie below the same parents, so only the state itself is closed to others.
	err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o777)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fault.New(fault.Config, "state "+dir, "choose a state folder that can be written", err)
	}
	kind, err := networkFileSystem(dir)
	if err != nil {
		return nil, fmt.Errorf("state %s: file system: %w", dir, err)
	}
	if kind != "" {
		return nil, onNetwork(dir, kind)
	}
	held, err := lock(dir)
	switch {
	case errors.Is(err, ErrLocked):
		return nil, fault.New(fault.Config, "", "wait for the other run to end, or give this one another `state`", err)
	case err != nil:
		return nil, fault.New(fault.Config, "state "+dir, "check the permissions and the free space of the state folder", err)
	}
	if err := create(ctx, filepath.Join(dir, FileName)); err != nil {
		_ = held.Close()
		return nil, fault.New(fault.Config, "state "+dir, "check the permissions and the free space of the state folder", err)
	}
	return held, nil
}

func (l *Ledger) open(ctx context.Context, opts Options) error {
	err := notEmpty(l.path)
	if err != nil {
		return err
	}
	if l.writer, err = connect(l.path, 1, "_txlock=immediate", "_pragma=synchronous(FULL)"); err != nil {
		return err
	}
	if err := check(ctx, l.writer); err != nil {
		return err
	}
	if err := migrate(ctx, l.writer, l.path, opts); err != nil {
		return err
	}
	if l.reader, err = connect(l.path, readers, "_pragma=query_only(1)"); err != nil {
		return err
	}
	return l.reader.PingContext(ctx)
}

// OpenReadOnly opens a ledger for queries, beside a host that may be running: it takes no lock and changes nothing. ErrNoLedger if
// there is none, ErrNewer if a later Sluice wrote it. A ledger of an older schema is an error too: it is migrated by the next run.
func OpenReadOnly(ctx context.Context, dir string) (*Ledger, error) {
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoLedger)
	} else if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if err := notEmpty(path); err != nil {
		return nil, err
	}
	l := &Ledger{path: path, now: time.Now}
	l.close = sync.OnceValue(l.closeAll)
	var err error
	if l.reader, err = connect(path, readers, "mode=ro", "_pragma=query_only(1)"); err != nil {
		return nil, explain(path, err)
	}
	if err := checkVersion(ctx, l.reader, path); err != nil {
		return nil, errors.Join(explain(path, err), l.Close())
	}
	return l, nil
}

// connect opens at most n connections with the given parameters.
func connect(path string, n int, params ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: abs}
	dsn := u.String() + fmt.Sprintf("?_pragma=busy_timeout(%d)&_pragma=foreign_keys(1)", busyTimeout.Milliseconds())
	for _, p := range params {
		dsn += "&" + p
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// Close frees the connections and the lock. Idempotent.
func (l *Ledger) Close() error { return l.close() }

func (l *Ledger) closeAll() error {
	var errs []error
	if l.reader != nil {
		errs = append(errs, l.reader.Close())
	}
	if l.writer != nil {
		errs = append(errs, l.writer.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close()) // last: who gets it next finds the database closed
	}
	return errors.Join(errs...)
}

// Path returns the path of the database file.
func (l *Ledger) Path() string { return l.path }

// DB returns the one connection that writes, for packages that keep tables of their own in the ledger (their schema is among this
// package's migrations). Nil if the ledger is read only. A transaction that stays open stops every other writer.
func (l *Ledger) DB() *sql.DB { return l.writer }

// write runs f in a transaction. Once it has begun the transaction isn't stopped by ctx: whether a commit that was interrupted
// took place would not be known.
func (l *Ledger) write(ctx context.Context, what string, f func(ctx context.Context, tx *sql.Tx) error) error {
	if l.writer == nil {
		return fmt.Errorf("ledger %s: %s: opened read only", l.path, what)
	}
	conn, err := l.writer.Conn(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, explain(l.path, err))
	}
	defer func() { _ = conn.Close() }()
	ctx = context.WithoutCancel(ctx)
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, explain(l.path, err))
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	err = f(ctx, tx)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		l.ids.forget() // it may have learnt IDs that were rolled back
		return fmt.Errorf("%s: %w", what, explain(l.path, err))
	}
	return nil
}

// query runs a query and calls scan for each row.
func (l *Ledger) query(ctx context.Context, what string, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := l.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, explain(l.path, err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("%s: %w", what, explain(l.path, err))
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, explain(l.path, err))
	}
	return nil
}

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func sliceOf(id string, p flow.Partition, fromMS, toMS int64, rev uint32) (flow.Slice, error) {
	s := flow.NewSlice(p, timeOf(fromMS), timeOf(toMS), rev)
	if s.ID.String() != id {
		return s, fault.New(fault.Config, "ledger", hintRebuild, fmt.Errorf("%w: slice %s has the ID %s", ErrCorrupt, s, id))
	}
	return s, nil
}
