package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Vendors index late: a range that was read whole may hold more a day later. A recheck reads a committed range again and commits what
// each sink lacks of it as the next revision. What a sink has is asked of the sink itself, not of the ledger, so that a lost ledger
// doubles nothing; without anything new nothing is committed.

// Recheck says when committed ranges are read again for records that the vendor indexed late. The zero Recheck: never.
type Recheck struct {
	After  []time.Duration // how long after a range's end, ascending; empty: only when Asked
	Always bool            // also when the vendor's own figures say that nothing came
	Asked  bool            // all that is committed of the asked range, once, now
	Memory int64           // of what counts the records that the sinks hold, bytes; 0: RecheckMemory
	// Spool returns a folder for what is more than that. It is called when it is needed.
	Spool func() (string, error)
}

// RecheckMemory is the most that a recheck holds to count the records of its sinks, in bytes. A pipeline has one at a time.
const RecheckMemory = 64 << 20

// Wanted reports whether anything is ever read again.
func (k *Recheck) Wanted() bool { return k.Asked || len(k.After) > 0 }

// Rechecks reports whether a stream's committed ranges may be read again: records that come late are added to those that are there.
// What tells the state of now, or a value of each period, isn't added to but replaced.
func (s Stream) Rechecks() bool { return !s.Snapshot && s.Granularity == 0 }

// Audits reports whether a sink can say, record by record, what it holds.
func Audits(s sinks.Sink) bool {
	_, memory := s.(sinks.Memory)
	_, auditor := s.(sinks.Auditor)
	return memory && auditor
}

// recheck is what makes a slice of a run a recheck: its range is committed, its revision is the next.
type recheck struct {
	age      time.Duration // after the range's end at which it became due
	always   bool          // whatever the vendor's figures say
	asked    bool          // due because it was asked for
	read     time.Time     // by the vendor's clock, before the read of the last try that may have committed
	pieces   []flow.Range  // how the range is read: at once, unless the vendor cut that off
	measured bool          // the vendor's figures were asked for
}

// clone returns a recheck for sinks that go a way of their own.
func (k *recheck) clone() *recheck {
	if k == nil {
		return nil
	}
	c := *k
	return &c
}

// late is what a run knows of the rechecks that are due. It belongs to the loop.
type late struct {
	looked  bool
	queue   []lateUnit
	next    time.Time          // by the vendor's clock: when another becomes due; zero: none does
	busy    *work              // the one at work: its count of what is held takes memory
	replans map[flow.Range]int // how often a range was planned anew, since a sink's log wasn't what the ledger knew
}

// lateUnit is a range that is due for some sinks.
type lateUnit struct {
	part  *partition
	slice flow.Slice
	sinks sinkSet
	age   time.Duration
	asked bool // due because it was asked for
}

// window is a committed entry of revision 0 that is due.
type window struct {
	flow.Range
	bytes uint64
	age   time.Duration
}

// lateTarget is how many bytes the adjacent windows hold at most that are read again as one.
const lateTarget = 256 << 20

// dueAge returns the highest age that a committed range has passed since it was read last, 0 if it passed none, and when it will pass
// the next. All times are the vendor's clock minus lag.
func dueAge(after []time.Duration, horizon, to, read time.Time) (age time.Duration, next time.Time) {
	for _, a := range after {
		at := to.Add(a)
		switch {
		case at.After(horizon):
			return age, at
		case read.Before(at):
			age = a
		}
	}
	return age, time.Time{}
}

// lookFirst finds what is to be read again when that was asked for, before this run commits anything.
func (r *run) lookFirst(ctx context.Context) error {
	if r.late.looked || !r.cfg.Recheck.Asked {
		return nil
	}
	return r.lookForLate(ctx)
}

// lateWork takes up the next recheck. It comes after all that is fresh.
func (r *run) lateWork(ctx context.Context) (*work, error) {
	if !r.cfg.Recheck.Wanted() {
		return nil, nil
	}
	away := r.away()
	if err := r.lookForLate(ctx); err != nil {
		return nil, err
	}
	if r.isRechecking(nil) {
		return nil, nil // it wakes the loop when it ends, or for its next try
	}
	for n, u := range r.late.queue {
		set := u.sinks &^ away
		if u.part.stopped != nil || set == 0 || r.meetsSerial(u.part, set, nil) {
			continue
		}
		return r.beginRecheck(n, set), nil
	}
	return nil, nil
}

