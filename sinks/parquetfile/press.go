package parquetfile

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-io/sluice/proto/fault"
)

// press makes pages: it is what a goroutine needs for that, used again for the next.
type press struct {
	zip   Compression
	zstd  *zstd.Encoder // of the fastest level; nil before the first page
	raw   []byte        // a page before compression
	body  []byte        // and after it
	ints  []uint32
	paths [2]levels
}

// newPress returns a press. Its zstd holds a window of one page, and writes no checksum, for which pages have their own.
func newPress(c Compression) (*press, error) {
	p := &press{zip: c}
	if c != Zstd {
		return p, nil
	}
	var err error
	p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true),
		zstd.WithWindowSize(pageSize), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	return p, err
}

// compress returns a page as it lies in the file; it is good until the next call.
func (p *press) compress(raw []byte) []byte {
	switch p.zip {
	case Zstd:
		p.body = p.zstd.EncodeAll(raw, p.body[:0])
	case Snappy:
		p.body = s2.EncodeSnappy(p.body[:cap(p.body)], raw)
	default:
		return raw
	}
	return p.body
}

// large says that a press has grown by a large page and isn't to be kept.
func (p *press) large() bool { return cap(p.raw)+cap(p.body) > 2*chunkSize }

// job is a page to be made.
type job struct {
	leaf  *leafPath
	chunk *pages // of the leaf, in the row group
	rows  int    // of the chunk of rows
	cut   int    // which page of the leaf's; -1: all of it is one
	size  int    // about, for the order of work

	out      []byte // the page with its header
	raw      int    // before compression, with the header
	values   int    // nulls too
	encoding encoding
	err      error
}

// cutter is a leaf whose values are cut into pages already.
type cutter interface {
	pages() int
	page(i int) []byte
	rows(i int) (lo, hi, values int)
}

// run makes the page.
func (j *job) run(p *press) {
	defer func() {
		if v := recover(); v != nil { // in a goroutine of its own it would end the process
			j.err = fault.Errorf(fault.Bug, "make a page", "panic: %v", v)
		}
	}()
	raw := j.fill(p)
	body := p.compress(raw)
	if j.out, j.err = appendHeader(j.out[:0], dataPage, len(raw), j.values, j.encoding, body); j.err == nil {
		j.raw = len(j.out) + len(raw)
		j.out = append(j.out, body...)
	}
}

// fill returns the page before compression; it is good until the press makes another.
func (j *job) fill(p *press) []byte {
	j.encoding = encPlain
	if len(j.leaf.steps) > 1 {
		rep, def := j.leaf.most()
		if top := j.leaf.steps[0].nulls; top.n == j.rows && top.nulls == j.rows { // as attributes of logs often are
			j.values = j.rows
			p.raw = appendNone(p.raw[:0], j.rows, rep, def)
			return j.fillValues(p)
		}
		l := j.leaf.entries(j.rows, &p.paths[0], &p.paths[1])
		j.values = len(l.def)
		p.raw = l.appendLevels(p.raw[:0], rep, def)
		return j.fillValues(p)
	}
	own := j.leaf.steps[0]
	lo, hi := 0, j.rows
	if j.cut >= 0 {
		lo, hi, _ = j.leaf.values.(cutter).rows(j.cut)
	}
	j.values = hi - lo
	p.raw = p.raw[:0]
	if own.maybe {
		p.raw = own.nulls.appendFlat(p.raw, lo, hi)
	}
	if j.cut < 0 {
		return j.fillValues(p)
	}
	// The levels of a column without nulls fit before the values, which then needn't be copied.
	page := j.leaf.values.(cutter).page(j.cut)
	if len(p.raw) <= headroom {
		from := headroom - len(p.raw)
		copy(page[from:], p.raw)
		return page[from:]
	}
	p.raw = append(p.raw, page[headroom:]...)
	return p.raw
}

// fillValues appends values to the levels that are there.
func (j *job) fillValues(p *press) []byte {
	v, c := j.leaf.values, j.chunk
	if one := v.same(); one != nil && !c.plain {
		if at, ok := c.place(one); ok {
			j.encoding = encDictionary
			width := max(1, widthOf(len(c.places)-1))
			p.raw = append(p.raw, byte(width))
			p.raw = appendRun(p.raw, v.count(), at, width)
			return p.raw
		}
	}
	if c.repeats && !c.plain && v.count() > 0 {
		if j.fillPlaces(p) {
			return p.raw
		}
	}
	if ints, ok := v.(*fixed[int64]); ok {
		at := len(p.raw)
		if out := appendDelta(p.raw, ints.values); out != nil {
			j.encoding, p.raw = encDelta, out
			return p.raw
		}
		p.raw = p.raw[:at]
	}
	if v.count() > 0 {
		c.plain = true
	}
	p.raw = v.appendPlain(p.raw)
	return p.raw
}

// fillPlaces appends places in a dictionary; false: there are too many different values.
func (j *job) fillPlaces(p *press) bool {
	c := j.chunk
	at := len(p.raw)
	p.raw = j.leaf.appendPlain(p.raw)
	all := p.raw[at:]
	p.ints = p.ints[:0]
	for len(all) > 0 {
		n := 4 + int(binary.LittleEndian.Uint32(all))
		i, ok := c.place(all[:n])
		if !ok {
			p.raw = p.raw[:at]
			return false
		}
		p.ints = append(p.ints, i)
		all = all[n:]
	}
	j.encoding = encDictionary
	width := max(1, widthOf(len(c.places)-1))
	p.raw = appendHybrid(append(p.raw[:at], byte(width)), p.ints, width)
	return true
}

const (
	// apart is how large a page must be for a goroutine of its own.
	apart = 64 << 10
	// together is how many goroutines make pages of one chunk at most; more large pages it hardly has.
	together = 4
)

// runAll makes pages, the largest first, on as many processors as there are. Presses come from the format and go back to it.
func (f *Format) runAll(jobs []job) error {
	order := make([]*job, len(jobs))
	large := 0
	for i := range jobs {
		order[i] = &jobs[i]
		if jobs[i].size >= apart {
			large++
		}
	}
	slices.SortStableFunc(order, func(a, b *job) int { return b.size - a.size })
	var next atomic.Int64
	work := func() error {
		p, err := f.press()
		if err != nil {
			return err
		}
		defer f.giveBack(p)
		for {
			i := int(next.Add(1)) - 1
			if i >= len(order) {
				return nil
			}
			order[i].run(p)
		}
	}
	helpers := min(large-1, runtime.GOMAXPROCS(0)-1, together-1)
	var wait sync.WaitGroup
	for range helpers {
		wait.Go(func() { _ = work() }) // what it can't do the caller does, or fails for the same reason
	}
	err := work()
	wait.Wait()
	for i := range jobs {
		if err == nil && jobs[i].err != nil {
			err = jobs[i].err
		}
	}
	return err
}

func (f *Format) press() (*press, error) {
	if p, ok := f.presses.Get().(*press); ok {
		return p, nil
	}
	p, err := newPress(f.options.Compression)
	if err != nil {
		return nil, fmt.Errorf("make a compressor: %w", err)
	}
	return p, nil
}

func (f *Format) giveBack(p *press) {
	if !p.large() {
		f.presses.Put(p)
	}
}
