package commitlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// tidyWithin bounds how long deletions may take that nobody waits for the result of: what is left, a later start sweeps.
const tidyWithin = 30 * time.Second

// StoreStaging is one attempt at a slice: objects under names of its own, which become the slice by Commit. Its methods are called
// from one goroutine at a time, Cancel and Abort from any.
type StoreStaging struct {
	log     *StoreLog
	slice   flow.Slice
	attempt uint32
	nonce   nonce
	ctx     context.Context //nolint:containedctx // of all uploads: they run beside the calls, and Cancel ends them
	cancel  context.CancelFunc
	keys    []string // of the parts, in order
	intent  bool     // written

	mu    sync.Mutex
	dead  bool
	stale bool // a request's outcome isn't known: something may appear after everything was deleted
}

// intent is _sluice/staging/NONCE.json, which is there before the first part of an attempt: it tells a sweep what to look for.
type intent struct {
	V      int        `json:"v"`
	Slice  flow.Slice `json:"slice"`
	Prefix string     `json:"prefix"` // of the parts' keys; those of other attempts at the slice have it too
}

func intentKey(n nonce) string { return meta(stagingDir, n.String()+".json") }

// Begin starts an attempt. ErrOverlap if the log covers the range already, as far as it has been read. The slice's stream must be
// one of the owner's.
func (l *StoreLog) Begin(ctx context.Context, s flow.Slice, attempt uint32) (*StoreStaging, error) {
	const op = "begin a slice"
	if err := errors.Join(l.checkWritable(), s.Validate()); err != nil {
		return nil, err
	}
	if !l.owner.holds(s.Partition) {
		return nil, fault.Errorf(fault.Bug, op, "slice %s has selection %s, for which the sink wasn't opened", s, s.Selection.Short())
	}
	d := l.day(s.Partition, s.Day())
	d.mu.Lock()
	var err error
	if !d.loaded {
		err = l.load(ctx, d)
	}
	if err == nil {
		err = d.conflict(s)
	}
	d.mu.Unlock()
	if err != nil {
		return nil, Fault(op, l.root, err)
	}
	st := &StoreStaging{log: l, slice: s, attempt: attempt, nonce: newNonce()}
	st.ctx, st.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[st] = struct{}{}
	return st, nil
}

// Create begins the next part and returns its key: dir, then stem with the attempt and its nonce, then extension. The part is
// there when Sync has returned. Close gives up a part that wasn't synced.
func (s *StoreStaging) Create(dir, stem, extension string) (File, string, error) {
	if !s.intent {
		if err := s.announce(path.Join(dir, strings.TrimRight(stem, "0123456789"))); err != nil {
			return nil, "", Fault("create a part", s.log.root, err)
		}
		s.intent = true
	}
	key := path.Join(dir, fmt.Sprintf("%s-%d-%s%s", stem, s.attempt, s.nonce, extension))
	s.keys = append(s.keys, key)
	return &storeFile{staging: s, key: key, pieces: &s.log.pieces}, key, nil
}

// announce writes the attempt's intent.
func (s *StoreStaging) announce(prefix string) error {
	b, err := json.Marshal(intent{V: version, Slice: s.slice, Prefix: prefix})
	if err != nil {
		return err
	}
	return s.note(ours(s.log.store.PutAbsent(s.ctx, intentKey(s.nonce), append(b, '\n'))))
}

// note remembers that a request's outcome isn't known.
func (s *StoreStaging) note(err error) error {
	if err != nil && !denied(err) {
		s.mu.Lock()
		s.stale = true
		s.mu.Unlock()
	}
	return err
}

// Cancel ends uploads that run: they fail. Abort is still to be called.
func (s *StoreStaging) Cancel() { s.cancel() }

// Commit makes the slice durable and visible to whoever reads the log: parts has what was written by Create, in its order. See
// sinks.Txn for its errors; the attempt is dead afterwards.
func (s *StoreStaging) Commit(ctx context.Context, parts []sinks.Part, a sinks.Account) (sinks.Receipt, error) {
	if !s.end() {
		return sinks.Receipt{}, sinks.ErrDead
	}
	defer s.cancel()
	r, err := s.commit(ctx, parts, a)
	switch {
	case err == nil:
		if s.intent {
			s.log.tidy(ctx, "delete the intent of a commit", func(ctx context.Context) error {
				return s.log.store.Delete(ctx, intentKey(s.nonce))
			})
		}
	case !errors.Is(err, sinks.ErrInDoubt):
		err = Fault("commit", s.log.root, err)
		s.discard(ctx)
	}
	return r, err
}

func (s *StoreStaging) commit(ctx context.Context, parts []sinks.Part, a sinks.Account) (sinks.Receipt, error) {
	l := s.log
	c := newCommit(s.slice, s.nonce, parts, a, l.sluice, l.now())
	err := c.validate()
	if err == nil && !slices.EqualFunc(parts, s.keys, func(p sinks.Part, key string) bool { return p.Path == key }) {
		err = fmt.Errorf("%d parts were written, and %d are to be committed, or their keys differ", len(s.keys), len(parts))
	}
	if err != nil {
		return sinks.Receipt{}, fault.New(fault.Bug, "commit", "", fmt.Errorf("slice %s: %w", s.slice, err))
	}
	d := l.day(s.slice.Partition, s.slice.Day())
	d.mu.Lock()
	defer d.mu.Unlock()
	number, err := l.append(ctx, d, Entry{Kind: KindCommit, Commit: c}, func() error {
		if _, gone := d.swept[s.nonce]; gone {
			return s.sweptAway(nil)
		}
		return d.conflict(s.slice)
	})
	if errors.Is(err, errUnknown) {
		l.mu.Lock()
		l.doubts[s.nonce] = s
		l.mu.Unlock()
		return sinks.Receipt{}, inDoubt("commit", err)
	} else if err != nil {
		return sinks.Receipt{}, err
	}
	return Entry{Kind: KindCommit, Commit: c}.receipt(number), nil
}