// beginRecheck takes up a range of the queue for some of its sinks. It stays due for the others.
func (r *run) beginRecheck(n int, set sinkSet) *work {
	u := r.late.queue[n]
	if r.late.queue[n].sinks &^= set; r.late.queue[n].sinks == 0 {
		r.late.queue = slices.Delete(r.late.queue, n, n+1)
	}
	w := &work{slice: u.slice, part: u.part, sinks: set, recheck: &recheck{
		age: u.age, asked: u.asked, always: r.cfg.Recheck.Always || r.cfg.Recheck.Asked, pieces: []flow.Range{u.slice.Range()},
	}}
	r.late.busy = w
	r.workMu.Lock()
	u.part.work[w] = struct{}{}
	r.workMu.Unlock()
	return w
}

// isRechecking reports whether another recheck is at work, or about to be again.
func (r *run) isRechecking(but *work) bool {
	w := r.late.busy
	if w == nil || w == but {
		return false
	}
	_, open := w.part.work[w]
	return open && (w.running || !w.parked)
}

// meetsSerial reports whether another slice of the partition is in hand for a sink that takes them one at a time. A recheck that waits
// for its next try has no transaction, and holds nobody back.
func (r *run) meetsSerial(p *partition, set sinkSet, but *work) bool {
	for w := range p.work {
		if w == but || !w.running && (w.parked || w.recheck != nil) {
			continue
		}
		for _, i := range (w.sinks & set).each() {
			if isSerial(r.cfg.Sinks[i].Sink) {
				return true
			}
		}
	}
	return false
}

// lookForLate finds what is due when it hasn't been looked for, or when another range has become due.
func (r *run) lookForLate(ctx context.Context) error {
	horizon := r.clock.horizon(r.cfg.Lag)
	if r.late.looked && (r.late.next.IsZero() || r.late.next.After(horizon)) {
		return nil
	}
	within, first := r.lateWithin(), !r.late.looked
	if !first { // what is older was found before, and waits its turn
		oldest := r.cfg.Recheck.oldest()
		within.From = later(within.From, flow.Day(horizon.Add(-oldest-48*time.Hour)))
	}
	r.late.queue = slices.DeleteFunc(r.late.queue, func(u lateUnit) bool { return !u.asked && u.slice.From.After(within.From) })
	r.late.looked, r.late.next = true, time.Time{}
	return r.lookFor(ctx, all, within, horizon, first && r.cfg.Recheck.Asked)
}

// lookFor finds what is due for some sinks.
func (r *run) lookFor(ctx context.Context, set sinkSet, within flow.Range, horizon time.Time, asked bool) error {
	for _, p := range r.parts {
		if p.stopped != nil || !r.stream(p.Partition.Partition).Rechecks() {
			continue
		}
		units, err := r.lateUnits(ctx, p, set, within, horizon, asked)
		if err != nil {
			return err
		}
		r.late.queue = append(r.late.queue, units...)
	}
	slices.SortStableFunc(r.late.queue, func(a, b lateUnit) int { return a.slice.From.Compare(b.slice.From) })
	return nil
}

// nextAt notes when a range becomes due.
func (l *late) nextAt(t time.Time) {
	if !t.IsZero() && (l.next.IsZero() || t.Before(l.next)) {
		l.next = t
	}
}

// audited returns the sinks of a partition that can be compared with what the vendor serves.
func (r *run) audited(p *partition) sinkSet {
	var set sinkSet
	for _, i := range p.takers.each() {
		if s := &r.cfg.Sinks[i]; s.Sink != nil && r.sinks[i].ready && !s.OneRun && Audits(s.Sink) {
			set |= setOf(i)
		}
	}
	return set
}

// lateWithin is where committed ranges are looked for. A range that moves with the clock has left them behind before they are old enough.
func (r *run) lateWithin() flow.Range {
	within := r.asked
	if r.cfg.Last > 0 && len(r.cfg.Recheck.After) > 0 {
		within.From = within.From.Add(-r.cfg.Recheck.oldest() - 24*time.Hour)
	}
	return within
}

// oldest is the highest age.
func (k *Recheck) oldest() time.Duration {
	if len(k.After) == 0 {
		return 0
	}
	return k.After[len(k.After)-1]
}

// lateUnits finds what is due of a partition for some sinks.
func (r *run) lateUnits(ctx context.Context, p *partition, set sinkSet, within flow.Range, horizon time.Time, asked bool) ([]lateUnit, error) {
	set &= r.audited(p)
	held, due := make([][]ledger.Window, len(r.cfg.Sinks)), make([][]window, len(r.cfg.Sinks))
	for _, i := range set.each() {
		var err error
		if held[i], err = r.cfg.Ledger.Windows(ctx, r.identity(i), p.Partition.Partition, within); err != nil {
			return nil, err
		}
		if due[i], err = r.dueWindows(ctx, p, i, held[i], within, horizon, asked); err != nil {
			return nil, err
		}
	}
	var units []lateUnit
	for {
		u, ok := r.nextUnit(p, held, due)
		if !ok {
			return units, nil
		}
		if !slices.ContainsFunc(u.sinks.each(), func(i int) bool { return r.rechecking(p, i, u.slice.Range()) }) {
			u.asked = asked
			units = append(units, u)
		}
	}
}

