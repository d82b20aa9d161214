// Package verify proves what a sink holds: it reads every committed slice back through the sink and compares it with the sink's
// commit log and with the ledger.
//
//	result, err := verify.Sink(ctx, verify.Config{Sink: sink, Ledger: ledger, Found: print})
//
// It changes nothing, asks no vendor and may run beside a host. What is wrong is a Finding; an error says that the proof couldn't be
// tried. Memory is that of the slices that are read at once and of the receipts of one partition.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Kinds of findings beside those of sinks.Auditor.
const (
	// KindLost is a commit that the ledger holds and the sink lacks.
	KindLost sinks.FindingKind = "lost"
	// KindUnrecorded is a commit that the sink holds and the ledger lacks.
	KindUnrecorded sinks.FindingKind = "unrecorded"
	// KindDisagrees is a commit of which sink and ledger say different things.
	KindDisagrees sinks.FindingKind = "disagrees"
)

// Config is what is verified and how.
type Config struct {
	Sink     sinks.Sink     // opened with sinks.Config.ReadOnly; it has Memory, Lister and Auditor
	Ledger   *ledger.Ledger // nil: there is none, and the sink's own log is believed
	Range    flow.Range     // slices that it meets; empty: all
	Streams  []string       // empty: all
	Parallel int            // slices that are read at once
	Running  bool           // a host may be committing: what it has just committed may not be in the ledger yet
	// Found takes each finding as it comes; never concurrently. An error ends the verification and is returned.
	Found func(Finding) error
	// Letters compares the dead letters of a slice with its receipt; nil: they aren't compared.
	Letters func(ctx context.Context, r sinks.Receipt) (*sinks.Finding, error)
	// Progress is called after each slice, never concurrently; nil: not.
	Progress func(Result)

	waits func() // a seam for tests: before the ledger is looked at once more
}

// Finding is one thing that isn't as it was committed.
type Finding struct {
	sinks.Finding
	Slice flow.Slice // zero for what belongs to no slice
}

// Result sums up what was read.
type Result struct {
	Slices   uint64 // that were read back, those with findings too
	Parts    uint64
	Stored   int64  // bytes of the parts that their commits name
	Rows     uint64 // that were read
	Bytes    uint64 // of those, as the digest counts them
	Inexact  uint64 // slices whose records can't be had back exactly
	Why      string // the first of those
	Dead     uint64 // dead letters that their files hold
	Findings uint64
}

// Auditable reports whether what a sink holds can be read back.
func Auditable(k sinks.Sink) bool {
	_, memory := k.(sinks.Memory)
	_, lister := k.(sinks.Lister)
	_, auditor := k.(sinks.Auditor)
	return memory && lister && auditor
}

// ErrNotAuditable says that a sink can't be read back.
var ErrNotAuditable = errors.New("the sink can't be read back")

// Sink verifies one sink.
func Sink(ctx context.Context, c Config) (Result, error) {
	if !Auditable(c.Sink) {
		return Result{}, ErrNotAuditable
	}
	c.Parallel = max(c.Parallel, 1)
	v := &verifier{Config: c}
	err := v.run(ctx)
	return v.result, err
}

// verifier verifies one sink.
type verifier struct {
	Config

	mu     sync.Mutex
	result Result
	unread unread
}