// sweptAway says that another process has ended this attempt; cause may be nil.
func (s *StoreStaging) sweptAway(cause error) error {
	err := fmt.Errorf("slice %s: attempt %s was swept", s.slice, s.nonce)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return fault.New(fault.Transient, "write a slice",
		"another process has begun to write to this prefix and swept what was open; the slice is read again. End one of the two", err)
}

// errUnknown says that an entry's put was answered by nothing that tells whether it took place.
var errUnknown = errors.New("the entry may or may not have been written")

// append puts an entry under the day's next number. allow is asked each time after what is known of the day has grown. Numbers are
// dense, so a put that succeeds proves that nothing came between. d.mu is held.
func (l *StoreLog) append(ctx context.Context, d *day, e Entry, allow func() error) (uint64, error) {
	b, err := e.encode()
	if err != nil {
		return 0, err
	}
	// What is written here must be what every reader takes, or the day could be read no more.
	if _, err := ParseEntry(b); err != nil {
		return 0, fault.New(fault.Bug, "commit", "", fmt.Errorf("the entry isn't valid: %w", err))
	}
	if len(b) > MaxObject {
		return 0, fault.New(fault.Config, "commit", "raise part_size, so that a slice has fewer parts",
			fmt.Errorf("the entry has %d bytes, and none of more than %d could be read again", len(b), MaxObject))
	}
	if !d.loaded {
		if err := l.load(ctx, d); err != nil {
			return 0, err
		}
	}
	for {
		// A put whose answer was lost is sent again by the client, and then finds its own key taken.
		if i := slices.IndexFunc(d.commits, func(c committed) bool { return c.nonce == e.nonce() }); i >= 0 && e.Commit != nil {
			return d.commits[i].number, nil
		}
		if err := errors.Join(allow(), ctx.Err()); err != nil {
			return 0, err
		}
		number := d.last + 1
		err := l.store.PutAbsent(ctx, path.Join(d.dir, entryFile(number)), b)
		switch {
		case err == nil:
			if err := l.apply(d, e); err != nil {
				return 0, fmt.Errorf("%w: %w", errUnknown, err)
			}
			return number, nil
		case errors.Is(err, fs.ErrExist):
			before := d.last
			if err := l.refresh(ctx, d); err != nil {
				return 0, fmt.Errorf("%w: %w", errUnknown, err) // what has the number may be this entry
			}
			if d.last == before {
				return 0, fmt.Errorf("%w: entry %d of %s was said to be there and isn't", errUnknown, number, d.dir)
			}
		case denied(err):
			return 0, err
		default:
			return 0, fmt.Errorf("%w: %w", errUnknown, err)
		}
	}
}

// Abort deletes what was uploaded. It does nothing after Commit, whose outcome may be in doubt. Idempotent.
func (s *StoreStaging) Abort() error {
	if s.end() {
		s.cancel()
		s.discard(context.Background())
	}
	return nil
}

// discard deletes what an attempt that surely has no entry has put. What may appear later, or can't be deleted, is left to a
// later start, which finds it by the intent.
func (s *StoreStaging) discard(ctx context.Context) {
	if !s.intent && len(s.keys) == 0 {
		s.mu.Lock()
		stale := s.stale
		s.mu.Unlock()
		if !stale {
			return
		}
	}
	s.log.tidy(ctx, "delete what an attempt has left", func(ctx context.Context) error {
		for _, key := range s.keys {
			if err := s.log.store.Delete(ctx, key); err != nil {
				return err
			}
		}
		s.mu.Lock()
		stale := s.stale
		s.mu.Unlock()
		if stale {
			return nil
		}
		return s.log.store.Delete(ctx, intentKey(s.nonce))
	})
}

// tidy does what may fail: a later start does it again.
func (l *StoreLog) tidy(ctx context.Context, what string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyWithin)
	defer cancel()
	if err := do(ctx); err != nil {
		l.log.Warn("what an attempt has left is left to the next start", "op", what, "error", err)
	}
}

// end makes the attempt dead and reports whether it was alive.
func (s *StoreStaging) end() bool {
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
// part to see to their objects, before or after. The numbers must be those of commits that stand.
func (l *StoreLog) Forget(ctx context.Context, p flow.Partition, at time.Time, numbers []uint64) (sinks.Receipt, error) {
	if err := l.checkWritable(); err != nil {
		return sinks.Receipt{}, err
	}
	at = flow.Day(at)
	e := Entry{Kind: KindForget, Forget: &Forget{
		V: version, Kind: KindForget, Partition: p, Day: dayName(at), Entries: slices.Clone(numbers), Nonce: newNonce().String(),
		Sluice: l.sluice, At: l.now().UTC().Truncate(time.Millisecond),
	}}
	d := l.day(p, at)
	d.mu.Lock()
	defer d.mu.Unlock()
	err := l.refresh(ctx, d)
	var number uint64
	if err == nil {
		number, err = l.append(ctx, d, e, func() error { return d.forgettable(numbers) })
	}
	if errors.Is(err, errUnknown) {
		err = inDoubt("forget", err)
	}
	if err != nil {
		return sinks.Receipt{}, Fault("forget", l.root, err)
	}
	return e.receipt(number), nil
}
