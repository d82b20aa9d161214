package parts

import (
	"context"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

var (
	_ sinks.Withdrawer = (*Sink)(nil)
	_ sinks.Clearer    = (*Sink)(nil)
)

// Left implements sinks.Withdrawer.
func (k *Sink) Left(ctx context.Context, r sinks.Receipt) ([]string, error) {
	var left []string
	for _, p := range r.Parts {
		there, err := k.log.HasPart(ctx, p.Path)
		if err != nil {
			return nil, err
		}
		if there {
			left = append(left, p.Path)
		}
	}
	return left, nil
}

// Removes implements sinks.Withdrawer.
func (k *Sink) Removes() bool { return true }

// Withdraw implements sinks.Withdrawer: the entry first, then the parts.
func (k *Sink) Withdraw(ctx context.Context, commits []sinks.Receipt, remove bool) (sinks.Receipt, error) {
	if len(commits) == 0 {
		return sinks.Receipt{}, fault.Errorf(fault.Bug, "forget", "no commit is named")
	}
	first := commits[0].Slice
	numbers := make([]uint64, len(commits))
	for i, c := range commits {
		if c.Slice.Partition != first.Partition || !c.Slice.Day().Equal(first.Day()) {
			return sinks.Receipt{}, fault.Errorf(fault.Bug, "forget", "slice %s is of another partition or day than %s", c.Slice, first)
		}
		numbers[i] = c.Entry
	}
	r, err := k.log.Forget(ctx, first.Partition, first.Day(), numbers)
	if err != nil || !remove {
		return r, err
	}
	_, err = k.Clear(ctx, commits, nil)
	return r, err
}

// Clear implements sinks.Clearer.
func (k *Sink) Clear(ctx context.Context, withdrawn, standing []sinks.Receipt) ([]string, error) {
	named := map[string]bool{}
	for _, r := range standing {
		for _, p := range r.Parts {
			named[p.Path] = true
		}
	}
	var gone []string
	for _, r := range withdrawn {
		for _, p := range r.Parts {
			if named[p.Path] {
				continue // a slice that was read again has the same names
			}
			there, err := k.log.HasPart(ctx, p.Path)
			if err == nil && there {
				err = k.log.RemovePart(ctx, p.Path)
			}
			if err != nil {
				return gone, err
			}
			if there {
				gone = append(gone, p.Path)
			}
		}
	}
	return gone, nil
}
