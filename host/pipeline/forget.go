package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// ForgetOptions say which commits are made gaps again.
type ForgetOptions struct {
	Range      flow.Range
	Partitions []string // keys or names; none: all
	Remove     bool     // the data goes, too
	Keep       bool     // forget though data stays that can't be deleted
}

// Forgettable is what would be forgotten of one partition in one sink.
type Forgettable struct {
	Sink      string
	Partition Partition
	Commits   []sinks.Receipt // whole, in the order of time and revision
	Left      []string        // what is there of their data
	Leftover  []string        // data of commits that were forgotten before: whoever was to delete it didn't come to it
	AtLeast   bool            // the sink remembers nothing: only the ledger forgets, and all is sent again

	index     int
	withdrawn []sinks.Receipt // that the leftover is of
	standing  []sinks.Receipt // of the same days
}

// Forgetter makes committed ranges gaps again. Make one with NewForgetter, Close it.
type Forgetter struct {
	r *run
	o ForgetOptions
}

// NewForgetter returns a forgetter of a pipeline's sinks, which are open. Nobody else may use the sinks meanwhile.
func NewForgetter(cfg Config, o ForgetOptions) *Forgetter {
	cfg.Parallel = max(cfg.Parallel, 1)
	return &Forgetter{newRun(cfg), o}
}

// Close ends what was begun.
func (f *Forgetter) Close() { f.r.close() }

// Plan finds what the range means in each sink and partition, and changes nothing but the ledger, which is brought up to what the sinks
// hold. Commits that the range meets in part are an error that says which range would fit.
func (f *Forgetter) Plan(ctx context.Context) ([]Forgettable, error) {
	var out []Forgettable
	fit := f.o.Range
	var split []string
	known := map[string]bool{}
	for i := range f.r.cfg.Sinks {
		s := &f.r.cfg.Sinks[i]
		if s.Sink == nil {
			var err error
			if s.Sink, err = s.Open(ctx); err != nil {
				return nil, err
			}
		}
		if err := f.r.healSink(ctx, s, f.o.Range); err != nil {
			return nil, err
		}
		for _, p := range f.r.cfg.Partitions {
			if len(f.o.Partitions) > 0 {
				chosen := false
				for _, n := range f.o.Partitions { // a log may be given by its ID and by its name
					if n == p.Key || n == p.Name {
						chosen, known[n] = true, true
					}
				}
				if !chosen {
					continue
				}
			}
			if !s.takes(p.Stream) {
				continue
			}
			one, err := f.find(ctx, i, p)
			if err != nil {
				return nil, err
			}
			for _, c := range one.Commits {
				if r := c.Slice.Range(); !f.o.Range.Contains(r) {
					split = append(split, fmt.Sprintf("%s: %s %s", s.Name, p.Partition, r))
				}
			}
			fit = widen(fit, one.Commits)
			if len(one.Commits)+len(one.Leftover) > 0 {
				out = append(out, one)
			}
		}
	}
	for _, name := range f.o.Partitions {
		if !known[name] {
			return nil, fault.New(fault.Config, "forget", "`sluice discover` lists what there is", fmt.Errorf("no partition is called %q", name))
		}
	}
	if len(split) > 0 {
		return nil, f.meetsInPart(ctx, fit, split)
	}
	return out, nil
}

// meetsInPart names the commits that the range cuts. A wider range may meet others: it is widened until it fits.
func (f *Forgetter) meetsInPart(ctx context.Context, fit flow.Range, split []string) error {
	for {
		wider := fit
		for i := range f.r.cfg.Sinks {
			for _, p := range f.r.cfg.Partitions {
				if !f.r.cfg.Sinks[i].takes(p.Stream) || len(f.o.Partitions) > 0 && !slices.Contains(f.o.Partitions, p.Key) && !slices.Contains(f.o.Partitions, p.Name) {
					continue
				}
				standing, _, err := f.commits(ctx, i, p.Partition, wider)
				if err != nil {
					return err
				}
				wider = widen(wider, meeting(standing, wider))
			}
		}
		if wider == fit {
			break
		}
		fit = wider
	}
	const most = 5
	text := ""
	for n, s := range split {
		if n == most {
			text += fmt.Sprintf("\n  and %d more", len(split)-most)
			break
		}
		text += "\n  " + s
	}
	return fault.New(fault.Config, "forget",
		fmt.Sprintf("this range fits: --from %s --to %s", fit.From.Format(flow.Layout), fit.To.Format(flow.Layout)),
		errors.New("only whole commits can be forgotten, and the range meets these in part:"+text))
}

