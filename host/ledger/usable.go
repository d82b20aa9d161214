//go:build unix

package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sluice-io/sluice/proto/fault"
)

// Usable says whether Open could make or write a ledger in dir, without taking its lock or changing anything. It asks the
// nearest folder that is there: dir itself, or the one that it would be made in.
func Usable(dir string) error {
	what := "state " + dir
	at := dir
	st, err := os.Stat(at)
	for errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
		st, err = os.Stat(at)
	}
	switch {
	case err != nil:
		return fault.New(fault.Config, what, "choose a state folder that can be written", err)
	case !st.IsDir():
		return fault.New(fault.Config, what, "choose another `state`, or move the file away", fmt.Errorf("%s is a file, not a folder", at))
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return fault.New(fault.Config, what, "choose a state folder that can be written", &fs.PathError{Op: "write to", Path: at, Err: err})
	}
	kind, err := networkFileSystem(at)
	switch {
	case err != nil:
		return fmt.Errorf("%s: file system: %w", what, err)
	case kind != "":
		return onNetwork(dir, kind)
	}
	return nil
}

// onNetwork refuses a state folder on a network file system.
func onNetwork(dir, kind string) error {
	return fault.Errorf(fault.Config, "state "+dir, "it is on a network file system (%s), where locks can't be relied on", kind).
		WithHint("put `state` on a local disk; sinks may stay where they are")
}
