package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

// Fault classifies an error of the file system below root and says what to do about it. It leaves errors that have a kind,
// and those of a context, alone.
func Fault(op, root string, err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	kind, hint := fault.Transient, ""
	switch {
	case errors.Is(err, syscall.ENOSPC):
		hint = fmt.Sprintf("the file system of %s is full (df -h and df -i tell): free space; nothing of the slice is visible and it is read again", root)
	case errors.Is(err, syscall.EDQUOT):
		hint = fmt.Sprintf("the disk quota at %s is used up (quota tells): free space or have it raised", root)
	case errors.Is(err, syscall.EFBIG):
		hint = "a file may not be that large here (ulimit -f, or the file system): lower part_size"
	case errors.Is(err, syscall.EROFS):
		kind, hint = fault.Config, fmt.Sprintf("%s is mounted read-only: remount it, or choose another path (dmesg tells if an error made it so)", root)
	case errors.Is(err, fs.ErrPermission):
		kind, hint = fault.Config, fmt.Sprintf("give the user that runs sluice the right to read and write %s", root)
	case errors.Is(err, syscall.ENOTDIR):
		kind, hint = fault.Config, fmt.Sprintf("%s or something on the way to it is a file: path must name a folder", root)
	case errors.Is(err, syscall.ENAMETOOLONG):
		kind, hint = fault.Config, "a stream's or partition's name is too long for a folder name: choose a shorter path or layout"
	case errors.Is(err, syscall.EIO):
		hint = "the disk reports an error (dmesg tells more)"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		hint = "too many open files: raise ulimit -n"
	}
	return fault.New(kind, op, hint, err)
}

// refused reports whether a link or rename that failed with err surely didn't happen. Anything else, a network file
// system's lost answer for one, leaves it open.
func refused(err error) bool {
	for _, no := range []error{
		fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ENAMETOOLONG,
		syscall.EMLINK, syscall.ENOTDIR, syscall.EXDEV, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EINVAL,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// inDoubt wraps what failed at or after the commit point.
func inDoubt(op string, err error) error {
	return fault.New(fault.InDoubt, op, fault.HintOf(err), fmt.Errorf("%w: %w", sinks.ErrInDoubt, err))
}

// damaged names a file of the log that can't be believed.
func damaged(name string, err error) error {
	return fault.New(fault.Config, "read the commit log",
		"the log decides what is covered, so nothing is written until it is whole: restore the file from a backup of the folder",
		fmt.Errorf("%s: %w", name, err))
}

// damagedOwner names an owner.json that can't be believed, or is lost.
func damagedOwner(name string, err error) error {
	return fault.New(fault.Config, "read the sink's owner",
		"it says what the data is, so nothing is written until it is whole: restore this file from a backup; without one, give the sink an empty folder or prefix, and all is read again",
		fmt.Errorf("%s: %w", name, err))
}

// foreign names a file that has a name which a part needs.
func foreign(name string) error {
	return fault.New(fault.Config, "put a part into place", "move that file away: Sluice replaces no file that it didn't commit",
		fmt.Errorf("%s: a file that no commit names is in the way", name))
}

// owned says that a target is taken, in words of its own: it may be this very pipeline that has it, with other settings.
func owned(hint, format string, args ...any) error {
	return fault.New(fault.Config, "open the sink", hint, ownedError{fmt.Errorf(format, args...)})
}

// ownedError is an ErrOwned.
type ownedError struct{ error }

// Is makes errors.Is(err, sinks.ErrOwned) true.
func (ownedError) Is(target error) bool { return target == sinks.ErrOwned }

// Unwrap returns what the words hold, such as a *HeldError.
func (e ownedError) Unwrap() error { return e.error }
