// Package parts is what the sinks of part files in folders share: layout, names, sizes and SHA-256 of parts, and the
// transaction that writes them exactly once for each slice. What a slice becomes visible by, and what survives a crash, is
// package commitlog's; what stands in the files is a partfile.Format's.
//
// A transaction is a pipeline of two: Append fills chunks, and one goroutine turns them into bytes, hashes and writes them. The
// chunks are few and used again.
package parts

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

// Options say what a sink is.
type Options struct {
	Type     string // as in a config
	Settings Settings
	Format   partfile.Format
	// Log opens the commit log of a target that isn't a folder; nil: it is the folder at Settings.Path.
	Log func(ctx context.Context, owner commitlog.Owner) (Log, error)
	// Buffer is what the log holds of a transaction's parts.
	Buffer int64
}

// Owner validates the options and returns what the target's owner has to be.
func (o Options) Owner(c sinks.Config) (commitlog.Owner, error) {
	p, err := o.resolve(c)
	return p.owner, err
}

// resolve validates the options. What the format can't hold of a stream is an error that names it.
func (o Options) resolve(c sinks.Config) (place, error) {
	p, err := o.Settings.resolve(c, o.Type, o.Format, o.Log == nil)
	if err != nil {
		return p, setting.Wrong(o.Type, err)
	}
	for _, st := range c.Streams {
		if c.ReadOnly {
			break // what is there was written
		}
		if err := o.Format.Check(st.Schema); err != nil {
			return p, fmt.Errorf("stream %s: %w", st.Name, err)
		}
	}
	return p, nil
}

// Check reports whether Open could succeed, without making or changing anything. A target that isn't a folder isn't asked.
func Check(c sinks.Config, o Options) error {
	p, err := o.resolve(c)
	if err != nil || o.Log != nil {
		return err
	}
	return commitlog.CheckRoot(commitlog.OS{}, p.root, p.owner)
}

// Sink writes to one root.
type Sink struct {
	config sinks.Config
	format partfile.Format
	place  place
	log    Log
	buffer int64 // that the log holds of a transaction

	mu     sync.Mutex
	open   map[*txn]struct{}
	spare  []partfile.Chunk // that no transaction has
	closed bool
}

var (
	_ sinks.Sink    = (*Sink)(nil)
	_ sinks.Memory  = (*Sink)(nil)
	_ sinks.Sizer   = (*Sink)(nil)
	_ sinks.Lister  = (*Sink)(nil)
	_ sinks.Locator = (*Sink)(nil)
)

// Open opens a sink; fsys is the file system of one in a folder.
func Open(ctx context.Context, c sinks.Config, o Options, fsys commitlog.FS) (*Sink, error) {
	p, err := o.resolve(c)
	if err != nil {
		return nil, err
	}
	var log Log
	if o.Log != nil {
		log, err = o.Log(ctx, p.owner)
	} else {
		log, err = openFolder(ctx, commitlog.Options{FS: fsys, Root: p.root, Owner: p.owner, Sluice: c.Sluice, Now: time.Now, Log: c.Log, ReadOnly: c.ReadOnly})
	}
	if err != nil {
		return nil, err
	}
	whose := log.Owner()
	for name, st := range p.streams {
		st.under = whose.SelectionFolder(name, p.owner.Streams[name].Selection)
		p.streams[name] = st
	}
	return &Sink{config: c, format: o.Format, place: p, log: log, buffer: o.Buffer, open: map[*txn]struct{}{}}, nil
}

// Identity implements sinks.Sink: the ID in owner.json, which stays with the folder when it moves.
func (k *Sink) Identity() string { return k.log.Identity() }

// Location implements sinks.Locator.
func (k *Sink) Location() string { return k.log.Location() }

// Buffer implements sinks.Sizer. A record larger than a chunk isn't in it: there is one at most, until Append returns.
func (k *Sink) Buffer() int64 { return k.format.Buffer() + k.buffer }

// Begin implements sinks.Sink.
func (k *Sink) Begin(ctx context.Context, s flow.Slice, attempt uint32, schema *arrow.Schema) (sinks.Txn, error) {
	stream, ok := k.place.streams[s.Stream]
	if !ok {
		return nil, fault.Errorf(fault.Bug, "begin a slice", "the sink wasn't opened for stream %q", s.Stream)
	}
	if s.Selection != k.place.owner.Streams[s.Stream].Selection { // its parts would lie in the folder of another
		return nil, fault.Errorf(fault.Bug, "begin a slice", "slice %s has selection %s, for which the sink wasn't opened", s, s.Selection.Short())
	}
	enc, err := k.format.NewEncoder(partfile.Info{
		Slice: s, Schema: schema, PartSize: k.place.partSize, Omit: stream.omit,
		Source: k.config.Source, SourceVersion: k.config.SourceVersion, Sluice: k.config.Sluice,
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	t := newTxn(k, s, stream, target.Of(k.config, s), schema, enc)
	if t.stage, err = k.log.Begin(ctx, s, attempt); err != nil {
		enc.Release(false)
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		enc.Release(false)
		return nil, errors.Join(fault.Errorf(fault.Bug, "begin a slice", "the sink is closed"), t.stage.Abort())
	}
	k.open[t] = struct{}{}
	t.start()
	return t, nil
}

// Committed implements sinks.Memory.
func (k *Sink) Committed(ctx context.Context, g flow.Gap, after func(time.Time) uint64) iter.Seq2[sinks.Receipt, error] {
	return k.log.Committed(ctx, g, after)
}

// Lookup implements sinks.Memory.
func (k *Sink) Lookup(ctx context.Context, s flow.Slice) (sinks.Receipt, error) {
	return k.log.Lookup(ctx, s)
}

// Partitions implements sinks.Lister.
func (k *Sink) Partitions(ctx context.Context) ([]flow.Partition, error) {
	return k.log.Partitions(ctx)
}

// Strays implements sinks.Lister.
func (k *Sink) Strays(ctx context.Context) iter.Seq2[string, error] { return k.log.Strays(ctx) }

// Forget withdraws commits: see commitlog.Log.Forget.
func (k *Sink) Forget(ctx context.Context, p flow.Partition, day time.Time, entries []uint64) (sinks.Receipt, error) {
	return k.log.Forget(ctx, p, day, entries)
}

// Close implements sinks.Sink.
func (k *Sink) Close() error {
	k.mu.Lock()
	k.closed = true
	open := make([]*txn, 0, len(k.open))
	for t := range k.open {
		open = append(open, t)
	}
	k.mu.Unlock()
	var errs []error
	for _, t := range open {
		errs = append(errs, t.Abort())
	}
	return errors.Join(append(errs, k.log.Close())...)
}

// chunk returns an empty chunk.
func (k *Sink) chunk() partfile.Chunk {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.spare); n > 0 {
		c := k.spare[n-1]
		k.spare = k.spare[:n-1]
		return c
	}
	return k.format.NewChunk()
}

// ended takes back what a transaction had.
func (k *Sink) ended(t *txn, spare []partfile.Chunk) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.open, t)
	k.spare = append(k.spare, spare...)
}
