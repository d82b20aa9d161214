package commitlog

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/sluice-io/sluice/proto/flow"
)

// HasPart reports whether a part, named relative to the root, is there.
func (l *Log) HasPart(_ context.Context, path string) (bool, error) {
	if err := checkPartPath(path); err != nil {
		return false, err
	}
	_, err := l.fs.Lstat(l.final(path))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return false, nil
	}
	return err == nil, Fault("look for a part", l.root, err)
}

// RemovePart deletes a part of commits that were all forgotten, durably. It is no error if there is none.
func (l *Log) RemovePart(_ context.Context, path string) error {
	if err := errors.Join(l.checkOpen(), checkPartPath(path)); err != nil {
		return err
	}
	return Fault("delete a part", l.root, l.removePart(path))
}

func (l *Log) removePart(path string) error {
	final := l.final(path)
	err := l.fs.Remove(final)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return l.fs.SyncDir(filepath.Dir(final))
}

// clearForgotten deletes the parts of forgotten commits that meet the slice of c, if whoever was to delete them didn't come to it: they
// would be in the way of the same slice, and their records there twice beside any other. d was read to its end and d.mu is held.
func (l *Log) clearForgotten(d *day, c *Commit) error {
	stands := func(id flow.SliceID) bool { // a slice that was written again has the same names
		return slices.ContainsFunc(d.commits, func(c committed) bool { return c.id == id && !c.forgotten })
	}
	for _, old := range d.commits {
		if !old.forgotten || !old.rng().Meets(c.Slice.Range()) || stands(old.id) {
			continue
		}
		e, err := l.readEntry(d, old.number)
		if err != nil {
			return err
		}
		if e.Commit == nil {
			continue
		}
		for _, p := range e.Commit.Parts {
			if err := l.removePart(p.Path); err != nil {
				return err
			}
		}
	}
	return nil
}

// HasPart reports whether a part, named by its key, is there.
func (l *StoreLog) HasPart(ctx context.Context, path string) (bool, error) {
	if err := checkPartPath(path); err != nil {
		return false, err
	}
	for key, err := range l.store.List(ctx, path, "", false) {
		if err != nil {
			return false, Fault("look for a part", l.root, err)
		}
		return key == path, nil // the first key that begins with it is itself, if it is there
	}
	return false, nil
}

// RemovePart deletes a part of commits that were all forgotten. It is no error if there is none.
func (l *StoreLog) RemovePart(ctx context.Context, path string) error {
	if err := errors.Join(l.checkOpen(), checkPartPath(path)); err != nil {
		return err
	}
	return Fault("delete a part", l.root, l.store.Delete(ctx, path))
}
