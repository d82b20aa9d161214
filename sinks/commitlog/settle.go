package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// rollForward gives the parts of a durable entry their final names, makes those durable and deletes the staging folder. It
// does nothing for an entry whose folder is gone: then the parts were in place once, and coverage stands even if someone
// has removed them. own says that this process has just committed the entry: then a part must be somewhere.
func (l *Log) rollForward(c *Commit, own bool) error {
	n, err := parseNonce(c.Nonce)
	if err != nil {
		return err
	}
	dirs, err := l.stagedAt(n)
	if err != nil || len(dirs) == 0 && !own {
		return err
	}
	finals := map[string]struct{}{}
	for i, p := range c.Parts {
		final := l.final(p.Path)
		if err := l.ensureDir(filepath.Dir(final)); err != nil {
			return err
		}
		if err := l.place(n, i, p.Bytes, final, own); err != nil {
			return err
		}
		finals[filepath.Dir(final)] = struct{}{}
	}
	for _, dir := range slices.Sorted(maps.Keys(finals)) {
		if err := l.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		l.discard(dir)
	}
	return nil
}

// stagedAt returns the folders that a nonce has now: its own, or the one that a sweep gave it.
func (l *Log) stagedAt(n nonce) ([]string, error) {
	var dirs []string
	for _, name := range []string{n.String(), n.String() + sweptMark} {
		dir := l.meta(stagingDir, name)
		if _, err := l.fs.Lstat(dir); err == nil {
			dirs = append(dirs, dir)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return dirs, nil
}

// place gives one part its final name. The folder may be renamed by a sweep meanwhile, and a sweep may place it first.
func (l *Log) place(n nonce, i int, size int64, final string, own bool) error {
	for _, name := range []string{n.String(), n.String() + sweptMark, n.String()} {
		part := filepath.Join(l.meta(stagingDir, name), partFile(i))
		info, err := l.fs.Lstat(part)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if info.Size() != size {
			return damaged(part, fmt.Errorf("it has %d bytes, its commit says %d", info.Size(), size))
		}
		err = l.fs.PutAbsent(part, final)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrNotExist):
			continue
		case !errors.Is(err, fs.ErrExist):
			return err
		}
		same, err := l.fs.Same(part, final)
		switch {
		case same:
			return nil
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		}
		return foreign(final)
	}
	if _, err := l.fs.Lstat(final); errors.Is(err, fs.ErrNotExist) {
		if own {
			return fmt.Errorf("%s: the part is neither staged nor in place: %w", final, err)
		}
		// In place once, for parts are deleted only after that; removed since.
		l.log.Warn("a committed part is gone; what it covered stays covered", "part", final)
	} else if err != nil {
		return err
	}
	return nil
}

// discard deletes a staging folder. What can't be deleted is left to the next sweep.
func (l *Log) discard(dir string) {
	entries, err := l.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, l.fs.Remove(filepath.Join(dir, e.Name())))
	}
	errs = append(errs, l.fs.Remove(dir))
	errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, fs.ErrNotExist) })
	if err := errors.Join(errs...); err != nil {
		l.log.Warn("a staging folder is left to the next start", "folder", dir, "error", err)
	}
}

// sweep settles every attempt that an earlier process left. Only the lock's holder may, and only before its own attempts.
func (l *Log) sweep(ctx context.Context) error {
	entries, err := l.fs.ReadDir(l.meta(stagingDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := parseNonce(strings.TrimSuffix(e.Name(), sweptMark))
		if err != nil || !e.IsDir() {
			l.log.Warn("something that isn't an attempt lies among the staging folders", "name", e.Name())
			continue
		}
		if err := l.sweepOne(ctx, n, nil); err != nil {
			return err
		}
	}
	return l.sweepOwners()
}

// sweepOwners deletes what an interrupted write of owner.json left.
func (l *Log) sweepOwners() error {
	entries, err := l.fs.ReadDir(l.meta())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".owner-") {
			if err := l.fs.Remove(l.meta(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// sweepOne takes an attempt's folder away, so that no late link can name it, reads the log once more, and rolls it forward
// if it is in there, or deletes it. held is the day whose mutex the caller holds, or nil.
func (l *Log) sweepOne(ctx context.Context, n nonce, held *day) error {
	swept := l.meta(stagingDir, n.String()+sweptMark)
	err := l.fs.Rename(l.meta(stagingDir, n.String()), swept)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := filepath.Join(swept, sliceName)
	b, err := l.fs.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		l.discard(swept) // slice.json is written before any entry: this attempt never tried to commit
		return nil
	} else if err != nil {
		return err
	}
	var whose staged
	err = strict(b, &whose)
	if err == nil {
		err = whose.Slice.Validate()
	}
	if err != nil {
		return l.sweepUnknown(ctx, n, swept)
	}
	d := held
	if d == nil || d.key != (dayKey{whose.Slice.Partition, dayName(whose.Slice.Day())}) {
		d = l.day(whose.Slice.Partition, whose.Slice.Day())
		d.mu.Lock()
		defer d.mu.Unlock()
	}
	if err := l.refresh(ctx, d); err != nil {
		return err
	}
	return l.settleSwept(d, n, swept)
}

// settleSwept ends an attempt whose day has been read since its folder was taken away.
func (l *Log) settleSwept(d *day, n nonce, swept string) error {
	for _, c := range d.commits {
		if c.nonce != n {
			continue
		}
		e, err := l.readEntry(d, c.number)
		if err != nil {
			return err
		}
		if e.Commit == nil {
			return damaged(filepath.Join(d.dir, entryFile(c.number)), errors.New("it was a commit before"))
		}
		return l.rollForward(e.Commit, false)
	}
	l.discard(swept)
	return nil
}

// sweepUnknown settles an attempt whose slice.json can't be read: an entry that names it may be in any day.
func (l *Log) sweepUnknown(ctx context.Context, n nonce, swept string) error {
	partitions, err := l.Partitions(ctx)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		days, err := l.listDays(p)
		if err != nil {
			return err
		}
		for _, at := range days {
			d := l.day(p, at)
			d.mu.Lock()
			err := l.refresh(ctx, d)
			named := slices.ContainsFunc(d.commits, func(c committed) bool { return c.nonce == n })
			if err == nil && named {
				err = l.settleSwept(d, n, swept)
			}
			d.mu.Unlock()
			if err != nil || named {
				return err
			}
		}
	}
	l.discard(swept)
	return nil
}

// settleDoubts ends this process's own attempts at a slice whose commits are in doubt. d is the slice's day, just read; d.mu is held.
func (l *Log) settleDoubts(ctx context.Context, d *day, s flow.Slice) error {
	l.mu.Lock()
	var open []nonce
	for n, of := range l.doubts {
		if of.ID == s.ID {
			open = append(open, n)
		}
	}
	l.mu.Unlock()
	for _, n := range open {
		if err := l.sweepOne(ctx, n, d); err != nil {
			return fault.New(fault.InDoubt, "settle a commit in doubt", fault.HintOf(err), err)
		}
		l.mu.Lock()
		delete(l.doubts, n)
		l.mu.Unlock()
	}
	return nil
}
