package pipeline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sluice-io/sluice/host/multiset"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// refusedError says that what a sink holds can't be compared with what the vendor serves: the sink lacks some of what it committed, and
// a recheck would send that again as if it were late.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return e.why }

// held counts the records that a sink has of a range, all revisions, with those that are its dead letters. Every entry that meets the
// range must lie in it. The caller closes the Set. A *refusedError if it can't be told.
func (r *run) held(ctx context.Context, i int, p flow.Partition, within flow.Range, memory int64) (set *multiset.Set, err error) {
	receipts, err := r.cfg.Ledger.CommittedIn(ctx, r.identity(i), p, within)
	if err != nil {
		return nil, err
	}
	folder := ""
	if r.cfg.Recheck.Spool != nil {
		if folder, err = r.cfg.Recheck.Spool(); err != nil {
			return nil, fault.New(fault.Transient, "spool", "check the disk of the state folder", err)
		}
	}
	set = multiset.New(multiset.Options{Memory: memory, Folder: folder})
	defer func() {
		if err != nil {
			err = errors.Join(err, set.Close())
		}
	}()
	for _, x := range receipts {
		if !within.Contains(x.Slice.Range()) {
			return set, fault.Errorf(fault.Overlap, "recheck", "%s reaches out of %s", x.Slice, within)
		}
		if err := r.audit(ctx, i, x, set); err != nil {
			return set, err
		}
		if x.Dead.Rows > 0 {
			if err := r.heldDead(ctx, x, receipts, set); err != nil {
				return set, err
			}
		}
	}
	return set, set.Seal()
}

// audit adds what a sink gives back of one entry.
func (r *run) audit(ctx context.Context, i int, x sinks.Receipt, set *multiset.Set) error {
	s := &r.cfg.Sinks[i]
	auditor := s.Sink.(sinks.Auditor) // audited has looked
	var sum flow.Sum
	var findings []sinks.Finding
	err := guard(s.Name, "audit", func() (err error) {
		findings, err = auditor.Audit(ctx, x, func(one flow.Sum) error {
			sum = sum.Plus(one)
			if sum.Rows%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			return set.Add(one.Digest)
		})
		return err
	})
	switch {
	case err != nil:
		return err
	case len(findings) > 0:
		return &refusedError{fmt.Sprintf("%s: %s (%s)", x.Slice, findings[0].What, findings[0].Path)}
	case sum != x.Delivered:
		return &refusedError{fmt.Sprintf("%s: %d records are there, %d were delivered, or others", x.Slice, sum.Rows, x.Delivered.Rows)}
	}
	return nil
}

// heldDead adds the dead letters of an entry that weren't delivered since. A file that someone removed isn't known any more: what was
// in it comes again, to be delivered or to be a dead letter again.
func (r *run) heldDead(ctx context.Context, x sinks.Receipt, receipts []sinks.Receipt, set *multiset.Set) error {
	path := filepath.Join(r.cfg.DeadPath, filepath.FromSlash(x.DeadLetters))
	plan, planned, err := readPlan(path)
	if err != nil {
		return err
	}
	// Sent again and committed, and the file wasn't moved yet: only what couldn't be sent is dead still.
	var only map[int]bool
	if planned && slices.ContainsFunc(receipts, func(y sinks.Receipt) bool { return y.Slice.ID == plan.Slice.ID }) {
		only = map[int]bool{}
		for _, n := range plan.Left {
			only[n] = true
		}
	}
	kept := filepath.Base(path)
	if plan.Kept != "" {
		kept = plan.Kept
	}
	if _, err := os.Stat(filepath.Join(r.cfg.DeadPath, deliveredFolder, filepath.Dir(filepath.FromSlash(x.DeadLetters)), kept)); err == nil {
		only = nil // it was moved, and what couldn't be sent is a file of its own, in its place or about to be
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dead letters: %w", err)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(path + leftSuffix)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 256<<10)
	for n := 0; ctx.Err() == nil; n++ {
		one, err := nextLetter(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &refusedError{fmt.Sprintf("the dead letters of %s can't be read: %s: line %d: %v", x.Slice, f.Name(), n+1, err)}
		}
		if only != nil && !only[n] {
			continue
		}
		if err := set.Add(one.Digest); err != nil {
			return err
		}
	}
	return ctx.Err()
}
