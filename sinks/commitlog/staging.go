package commitlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Staging is one attempt at a slice: a folder out of sight that becomes the slice by Commit. Its methods are called from
// one goroutine at a time, Abort from any.
type Staging struct {
	log   *Log
	slice flow.Slice
	nonce nonce
	dir   string
	parts int

	mu   sync.Mutex
	dead bool
}

// staged is slice.json: whose a staging folder is.
type staged struct {
	V     int        `json:"v"`
	Slice flow.Slice `json:"slice"`
}

// Begin starts an attempt. ErrOverlap if the log covers the range already. The slice's stream must be one of the owner's.
func (l *Log) Begin(ctx context.Context, s flow.Slice) (*Staging, error) {
	const op = "begin a slice"
	if err := errors.Join(l.checkWritable(), s.Validate()); err != nil {
		return nil, err
	}
	if !l.owner.holds(s.Partition) {
		return nil, fault.Errorf(fault.Bug, op, "slice %s has selection %s, for which the sink wasn't opened", s, s.Selection.Short())
	}
	d := l.day(s.Partition, s.Day())
	d.mu.Lock()
	err := l.refresh(ctx, d)
	if err == nil {
		err = d.conflict(s)
	}
	d.mu.Unlock()
	if err != nil {
		return nil, Fault(op, l.root, err)
	}
	return l.stage(s)
}

func (l *Log) stage(s flow.Slice) (*Staging, error) {
	st := &Staging{log: l, slice: s, nonce: newNonce()}
	st.dir = l.meta(stagingDir, st.nonce.String())
	// Never with its parents: if they are gone, the root isn't what was opened (unmounted, removed).
	if err := l.fs.Mkdir(st.dir, 0o777); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Config, "begin a slice", "was it unmounted, moved or deleted? bring it back and run again", err)
		}
		return nil, Fault("begin a slice", l.root, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[st] = struct{}{}
	return st, nil
}

// Create makes the next part's file; its name out of sight is the part's number. The caller syncs and closes it before Commit.
func (s *Staging) Create() (File, error) {
	f, err := s.log.fs.Create(filepath.Join(s.dir, partFile(s.parts)), 0o666)
	if err != nil {
		return nil, Fault("create a part", s.log.root, s.explain(err))
	}
	s.parts++
	return f, nil
}

// Commit makes the slice durable and visible: parts has what was written by Create, in its order, with final paths. See
// sinks.Txn for its errors; the attempt is dead afterwards.
func (s *Staging) Commit(ctx context.Context, parts []sinks.Part, a sinks.Account) (sinks.Receipt, error) {
	if !s.end() {
		return sinks.Receipt{}, sinks.ErrDead
	}
	r, err := s.commit(ctx, parts, a)
	if err != nil && !errors.Is(err, sinks.ErrInDoubt) {
		err = Fault("commit", s.log.root, err)
		s.log.discard(s.dir)
	}
	return r, err
}

