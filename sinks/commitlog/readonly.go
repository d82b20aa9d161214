package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

var errReadOnly = fault.New(fault.Bug, "write to the sink", "", errors.New("it was opened to be read"))

// visit opens a root that is there and changes nothing of it.
func (l *Log) visit(want Owner) error {
	root, err := l.fs.RealPath(l.root)
	if err != nil {
		return absent(l.root, err)
	}
	l.root = root
	o, err := ReadOwner(l.fs, root)
	if err != nil {
		return absent(root, err)
	}
	l.owner = o
	return o.Fits(o.lending(want), root)
}

// lending returns want with the owner's selections and layouts: whoever only reads goes by the paths in the entries.
func (o Owner) lending(want Owner) Owner {
	streams := make(map[string]OwnedStream, len(want.Streams))
	for name, s := range want.Streams {
		if own, known := o.Streams[name]; known {
			s = OwnedStream{Selection: own.Selection, Layout: own.Layout}
		}
		streams[name] = s
	}
	want.Streams = streams
	return want
}

// absent tells a target to which nothing was ever written from other causes.
func absent(location string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: %w", location, sinks.ErrAbsent, err)
	}
	return err
}

func (l *Log) checkWritable() error {
	if l.look {
		return errReadOnly
	}
	return l.checkOpen()
}

// visit opens a store's root that is there and changes nothing of it.
func (l *StoreLog) visit(ctx context.Context, want Owner) error {
	o, _, err := readStoreOwner(ctx, l.store)
	if err != nil {
		return absent(l.root, err)
	}
	l.owner = o
	return o.FitsStore(o.lending(want), l.root)
}

func (l *StoreLog) checkWritable() error {
	if l.look {
		return errReadOnly
	}
	return l.checkOpen()
}

// OpenPart opens part i of a commit, wherever it is: beside a process that has just committed, or after a crash, it may not have
// its final name yet. fs.ErrNotExist: it was in place once and is no more.
func (l *Log) OpenPart(_ context.Context, r sinks.Receipt, i int) (PartFile, error) {
	const op = "read a part"
	if err := l.checkOpen(); err != nil {
		return nil, err
	}
	final := l.final(r.Parts[i].Path)
	f, gone := l.fs.Open(final)
	if !errors.Is(gone, fs.ErrNotExist) {
		return f, Fault(op, l.root, gone)
	}
	n, err := l.nonceOf(r)
	if err != nil {
		return nil, Fault(op, l.root, err)
	}
	// A part is linked to its final name before the staged one goes, and a folder is swept before that: in this order one of them
	// is found, whatever happens meanwhile.
	for _, name := range []string{
		filepath.Join(l.meta(stagingDir, n.String()), partFile(i)),
		filepath.Join(l.meta(stagingDir, n.String()+sweptMark), partFile(i)),
		final,
	} {
		if f, err = l.fs.Open(name); !errors.Is(err, fs.ErrNotExist) {
			return f, Fault(op, l.root, err)
		}
	}
	return nil, gone
}

// nonceOf reads the attempt of a commit.
func (l *Log) nonceOf(r sinks.Receipt) (nonce, error) {
	e, err := l.readEntry(l.day(r.Slice.Partition, r.Slice.Day()), r.Entry)
	if err == nil && e.Commit == nil {
		err = fmt.Errorf("entry %d of slice %s isn't a commit", r.Entry, r.Slice)
	}
	if err != nil {
		return nonce{}, err
	}
	return e.nonce(), nil
}