func (v *verifier) run(ctx context.Context) error {
	partitions, err := v.partitions(ctx)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		if err := v.partition(ctx, p); err != nil && !v.passes(ctx, err) {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	if err := v.strays(ctx); err != nil && !v.passes(ctx, err) {
		return err
	}
	return v.unread.err()
}

// partitions returns those of which the sink or the ledger holds something.
func (v *verifier) partitions(ctx context.Context) ([]flow.Partition, error) {
	all, err := v.Sink.(sinks.Lister).Partitions(ctx)
	if err != nil {
		return nil, err
	}
	if v.Ledger != nil {
		recorded, err := v.Ledger.Partitions(ctx, v.Sink.Identity())
		if err != nil {
			return nil, err
		}
		for _, p := range recorded {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return slices.DeleteFunc(all, func(p flow.Partition) bool {
		return len(v.Streams) > 0 && !slices.Contains(v.Streams, p.Stream)
	}), nil
}

// partition verifies one partition. The ledger is read before the sink's log and again after it: the sink is always ahead.
func (v *verifier) partition(ctx context.Context, p flow.Partition) error {
	before, err := v.recorded(ctx, p)
	if err != nil {
		return err
	}
	var missing []sinks.Receipt // in the ledger
	seen := map[flow.SliceID]struct{}{}
	var twice twice
	err = v.readAll(ctx, p, func(r sinks.Receipt) error {
		seen[r.Slice.ID] = struct{}{}
		twice.add(r)
		was, ok := before[r.Slice.ID]
		if !ok {
			missing = append(missing, r)
			return nil
		}
		return v.compare(was, r)
	})
	if err == nil {
		err = twice.each(v.found)
	}
	if err != nil || v.Ledger == nil {
		return err
	}
	return v.reconcile(ctx, p, before, seen, missing)
}

// readAll reads back what the sink holds of a partition and calls each with the receipt of every slice, from one goroutine.
func (v *verifier) readAll(ctx context.Context, p flow.Partition, each func(sinks.Receipt) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan sinks.Receipt)
	var readers sync.WaitGroup
	for range v.Parallel {
		readers.Go(func() {
			for r := range work {
				if err := v.audit(ctx, r); err != nil && !v.passes(ctx, err) {
					cancel(err)
				}
			}
		})
	}
	err := standing(ctx, v.Sink.(sinks.Memory), p, v.Range, func(r sinks.Receipt) error {
		if err := each(r); err != nil {
			return err
		}
		select {
		case work <- r:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(work)
	readers.Wait()
	if cause := context.Cause(ctx); cause != nil { // the first error, of which others may be a consequence
		return cause
	}
	return err
}

// wanted reports whether a slice is asked for.
func (v *verifier) wanted(s flow.Slice) bool { return v.Range.Empty() || v.Range.Meets(s.Range()) }

// standing calls each with the receipts of a partition that no later entry withdraws, of the slices that meet r; of all for an empty r.
func standing(ctx context.Context, k sinks.Memory, p flow.Partition, r flow.Range, each func(sinks.Receipt) error) error {
	g := flow.Gap{Partition: p, From: time.Unix(0, 0).UTC(), To: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
	if !r.Empty() {
		g.From, g.To = r.From, r.To
	}
	var day []sinks.Receipt // forget entries come after the commits of their day
	flush := func() error {
		for _, one := range day {
			if err := each(one); err != nil {
				return err
			}
		}
		day = day[:0]
		return nil
	}
	for one, err := range k.Committed(ctx, g, nil) {
		if err != nil {
			return err
		}
		if len(day) > 0 && !day[0].Slice.Day().Equal(one.Slice.Day()) {
			if err := flush(); err != nil {
				return err
			}
		}
		if len(one.Forgets) > 0 {
			day = slices.DeleteFunc(day, func(c sinks.Receipt) bool { return slices.Contains(one.Forgets, c.Entry) })
		} else if r.Empty() || r.Meets(one.Slice.Range()) {
			day = append(day, one)
		}
	}
	return flush()
}

// audit reads one slice back.
func (v *verifier) audit(ctx context.Context, r sinks.Receipt) error {
	var sum flow.Sum
	found, err := v.Sink.(sinks.Auditor).Audit(ctx, r, func(s flow.Sum) error {
		sum = sum.Plus(s)
		return nil
	})
	var inexact *sinks.InexactError
	if err != nil && !errors.As(err, &inexact) {
		return err
	}
	// The auditor has compared all that it can. That the records add up is compared here too: it is what is promised.
	if what := r.Difference(sum); what != "" && len(found) == 0 && inexact == nil {
		found = append(found, sinks.Finding{Kind: sinks.FindingDiffers, Path: firstPath(r), What: what})
	}
	if v.Letters != nil && r.Dead.Rows > 0 {
		letters, err := v.Letters(ctx, r)
		if err != nil {
			return err
		}
		if letters != nil {
			found = append(found, *letters)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.result.Slices++
	v.result.Rows += sum.Rows
	v.result.Bytes += sum.Bytes
	for _, p := range r.Parts {
		v.result.Parts++
		v.result.Stored += p.Bytes
	}
	if v.Letters != nil {
		v.result.Dead += r.Dead.Rows
	}
	if inexact != nil {
		if v.result.Inexact++; v.result.Why == "" {
			v.result.Why = inexact.Error()
		}
	}
	for _, f := range found {
		if err := v.report(Finding{f, r.Slice}); err != nil {
			return err
		}
	}
	if v.Progress != nil {
		v.Progress(v.result)
	}
	return nil
}

func firstPath(r sinks.Receipt) string {
	if len(r.Parts) > 0 {
		return r.Parts[0].Path
	}
	return r.Slice.String()
}

// report hands a finding on. v.mu is held.
func (v *verifier) report(f Finding) error {
	v.result.Findings++
	return v.Found(f)
}

func (v *verifier) found(f Finding) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.report(f)
}

// strays names data that no commit names. What appeared while the log was read is looked at once more: a host may have committed it.
func (v *verifier) strays(ctx context.Context) error {
	first, err := v.listStrays(ctx)
	if err != nil || len(first) == 0 {
		return err
	}
	again, err := v.listStrays(ctx)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(again))
	for _, path := range again {
		there[path] = true
	}
	for _, path := range first {
		if !there[path] {
			continue
		}
		err := v.found(Finding{Finding: sinks.Finding{
			Kind: sinks.FindingDoubled, Path: path, What: "no commit names it: whoever reads all files reads its records too, which may be there twice",
			Hint: "look what it is, and move it away or delete it; Sluice never deletes what it didn't commit",
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) listStrays(ctx context.Context) (out []string, err error) {
	for path, err := range v.Sink.(sinks.Lister).Strays(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, path)
	}
	return out, nil
}
