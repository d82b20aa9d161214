package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

const errNotDir = syscall.ENOTDIR

// Options are what a Log is opened with.
type Options struct {
	FS     FS     // nil: OS
	Root   string // absolute; made if it isn't there
	Owner  Owner  // what the sink is: V, ID and At are filled in
	Sluice string // version, for the entries
	Now    func() time.Time
	Log    *slog.Logger
	// ReadOnly opens the log of a root that is there beside whoever holds its lock. It changes nothing, so what a crash left between
	// commit point and rename stays where it is, and Begin and Forget fail.
	ReadOnly bool
}

// Log is the commit log of one root. Its methods may be called concurrently.
type Log struct {
	fs     FS
	root   string // real path
	owner  Owner
	sluice string
	now    func() time.Time
	log    *slog.Logger
	lock   io.Closer
	look   bool // read only

	days days

	mu      sync.Mutex
	durable map[string]struct{} // folders whose names are known to be durable
	open    map[*Staging]struct{}
	doubts  map[nonce]flow.Slice // commits whose outcome isn't known yet
	closed  bool
}

// Open takes a root: it makes it if need be, locks it, checks or becomes its owner, and settles what an earlier process
// left: attempts whose entry is in the log are rolled forward, others deleted. ErrOwned if it is someone else's.
func Open(ctx context.Context, o Options) (*Log, error) {
	l := &Log{
		fs: o.FS, root: filepath.Clean(o.Root), sluice: o.Sluice, now: o.Now, log: o.Log, look: o.ReadOnly,
		durable: map[string]struct{}{}, open: map[*Staging]struct{}{}, doubts: map[nonce]flow.Slice{},
	}
	if l.fs == nil {
		l.fs = OS{}
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if l.look {
		err = l.visit(o.Owner)
	} else {
		err = l.take(ctx, o.Owner)
	}
	if err != nil {
		return nil, errors.Join(Fault("open the sink", l.root, err), l.Close())
	}
	return l, nil
}

func (l *Log) take(ctx context.Context, want Owner) error {
	if err := l.makeRoot(); err != nil {
		return err
	}
	if _, err := l.fs.Lstat(l.meta()); errors.Is(err, fs.ErrNotExist) {
		if err := checkAdoptable(l.fs, l.root, want); err != nil {
			return err
		}
	}
	if err := l.ensureDir(l.meta()); err != nil {
		return err
	}
	lock, err := l.fs.Lock(l.meta(lockName), lockNote(want.Pipeline))
	var held *HeldError
	if errors.As(err, &held) {
		return owned(fmt.Sprintf("one root has one pipeline at a time: wait for the other to end, or give this one `path: %s`",
			below(l.root, want.Pipeline)), "%s: %w", l.root, err)
	} else if err != nil {
		return err
	}
	l.lock = lock
	if err := l.own(want); err != nil {
		return err
	}
	for _, dir := range []string{commitsDir, stagingDir} {
		if err := l.ensureDir(l.meta(dir)); err != nil {
			return err
		}
	}
	return l.sweep(ctx)
}

// makeRoot makes the root and what leads to it, durably, and resolves symbolic links.
func (l *Log) makeRoot() error {
	var missing []string
	for dir := l.root; ; dir = filepath.Dir(dir) {
		_, err := l.fs.Lstat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return err
		}
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := l.fs.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := l.fs.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	root, err := l.fs.RealPath(l.root)
	if err != nil {
		return err
	}
	l.root = root
	info, err := l.fs.Lstat(root)
	if err == nil && !info.IsDir() {
		return &fs.PathError{Op: "open", Path: root, Err: errNotDir}
	}
	return err
}

// ensureDir makes a folder below the root, and its name and those of the folders that lead to it durable: an entry or
// part in a folder that a power cut takes away is lost with it. It trusts no folder that it hasn't synced itself.
func (l *Log) ensureDir(dir string) error {
	if dir == l.root || len(dir) < len(l.root) {
		return nil
	}
	l.mu.Lock()
	_, known := l.durable[dir]
	l.mu.Unlock()
	if known {
		if info, err := l.fs.Lstat(dir); err == nil && info.IsDir() {
			return nil
		}
	}
	parent := filepath.Dir(dir)
	if err := l.ensureDir(parent); err != nil {
		return err
	}
	if err := l.fs.Mkdir(dir, 0o777); errors.Is(err, fs.ErrExist) {
		if info, serr := l.fs.Lstat(dir); serr == nil && !info.IsDir() && info.Mode()&fs.ModeSymlink == 0 {
			return foreign(dir)
		}
		if err := l.checkDevice(dir); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := l.fs.SyncDir(parent); err != nil {
		return err
	}
	l.mu.Lock()
	if len(l.durable) >= 4*maxDays {
		clear(l.durable)
	}
	l.durable[dir] = struct{}{}
	l.mu.Unlock()
	return nil
}

// checkDevice refuses a folder on another file system: a part can't get its final name there in one step, and that would
// show only after the commit point.
func (l *Log) checkDevice(dir string) error {
	real, err := l.fs.RealPath(dir)
	if err != nil {
		return err
	}
	there, err := l.fs.Lstat(real)
	if err != nil {
		return err
	}
	here, err := l.fs.Lstat(l.root)
	if err != nil {
		return err
	}
	a, ok := here.Sys().(*syscall.Stat_t)
	b, ok2 := there.Sys().(*syscall.Stat_t)
	if ok && ok2 && a.Dev != b.Dev {
		return fault.New(fault.Config, "open a folder of data", "a root lies on one file system: mount that one as the root, or take the link or mount away",
			fmt.Errorf("%s is on another file system than %s: %w", dir, l.root, syscall.EXDEV))
	}
	return nil
}

// Identity returns the ID in owner.json.
func (l *Log) Identity() string { return l.owner.ID }

// Owner returns the root's owner as this process found or made it. It must not be changed.
func (l *Log) Owner() Owner { return l.owner }

// Location returns the real path of the root.
func (l *Log) Location() string { return l.root }

// Close gives up open transactions and lets go of the lock. Idempotent.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	open := make([]*Staging, 0, len(l.open))
	for s := range l.open {
		open = append(open, s)
	}
	l.mu.Unlock()
	var errs []error
	for _, s := range open {
		errs = append(errs, s.Abort())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

func (l *Log) checkOpen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fault.New(fault.Bug, "use the sink", "", errors.New("it is closed"))
	}
	return nil
}

// Lookup returns the receipt of a committed slice, or sinks.ErrNotCommitted. After the latter no earlier attempt of this
// process at the slice can become visible any more.
func (l *Log) Lookup(ctx context.Context, s flow.Slice) (sinks.Receipt, error) {
	const op = "look up a slice"
	if err := errors.Join(l.checkOpen(), s.Validate()); err != nil {
		return sinks.Receipt{}, err
	}
	d := l.day(s.Partition, s.Day())
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := l.refresh(ctx, d); err != nil {
		return sinks.Receipt{}, Fault(op, l.root, err)
	}
	if err := l.settleDoubts(ctx, d, s); err != nil {
		return sinks.Receipt{}, Fault(op, l.root, err)
	}
	for _, c := range d.commits {
		if c.id == s.ID && !c.forgotten {
			e, err := l.readEntry(d, c.number)
			if err != nil {
				return sinks.Receipt{}, Fault(op, l.root, err)
			}
			return e.receipt(c.number), nil
		}
	}
	return sinks.Receipt{}, fmt.Errorf("slice %s: %w", s, sinks.ErrNotCommitted)
}

// Committed implements sinks.Memory: every entry of the days that the gap meets, less those whose numbers the caller knows.
func (l *Log) Committed(ctx context.Context, g flow.Gap, after func(day time.Time) uint64) iter.Seq2[sinks.Receipt, error] {
	const op = "read the commit log"
	return func(yield func(sinks.Receipt, error) bool) {
		if err := l.checkOpen(); err != nil {
			yield(sinks.Receipt{}, err)
			return
		}
		days, err := l.listDays(g.Partition)
		if err != nil {
			yield(sinks.Receipt{}, Fault(op, l.root, err))
			return
		}
		for _, at := range days {
			if !g.Range().Meets(flow.Range{From: at, To: at.Add(24 * time.Hour)}) {
				continue
			}
			from := uint64(0)
			if after != nil {
				from = after(at)
			}
			if !l.yieldDay(ctx, g.Partition, at, from, yield) {
				return
			}
		}
	}
}

func (l *Log) yieldDay(ctx context.Context, p flow.Partition, at time.Time, after uint64, yield func(sinks.Receipt, error) bool) bool {
	d := l.day(p, at)
	last, err := l.refreshed(ctx, d, after)
	for n := after + 1; err == nil && n <= last; n++ {
		var e Entry
		if err = ctx.Err(); err != nil {
			break
		}
		// Entries never change, so they are read without the day's mutex: the caller may commit while it iterates.
		if e, err = l.readEntry(d, n); err == nil && e.Sweep == nil && !yield(e.receipt(n), nil) {
			return false
		}
	}
	if err != nil {
		yield(sinks.Receipt{}, Fault("read the commit log", l.root, err))
		return false
	}
	return true
}
