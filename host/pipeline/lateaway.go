package pipeline

import (
	"context"

	"github.com/sluice-io/sluice/host/ledger"
)

// A sink that is left behind lacks rechecks as it lacks slices: they stay due for it while the others go on, are what it is tried with
// when it lacks nothing else, and make the run fail if it doesn't come back.

// leaveOpen keeps a slice open for a sink that is left behind.
func (r *run) leaveOpen(w *work, i int) {
	if w.recheck == nil {
		w.part.addCut(w.slice, setOf(i))
		return
	}
	r.late.queue = append([]lateUnit{{part: w.part, slice: w.slice, sinks: setOf(i), age: w.recheck.age, asked: w.recheck.asked}}, r.late.queue...)
}

// owes is how many ranges are due for a sink and weren't read again.
func (l *late) owes(i int) (n int) {
	for _, u := range l.queue {
		if u.sinks&setOf(i) != 0 {
			n++
		}
	}
	return n
}

// lateFor takes up a recheck for one sink.
func (r *run) lateFor(i int) *work {
	if r.isRechecking(nil) {
		return nil // it wakes the loop when it ends
	}
	for n, u := range r.late.queue {
		if u.sinks&setOf(i) != 0 && u.part.stopped == nil && !r.meetsSerial(u.part, setOf(i), nil) {
			return r.beginRecheck(n, setOf(i))
		}
	}
	return nil
}

// lookForOpened finds what is due for a sink that wasn't open when that was looked for.
func (r *run) lookForOpened(ctx context.Context, i int) error {
	if !r.cfg.Recheck.Wanted() || !r.late.looked {
		return nil
	}
	return r.lookFor(ctx, setOf(i), r.lateWithin(), r.clock.horizon(r.cfg.Lag), r.cfg.Recheck.Asked)
}

// unchecked is how many ranges a sink wasn't looked at again for that were due. Of one that was never open the ledger tells.
func (r *run) unchecked(i int) int {
	if r.sinks[i].ready || !r.cfg.Recheck.Wanted() {
		return r.late.owes(i)
	}
	n := 0
	for _, p := range r.parts {
		if p.takers&setOf(i) == 0 || !r.stream(p.Partition.Partition).Rechecks() {
			continue
		}
		due, err := r.dueUnopened(context.Background(), r.cfg.Sinks[i].Known, p)
		if err != nil {
			r.cfg.Log.Warn("what is due to be read again isn't known", "sink", r.cfg.Sinks[i].Name, "error", err.Error())
		}
		n += due
	}
	return n
}

// dueUnopened is how many ranges of a partition are due for a sink that isn't open.
func (r *run) dueUnopened(ctx context.Context, identity string, p *partition) (n int, err error) {
	if !r.cfg.Recheck.Asked {
		n, _, err = NextRecheck(ctx, r.cfg.Ledger, identity, p.Partition.Partition, r.stream(p.Partition.Partition), r.cfg.Recheck.After, r.cfg.Lag,
			r.clock.horizon(r.cfg.Lag))
		return n, err
	}
	held, err := r.cfg.Ledger.Windows(ctx, identity, p.Partition.Partition, r.asked)
	for _, h := range held {
		if h.Rev == 0 && r.asked.Meets(h.Range) {
			n++
		}
	}
	return n, err
}

// failLeft writes down why a slice is left open for a sink.
func (r *run) failLeft(ctx context.Context, w *work, i int, err error) error {
	r.leaveOpen(w, i)
	return r.fail(ctx, r.identities([]int{i}), w, ledger.Failed, err)
}