// dueWindows returns the windows of a sink that are due, in time order, those at work or given up for this run left out.
func (r *run) dueWindows(
	ctx context.Context, p *partition, i int, held []ledger.Window, within flow.Range, horizon time.Time, asked bool,
) ([]window, error) {
	settle := r.stream(p.Partition.Partition).Settle
	reads, err := r.readTimes(ctx, p, i, within)
	if err != nil {
		return nil, err
	}
	var out []window
	for _, h := range held {
		if h.Rev > 0 || !within.Meets(h.Range) {
			continue
		}
		to := h.To.Add(settle)
		age, next := dueAge(r.cfg.Recheck.After, horizon, to, reads.of(h).Add(-r.cfg.Lag))
		r.late.nextAt(next)
		if asked {
			age = max(horizon.Sub(to), time.Millisecond)
		}
		if age > 0 && !r.rechecking(p, i, h.Range) {
			out = append(out, window{h.Range, h.Bytes, age})
		}
	}
	return out, nil
}

// rechecking reports whether a range is being read again for a sink, waits for its turn, or was given up in this run.
func (r *run) rechecking(p *partition, i int, x flow.Range) bool {
	for _, u := range r.late.queue {
		if u.part == p && u.sinks&setOf(i) != 0 && u.slice.Range().Meets(x) {
			return true
		}
	}
	for w := range p.work {
		if w.recheck != nil && w.sinks&setOf(i) != 0 && w.slice.Range().Meets(x) {
			return true
		}
	}
	return false
}

// nextUnit takes the earliest windows that are due together: those of all sinks whose entries have the same bounds and revisions. A
// sink's entries can be compared only whole, so a unit grows until no entry crosses its bounds.
func (r *run) nextUnit(p *partition, held [][]ledger.Window, due [][]window) (lateUnit, bool) {
	first := -1
	for i := range due {
		if len(due[i]) > 0 && (first < 0 || due[i][0].From.Before(due[first][0].From)) {
			first = i
		}
	}
	if first < 0 {
		return lateUnit{}, false
	}
	alone := false
	for i := range due {
		alone = alone || len(due[i]) > 0 && (r.cfg.Sinks[i].Hourly || deadlineOf(r.cfg.Sinks[i].Sink) > 0)
	}
	span, age := r.together(due[first], alone)
	set := setOf(first)
	for i := range due {
		if i != first && slices.ContainsFunc(due[i], func(w window) bool { return w.Meets(span) }) {
			set |= setOf(i)
		}
	}
	for {
		grown := closed(span, held, set)
		var short sinkSet // of their coverage
		for _, i := range set.each() {
			if !p.covered[i].Covers(grown) {
				short |= setOf(i)
			}
		}
		switch {
		case short&setOf(first) != 0 && set != setOf(first):
			set = setOf(first) // what the others hold reaches further: they have a turn of their own
			continue
		case short&^setOf(first) != 0:
			set &^= short
			continue
		}
		if grown == span {
			break
		}
		span = grown
	}
	rev := nextRev(held[first], span)
	for _, i := range set.each() {
		if nextRev(held[i], span) != rev {
			set &^= setOf(i)
			continue
		}
		due[i] = slices.DeleteFunc(due[i], func(w window) bool {
			meets := w.Meets(span)
			if meets {
				age = max(age, w.age)
			}
			return meets
		})
	}
	return lateUnit{part: p, slice: flow.NewSlice(p.Partition.Partition, span.From, span.To, rev), sinks: set, age: age}, true
}

// together joins adjacent windows of a day up to lateTarget. A sink that ends long transactions was given slices that fit, and one that
// tells hours apart must be given what belongs to one: alone.
func (r *run) together(due []window, alone bool) (flow.Range, time.Duration) {
	span, age, bytes := due[0].Range, due[0].age, due[0].bytes
	for _, w := range due[1:] {
		if alone || !w.From.Equal(span.To) || !flow.Day(w.From).Equal(flow.Day(span.From)) || bytes+w.bytes > lateTarget {
			break
		}
		span.To, bytes, age = w.To, bytes+w.bytes, max(age, w.age)
	}
	return span, age
}

