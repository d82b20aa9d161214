package elsa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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

// runJSON decodes a sequence of values: arrays of objects, or objects, perhaps each on a line of its own.
func (e *entryDecoder) runJSON(ctx context.Context) error {
	inArray, after := false, false // after: a record has come, so that a comma or the array's end must follow
	for {
		c, err := e.feed.token()
		switch {
		case err == io.EOF && !inArray:
			return nil
		case err != nil && err != io.EOF:
			return err
		case err == io.EOF:
			return e.broken(err)
		case !inArray && c == '[':
			inArray, after = true, false
			e.feed.pass(1)
			if c, err = e.feed.token(); err == nil && c == ']' {
				inArray = false
				e.feed.pass(1)
			}
			continue
		case inArray && after && c == ']':
			inArray = false
			e.feed.pass(1)
			continue
		case inArray && after:
			if c != ',' {
				return e.broken(&syntaxError{0, "neither a comma nor the array's end behind a record"})
			}
			after = false
			e.feed.pass(1)
			continue
		case c != '{':
			return e.broken(&syntaxError{0, fmt.Sprintf("%q where a record should begin: want an object", c)})
		}
		if err := e.object(ctx, inArray); err != nil {
			return err
		}
		after = true
	}
}

// object decodes the record at the feed's beginning.
func (e *entryDecoder) object(ctx context.Context, inArray bool) error {
	for {
		e.row.reset()
		p := e.feed.data()
		n, err := e.json.object(p, e.row.set)
		switch {
		case err == nil:
			if err := e.suspect(p[:n], inArray); err != nil {
				return err
			}
			if err := e.take(ctx, p[:n]); err != nil {
				return err
			}
			e.feed.pass(n)
			return nil
		case !errors.Is(err, errShort):
			return e.broken(err)
		case len(p) > e.record:
			if err := e.suspectLong(p, inArray); err != nil {
				return err
			}
			return e.long(ctx, &jsonEnd{})
		}
		if err := e.feed.more(); err == io.EOF {
			return e.broken(err)
		} else if err != nil {
			return err
		}
	}
}

// suspect refuses an object that isn't a record: an error, or something around records. Taken for one record, that would lose those
// that it holds. In an array, an object of other fields may be a record that has nothing else; on its own it is none.
func (e *entryDecoder) suspect(p []byte, inArray bool) error {
	if e.row.isRecord() {
		return nil
	}
	if !inArray && e.row.members == 1 && e.row.nestedErrors {
		return refusedBy(p, opUnpack, "in entry "+shown(e.name))
	}
	known, err := e.members()
	if err == nil && !known && !inArray {
		err = e.unknownForm("without a known field")
	}
	return err
}

// suspectLong is suspect for an object that is too long to be held, of which p is the beginning.
func (e *entryDecoder) suspectLong(p []byte, inArray bool) error {
	name, at := e.json.open, e.json.openAt
	if field := fieldOf(name); e.row.isRecord() || at > 0 && (field == recordBody || field == recordTime) {
		return nil
	}
	known, err := e.members()
	if err != nil || at == 0 || e.isKnown(name) || p[at] != '[' && p[at] != '{' {
		return err
	}
	if !known && !inArray || holdsList(p[at:]) {
		return e.unknownForm(fmt.Sprintf("with a long member %q", name))
	}
	return nil
}

// members looks at the members so far of an object that may be no record: whether one has a known name, and whether another holds what
// may be records.
func (e *entryDecoder) members() (known bool, err error) {
	known = e.row.documented > 0
	for _, a := range e.row.attributes {
		switch {
		case e.isKnown(a.name):
			known = true
		case holdsList(a.value):
			return known, e.unknownForm(fmt.Sprintf("with a list %q", a.name))
		}
	}
	return known, nil
}

func (e *entryDecoder) isKnown(name []byte) bool { return slices.Contains(e.known, string(name)) }

func (e *entryDecoder) unknownForm(what string) error {
	return e.broken(fmt.Errorf("an object %s where a record should be: the answer's form isn't known", what))
}

// holdsList says whether a nested value, or the beginning of one, may hold a list of objects.
func holdsList(p []byte) bool {
	if !bytes.HasPrefix(p, []byte("[")) && !bytes.HasPrefix(p, []byte("{")) {
		return false
	}
	list := bytes.IndexByte(p, '[')
	return list >= 0 && bytes.IndexByte(p[list:], '{') >= 0
}

