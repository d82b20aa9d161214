package elsa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Sizes, in bytes.
const (
	feedBlock   = 256 << 10
	recordMax   = 16 << 20 // of a record's text, when the host names no limit
	recordLimit = 32 << 20 // no RecordMax goes beyond
	weightMax   = 60 << 20 // of a record in a batch: a frame holds no more
	rawFactor   = 3        // a record may weigh so many times its longest text: replacements are longer than what they replace
)

// Names of the read's counters.
const (
	countUntimed  = "records_without_time"
	countReplaced = "values_not_utf8"
	countOutside  = "records_outside_slice"
	countAtEnd    = "records_at_to"
)

// decoder takes records out of entries and hands them to a sorter; what is too large for a batch goes to the dead letters at
// once. Not safe for concurrent use.
type decoder struct {
	out     plugins.Emitter
	slice   flow.Slice
	archive *archive
	sorter  *sorter
	known   []string // fields by which a record is known: documented ones and the settings'
	record  int      // bytes of the longest record
	cap     uint64   // records at which an answer counts as cut

	json jsonScanner
	csv  csvScanner
	row  row

	header [][]byte // of CSV: the names, one for each field
	rows   uint64   // all, dead ones included
	bytes  uint64   // of their bodies
	order  order
	counts map[string]uint64
}

func newDecoder(out plugins.Emitter, slice flow.Slice, a *archive, sorter *sorter, s *settings, limits plugins.Limits) *decoder {
	record := recordMax
	if limits.RecordMax > 0 {
		record = int(min(limits.RecordMax, recordLimit))
	}
	return &decoder{
		out: out, slice: slice, archive: a, sorter: sorter, record: record, cap: s.Count,
		known: append(slices.Clone(documentedFields), s.IncludeFields...), counts: map[string]uint64{},
	}
}

// errFull ends decoding when so many records have come that the answer counts as cut.
var errFull = errors.New("the vendor's cap is reached")

// run decodes all entries, or as many as show that the answer was cut.
func (d *decoder) run(ctx context.Context) error {
	err := d.archive.each(ctx, func(name string, r io.Reader) error {
		e := &entryDecoder{decoder: d, name: name, feed: feed{r: r}}
		return e.run(ctx)
	})
	if errors.Is(err, errFull) {
		err = nil
	}
	if c, ok := d.out.(plugins.Counter); ok {
		for name, n := range d.counts {
			c.Count(name, n)
		}
	}
	return err
}

// full says whether the answer counts as cut.
func (d *decoder) full() bool { return d.rows >= d.cap }

// entryDecoder decodes one entry.
type entryDecoder struct {
	*decoder
	name string
	feed feed
	rows uint64 // of this entry, for errors
}

// broken is the error of an entry's text, with the place.
func (e *entryDecoder) broken(err error) error {
	at := e.feed.passed
	var syntax *syntaxError
	switch {
	case errors.As(err, &syntax):
		at += int64(syntax.at)
	case errors.Is(err, errShort), errors.Is(err, io.EOF):
		err = errors.New("the text ends inside of a record")
		at += int64(len(e.feed.data()))
	}
	return fault.New(fault.Corrupt, opUnpack, "", fmt.Errorf("entry %s, record %d, byte %d: %w", shown(e.name), e.rows+1, at, err))
}

// packedForms are how files begin that are archives themselves.
var packedForms = []struct{ magic, name string }{
	{"PK\x03\x04", "zip"},
	{"PK\x05\x06", "zip"},
	{"\x1f\x8b", "gzip"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"BZh", "bzip2"},
	{"\xfd7zXZ\x00", "xz"},
	{"7z\xbc\xaf\x27\x1c", "7z"},
	{"Rar!\x1a\x07", "rar"},
}

const byteOrderMark = "\uFEFF"

