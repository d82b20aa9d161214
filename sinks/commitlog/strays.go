package commitlog

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"path/filepath"

	"github.com/sluice-io/sluice/proto/flow"
)

// Partitions returns every partition that the log has a folder for, in the order of the folders' names.
func (l *Log) Partitions(ctx context.Context) ([]flow.Partition, error) {
	var out []flow.Partition
	err := l.each(l.meta(commitsDir), func(selection string) error {
		var id flow.SelectionID
		if err := id.UnmarshalText([]byte(selection)); err != nil {
			return damaged(l.meta(commitsDir, selection), err)
		}
		return l.each(l.meta(commitsDir, selection), func(streamName string) error {
			stream, err := parseLogName(streamName)
			if err != nil {
				return damaged(l.meta(commitsDir, selection, streamName), err)
			}
			return l.each(l.meta(commitsDir, selection, streamName), func(keyName string) error {
				key, err := parseLogName(keyName)
				if err != nil {
					return damaged(l.meta(commitsDir, selection, streamName, keyName), err)
				}
				out = append(out, flow.Partition{Selection: id, Stream: stream, Key: key})
				return ctx.Err()
			})
		})
	})
	return out, Fault("list the partitions", l.root, err)
}

func (l *Log) each(dir string, do func(name string) error) error {
	entries, err := l.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		if err := do(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// Strays yields the paths, relative to the root and with slashes, of files that readers would take for data by the end of their
// names and that no commit which stands names. It holds 16 bytes for each part of the log meanwhile. An error ends the sequence.
func (l *Log) Strays(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		named, err := l.namedParts(ctx)
		if err == nil {
			_, err = l.walkStrays(ctx, "", named, func(p string) bool { return yield(p, nil) })
		}
		if err != nil {
			yield("", Fault("look for files that no commit names", l.root, err))
		}
	}
}

// namedParts returns digests of the paths of all parts.
func (l *Log) namedParts(ctx context.Context) (map[flow.Digest]struct{}, error) {
	partitions, err := l.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	named := map[flow.Digest]struct{}{}
	for _, p := range partitions {
		days, err := l.listDays(p)
		if err != nil {
			return nil, err
		}
		for _, at := range days {
			if err := l.addParts(ctx, l.day(p, at), named); err != nil {
				return nil, err
			}
		}
	}
	return named, nil
}

func (l *Log) addParts(ctx context.Context, d *day, named map[flow.Digest]struct{}) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := l.refresh(ctx, d); err != nil {
		return err
	}
	for _, c := range d.commits {
		if c.forgotten {
			continue
		}
		e, err := l.readEntry(d, c.number)
		if err != nil {
			return err
		}
		for _, p := range e.Commit.Parts {
			named[flow.DigestOf([]byte(p.Path))] = struct{}{}
		}
	}
	return nil
}

// walkStrays walks the folders of data; more is false when the caller has had enough.
func (l *Log) walkStrays(ctx context.Context, dir string, named map[flow.Digest]struct{}, yield func(string) bool) (more bool, err error) {
	entries, err := l.fs.ReadDir(filepath.Join(l.root, filepath.FromSlash(dir)))
	if err != nil {
		return false, err
	}
	if dir != "" && isRoot(entries) {
		return true, nil
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		p := path.Join(dir, e.Name())
		switch {
		case e.Name()[0] == '_' || e.Name()[0] == '.':
		case e.IsDir():
			if more, err := l.walkStrays(ctx, p, named, yield); err != nil || !more {
				return false, err
			}
		case dataName.MatchString(e.Name()):
			if _, ok := named[flow.DigestOf([]byte(p))]; !ok && !yield(p) {
				return false, nil
			}
		}
	}
	return true, nil
}
