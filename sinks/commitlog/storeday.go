package commitlog

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

const (
	// readAhead is how many entries are read before they are asked for, readAtOnce how many at the same time: a store answers each
	// after many milliseconds, and any number side by side.
	readAhead  = 128
	readAtOnce = 16
)

// refresh reads the entries that came after the last known one. d.mu is held.
func (l *StoreLog) refresh(ctx context.Context, d *day) error {
	if !d.loaded {
		if err := l.load(ctx, d); err != nil {
			return err
		}
	}
	for {
		e, err := l.readEntry(ctx, d, d.last+1)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		if err := l.apply(d, e); err != nil {
			return err
		}
	}
}

// load reads a day for the first time. d.mu is held.
func (l *StoreLog) load(ctx context.Context, d *day) error {
	var names []string
	for key, err := range objects(ctx, l.store, d.dir+"/", "") {
		if err != nil {
			return err
		}
		names = append(names, strings.TrimPrefix(key, d.dir+"/"))
	}
	n, err := countNames(d.dir, names)
	if err != nil {
		return err
	}
	for d.last < n {
		var at []entryAt
		for i := d.last + 1; i <= n && len(at) < readAhead; i++ {
			at = append(at, entryAt{d.key, d.dir, i})
		}
		entries, err := l.readEntries(ctx, at)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := l.apply(d, e); err != nil {
				return err
			}
		}
	}
	d.loaded = true
	return nil
}

func (l *StoreLog) apply(d *day, e Entry) error {
	if err := d.apply(d.last+1, e); err != nil {
		return damaged(path.Join(d.dir, entryFile(d.last+1)), err)
	}
	return nil
}

// entryAt is where an entry lies.
type entryAt struct {
	key    dayKey
	dir    string
	number uint64
}

func (l *StoreLog) readEntry(ctx context.Context, d *day, number uint64) (Entry, error) {
	return l.readAt(ctx, entryAt{d.key, d.dir, number})
}

func (l *StoreLog) readAt(ctx context.Context, at entryAt) (Entry, error) {
	name := path.Join(at.dir, entryFile(at.number))
	b, err := l.store.Get(ctx, name)
	if err != nil {
		return Entry{}, err
	}
	return at.key.parse(name, b)
}

// readEntries reads entries side by side.
func (l *StoreLog) readEntries(ctx context.Context, at []entryAt) ([]Entry, error) {
	out := make([]Entry, len(at))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readAtOnce)
	for i := range at {
		g.Go(func() (err error) {
			out[i], err = l.readAt(ctx, at[i])
			return err
		})
	}
	return out, g.Wait()
}

// Committed implements sinks.Memory: every entry of the days that the gap meets, less those whose numbers the caller knows. The
// days are listed, and only what the caller doesn't know is read.
func (l *StoreLog) Committed(ctx context.Context, g flow.Gap, after func(day time.Time) uint64) iter.Seq2[sinks.Receipt, error] {
	return func(yield func(sinks.Receipt, error) bool) {
		err := l.checkOpen()
		if err == nil {
			err = l.committed(ctx, g, after, func(r sinks.Receipt) bool { return yield(r, nil) })
		}
		if err != nil {
			yield(sinks.Receipt{}, Fault("read the commit log", l.root, err))
		}
	}
}

func (l *StoreLog) committed(ctx context.Context, g flow.Gap, after func(day time.Time) uint64, yield func(sinks.Receipt) bool) error {
	var wanted []entryAt
	flush := func() (more bool, err error) {
		entries, err := l.readEntries(ctx, wanted)
		if err != nil {
			return false, err
		}
		for i, e := range entries {
			if e.Sweep == nil && !yield(e.receipt(wanted[i].number)) {
				return false, nil
			}
		}
		wanted = wanted[:0]
		return true, nil
	}
	for d, err := range l.listed(ctx, g) {
		if err != nil {
			return err
		}
		from := uint64(0)
		if after != nil {
			from = after(d.at)
		}
		for n := from + 1; n <= d.entries; n++ {
			if wanted = append(wanted, entryAt{dayKey{g.Partition, dayName(d.at)}, d.dir, n}); len(wanted) < readAhead {
				continue
			}
			if more, err := flush(); err != nil || !more {
				return err
			}
		}
	}
	_, err := flush()
	return err
}

// listedDay is a day of the log as its list shows it.
type listedDay struct {
	at      time.Time
	dir     string
	entries uint64
}

// listed yields the days of a partition that the gap meets, in order.
func (l *StoreLog) listed(ctx context.Context, g flow.Gap) iter.Seq2[listedDay, error] {
	return func(yield func(listedDay, error) bool) {
		dir := partitionKey(g.Partition)
		var names []string
		var current string
		end := func() bool {
			if current == "" {
				return true
			}
			at, err := parseDay(current)
			if err != nil {
				yield(listedDay{}, damaged(path.Join(dir, current), errors.New("it isn't the folder of a day")))
				return false
			}
			d := listedDay{at: at, dir: path.Join(dir, current)}
			if d.entries, err = countNames(d.dir, names); err != nil {
				yield(d, err)
				return false
			}
			return !g.Range().Meets(flow.Range{From: at, To: at.Add(24 * time.Hour)}) || yield(d, nil)
		}
		for key, err := range objects(ctx, l.store, dir+"/", path.Join(dir, dayName(g.From))) {
			if err != nil {
				yield(listedDay{}, err)
				return
			}
			day, name, ok := strings.Cut(strings.TrimPrefix(key, dir+"/"), "/")
			if !ok {
				yield(listedDay{}, damaged(key, errors.New("it isn't the folder of a day")))
				return
			}
			if day != current {
				if !end() {
					return
				}
				current, names = day, nil
				if at, err := parseDay(day); err == nil && !at.Before(g.To) {
					return // names sort by time
				}
			}
			names = append(names, name)
		}
		end()
	}
}
