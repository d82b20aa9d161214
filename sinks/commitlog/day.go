package commitlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// maxDays is how many days' coverage is kept in memory; a commit to another reads its day again.
const maxDays = 1024

type dayKey struct {
	flow.Partition
	day string
}

// day is what is known of one folder of the log. last grows only when an entry was read, is durable, and its parts are in
// place as far as anyone still has them.
type day struct {
	key dayKey
	dir string

	mu      sync.Mutex
	loaded  bool
	last    uint64
	commits []committed
	swept   map[nonce]struct{} // attempts that sweep entries have ended

	used uint64 // guarded by days.mu
}

// committed is what coverage needs of a commit entry.
type committed struct {
	number    uint64
	id        flow.SliceID
	nonce     nonce
	from, to  time.Time
	rev       uint32
	forgotten bool
}

func (c committed) rng() flow.Range { return flow.Range{From: c.from, To: c.to} }

// days is the memory of the days that were used last.
type days struct {
	mu    sync.Mutex
	known map[dayKey]*day
	clock uint64 // counts uses
}

// get returns the memory of a day, from now on the most recently used one. dir is where its entries lie.
func (m *days) get(p flow.Partition, at time.Time, dir string) *day {
	key := dayKey{p, dayName(at)}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.known[key]
	if d == nil {
		if len(m.known) >= maxDays {
			m.evict()
		}
		d = &day{key: key, dir: dir}
		if m.known == nil {
			m.known = map[dayKey]*day{}
		}
		m.known[key] = d
	}
	m.clock++
	d.used = m.clock
	return d
}

// evict forgets the older half. A goroutine that still holds such a day loses nothing by it: the log on disk decides, and
// whoever asks for the day again reads it.
func (m *days) evict() {
	all := make([]*day, 0, len(m.known))
	for _, d := range m.known {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *day) int { return int(int64(a.used) - int64(b.used)) })
	for _, d := range all[:len(all)/2] {
		delete(m.known, d.key)
	}
}

// day returns the memory of a day.
func (l *Log) day(p flow.Partition, at time.Time) *day { return l.days.get(p, at, l.dayDir(p, at)) }

// refresh reads the entries that came after the last known one, makes them durable and rolls them forward. d.mu is held.
func (l *Log) refresh(ctx context.Context, d *day) error {
	end := uint64(0) // 0: not known, read until there is no further entry
	if !d.loaded {
		n, err := l.countEntries(d.dir)
		for again := 0; err != nil && l.look && again < 3; again++ {
			n, err = l.countEntries(d.dir) // a list that is read while entries are added may lack one and have a later one
		}
		if err != nil {
			return err
		}
		if n == 0 {
			d.loaded = true
			return nil
		}
		end = n
	}
	synced := false
	for end == 0 || d.last < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := l.readEntry(d, d.last+1)
		if errors.Is(err, fs.ErrNotExist) && end == 0 {
			break
		} else if err != nil {
			return err
		}
		if err := l.settleEntry(d, e, synced); err != nil {
			return err
		}
		synced = true
		if err := d.apply(d.last+1, e); err != nil {
			return damaged(filepath.Join(d.dir, entryFile(d.last+1)), err)
		}
	}
	d.loaded = true
	return nil
}

// settleEntry makes a day's entries durable, unless that is done, and rolls one of them forward.
func (l *Log) settleEntry(d *day, e Entry, synced bool) error {
	if l.look {
		return nil
	}
	if !synced {
		// Whoever linked it may have died before its own sync: unsynced, it could vanish from under the ledger.
		if err := l.fs.SyncDir(d.dir); err != nil {
			return err
		}
	}
	if e.Commit == nil {
		return nil
	}
	return l.rollForward(e.Commit, false)
}

// refreshed makes a day's entries beyond after durable, rolls them forward and returns the number of the last. A day that nobody has
// committed to isn't read whole for that: at the start of a run, which knows nearly all of it, that would be the whole log.
func (l *Log) refreshed(ctx context.Context, d *day, after uint64) (last uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if after == 0 || d.loaded || l.look {
		err := l.refresh(ctx, d)
		return d.last, err
	}
	if last, err = l.countEntries(d.dir); err != nil {
		return 0, err
	}
	for n := after + 1; n <= last; n++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		e, err := l.readEntry(d, n)
		if err == nil {
			err = l.settleEntry(d, e, n > after+1)
		}
		if err != nil {
			return 0, err
		}
	}
	return last, nil
}

// countEntries returns how many entries a day's folder has, and refuses one with a hole or with files that aren't entries.
func (l *Log) countEntries(dir string) (uint64, error) {
	entries, err := l.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return countNames(dir, names)
}

