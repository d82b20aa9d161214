package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluice-io/sluice/proto/fault"
)

// create makes the database, in one piece or not at all, unless it is there: a crash leaves no file of zero length, so that one is damage.
// What belonged to a database that was deleted goes, which the engine would take for the new one's log. The caller holds the lock.
func create(ctx context.Context, path string) error {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	part := path + ".part"
	for _, old := range []string{part, part + "-journal", path + "-wal", path + "-shm"} {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // the engine would open it to others
	if err != nil {
		return err
	}
	db, err := connect(part, 1)
	if err == nil {
		_, err = db.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID))
		err = errors.Join(err, db.Close())
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// notEmpty fails for a database of zero length, which the engine takes for a new one: it lost all that it held. A file that isn't there
// passes.
func notEmpty(path string) error {
	st, err := os.Stat(path)
	if err != nil || st.Size() > 0 {
		return nil //nolint:nilerr // whoever opens it tells why it can't
	}
	return fault.New(fault.Config, "ledger "+path, hintRebuild, fmt.Errorf("%w: the file is empty", ErrCorrupt))
}