func widen(r flow.Range, commits []sinks.Receipt) flow.Range {
	for _, c := range commits {
		if c.Slice.From.Before(r.From) {
			r.From = c.Slice.From
		}
		if c.Slice.To.After(r.To) {
			r.To = c.Slice.To
		}
	}
	return r
}

func meeting(all []sinks.Receipt, r flow.Range) []sinks.Receipt {
	return slices.DeleteFunc(slices.Clone(all), func(c sinks.Receipt) bool { return !c.Slice.Range().Meets(r) })
}

// find collects what the range means of one partition in one sink.
func (f *Forgetter) find(ctx context.Context, i int, p Partition) (Forgettable, error) {
	s := &f.r.cfg.Sinks[i]
	one := Forgettable{Sink: s.Name, Partition: p, index: i}
	standing, withdrawn, err := f.commits(ctx, i, p.Partition, f.o.Range)
	if err != nil {
		return one, err
	}
	one.standing, one.Commits = standing, meeting(standing, f.o.Range)
	w, ok := s.Sink.(sinks.Withdrawer)
	if _, remembers := s.Sink.(sinks.Memory); !remembers {
		one.AtLeast = true
		return one, nil
	}
	if !ok {
		return one, fault.New(fault.Config, "sink "+s.Name, "", errors.New("commits of this type of sink can't be forgotten"))
	}
	for _, c := range one.Commits {
		left, err := w.Left(ctx, c)
		if err != nil {
			return one, fmt.Errorf("sink %s: %w", s.Name, err)
		}
		one.Left = append(one.Left, left...)
	}
	if _, ok := w.(sinks.Clearer); !ok {
		return one, nil
	}
	named := map[string]bool{}
	for _, c := range standing {
		for _, part := range c.Parts {
			named[part.Path] = true
		}
	}
	for _, c := range meeting(withdrawn, f.o.Range) {
		left, err := w.Left(ctx, c)
		if err != nil {
			return one, fmt.Errorf("sink %s: %w", s.Name, err)
		}
		left = slices.DeleteFunc(left, func(path string) bool { return named[path] || slices.Contains(one.Leftover, path) })
		if len(left) > 0 {
			one.Leftover, one.withdrawn = append(one.Leftover, left...), append(one.withdrawn, c)
		}
	}
	return one, nil
}

