package pipeline

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-io/sluice/host/spool"
	"github.com/sluice-io/sluice/proto/flow"
)

// Spool keeps what was read until every sink has it.
type Spool struct {
	*spool.Store
	Origin spool.Origin
}

// CounterSpooled counts the slices of a run that were read from the spool instead of from the vendor.
const CounterSpooled = "slices_from_spool"

// openRead opens a slice for reading: from the spool if it holds it whole, else from the vendor, and then into the spool.
func (r *run) openRead(ctx context.Context, w *work, out *outcome) (Reader, error) {
	if reader := r.fromSpool(w); reader != nil {
		return reader, nil
	}
	src, err := r.source(ctx)
	if err != nil {
		return nil, err
	}
	w.src = src
	w.state.wait("vendor", time.Time{})
	r.measureBefore(ctx, src, w)
	r.step(StepOpen)
	asked, waited := time.Now(), atomic.Bool{}
	reader, err := src.Read(ctx, w.slice, r.cfg.share(), func(until time.Time, why string) {
		w.state.wait(why, until)
		if !until.IsZero() {
			waited.Store(true)
		}
		r.observe(Event{Kind: Waiting, Slice: w.slice, Name: w.part.Name, Until: until, Message: why})
	})
	if err != nil {
		return nil, err
	}
	out.fromVendor = true
	if !waited.Load() { // else it tells of the budget
		out.opening = time.Since(asked)
	}
	at, err := r.ripe(w.slice, reader.VendorTime())
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	return r.intoSpool(w, reader, at), nil
}

// fromSpool opens a slice that is in the spool. Nil: it isn't there, or not to be used.
func (r *run) fromSpool(w *work) Reader {
	s := r.cfg.Spool
	if s == nil {
		return nil
	}
	reader, err := s.Open(w.slice, r.stream(w.slice.Partition).Schema, s.Origin)
	if errors.Is(err, spool.ErrNone) {
		return nil
	}
	if err != nil {
		r.cfg.Log.Warn("the spool can't be used for a slice: it is read from the vendor again", "slice", w.slice.String(), "error", err.Error())
		return nil
	}
	// The lag may have been raised since, so that what was closed then isn't closed by today's settings.
	if err := r.closedAt(w.slice, reader.ReadAt()); err != nil {
		_ = reader.Close()
		r.unspool(w.slice)
		return nil
	}
	r.cfg.Log.Debug("read from the spool", "slice", w.slice.String())
	w.state.wait("spool", time.Time{})
	w.readAt = reader.ReadAt() // what the vendor indexed since isn't in it
	return replay{reader}
}

// replay is a reader from the spool.
type replay struct{ *spool.Reader }

// Counters are those of the read that was kept, and that it was.
func (r replay) Counters() map[string]uint64 {
	out := map[string]uint64{CounterSpooled: 1}
	for name, n := range r.Reader.Counters() {
		out[name] += n
	}
	return out
}

// intoSpool returns a reader that also keeps what is read. Without a spool, or without room in it, it is the reader itself.
func (r *run) intoSpool(w *work, reader Reader, at time.Time) Reader {
	s := r.cfg.Spool
	if s == nil {
		return reader
	}
	h := spool.Header{Slice: w.slice, Origin: s.Origin, Schema: reader.Schema(), VendorTime: reader.VendorTime(), ReadAt: at}
	if c, ok := reader.(interface{ Constants() ([]int, []byte) }); ok {
		h.Constants, h.OneRow = c.Constants()
	}
	to, err := s.Create(h)
	if err != nil {
		r.spoolFailed(w.slice, err)
		return reader
	}
	return &keeper{Reader: reader, to: to, failed: func(err error) { r.spoolFailed(w.slice, err) }}
}

// spoolFailed tells why a slice isn't kept: it is read on without. A full spool is told once, until it has room again.
func (r *run) spoolFailed(s flow.Slice, err error) {
	switch {
	case errors.Is(err, spool.ErrBusy):
	case !errors.Is(err, spool.ErrFull):
		r.cfg.Log.Warn("a slice isn't kept in the spool: should a sink fail, it is read from the vendor again", "slice", s.String(), "error", err.Error())
	case r.spoolFull.CompareAndSwap(false, true):
		r.cfg.Log.Warn("the spool is full: what doesn't fit is read without it, and again from the vendor should a sink fail",
			"max_bytes", r.cfg.Spool.Max(), "slice", s.String())
	}
}

// keeper is a reader whose items are written to the spool, each while the sinks append it. What becomes of the spool is never an error
// of the read.
type keeper struct {
	Reader
	to     *spool.Writer // nil: given up or sealed
	failed func(error)

	writing sync.WaitGroup
	err     error // of the last write; valid after writing.Wait
}

// Next implements flow.Reader. At the end the file is sealed.
func (k *keeper) Next(ctx context.Context) (flow.Item, error) {
	k.settle()
	it, err := k.Reader.Next(ctx)
	switch {
	case k.to == nil:
	case errors.Is(err, io.EOF):
		if err := k.to.Seal(k.Manifest(), k.Counters()); err != nil {
			k.failed(err)
		}
		k.to = nil
	case err != nil:
		k.giveUp()
	default:
		k.write(it)
	}
	return it, err
}

// write begins to write an item; settle waits for it before the item is released.
func (k *keeper) write(it flow.Item) {
	release := func() {}
	if it.Batch != nil {
		b := *it.Batch
		b.Records = apart(b.Records) // sinks read it meanwhile
		it.Batch, release = &b, b.Records.Release
	}
	to := k.to
	k.writing.Go(func() {
		k.err = to.Write(it)
		release()
	})
}

