package vendorsim

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sort"
	"sync"
	"time"
)

// Generated describes a log whose lines are computed: record i lies at From + i*period and shows line i modulo
// the lines of a ring that is rendered once, so any range is found by arithmetic and served from memory.
type Generated struct {
	Seed  uint64
	Style Style     // zero: StyleMixed
	From  time.Time // time of the first record
	To    time.Time // end, not included; zero: goes on with the clock (then Bytes must be 0)

	// One of them: about Bytes bytes between From and To (never more, less by at most one line), or a rate.
	Bytes          int64
	LinesPerSecond float64

	// Stamped writes each record's own time into its line (at about 0.15 CPU-s per GB; a reader holds a copy of the ring); otherwise a line carries
	// the time at which the ring shows it first.
	Stamped bool

	RingBytes int // size of the ring; 0: 8 MiB
}

// ring is the content of a generated log.
type ring struct {
	blob   []byte
	starts []int // starts[i] is where line i begins in blob; one more at the end
	stamps []stamp
	from   int64 // Unix milliseconds
	period int64 // nanoseconds between records
	count  int64 // records in all
	stamp  bool
	copies sync.Pool // of *[]byte: what readers of a stamped ring write into
	packs  packs     // of a ring that isn't stamped
}

const defaultRingBytes = 8 << 20

func newRing(g Generated) (*ring, error) {
	style := g.Style
	if style == "" {
		style = StyleMixed
	}
	if g.RingBytes == 0 {
		g.RingBytes = defaultRingBytes
	}
	switch {
	case g.From.UnixMilli() < 0:
		return nil, errors.New("generated: From is missing or before 1970")
	case !g.To.IsZero() && g.To.UnixMilli() <= g.From.UnixMilli():
		return nil, errors.New("generated: To must be after From")
	case (g.Bytes > 0) == (g.LinesPerSecond > 0):
		return nil, errors.New("generated: give one of Bytes and LinesPerSecond")
	case g.Bytes > 0 && g.To.IsZero():
		return nil, errors.New("generated: Bytes needs To")
	case g.LinesPerSecond != 0 && (g.LinesPerSecond > 1e9 || g.LinesPerSecond < 1e-3):
		return nil, errors.New("generated: LinesPerSecond must lie between 0.001 and 1e9")
	case g.RingBytes < 0:
		return nil, errors.New("generated: RingBytes must not be negative")
	case !style.valid():
		return nil, fmt.Errorf("generated: unknown style %q", style)
	}
	r := &ring{from: g.From.UnixMilli(), stamp: g.Stamped}
	r.render(g.Seed, style, g.RingBytes)

	span := int64(math.MaxInt64)
	if !g.To.IsZero() {
		span = (g.To.UnixMilli() - r.from) * int64(time.Millisecond)
	}
	if g.Bytes > 0 {
		r.count = r.linesIn(g.Bytes)
		r.period = max(1, span/max(1, r.count))
	} else {
		r.period = max(1, int64(float64(time.Second)/g.LinesPerSecond))
		r.count = (span-1)/r.period + 1
	}
	if r.count > 0 && (r.count-1) > (span-1)/r.period {
		return nil, errors.New("generated: more than one line a nanosecond between From and To")
	}
	if !r.stamp {
		r.write(r.blob, 0, min(r.count, int64(len(r.stamps)))) // the rest is never shown
	}
	return r, nil
}

// render fills the ring with lines of about size bytes in all.
func (r *ring) render(seed uint64, style Style, size int) {
	w := newWriter(seed, style)
	r.blob = make([]byte, 0, size+4096)
	for len(r.blob) < size || len(r.stamps) == 0 {
		r.starts = append(r.starts, len(r.blob))
		var st stamp
		r.blob, st = w.line(r.blob)
		st.offset -= r.starts[len(r.starts)-1]
		r.blob = append(r.blob, '\n')
		r.stamps = append(r.stamps, st)
	}
	r.starts = append(r.starts, len(r.blob))
}

// linesIn returns how many lines from the ring's start fit into n bytes.
func (r *ring) linesIn(n int64) int64 {
	k, size := int64(len(r.stamps)), int64(len(r.blob))
	count := n / size * k
	rest := int(n % size)
	for i := 0; i < int(k) && r.starts[i+1] <= rest; i++ {
		count++
	}
	return count
}

// span inverts at: the first record whose millisecond is at least x is the first with i*period >= x's nanoseconds.
func (r *ring) span(from, to int64) (lo, hi int64) {
	first := func(ms int64) int64 {
		d := ms - r.from
		switch {
		case d <= 0:
			return 0
		case d > math.MaxInt64/int64(time.Millisecond):
			return r.count
		}
		ns := d * int64(time.Millisecond)
		return min(r.count, (ns-1)/r.period+1)
	}
	lo, hi = first(from), first(to)
	return lo, max(lo, hi)
}

func (r *ring) at(i int64) int64 { return r.from + i*r.period/int64(time.Millisecond) }

// stampedPage is the size of a block that is stamped before it is sent: small enough for the processor's cache.
const stampedPage = 256 << 10

func (r *ring) pages(lo, hi int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		k := int64(len(r.stamps))
		blob := r.blob
		if r.stamp && lo < hi {
			// Written over in place in a copy of the reader's own: copying each page again would cost more.
			own := r.borrow()
			defer r.copies.Put(own)
			blob = *own
		}
		for lo < hi {
			p := lo % k
			end := min(k, p+hi-lo) // line number in the ring, not included
			if r.stamp {
				limit := sort.SearchInts(r.starts[p+1:end], r.starts[p]+stampedPage)
				end = min(end, p+1+int64(limit))
			}
			block := blob[r.starts[p]:r.starts[end]]
			if r.stamp {
				r.write(block, lo, end-p)
			}
			if !yield(block) {
				return
			}
			lo += end - p
		}
	}
}

// size is found by arithmetic: stamps are written over bytes that are there.
func (r *ring) size(lo, hi int64) int64 {
	k := int64(len(r.stamps))
	before := func(i int64) int64 { return i/k*int64(len(r.blob)) + int64(r.starts[i%k]) }
	return max(0, before(hi)-before(lo))
}

func (r *ring) borrow() *[]byte {
	if own, ok := r.copies.Get().(*[]byte); ok {
		return own
	}
	own := slices.Clone(r.blob)
	return &own
}

// write puts the times of the n records from lo on into page, which holds exactly their lines.
func (r *ring) write(page []byte, lo, n int64) {
	p := int(lo % int64(len(r.stamps)))
	base := r.starts[p]
	var clock stampClock
	// Time advances by addition: a division for each line would cost as much as the rest.
	ns := lo * r.period
	ms, rest := ns/int64(time.Millisecond), ns%int64(time.Millisecond)
	for i := range int(n) {
		if st := r.stamps[p+i]; st.layout != noStamp {
			clock.put(page[r.starts[p+i]-base+st.offset:], st.layout, r.from+ms)
		}
		rest += r.period
		if rest >= int64(time.Millisecond) {
			ms += rest / int64(time.Millisecond)
			rest %= int64(time.Millisecond)
		}
	}
}
