package vendorsim

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"sort"
	"strings"
	"time"
)

// Record is one log entry: when the vendor received it (whole milliseconds count) and its bytes without the line
// feed that ends it on the wire. A line may hold anything but a line feed.
type Record struct {
	Time time.Time
	Line []byte
}

// Log is one log of the vendor. Its content is Records or Generated; with neither it is empty.
type Log struct {
	ID   string // a UUID; compared without regard to case
	Name string

	Records   []Record   // in any order; records of one millisecond keep theirs. Copied by New
	Generated *Generated // lines made on demand

	// NoFinalNewline leaves out the line feed at the very end of each answer, unless the last line is empty (it
	// would vanish).
	NoFinalNewline bool
	Unlisted       bool // left out of /management/logs
}

// content is what a log holds, addressed by record number. It never changes, so its methods are safe for
// concurrent use.
type content interface {
	// span returns the record numbers [lo, hi) with from <= time < to, in Unix milliseconds.
	span(from, to int64) (lo, hi int64)
	// at returns the time of record i in Unix milliseconds.
	at(i int64) int64
	// pages yields the records [lo, hi) in order as blocks of whole lines, each line with its line feed. A block
	// is valid until the next is asked for and must not be changed.
	pages(lo, hi int64) iter.Seq[[]byte]
	// size returns how many bytes pages yields.
	size(lo, hi int64) int64
}

type logContent struct {
	Log
	content
}

func newLogContent(l Log) (*logContent, error) {
	l.ID = strings.ToLower(l.ID)
	switch {
	case l.ID == "" || strings.ContainsAny(l.ID, ":;/ "):
		return nil, fmt.Errorf("log %q: an ID must not be empty nor hold : ; / or a blank", l.ID)
	case l.Records != nil && l.Generated != nil:
		return nil, fmt.Errorf("log %s: has both Records and Generated", l.ID)
	}
	var (
		c   content
		err error
	)
	if l.Generated != nil {
		c, err = newRing(*l.Generated)
	} else {
		c, err = newExplicit(l.Records)
	}
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", l.ID, err)
	}
	l.Records = nil // content holds them now
	return &logContent{Log: l, content: c}, nil
}

// explicit holds given records, rendered once: any range of them is one piece of blob.
type explicit struct {
	times []int64
	ends  []int // ends[i] is where record i ends in blob, line feed included
	blob  []byte
}

var errLineFeed = errors.New("a line must not hold a line feed: on the wire it would be two records")

func newExplicit(records []Record) (*explicit, error) {
	order := make([]int, len(records))
	size := 0
	for i, r := range records {
		if bytes.IndexByte(r.Line, '\n') >= 0 {
			return nil, fmt.Errorf("record %d: %w", i, errLineFeed)
		}
		order[i] = i
		size += len(r.Line) + 1
	}
	sort.SliceStable(order, func(a, b int) bool {
		return records[order[a]].Time.UnixMilli() < records[order[b]].Time.UnixMilli()
	})
	e := &explicit{
		times: make([]int64, 0, len(records)),
		ends:  make([]int, 0, len(records)),
		blob:  make([]byte, 0, size),
	}
	for _, i := range order {
		e.times = append(e.times, records[i].Time.UnixMilli())
		e.blob = append(append(e.blob, records[i].Line...), '\n')
		e.ends = append(e.ends, len(e.blob))
	}
	return e, nil
}

func (e *explicit) span(from, to int64) (lo, hi int64) {
	lo = int64(sort.Search(len(e.times), func(i int) bool { return e.times[i] >= from }))
	hi = int64(sort.Search(len(e.times), func(i int) bool { return e.times[i] >= to }))
	return lo, max(lo, hi)
}

func (e *explicit) at(i int64) int64 { return e.times[i] }

func (e *explicit) pages(lo, hi int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if lo >= hi {
			return
		}
		start := 0
		if lo > 0 {
			start = e.ends[lo-1]
		}
		yield(e.blob[start:e.ends[hi-1]])
	}
}

func (e *explicit) size(lo, hi int64) int64 {
	if lo >= hi {
		return 0
	}
	start := 0
	if lo > 0 {
		start = e.ends[lo-1]
	}
	return int64(e.ends[hi-1] - start)
}

// lines yields the single lines of pages, without their line feeds.
func lines(pages iter.Seq[[]byte]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for page := range pages {
			for len(page) > 0 {
				i := bytes.IndexByte(page, '\n')
				if !yield(page[:i]) {
					return
				}
				page = page[i+1:]
			}
		}
	}
}