// Release implements flow.Reader: an item is written before it goes.
func (k *keeper) Release(it flow.Item) {
	k.settle()
	k.Reader.Release(it)
}

// Close implements flow.Reader.
func (k *keeper) Close() error {
	k.settle()
	k.giveUp()
	return k.Reader.Close()
}

// keeps reports whether the read is worth going on with although no sink is left.
func (k *keeper) keeps() bool {
	k.settle()
	return k.to != nil
}

// settle waits for the write under way.
func (k *keeper) settle() {
	k.writing.Wait()
	if k.err != nil {
		err := k.err
		k.err = nil
		k.giveUp()
		k.failed(err)
	}
}

func (k *keeper) giveUp() {
	if k.to != nil {
		k.to.Abort()
		k.to = nil
	}
}

// keepsOn reports whether a read without a sink goes on: into the spool, for sinks that may take the slice later.
func (r *run) keepsOn(reader Reader, legs []*leg) bool {
	k, ok := reader.(*keeper)
	if !ok || !k.keeps() {
		return false
	}
	for _, l := range legs {
		switch r.cfg.decide(l.err, 1).action {
		case actRetry, actWait:
			return true
		}
	}
	return false
}

// unspool drops what is kept of a slice that isn't read again.
func (r *run) unspool(s flow.Slice) {
	if r.cfg.Spool == nil {
		return
	}
	if err := r.cfg.Spool.Remove(s.ID); err != nil {
		r.cfg.Log.Warn("a file of the spool isn't removed", "slice", s.String(), "error", err.Error())
		return
	}
	r.spoolFull.Store(false)
}

// settleSpool drops what every sink has, and plans what a sink that was left behind lacks as the very slice that is kept for it. The
// slice's own work was settled before; workMu is held.
func (r *run) settleSpool(ctx context.Context, p *partition, s flow.Slice) error {
	if r.cfg.Spool == nil || !r.cfg.Spool.Has(s.ID) {
		delete(r.kept, s.ID)
		return nil
	}
	needed := false
	for _, i := range p.takers.each() {
		if p.covered[i].Covers(s.Range()) {
			continue
		}
		needed = true
		if err := r.offerSpooled(ctx, p, i, s); err != nil {
			return err
		}
	}
	if !needed {
		open, err := r.cfg.Ledger.OpenCuts(ctx, r.cfg.Name) // of sinks, too, that this run was told to leave out
		if err != nil || open[s.ID] {
			return err
		}
		r.unspool(s)
		return nil
	}
	if r.kept == nil {
		r.kept = map[flow.SliceID]flow.Slice{}
	}
	r.kept[s.ID] = s
	return nil
}

// offerSpooled makes a slice that is kept a sink's next cut, if nothing of its range is planned for it otherwise.
func (r *run) offerSpooled(ctx context.Context, p *partition, i int, s flow.Slice) error {
	if !p.isFree(i, s) {
		return nil
	}
	identity := r.registered(ctx, i)
	if identity == "" {
		return nil // it was never open: see adopt
	}
	if err := r.cfg.Ledger.Plan(ctx, []string{identity}, []flow.Slice{s}); err != nil {
		return err
	}
	p.addCut(s, setOf(i))
	return nil
}

// offerKept does so with all that this run keeps, for a sink that has just been opened.
func (r *run) offerKept(ctx context.Context, p *partition, i int) error {
	for _, s := range r.kept {
		if s.Partition != p.Partition.Partition || !r.cfg.Spool.Has(s.ID) {
			continue
		}
		if err := r.offerSpooled(ctx, p, i, s); err != nil {
			return err
		}
	}
	return nil
}

// registered returns what the ledger knows a sink by, also one that isn't open; empty if it doesn't know it.
func (r *run) registered(ctx context.Context, i int) string {
	identity := r.identity(i)
	if identity == "" {
		identity = r.cfg.Sinks[i].Known
	}
	if identity == "" {
		return ""
	}
	if known, err := r.cfg.Ledger.Registered(ctx, identity); err != nil || !known {
		return ""
	}
	return identity
}

// isFree reports whether nothing of a slice's range is covered, cut or at work for a sink.
func (p *partition) isFree(i int, s flow.Slice) bool {
	if p.covered[i].Meets(s.Range()) {
		return false
	}
	for _, c := range p.cuts {
		if c.sinks&setOf(i) != 0 && c.Range().Meets(s.Range()) {
			return false
		}
	}
	for w := range p.work {
		if w.sinks&setOf(i) != 0 && w.slice.Range().Meets(s.Range()) {
			return false
		}
	}
	return true
}

// sweepSpool drops what no sink of the pipeline lacks any more, and what was withdrawn since it was read.
func (r *run) sweepSpool(ctx context.Context) error {
	if r.cfg.Spool == nil {
		return nil
	}
	open, err := r.cfg.Ledger.OpenCuts(ctx, r.cfg.Name)
	if err != nil {
		return err
	}
	_, err = r.cfg.Spool.Sweep(func(s flow.Slice, at time.Time) (bool, error) {
		if !open[s.ID] {
			return false, nil
		}
		forgotten, err := r.cfg.Ledger.ForgottenSince(ctx, s.Partition, s.Day(), at)
		return !forgotten, err
	})
	if err != nil {
		r.cfg.Log.Warn("the spool isn't swept", "error", err.Error())
	}
	return nil
}