// runCSV decodes records behind a header.
func (e *entryDecoder) runCSV(ctx context.Context) error {
	for first := true; ; {
		if len(e.feed.data()) == 0 {
			if err := e.feed.more(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
		fields, n, err := e.fields(ctx)
		if err != nil {
			return err
		}
		if n == 0 { // it was long, and went to the dead letters
			if len(e.header) == 0 {
				return e.broken(errors.New("the header is too long"))
			}
			first = false
			continue
		}
		empty := len(fields) == 1 && len(fields[0].text) == 0 && !fields[0].quoted
		isHeader := false
		if first && !empty {
			first = false
			if isHeader, err = e.isHeader(fields); err != nil {
				return err
			}
		}
		switch {
		case isHeader:
			e.header = e.header[:0]
			fields[0].text = bytes.TrimLeft(fields[0].text, " \t")
			for _, f := range fields {
				e.header = append(e.header, bytes.Clone(f.text))
			}
		case empty && len(e.header) > 1:
			// An empty line between records of several fields.
		case len(fields) != len(e.header):
			return e.otherFields(len(fields))
		default:
			e.row.reset()
			for i, f := range fields {
				v := f.value()
				if v.form == formNull {
					continue // no value: CSV has a column for every field that any record has
				}
				e.row.set(e.header[i], v)
			}
			if err := e.take(ctx, e.feed.data()[:n]); err != nil {
				return err
			}
		}
		e.feed.pass(n)
	}
}

// fields returns the next record's fields and its length, 0 if it was too long and is dealt with.
func (e *entryDecoder) fields(ctx context.Context) ([]csvField, int, error) {
	for {
		p := e.feed.data()
		fields, n, err := e.csv.record(p, e.feed.ended)
		switch {
		case err == nil:
			return fields, n, nil
		case !errors.Is(err, errShort):
			return nil, 0, e.broken(err)
		case len(p) > e.record:
			end := &csvEnd{}
			err := e.long(ctx, end)
			if n := end.commas + 1; err == nil && len(e.header) > 0 && n != len(e.header) {
				err = e.otherFields(n)
			}
			return nil, 0, err
		}
		if err := e.feed.more(); err != nil && err != io.EOF {
			return nil, 0, err
		}
	}
}

// otherFields is the error of a record whose fields aren't those of the header.
func (e *entryDecoder) otherFields(n int) error {
	return e.broken(fmt.Errorf("%d fields, the header names %d", n, len(e.header)))
}

// isHeader says whether an entry's first record names fields. One behind another entry may go on with that one's header, and its values may
// be words such as host: where they could be records, only the time's name, which any header has, or the same names make a header.
func (e *entryDecoder) isHeader(fields []csvField) (bool, error) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = string(f.text)
	}
	names[0] = strings.TrimLeft(names[0], " \t") // which may stand before a header, too
	goesOn := len(e.header) > 0 && len(fields) == len(e.header)
	switch {
	case slices.Contains(names, fieldLogTime), goesOn && e.sameNames(names):
		return true, nil
	case goesOn:
		return false, nil
	case slices.ContainsFunc(names, func(n string) bool { return slices.Contains(e.known, n) }):
		return true, nil
	}
	const most = 200
	text := strings.Join(names, ",")
	return false, e.broken(fmt.Errorf("neither JSON nor CSV with a header that names a known field: it begins with %.*q", most, text[:min(len(text), most)]))
}

// sameNames says whether names are those of the header that stands, in any order.
func (e *entryDecoder) sameNames(names []string) bool {
	standing := make([]string, len(e.header))
	for i, name := range e.header {
		standing[i] = string(name)
	}
	slices.Sort(standing)
	return slices.Equal(standing, slices.Sorted(slices.Values(names)))
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

// long sends the record at the feed's beginning, which is too long to be held, to the dead letters.
func (e *entryDecoder) long(ctx context.Context, end ender) error {
	e.rows++
	record := &longRecord{feed: &e.feed, end: end}
	err := e.dead(ctx, fmt.Sprintf("longer than %d bytes", e.record), record, 0)
	e.bytes += record.size
	switch {
	case record.err != nil && record.err != io.EOF:
		return record.err
	case err != nil:
		return err
	case record.err == nil:
		return fault.Errorf(fault.Bug, "send a dead letter", "the emitter left bytes of the record unread")
	}
	if err := end.check(record.whole); err != nil {
		return e.broken(err)
	}
	return nil
}

// ender finds a record's last byte. check says what is wrong with the record when that has come, or when the text is at its end.
type ender interface {
	next(c byte) (done bool)
	check(whole bool) error
}

// longRecord reads the record at a feed's beginning to its end.
type longRecord struct {
	feed  *feed
	end   ender
	size  uint64
	whole bool // its last byte has come
	err   error
}

func (l *longRecord) Read(p []byte) (int, error) {
	for l.err == nil && len(l.feed.data()) == 0 {
		if l.whole {
			break
		}
		l.err = l.feed.more()
	}
	if l.whole && l.err == nil {
		l.err = io.EOF
	}
	if l.err != nil || len(p) == 0 {
		return 0, l.err
	}
	from := l.feed.data()
	n := 0
	for n < min(len(p), len(from)) && !l.whole {
		l.whole = l.end.next(from[n])
		n++
	}
	copy(p, from[:n])
	l.feed.pass(n)
	l.size += uint64(n)
	return n, nil
}

// feed is a window on a text: it holds what has been read and not passed, and grows when asked for more of the same.
type feed struct {
	r      io.Reader
	buf    []byte
	begin  int
	ended  bool
	err    error
	passed int64
}

func (f *feed) data() []byte { return f.buf[f.begin:] }

func (f *feed) pass(n int) {
	f.begin += n
	f.passed += int64(n)
}

// more reads on until the window is full; it returns io.EOF when there is nothing more. Slices of data become invalid.
func (f *feed) more() error {
	if f.ended {
		return io.EOF
	}
	if f.err != nil {
		return f.err
	}
	if f.begin > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.begin:])]
		f.begin = 0
	}
	if free := cap(f.buf) - len(f.buf); free < feedBlock/2 {
		f.buf = slices.Grow(f.buf, max(feedBlock, cap(f.buf)))
	}
	n, err := io.ReadFull(f.r, f.buf[len(f.buf):cap(f.buf)])
	f.buf = f.buf[:len(f.buf)+n]
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		f.ended = true
		if n == 0 {
			return io.EOF
		}
	case err != nil:
		f.err = err
		return err
	}
	return nil
}

// token passes white space and returns the byte behind it without passing that; io.EOF at the end.
func (f *feed) token() (byte, error) {
	for {
		p := f.data()
		i := skipSpace(p, 0)
		f.pass(i)
		if i < len(p) {
			return p[i], nil
		}
		if err := f.more(); err != nil {
			return 0, err
		}
	}
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