func (s *Staging) commit(ctx context.Context, parts []sinks.Part, a sinks.Account) (sinks.Receipt, error) {
	l := s.log
	if err := s.checkAccount(parts, a); err != nil {
		return sinks.Receipt{}, fault.New(fault.Bug, "commit", "", fmt.Errorf("slice %s: %w", s.slice, err))
	}
	e := Entry{Kind: KindCommit, Commit: newCommit(s.slice, s.nonce, parts, a, l.sluice, l.now())}
	if err := s.write(e); err != nil {
		return sinks.Receipt{}, s.explain(err)
	}
	// Folders are made before the commit point: what can fail should fail while it is no doubt.
	for _, p := range parts {
		if err := l.ensureDir(filepath.Dir(l.final(p.Path))); err != nil {
			return sinks.Receipt{}, err
		}
	}
	d := l.day(s.slice.Partition, s.slice.Day())
	if err := l.ensureDir(d.dir); err != nil {
		return sinks.Receipt{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.append(ctx, d, e, func() error {
		if err := d.conflict(s.slice); err != nil {
			return err
		}
		if err := l.clearForgotten(d, e.Commit); err != nil {
			return err
		}
		return s.checkFree(parts)
	})
}

// append gives the entry in the staging folder the day's next number and rolls it forward. allow is asked each time after
// the day is known to its end. d.mu is held.
func (s *Staging) append(ctx context.Context, d *day, e Entry, allow func() error) (sinks.Receipt, error) {
	l := s.log
	for {
		if err := l.refresh(ctx, d); err != nil {
			return sinks.Receipt{}, err
		}
		// On a network file system a link whose answer was lost is tried again and then finds its own name taken.
		if i := slices.IndexFunc(d.commits, func(c committed) bool { return c.nonce == s.nonce }); i >= 0 {
			return e.receipt(d.commits[i].number), nil
		}
		if err := allow(); err != nil {
			return sinks.Receipt{}, err
		}
		if err := ctx.Err(); err != nil {
			return sinks.Receipt{}, err
		}
		number := d.last + 1
		name := filepath.Join(d.dir, entryFile(number))
		err := l.fs.PutAbsent(filepath.Join(s.dir, entryName), name)
		switch {
		case err == nil:
			return s.settle(d, e, number)
		case errors.Is(err, fs.ErrExist):
			if _, rerr := l.readEntry(d, number); rerr != nil {
				return sinks.Receipt{}, damaged(name, rerr) // taken, but not by an entry: without this the loop had no end
			}
		case refused(err):
			return sinks.Receipt{}, s.explain(err)
		default:
			return sinks.Receipt{}, s.doubt(err)
		}
	}
}

// settle makes a linked entry durable (the commit point) and rolls it forward. Nothing that fails here says whether the
// commit took place: it is in doubt, and d doesn't know the entry, so that the next look at the day begins with it.
func (s *Staging) settle(d *day, e Entry, number uint64) (sinks.Receipt, error) {
	l := s.log
	if err := l.fs.SyncDir(d.dir); err != nil {
		return sinks.Receipt{}, s.doubt(err)
	}
	if e.Commit != nil {
		if err := l.rollForward(e.Commit, true); err != nil {
			return sinks.Receipt{}, s.doubt(err)
		}
	} else {
		l.discard(s.dir)
	}
	if err := d.apply(number, e); err != nil {
		return sinks.Receipt{}, s.doubt(err)
	}
	return e.receipt(number), nil
}

// doubt remembers the attempt, so that Lookup can settle it.
func (s *Staging) doubt(err error) error {
	s.log.mu.Lock()
	s.log.doubts[s.nonce] = s.slice
	s.log.mu.Unlock()
	return inDoubt("commit", Fault("commit", s.log.root, err))
}

// write puts slice.json and the entry beside the parts and makes the staging folder durable.
func (s *Staging) write(e Entry) error {
	l := s.log
	b, err := e.encode()
	if err != nil {
		return err
	}
	// What is written here must be what every reader takes, or the day could be read no more.
	if _, err := ParseEntry(b); err != nil {
		return fault.New(fault.Bug, "commit", "", fmt.Errorf("slice %s: the entry isn't valid: %w", s.slice, err))
	}
	whose, err := json.Marshal(staged{V: version, Slice: s.slice})
	if err != nil {
		return err
	}
	if err := l.writeFile(filepath.Join(s.dir, sliceName), append(whose, '\n')); err != nil {
		return err
	}
	if err := l.writeFile(filepath.Join(s.dir, entryName), b); err != nil {
		return err
	}
	if err := l.fs.SyncDir(s.dir); err != nil {
		return err
	}
	return l.fs.SyncDir(l.meta(stagingDir))
}

func (s *Staging) checkAccount(parts []sinks.Part, a sinks.Account) error {
	switch {
	case !a.Balanced():
		return fmt.Errorf("read %d rows isn't delivered %d + dead %d + filtered %d, in rows, bytes or digest",
			a.Read.Rows, a.Delivered.Rows, a.Dead.Rows, a.Filtered.Rows)
	case len(parts) != s.parts:
		return fmt.Errorf("%d parts were written, %d are to be committed", s.parts, len(parts))
	}
	return checkParts(parts, a.Delivered.Rows)
}

// checkFree refuses a final name that is taken. The log was just read to its end, so what has the name isn't of a commit.
func (s *Staging) checkFree(parts []sinks.Part) error {
	for _, p := range parts {
		name := s.log.final(p.Path)
		if _, err := s.log.fs.Lstat(name); err == nil {
			return foreign(name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// explain tells a staging folder that was taken away from other causes.
func (s *Staging) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, serr := s.log.fs.Lstat(s.dir); errors.Is(serr, fs.ErrNotExist) {
			return fault.New(fault.Config, "commit", "another process has taken the root over, or it was unmounted: end one of the two",
				fmt.Errorf("the folder of this attempt was swept: %w: %w", sinks.ErrOwned, err))
		}
	}
	return err
}

// Abort deletes what was staged. It does nothing after Commit, whose outcome may be in doubt. Idempotent.
func (s *Staging) Abort() error {
	if s.end() {
		s.log.discard(s.dir)
	}
	return nil
}

// end makes the attempt dead and reports whether it was alive.
func (s *Staging) end() bool {
	s.mu.Lock()
	was := s.dead
	s.dead = true
	s.mu.Unlock()
	s.log.mu.Lock()
	delete(s.log.open, s)
	s.log.mu.Unlock()
	return !was
}

// Forget withdraws commits of a partition's day by their numbers: what they covered is a gap again. It is the caller's
// part to see to their files, before or after. The numbers must be those of commits that stand.
func (l *Log) Forget(ctx context.Context, p flow.Partition, at time.Time, numbers []uint64) (sinks.Receipt, error) {
	if err := l.checkWritable(); err != nil {
		return sinks.Receipt{}, err
	}
	at = flow.Day(at)
	s, err := l.stage(flow.NewSlice(p, at, at.Add(24*time.Hour), 0))
	if err != nil {
		return sinks.Receipt{}, err
	}
	s.end()
	e := Entry{Kind: KindForget, Forget: &Forget{
		V: version, Kind: KindForget, Partition: p, Day: dayName(at), Entries: slices.Clone(numbers), Nonce: s.nonce.String(),
		Sluice: l.sluice, At: l.now().UTC().Truncate(time.Millisecond),
	}}
	d := l.day(p, at)
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := sinks.Receipt{}, s.write(e)
	if err == nil {
		r, err = s.append(ctx, d, e, func() error { return d.forgettable(numbers) })
	}
	if err != nil && !errors.Is(err, sinks.ErrInDoubt) {
		l.discard(s.dir)
	}
	return r, Fault("forget", l.root, err)
}

func (d *day) forgettable(numbers []uint64) error {
	for i, n := range numbers {
		if c := d.find(n); c < 0 || d.commits[c].forgotten || slices.Contains(numbers[:i], n) {
			return fmt.Errorf("entry %d of %s on %s isn't a commit that stands", n, d.key.Partition, d.key.day)
		}
	}
	return nil
}