// run tells the form of the entry and decodes it.
func (e *entryDecoder) run(ctx context.Context) error {
	for len(e.feed.data()) < 8 {
		if err := e.feed.more(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	start := e.feed.data()
	for _, p := range packedForms {
		if bytes.HasPrefix(start, []byte(p.magic)) {
			return broken("entry %s is an archive itself (%s): nested archives aren't unpacked", shown(e.name), p.name)
		}
	}
	if bytes.HasPrefix(start, []byte("\xff\xfe")) || bytes.HasPrefix(start, []byte("\xfe\xff")) {
		return broken("entry %s is UTF-16: want UTF-8", shown(e.name))
	}
	if bytes.HasPrefix(start, []byte(byteOrderMark)) {
		e.feed.pass(len(byteOrderMark))
	}
	c, err := e.first()
	switch {
	case err == io.EOF:
		return nil // an empty entry holds no records
	case err != nil:
		return err
	case c == '[' || c == '{':
		return e.runJSON(ctx)
	case c == '<':
		return refusedBy(e.feed.data(), opUnpack, "in entry "+shown(e.name))
	}
	return e.runCSV(ctx)
}

// first returns the first byte of the entry's text that isn't white space; io.EOF if there is none. White space before it is passed unless
// it may belong to a value: that of CSV that goes on from another entry.
func (e *entryDecoder) first() (byte, error) {
	if len(e.header) == 0 {
		return e.feed.token()
	}
	for {
		p := e.feed.data()
		if i := skipSpace(p, 0); i < len(p) {
			return p[i], nil
		}
		if len(p) > e.record {
			return p[0], nil // no JSON begins so late
		}
		if err := e.feed.more(); err != nil {
			return 0, err
		}
	}
}

// take hands the record that was decoded on; raw is its text.
func (e *entryDecoder) take(ctx context.Context, raw []byte) error {
	r := &e.decoder.row
	e.rows++
	if len(raw) > e.record {
		return e.dead(ctx, fmt.Sprintf("longer than %d bytes", e.record), bytes.NewReader(raw), uint64(len(raw)))
	}
	if r.members > maxMembers {
		return e.dead(ctx, fmt.Sprintf("more than %d fields", maxMembers), bytes.NewReader(raw), uint64(len(raw)))
	}
	if len(raw) > e.record/8 && r.weight() > min(rawFactor*e.record, weightMax) {
		return e.dead(ctx, "too large for a batch", bytes.NewReader(raw), uint64(len(raw)))
	}
	e.decoder.rows++
	e.bytes += uint64(len(r.body))
	if r.replaced > 0 {
		e.counts[countReplaced] += r.replaced
	}
	if r.timed {
		e.order.add(r.time)
		e.place(r.time)
	} else {
		e.counts[countUntimed]++
	}
	if err := e.sorter.add(r); err != nil {
		return err
	}
	return e.stop()
}

// place counts records that the slice shouldn't hold.
func (e *entryDecoder) place(ns int64) {
	ms := ns / int64(time.Millisecond)
	from, to := e.slice.From.UnixMilli(), e.slice.To.UnixMilli()
	switch {
	case ms == to:
		e.counts[countAtEnd]++
	case ms < from || ms > to:
		e.counts[countOutside]++
	}
}

func (e *entryDecoder) stop() error {
	if e.full() {
		return errFull
	}
	return nil
}

// dead sends a record to the dead letters.
func (e *entryDecoder) dead(ctx context.Context, reason string, r io.Reader, size uint64) error {
	e.decoder.rows++
	e.bytes += size
	if err := e.archive.pause(func() error { return e.out.Dead(ctx, reason, r) }); err != nil {
		return err
	}
	return e.stop()
}

// order watches in which order records come.
type order struct {
	n                     int
	first, last, min, max int64
	up, down              bool
}

func (o *order) add(t int64) {
	if o.n == 0 {
		*o = order{first: t, min: t, max: t, up: true, down: true}
	} else {
		o.up, o.down = o.up && t >= o.last, o.down && t <= o.last
		o.min, o.max = min(o.min, t), max(o.max, t)
	}
	o.last = t
	o.n++
}

// evidence returns the times of a cut answer as plugins.SplitTruncated takes them: as if it had come oldest first. If the
// newest came first, time is mirrored in the slice; an answer in no order tells nothing.
func (o *order) evidence(s flow.Slice) []time.Time {
	switch {
	case o.n == 0 || o.up == o.down:
		return nil
	case o.up:
		return []time.Time{time.Unix(0, o.max).UTC()}
	}
	oldest := time.Unix(0, o.min)
	return []time.Time{s.From.Add(s.To.Sub(oldest) - time.Millisecond).UTC()}
}