// countNames returns how many entries a day's folder with these names has.
func countNames(dir string, names []string) (uint64, error) {
	var numbers []uint64
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		n, ok := parseEntryFile(name)
		if !ok {
			return 0, damaged(path.Join(dir, name), errors.New("no entry of a commit log has such a name"))
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if want := uint64(i) + 1; n != want {
			return 0, damaged(path.Join(dir, entryFile(want)), fmt.Errorf("the entry is missing, but %s is there", entryFile(n)))
		}
	}
	return uint64(len(numbers)), nil
}

// readEntry reads one entry and checks that it lies where it belongs.
func (l *Log) readEntry(d *day, number uint64) (Entry, error) {
	name := filepath.Join(d.dir, entryFile(number))
	b, err := l.fs.ReadFile(name)
	if err != nil {
		return Entry{}, err
	}
	return d.key.parse(name, b)
}

// parse reads an entry that lies in the day's folder and checks that it belongs there.
func (k dayKey) parse(name string, b []byte) (Entry, error) {
	e, err := ParseEntry(b)
	if err != nil {
		return Entry{}, damaged(name, err)
	}
	if p, day := e.partition(); p != k.Partition || day != k.day {
		return Entry{}, damaged(name, fmt.Errorf("it is an entry of %s on %s", p, day))
	}
	return e, nil
}

// apply adds an entry to what is known.
func (d *day) apply(number uint64, e Entry) error {
	if f := e.Forget; f != nil {
		for _, n := range f.Entries {
			i := d.find(n)
			if i < 0 || d.commits[i].forgotten {
				return fmt.Errorf("it forgets entry %d, which isn't a commit that stands", n)
			}
			d.commits[i].forgotten = true
		}
		d.last = number
		return nil
	}
	if w := e.Sweep; w != nil {
		n, err := parseNonce(w.Swept)
		if err == nil && slices.ContainsFunc(d.commits, func(c committed) bool { return c.nonce == n }) {
			err = fmt.Errorf("it sweeps attempt %s, which is committed", n)
		}
		if err != nil {
			return err
		}
		if d.swept == nil {
			d.swept = map[nonce]struct{}{}
		}
		d.swept[n] = struct{}{}
		d.last = number
		return nil
	}
	c := e.Commit
	if _, gone := d.swept[e.nonce()]; gone {
		return fmt.Errorf("it commits attempt %s, which a sweep has ended", c.Nonce)
	}
	d.commits = append(d.commits, committed{
		number: number, id: c.Slice.ID, nonce: e.nonce(), from: c.Slice.From, to: c.Slice.To, rev: c.Slice.Rev,
	})
	d.last = number
	return nil
}

// find returns the index of the commit with a number, -1 without.
func (d *day) find(number uint64) int {
	return slices.IndexFunc(d.commits, func(c committed) bool { return c.number == number })
}

// conflict returns an error that is ErrOverlap if s may not be committed beside what is there.
func (d *day) conflict(s flow.Slice) error {
	var covered flow.Ranges
	var top *committed // the highest revision that meets s
	for i := range d.commits {
		c := &d.commits[i]
		if c.forgotten || !c.rng().Meets(s.Range()) {
			continue
		}
		if c.rev == 0 {
			covered = append(covered, c.rng())
		}
		if top == nil || c.rev > top.rev {
			top = c
		}
	}
	switch {
	case s.Rev == 0 && top == nil:
		return nil
	case s.Rev == 0 || top != nil && s.Rev <= top.rev:
		return &sinks.OverlapError{Slice: s, By: flow.NewSlice(s.Partition, top.from, top.to, top.rev), Entry: top.number}
	case !flow.NewRanges(covered...).Covers(s.Range()):
		return revisionError(s, errors.New("a revision adds to covered time only, and part of its range isn't covered"))
	case s.Rev != top.rev+1:
		return revisionError(s, fmt.Errorf("the next revision of its range is %d", top.rev+1))
	}
	return nil
}

func revisionError(s flow.Slice, err error) error {
	return fault.New(fault.Overlap, "commit", "", fmt.Errorf("slice %s: %w: %w", s, sinks.ErrOverlap, err))
}

// listDays returns the days that a partition has a folder for, in order.
func (l *Log) listDays(p flow.Partition) ([]time.Time, error) {
	dir := l.partitionDir(p)
	entries, err := l.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var days []time.Time
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		at, err := parseDay(e.Name())
		if err != nil {
			return nil, damaged(filepath.Join(dir, e.Name()), errors.New("it isn't the folder of a day"))
		}
		days = append(days, at)
	}
	slices.SortFunc(days, time.Time.Compare)
	return days, nil
}
