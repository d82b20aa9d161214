package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// coverage is what the markers of this sink say, as far as they were read. It may be used concurrently.
type coverage struct {
	mu    sync.Mutex
	parts map[flow.Partition]map[int64][]entry // by day, in Unix seconds; entry i has number i+1
}

// entry is what is kept of a marker: a receipt without its partition.
type entry struct {
	id              flow.SliceID
	from, to, at    int64 // Unix milliseconds
	delivered, dead flow.Sum
	letters         string
	rev             uint32
	topic           string
	messages        uint64
	forgotten       bool     // by a later entry
	forgets         []uint64 // not empty: the entry covers nothing
	place           *place   // nil without messages
}

// place is where the messages of a commit are.
type place struct {
	topic    string
	producer int64
	spans    []span // none in markers of version 1
}

func placeOf(c commit) *place {
	if c.Messages == 0 {
		return nil
	}
	return &place{topic: c.Topic, producer: c.Producer, spans: c.Spans}
}

func entryOf(c commit) entry {
	return entry{
		id: c.Slice.ID, from: c.Slice.From.UnixMilli(), to: c.Slice.To.UnixMilli(), at: c.At.UnixMilli(),
		delivered: c.Delivered, dead: c.Dead, letters: c.DeadLetters, rev: c.Slice.Rev, topic: c.Topic, messages: c.Messages, place: placeOf(c),
	}
}

func (e entry) rng() flow.Range {
	return flow.Range{From: time.UnixMilli(e.from).UTC(), To: time.UnixMilli(e.to).UTC()}
}

func (e entry) slice(p flow.Partition) flow.Slice {
	r := e.rng()
	return flow.Slice{ID: e.id, Partition: p, From: r.From, To: r.To, Rev: e.rev}
}

func (e entry) receipt(p flow.Partition, number uint64) sinks.Receipt {
	if e.forgets != nil {
		r := e.rng()
		whole := flow.Slice{Partition: p, From: r.From, To: r.To}
		return sinks.Receipt{Slice: whole, Entry: number, At: time.UnixMilli(e.at).UTC(), Forgets: e.forgets}
	}
	return sinks.Receipt{
		Slice: e.slice(p), Entry: number, Delivered: e.delivered, Dead: e.dead, DeadLetters: e.letters, At: time.UnixMilli(e.at).UTC(),
	}
}

func newCoverage() *coverage {
	return &coverage{parts: map[flow.Partition]map[int64][]entry{}}
}

// apply adds a commit's marker. One that is known is as good; a number left out is an error: markers are missing.
func (v *coverage) apply(c commit) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	days := v.parts[c.Slice.Partition]
	if days == nil {
		days = map[int64][]entry{}
		v.parts[c.Slice.Partition] = days
	}
	day := c.Slice.Day().Unix()
	known := days[day]
	switch n := uint64(len(known)); {
	case c.Entry == n+1:
		days[day] = append(known, entryOf(c))
	case c.Entry > n+1:
		return fmt.Errorf("entry %d of %s on %s is missing, but %d is there", n+1, c.Slice.Partition, c.Slice.Day().Format(dayLayout), c.Entry)
	case known[c.Entry-1].id != c.Slice.ID:
		return fmt.Errorf("two slices have entry %d of %s on %s", c.Entry, c.Slice.Partition, c.Slice.Day().Format(dayLayout))
	}
	return nil
}

// next is the number of a day's next entry.
func (v *coverage) next(s flow.Slice) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return uint64(len(v.parts[s.Partition][s.Day().Unix()])) + 1
}

// lookup returns the receipt of a slice.
func (v *coverage) lookup(s flow.Slice) (sinks.Receipt, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, e := range v.parts[s.Partition][s.Day().Unix()] {
		if e.id == s.ID && !e.forgotten && e.forgets == nil {
			return e.receipt(s.Partition, uint64(i)+1), true
		}
	}
	return sinks.Receipt{}, false
}

// placed returns where the messages of a commit are; nil without any. ok is false for a receipt of something else.
func (v *coverage) placed(r sinks.Receipt) (at *place, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.parts[r.Slice.Partition][r.Slice.Day().Unix()]
	if r.Entry < 1 || r.Entry > uint64(len(all)) || all[r.Entry-1].id != r.Slice.ID {
		return nil, false
	}
	return all[r.Entry-1].place, true
}

// conflict returns an error that is ErrOverlap if s may not be committed beside what is there.
func (v *coverage) conflict(s flow.Slice) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var covered flow.Ranges
	var top *entry // the highest revision that meets s
	number := 0
	all := v.parts[s.Partition][s.Day().Unix()]
	for i := range all {
		e := &all[i]
		if e.forgotten || e.forgets != nil || !e.rng().Meets(s.Range()) {
			continue
		}
		if e.rev == 0 {
			covered = append(covered, e.rng())
		}
		if top == nil || e.rev > top.rev {
			top, number = e, i+1
		}
	}
	switch {
	case s.Rev == 0 && top == nil:
		return nil
	case s.Rev == 0 || top != nil && s.Rev <= top.rev:
		return &sinks.OverlapError{Slice: s, By: top.slice(s.Partition), Entry: uint64(number)}
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

// days lists the days of a partition that meet a range, in order.
func (v *coverage) days(p flow.Partition, r flow.Range) []time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []time.Time
	for unix := range v.parts[p] {
		if at := time.Unix(unix, 0).UTC(); r.Meets(flow.Range{From: at, To: at.Add(24 * time.Hour)}) {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// receipt returns the receipt of one number; ok is false after the last.
func (v *coverage) receipt(p flow.Partition, day time.Time, number uint64) (r sinks.Receipt, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.parts[p][day.Unix()]
	if number < 1 || number > uint64(len(all)) {
		return r, false
	}
	return all[number-1].receipt(p, number), true
}

// partitions lists every partition of which something is committed, in order.
func (v *coverage) partitions() []flow.Partition {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []flow.Partition
	for p := range v.parts {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b flow.Partition) int {
		return cmp.Or(cmp.Compare(a.Selection.String(), b.Selection.String()), cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Key, b.Key))
	})
	return out
}
