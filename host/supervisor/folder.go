package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// maxSocketPath is the longest path of a unix socket that every supported system takes: 104 bytes with the closing NUL on
// macOS and the BSDs, 108 on Linux.
const maxSocketPath = 103

// longestSocket is the longest name below a host's folder: the process's number, and "plugin" with up to ten random digits.
const longestSocket = "/9999/plugin1234567890"

// folderPrefix begins the name of a host's folder; one that is being made has a dot in front. Nothing else may be called
// like that: what is, and isn't locked, is swept.
const folderPrefix = "sluice-plug-"

// unlockedAge is how old a folder without a lock must be before it counts as left over: its maker may be between two steps.
const unlockedAge = 10 * time.Minute

// folder is the host's own 0700 folder of sockets. It is locked as long as the host lives, so that a later host knows which
// folders are left over.
type folder struct {
	path string
	lock *os.File
	next atomic.Uint64
}

// openFolder makes the host's folder below the first parent that takes one, and removes what dead hosts left there. An empty
// parent means: $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR, the temp folder.
func openFolder(parent string) (*folder, error) {
	var parents []string
	if parent != "" {
		parents = []string{parent}
	} else {
		// systemd gives a colon-separated list if a unit has several.
		first, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
		for _, p := range []string{first, os.Getenv("XDG_RUNTIME_DIR"), os.TempDir()} {
			if p != "" {
				parents = append(parents, p)
			}
		}
	}
	var errs []error
	for _, p := range parents {
		f, err := makeFolder(p)
		if err == nil {
			return f, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("folder for plugin sockets: %w", errors.Join(errs...))
}

func makeFolder(parent string) (*folder, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, err
	}
	// MkdirTemp appends at most ten digits.
	if n := len(parent) + len("/") + len(folderPrefix) + 10 + len(longestSocket); n > maxSocketPath {
		return nil, fmt.Errorf("%s is too long: a socket below it would have a path of %d bytes, the system takes %d", parent, n, maxSocketPath)
	}
	sweep(parent)
	made, err := os.MkdirTemp(parent, "."+folderPrefix)
	if err != nil {
		return nil, err
	}
	// Under its final name a folder always has a lock that somebody held from the beginning.
	f := &folder{path: filepath.Join(parent, strings.TrimPrefix(filepath.Base(made), "."))}
	if f.lock, err = lockFile(filepath.Join(made, "lock")); err == nil {
		err = os.Rename(made, f.path)
	}
	if err != nil {
		if f.lock != nil {
			err = errors.Join(err, f.lock.Close())
		}
		return nil, errors.Join(err, os.RemoveAll(made))
	}
	return f, nil
}

// process makes the 0700 folder of one plugin process, with an empty tmp folder in it.
func (f *folder) process() (string, error) {
	dir := filepath.Join(f.path, strconv.FormatUint(f.next.Add(1), 10))
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return "", fmt.Errorf("folder for a plugin's sockets: %w", err)
	}
	return dir, nil
}

// Close removes the folder.
func (f *folder) Close() error {
	return errors.Join(os.RemoveAll(f.path), f.lock.Close())
}

// sweep removes the folders of hosts that no longer live. It is a courtesy: what it can't remove stays.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(strings.TrimPrefix(e.Name(), "."), folderPrefix) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		info, err := os.Lstat(dir)
		if err != nil || !ownedByUs(info) || info.Mode().Perm() != 0o700 {
			continue
		}
		// Under a name with a dot the maker may not have locked it yet: such a folder is judged by its age.
		if strings.HasPrefix(e.Name(), ".") && time.Since(info.ModTime()) < unlockedAge {
			continue
		}
		lock, err := lockFile(filepath.Join(dir, "lock"))
		if err != nil {
			continue // its host lives
		}
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}

// lockFile opens or makes a file and locks it, or fails at once if another process holds it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}
