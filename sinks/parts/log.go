package parts

import (
	"context"
	"path"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// Log is the commit log that a sink writes its parts through: a folder's, or an object store's.
type Log interface {
	sinks.Memory
	sinks.Lister
	Identity() string
	Location() string
	Owner() commitlog.Owner
	Begin(ctx context.Context, s flow.Slice, attempt uint32) (Staging, error)
	// OpenPart opens part i of a commit; fs.ErrNotExist if someone has removed it.
	OpenPart(ctx context.Context, r sinks.Receipt, i int) (commitlog.PartFile, error)
	Forget(ctx context.Context, p flow.Partition, day time.Time, entries []uint64) (sinks.Receipt, error)
	HasPart(ctx context.Context, path string) (bool, error)
	RemovePart(ctx context.Context, path string) error
	Close() error
}

// Staging is one attempt at a slice.
type Staging interface {
	// Create begins the next part and returns the path that it will have: in dir, beginning with stem and ending with extension.
	Create(dir, stem, extension string) (f commitlog.File, path string, err error)
	Commit(ctx context.Context, parts []sinks.Part, a sinks.Account) (sinks.Receipt, error)
	Abort() error
}

// canceler is implemented by a Staging whose files may wait for a server: Cancel makes their methods fail.
type canceler interface{ Cancel() }

// folder is the log of a folder.
type folder struct{ *commitlog.Log }

func openFolder(ctx context.Context, o commitlog.Options) (Log, error) {
	l, err := commitlog.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return folder{l}, nil
}

// Begin implements Log. Attempts need no number: their staging folders have names of their own.
func (l folder) Begin(ctx context.Context, s flow.Slice, _ uint32) (Staging, error) {
	st, err := l.Log.Begin(ctx, s)
	if err != nil {
		return nil, err
	}
	return folderStaging{st}, nil
}

type folderStaging struct{ *commitlog.Staging }

// Create implements Staging. The part gets its path by the commit.
func (s folderStaging) Create(dir, stem, extension string) (commitlog.File, string, error) {
	f, err := s.Staging.Create()
	return f, path.Join(dir, stem+extension), err
}

// store is the log of an object store.
type store struct{ *commitlog.StoreLog }

// OnStore returns a store's log for a sink.
func OnStore(l *commitlog.StoreLog) Log { return store{l} }

// Begin implements Log.
func (l store) Begin(ctx context.Context, s flow.Slice, attempt uint32) (Staging, error) {
	st, err := l.StoreLog.Begin(ctx, s, attempt)
	if err != nil {
		return nil, err
	}
	return st, nil
}