// commits returns the commits of the days that a range meets, those that stand and those that were forgotten. A sink without memory has
// the ledger's.
func (f *Forgetter) commits(ctx context.Context, i int, p flow.Partition, r flow.Range) (standing, withdrawn []sinks.Receipt, err error) {
	s := &f.r.cfg.Sinks[i]
	if _, ok := s.Sink.(sinks.Memory); !ok {
		all, err := f.r.cfg.Ledger.Committed(ctx, s.Identity(), p)
		return meeting(all, r), nil, err
	}
	days := flow.Gap{Partition: p, From: flow.Day(r.From), To: flow.Day(r.To.Add(-time.Nanosecond)).Add(24 * time.Hour)}
	err = s.committed(ctx, days, nil, func(c sinks.Receipt) error {
		if len(c.Forgets) == 0 {
			standing = append(standing, c)
			return nil
		}
		standing = slices.DeleteFunc(standing, func(x sinks.Receipt) bool {
			gone := x.Slice.Day().Equal(c.Slice.Day()) && slices.Contains(c.Forgets, x.Entry)
			if gone {
				withdrawn = append(withdrawn, x)
			}
			return gone
		})
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return standing, withdrawn, nil
}

// Refuse says why what was planned can't be done: data is there and isn't to be deleted, or can't be.
func (f *Forgetter) Refuse(plan []Forgettable) error {
	for _, one := range plan {
		s := &f.r.cfg.Sinks[one.index]
		w, ok := s.Sink.(sinks.Withdrawer)
		switch {
		case !ok:
		case f.o.Remove && !w.Removes() && len(one.Commits) > 0:
			return fault.New(fault.Config, "sink "+s.Name,
				"delete the topic or wait for its retention; or --keep forgets all the same: readers see the records again when they are sent again",
				errors.New("it can't delete what it has written"))
		case f.o.Keep && w.Removes():
			return fault.New(fault.Config, "sink "+s.Name, "--delete deletes the data after the entry that forgets it is durable",
				errors.New("--keep is for sinks that can't delete what they have written"))
		case !f.o.Remove && !f.o.Keep && len(one.Left) > 0:
			hint := "--delete deletes it after the entry that forgets it is durable; or delete it first, or move it away"
			if !w.Removes() {
				hint = "delete the topic or wait for its retention; or --keep forgets all the same: readers see the records again when they are sent again"
			}
			return fault.New(fault.Config, "sink "+s.Name, hint,
				fmt.Errorf("the data of what is to be forgotten is there, and would be there twice: %s", some(one.Left)))
		}
	}
	return nil
}

func some(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	return fmt.Sprintf("%s and %d more", all[0], len(all)-1)
}

// The steps of forgetting, in their order.
const (
	StepForget       Step = "forget"        // before a day's entry
	StepForgetRecord Step = "forget_record" // the entry is durable and data is deleted, before the ledger has it
)

// Do forgets what was planned, the newest day first, so that what a crash leaves is whole days.
func (f *Forgetter) Do(ctx context.Context, one Forgettable) error {
	if err := f.Refuse([]Forgettable{one}); err != nil {
		return err
	}
	s := &f.r.cfg.Sinks[one.index]
	if one.AtLeast {
		all := make([]flow.Slice, len(one.Commits))
		for n, c := range one.Commits {
			all[n] = c.Slice
		}
		return f.r.cfg.Ledger.Withdraw(ctx, s.Identity(), one.Partition.Partition, all)
	}
	w := s.Sink.(sinks.Withdrawer)
	for _, day := range slices.Backward(byDay(one.Commits)) {
		if err := ctx.Err(); err != nil {
			return fault.New(fault.Canceled, "forget", "", err)
		}
		f.r.step(StepForget)
		receipt, err := w.Withdraw(ctx, day, f.o.Remove)
		f.r.step(StepForgetRecord)
		if receipt.Entry > 0 {
			err = errors.Join(err, f.r.cfg.Ledger.Record(context.WithoutCancel(ctx), s.Identity(), receipt))
		}
		if err != nil {
			return fmt.Errorf("sink %s: %s on %s: %w", s.Name, one.Partition.Partition, day[0].Slice.Day().Format(time.DateOnly), err)
		}
	}
	if c, ok := w.(sinks.Clearer); ok && f.o.Remove && len(one.withdrawn) > 0 {
		if _, err := c.Clear(ctx, one.withdrawn, one.standing); err != nil {
			return fmt.Errorf("sink %s: %w", s.Name, err)
		}
	}
	return nil
}

// byDay groups commits, which are in the order of time.
func byDay(all []sinks.Receipt) [][]sinks.Receipt {
	var out [][]sinks.Receipt
	for _, c := range all {
		if n := len(out); n > 0 && out[n-1][0].Slice.Day().Equal(c.Slice.Day()) {
			out[n-1] = append(out[n-1], c)
			continue
		}
		out = append(out, []sinks.Receipt{c})
	}
	return out
}
