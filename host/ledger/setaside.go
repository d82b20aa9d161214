package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SetAside renames a ledger (a damaged one, or one that no longer fits its sinks) and what belongs to it to a name that is free, and
// returns that name, empty if there was no ledger. The next Open makes an empty one. ErrLocked if a run holds the state.
func SetAside(dir string) (string, error) {
	held, err := lock(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = held.Close() }()
	path := filepath.Join(dir, FileName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	aside, err := freeName(path)
	if err != nil {
		return "", err
	}
	// The log first: a log without its database is ignored, a database without its log has lost its last transactions.
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("set the ledger aside: %w", err)
		}
	}
	return aside, nil
}

func freeName(path string) (string, error) {
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.%d.aside", path, i)
		_, err := os.Lstat(aside)
		if errors.Is(err, fs.ErrNotExist) {
			return aside, nil
		}
		if err != nil {
			return "", err
		}
	}
}