// closed grows a range until no entry of the sinks crosses its bounds. Entries lie within a UTC day, and so does what grows by them.
func closed(span flow.Range, held [][]ledger.Window, set sinkSet) flow.Range {
	for {
		grown := span
		for _, i := range set.each() {
			for _, h := range held[i] {
				if h.Meets(grown) {
					grown.From, grown.To = earlier(grown.From, h.From), later(grown.To, h.To)
				}
			}
		}
		if grown == span {
			return span
		}
		span = grown
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// nextRev is one more than the highest revision of the entries that meet a range.
func nextRev(held []ledger.Window, span flow.Range) uint32 {
	rev := uint32(0)
	for _, h := range held {
		if h.Meets(span) {
			rev = max(rev, h.Rev)
		}
	}
	return rev + 1
}

// NextRecheck says how many committed ranges of a partition are due in a sink, and when another becomes due; horizon is the vendor's clock
// minus lag, as is next. It looks at ranges that are young enough to become due by themselves, and only reads the ledger.
func NextRecheck(
	ctx context.Context, l *ledger.Ledger, identity string, p flow.Partition, s Stream, after []time.Duration, lag time.Duration, horizon time.Time,
) (due int, next time.Time, err error) {
	if !s.Rechecks() || len(after) == 0 {
		return 0, next, nil
	}
	within := flow.Range{From: horizon.Add(-after[len(after)-1] - s.Settle - 48*time.Hour), To: horizon}
	held, err := l.Windows(ctx, identity, p, within)
	if err != nil {
		return 0, next, err
	}
	checks, err := l.Rechecks(ctx, identity, p, within)
	if err != nil {
		return 0, next, err
	}
	reads := readTimes{first: map[flow.Range]time.Time{}}
	for _, k := range checks {
		reads.add(k)
	}
	var soonest late
	for _, h := range held {
		if h.Rev > 0 {
			continue
		}
		age, at := dueAge(after, horizon, h.To.Add(s.Settle), reads.of(h).Add(-lag))
		if age > 0 {
			due++
		}
		soonest.nextAt(at)
	}
	return due, soonest.next, nil
}

// readTimes is when ranges of a partition were read last for a sink, by the vendor's clock.
type readTimes struct {
	first  map[flow.Range]time.Time
	checks []ledger.Recheck // ended, by start
	ahead  time.Duration    // of the vendor's clock before this machine's
}

// readTimes reads them, and ends the rechecks that a crash kept from being written down.
func (r *run) readTimes(ctx context.Context, p *partition, i int, within flow.Range) (readTimes, error) {
	all, err := r.cfg.Ledger.Rechecks(ctx, r.identity(i), p.Partition.Partition, within)
	out := readTimes{first: map[flow.Range]time.Time{}, ahead: time.Until(r.clock.Now())}
	if err != nil {
		return out, err
	}
	for _, k := range all {
		if k.Outcome == ledger.RecheckPlanned {
			if err := r.endPlanned(ctx, p, i, &k); err != nil {
				return out, err
			}
		}
		out.add(k)
	}
	return out, nil
}

// add takes up what the ledger holds, in its order. A recheck that isn't known to have ended doesn't count.
func (t *readTimes) add(k ledger.Recheck) {
	switch k.Outcome {
	case ledger.FirstRead:
		t.first[k.Range] = k.Read
	case ledger.RecheckPlanned:
	default:
		t.checks = append(t.checks, k)
	}
}

// endPlanned looks whether what a recheck was to commit is committed: then a run ended before it could write that down.
func (r *run) endPlanned(ctx context.Context, p *partition, i int, k *ledger.Recheck) error {
	receipts, err := r.cfg.Ledger.CommittedIn(ctx, r.identity(i), p.Partition.Partition, k.Range)
	if err != nil {
		return err
	}
	id := flow.NewSlice(p.Partition.Partition, k.From, k.To, k.Rev).ID
	at := slices.IndexFunc(receipts, func(x sinks.Receipt) bool { return x.Slice.ID == id })
	if at < 0 {
		return nil
	}
	found := foundBy(receipts[at], *k)
	*k = found
	return r.cfg.Ledger.RecordRechecks(ctx, r.identity(i), p.Partition.Partition, found)
}

// firstOf returns when a window was read first. A read whose time wasn't written down was made before its commit.
func (t readTimes) firstOf(w ledger.Window) time.Time {
	if read, ok := t.first[w.Range]; ok {
		return read
	}
	return w.At.Add(t.ahead)
}

// of returns when a window was read last.
func (t readTimes) of(w ledger.Window) time.Time {
	read := t.firstOf(w)
	from, _ := slices.BinarySearchFunc(t.checks, flow.Day(w.From), func(k ledger.Recheck, day time.Time) int { return k.From.Compare(day) })
	for _, k := range t.checks[from:] {
		if k.From.After(w.From) {
			break
		}
		if k.Contains(w.Range) {
			read = later(read, k.Read)
		}
	}
	return read
}
