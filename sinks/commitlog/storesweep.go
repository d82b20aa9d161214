package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// fenceTries bounds how often one fence asks a store that doesn't answer; fenceWait is how long it waits in between at first.
const (
	fenceTries = 5
	fenceWait  = 200 * time.Millisecond
)

// sweep settles every attempt whose intent is there: one that the log names only loses its intent, others are fenced, and what
// they have put is deleted. The intent of one that an earlier start has fenced is deleted last: until then a request that was on
// its way may still have put something.
func (l *StoreLog) sweep(ctx context.Context) error {
	dir := meta(stagingDir) + "/"
	var found []string
	for key, err := range objects(ctx, l.store, dir, "") {
		if err != nil {
			return err
		}
		found = append(found, key)
	}
	for _, key := range found {
		n, err := parseNonce(strings.TrimSuffix(strings.TrimPrefix(key, dir), ".json"))
		if err != nil {
			l.log.Warn("something that isn't an attempt's lies among the intents", "key", key)
			continue
		}
		b, err := l.store.Get(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		var i intent
		err = strict(b, &i)
		if err == nil {
			err = i.Slice.Validate()
		}
		if err != nil {
			return damaged(key, err)
		}
		if err := l.sweepOne(ctx, n, i); err != nil {
			return err
		}
	}
	return nil
}

func (l *StoreLog) sweepOne(ctx context.Context, n nonce, i intent) error {
	d := l.day(i.Slice.Partition, i.Slice.Day())
	d.mu.Lock()
	err := l.refresh(ctx, d)
	_, before := d.swept[n]
	committed := false
	if err == nil && !before {
		committed, err = l.fence(ctx, d, n)
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if !committed {
		if err := l.deleteAttempt(ctx, n, i.Prefix); err != nil {
			return err
		}
		if !before {
			return nil
		}
	}
	return l.store.Delete(ctx, intentKey(n))
}

// deleteAttempt ends the uploads of an attempt that has no entry and never will have, and deletes its parts.
func (l *StoreLog) deleteAttempt(ctx context.Context, n nonce, prefix string) error {
	mine := func(key string) bool {
		return strings.Contains(path.Base(key), "-"+n.String()+".") && partName.MatchString(path.Base(key))
	}
	if err := l.store.AbortUploads(ctx, prefix, mine); err != nil {
		return err
	}
	for key, err := range objects(ctx, l.store, prefix, "") {
		if err != nil {
			return err
		}
		if mine(key) {
			if err := l.store.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// fence makes sure that an attempt without an entry never gets one: a sweep entry that names it takes the number that its entry
// would have to have, and whoever commits reads that entry first. committed says that the attempt's entry is there. d was read to
// its end and d.mu is held.
func (l *StoreLog) fence(ctx context.Context, d *day, n nonce) (committed bool, err error) {
	settled := errors.New("settled")
	e := Entry{Kind: KindSweep, Sweep: &Sweep{
		V: version, Kind: KindSweep, Partition: d.key.Partition, Day: d.key.day, Swept: n.String(), Nonce: newNonce().String(),
		Sluice: l.sluice, At: l.now().UTC().Truncate(time.Millisecond),
	}}
	wait := fenceWait
	for try := 1; ; try++ {
		_, err = l.append(ctx, d, e, func() error {
			committed = slices.ContainsFunc(d.commits, hasNonce(n))
			if _, gone := d.swept[n]; gone || committed {
				return settled
			}
			return nil
		})
		if err == nil || errors.Is(err, settled) {
			return committed, nil
		}
		if denied(err) || ctx.Err() != nil || try == fenceTries {
			return false, fmt.Errorf("sweep attempt %s: %w", n, err)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
		// The put that wasn't answered may have taken place, and so may the one that it is to keep out.
		if rerr := l.refresh(ctx, d); rerr != nil && try == fenceTries-1 {
			return false, rerr
		}
	}
}

func hasNonce(n nonce) func(committed) bool {
	return func(c committed) bool { return c.nonce == n }
}

// settleDoubts ends this process's own attempts at a slice whose commits are in doubt. d is the slice's day, just read; d.mu is held.
func (l *StoreLog) settleDoubts(ctx context.Context, d *day, s flow.Slice) error {
	l.mu.Lock()
	var open []*StoreStaging
	for _, st := range l.doubts {
		if st.slice.ID == s.ID {
			open = append(open, st)
		}
	}
	l.mu.Unlock()
	for _, st := range open {
		committed, err := l.fence(ctx, d, st.nonce)
		if err != nil {
			return fault.New(fault.InDoubt, "settle a commit in doubt", fault.HintOf(err), err)
		}
		if committed {
			l.tidy(ctx, "delete the intent of a commit", func(ctx context.Context) error {
				return l.store.Delete(ctx, intentKey(st.nonce))
			})
		} else {
			st.discard(ctx)
		}
		l.mu.Lock()
		delete(l.doubts, st.nonce)
		l.mu.Unlock()
	}
	return nil
}
