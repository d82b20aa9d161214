package rapid7download

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	frameTarget = 1 << 20 // bytes of a batch, when the host names none
	frameMax    = 4 << 20
	recordMax   = 16 << 20
	frameRows   = 1 << 16     // rows of a batch at most: a column with one value is as long
	recordLimit = 512 << 20   // no RecordMax goes beyond: offsets have 31 bits, and a body may grow threefold
	flushAfter  = time.Second // a record waits no longer for its batch to fill
	replacement = "\uFFFD"    // stands in body for each byte that isn't UTF-8
	rawFactor   = 3           // a body with its raw bytes may weigh so many records: beyond, it is unfit for a batch
	firstRows   = 4096 + 1    // offsets that a batch begins with
	finalMark   = "missing_final_newline"
)

// chunks is where the decoder gets bytes from: see readAhead.next.
type chunks interface {
	next(ctx context.Context) ([]byte, error)
}

// decoder cuts a text into records and emits them in batches. A record is what ends in a line feed, or what is left at the
// end. No line is allocated: bytes go from the chunk into the batch's one buffer of values.
type decoder struct {
	out    plugins.Emitter
	schema *arrow.Schema // body, body_raw and perhaps timestamp, in the stream's order
	mem    memory.Allocator
	now    func() time.Time
	target int
	max    int
	record int

	times    *logtime.Parser // fills a column of the schema; nil: there is none
	received flow.Range      // the slice's

	rows, bytes uint64 // of all records, dead ones included

	// The batch so far. values holds its rows' bodies and behind them the open line, whose end hasn't come yet.
	valueBuf  *memory.Buffer
	offsetBuf *memory.Buffer
	values    []byte
	offsets   []int32 // offsets[i] is where row i begins; the last is where the open line begins
	raw       rawColumn
	began     time.Time // when the batch got its first row
	zeros     []byte    // never written to: batches share it as offsets and validity of a column of nulls
	rest      []byte    // of a chunk, behind a dead record
}

func newDecoder(schema *arrow.Schema, mem memory.Allocator, limits plugins.Limits, out plugins.Emitter, now func() time.Time) *decoder {
	pick := func(n int64, fallback, most int) int {
		if n <= 0 {
			return fallback
		}
		return int(min(n, int64(most)))
	}
	d := &decoder{
		out: out, schema: schema, mem: mem, now: now,
		target: pick(limits.FrameTarget, frameTarget, recordLimit),
		max:    pick(limits.FrameMax, frameMax, recordLimit),
		record: pick(limits.RecordMax, recordMax, recordLimit),
	}
	d.target = min(d.target, d.max)
	return d
}

// run reads to the end of src, or until limit rows show that the answer was cut.
func (d *decoder) run(ctx context.Context, src chunks, limit uint64) error {
	for d.rows < limit {
		p, err := d.rest, error(nil)
		d.rest = nil
		if len(p) == 0 {
			p, err = src.next(ctx)
		}
		switch {
		case err == io.EOF:
			return d.finish(ctx)
		case err != nil:
			return err
		case len(p) == 0:
			if err := d.flush(ctx); err != nil {
				return err
			}
			continue
		}
		if err := d.split(ctx, p, src); err != nil {
			return err
		}
		if d.count() > 0 && d.now().Sub(d.began) >= flushAfter {
			if err := d.flush(ctx); err != nil {
				return err
			}
		}
	}
	return d.flush(ctx)
}

// finish is the proved end of the text.
func (d *decoder) finish(ctx context.Context) error {
	if len(d.open()) > 0 {
		d.noFinalNewline()
		if err := d.closeLine(ctx); err != nil {
			return err
		}
	}
	return d.flush(ctx)
}

func (d *decoder) noFinalNewline() {
	if c, ok := d.out.(plugins.Counter); ok {
		c.Count(finalMark, 1)
	}
}

// count returns the rows of the batch so far.
func (d *decoder) count() int { return max(0, len(d.offsets)-1) }

// open returns what has come of the line whose end hasn't.
func (d *decoder) open() []byte {
	if len(d.offsets) == 0 {
		return nil
	}
	return d.values[d.offsets[len(d.offsets)-1]:]
}

// size returns what the batch so far, with n more bytes of body, would weigh.
func (d *decoder) size(n int) int {
	return len(d.values) + n + d.rowBytes()*len(d.offsets) + d.raw.size(d.count())
}

// rowBytes is what a row weighs beside its body and its raw bytes.
func (d *decoder) rowBytes() int {
	if d.times != nil {
		return 4 + logtime.RowBytes
	}
	return 4
}

// split takes a chunk. It never keeps it, except as rest until the next chunk is asked for.
func (d *decoder) split(ctx context.Context, p []byte, src chunks) error {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return d.extend(ctx, p, nil, src)
	}
	if len(d.open()) > 0 {
		if len(d.open())+end > d.record {
			return d.dead(ctx, p, src)
		}
		if err := d.extend(ctx, p[:end], p[end:], src); err != nil {
			return err
		}
		if err := d.closeLine(ctx); err != nil {
			return err
		}
		p = p[end+1:]
	}
	last := bytes.LastIndexByte(p, '\n') + 1
	rest, err := d.lines(ctx, p[:last])
	if err != nil {
		return err
	}
	if len(rest) > 0 { // begins with a line that is too long
		return d.dead(ctx, p[last-len(rest):], src)
	}
	return d.extend(ctx, p[last:], nil, src)
}

// extend adds p, which holds no line feed, to the open line. behind follows p in its chunk.
func (d *decoder) extend(ctx context.Context, p, behind []byte, src chunks) error {
	if len(p) == 0 {
		return nil
	}
	if len(d.open())+len(p) > d.record && behind == nil {
		return d.dead(ctx, p, src)
	}
	if d.count() > 0 && d.size(len(p)) > d.max {
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
	d.reserve(len(p))
	d.values = append(d.values, p...)
	return nil
}

// closeLine makes the open line a row.
func (d *decoder) closeLine(ctx context.Context) error {
	line := d.open()
	if utf8.Valid(line) {
		if d.count() > 0 && d.size(4) > d.max {
			if err := d.flush(ctx); err != nil {
				return err
			}
		}
		return d.endRow(ctx)
	}
	// The line moves out of the buffer of bodies, where its replacement comes.
	copied := bytes.Clone(line)
	d.values = d.values[:len(d.values)-len(line)]
	return d.invalid(ctx, copied)
}

// lines takes whole lines, each with its line feed. It returns early with the rest when that begins with a line that is too
// long for a batch.
func (d *decoder) lines(ctx context.Context, p []byte) (rest []byte, err error) {
	valid := utf8.Valid(p)
	for len(p) > 0 {
		if valid {
			p = p[d.copyLines(p):]
			if len(p) == 0 {
				break
			}
		}
		// One line at a time: the batch is full, must grow, or the line needs a look.
		n := bytes.IndexByte(p, '\n')
		line := p[:n]
		switch {
		case n > d.record:
			return p, nil
		case !valid && !utf8.Valid(line):
			err = d.invalid(ctx, line)
		default:
			err = d.add(ctx, line)
		}
		if err != nil {
			return nil, err
		}
		p = p[n+1:]
	}
	return nil, nil
}

// copyLines adds lines as long as they fit what is allocated and wanted, and returns how many bytes it took.
func (d *decoder) copyLines(p []byte) int {
	if len(d.offsets) == 0 {
		return 0
	}
	values, offsets := d.values, d.offsets
	row, fixed := d.rowBytes(), 0 // what a row and the batch weigh beside the bodies
	if d.raw.used() {
		row, fixed = row+5, len(d.raw.values)
	}
	n := 0
	for len(offsets) < min(cap(offsets), frameRows) && len(values)+row*len(offsets)+fixed < d.target {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 || i > d.record || i > cap(values)-len(values) || len(values)+i+row*len(offsets)+fixed > d.max-2*row {
			break
		}
		values = append(values, p[n:n+i]...)
		offsets = append(offsets, int32(len(values)))
		n += i + 1
	}
	if added := len(offsets) - len(d.offsets); added > 0 {
		if d.count() == 0 {
			d.began = d.now()
		}
		d.rows += uint64(added)
		d.bytes += uint64(len(values) - len(d.values))
		d.values, d.offsets = values, offsets
	}
	return n
}

// add adds one valid line.
func (d *decoder) add(ctx context.Context, line []byte) error {
	if d.count() > 0 && d.size(len(line)+4) > d.max {
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
	d.reserve(len(line))
	d.values = append(d.values, line...)
	return d.endRow(ctx)
}

// invalid adds one line that isn't UTF-8: its bytes to body_raw, a readable form to body.
func (d *decoder) invalid(ctx context.Context, line []byte) error {
	length := len(line)
	for rest := line; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			length += len(replacement) - 1
		}
		rest = rest[n:]
	}
	if length+len(line) > rawFactor*d.record {
		return d.emitDead(ctx, "not UTF-8, and too long with replacement characters", bytes.NewReader(line), uint64(len(line)))
	}
	if d.count() > 0 && d.size(length+len(line)+8)+d.raw.begin(d.count()) > d.max {
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
	d.reserve(length)
	for rest := line; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			d.values = append(d.values, replacement...)
		} else {
			d.values = append(d.values, rest[:n]...)
		}
		rest = rest[n:]
	}
	d.raw.add(d.count(), line)
	d.bytes -= uint64(length - len(line)) // endRow counts the body: the record is its raw bytes
	return d.endRow(ctx)
}

// endRow makes what lies behind the last row a row, and flushes a batch that is heavy enough.
func (d *decoder) endRow(ctx context.Context) error {
	d.reserve(0)
	if d.count() == 0 {
		d.began = d.now()
	}
	d.rows++
	d.bytes += uint64(len(d.open()))
	d.offsets = append(d.offsets, int32(len(d.values)))
	if d.count() >= frameRows || d.size(0) >= d.target {
		return d.flush(ctx)
	}
	return nil
}

// reserve makes room for n more bytes and one more row.
func (d *decoder) reserve(n int) {
	if d.valueBuf == nil {
		d.valueBuf, d.offsetBuf = memory.NewResizableBuffer(d.mem), memory.NewResizableBuffer(d.mem)
		d.valueBuf.Reserve(max(d.target, n))
		d.offsetBuf.Reserve(4 * firstRows)
		d.use(0, 0)
		d.offsets = append(d.offsets, 0)
	}
	if used := len(d.values); cap(d.values)-used < n {
		d.valueBuf.Reserve(max(min(2*cap(d.values), used+d.record), used+n))
	}
	if used := len(d.offsets); cap(d.offsets) == used {
		d.offsetBuf.Reserve(4 * 2 * used)
	}
	d.use(len(d.values), len(d.offsets))
}

// use points values and offsets at their buffers. What an allocator gave beyond the buffer's own length isn't used: the
// buffer doesn't know about it.
func (d *decoder) use(values, offsets int) {
	b := d.valueBuf.Buf()
	d.values = b[:values:len(b)]
	o := arrow.Int32Traits.CastFromBytes(d.offsetBuf.Buf())
	d.offsets = o[:offsets:len(o)]
}

// flush emits the rows so far. The open line goes on in a new batch.
func (d *decoder) flush(ctx context.Context) error {
	rows := d.count()
	if rows == 0 {
		return nil
	}
	values, offsets, open := d.valueBuf, d.offsetBuf, d.open()
	end := len(d.values) - len(open)
	d.valueBuf, d.offsetBuf, d.values, d.offsets = nil, nil, nil, nil
	defer values.Release()
	defer offsets.Release()
	if len(open) > 0 {
		d.reserve(len(open))
		d.values = append(d.values, open...)
	}
	values.ResizeNoShrink(end)
	offsets.ResizeNoShrink(4 * (rows + 1))
	body := array.NewData(arrow.BinaryTypes.String, rows, []*memory.Buffer{nil, offsets, values}, nil, 0, 0)
	defer body.Release()
	raw := d.raw.take(d, rows)
	defer raw.Release()
	var times *array.Data
	if d.times != nil {
		times = d.timesOf(rows, offsets, values)
		defer times.Release()
	}
	columns := make([]arrow.Array, d.schema.NumFields())
	for i, f := range d.schema.Fields() {
		data := body
		switch f.Type.ID() {
		case arrow.BINARY:
			data = raw
		case arrow.TIMESTAMP:
			data = times
		}
		columns[i] = array.MakeFromData(data)
		defer columns[i].Release()
	}
	record := array.NewRecord(d.schema, columns, int64(rows))
	defer record.Release()
	return d.out.Batch(ctx, record)
}

// timesOf returns the times that the rows tell.
func (d *decoder) timesOf(rows int, offsets, values *memory.Buffer) *array.Data {
	ends, text := arrow.Int32Traits.CastFromBytes(offsets.Bytes()), values.Bytes()
	times, without := d.times.Column(d.mem, rows, func(i int) []byte { return text[ends[i]:ends[i+1]] }, d.received)
	if c, ok := d.out.(plugins.Counter); ok && without > 0 {
		c.Count(logtime.Without, without)
	}
	return times
}

// release gives up what wasn't emitted.
func (d *decoder) release() {
	if d.valueBuf != nil {
		d.valueBuf.Release()
		d.offsetBuf.Release()
	}
	d.valueBuf, d.offsetBuf, d.values, d.offsets = nil, nil, nil, nil
}

// dead sends the open line, which goes on with p and the chunks behind it, to the dead letters, and keeps what of the last
// chunk lies behind it.
func (d *decoder) dead(ctx context.Context, p []byte, src chunks) error {
	if err := d.flush(ctx); err != nil {
		return err
	}
	line := &longLine{ctx: ctx, src: src, parts: [][]byte{d.open(), p}}
	reason := fmt.Sprintf("longer than %d bytes", d.record)
	err := d.emitDead(ctx, reason, line, 0)
	d.bytes += line.length
	if line.err != nil && line.err != io.EOF {
		return line.err
	}
	if err != nil {
		return err
	}
	if line.err == nil {
		return fault.Errorf(fault.Bug, "send a dead letter", "the emitter left bytes of the record unread")
	}
	if line.unended {
		d.noFinalNewline()
	}
	d.release()
	d.rest = line.rest
	return nil
}

func (d *decoder) emitDead(ctx context.Context, reason string, r io.Reader, length uint64) error {
	if err := d.flush(ctx); err != nil {
		return err
	}
	d.rows++
	d.bytes += length
	return d.out.Dead(ctx, reason, r)
}

// longLine reads a line that is too long to be held, up to its line feed.
type longLine struct {
	ctx     context.Context //nolint:containedctx // of the one Dead call that reads it
	src     chunks
	parts   [][]byte // chunks to read, the line's first
	part    []byte   // of the line, from the current chunk
	last    bool     // the line feed lies behind part
	length  uint64
	rest    []byte // behind the line feed
	unended bool   // the text ended first
	err     error  // final: io.EOF, or why the text was cut
}

func (l *longLine) Read(p []byte) (int, error) {
	for len(l.part) == 0 && l.err == nil {
		l.advance()
	}
	if len(l.part) == 0 {
		return 0, l.err
	}
	n := copy(p, l.part)
	l.part = l.part[n:]
	l.length += uint64(n)
	return n, nil
}

// advance goes to the next part of the line.
func (l *longLine) advance() {
	if l.last {
		l.err = io.EOF
		return
	}
	if len(l.parts) == 0 {
		chunk, err := l.src.next(l.ctx)
		if err != nil {
			l.unended, l.err = err == io.EOF, err
			return
		}
		l.parts = append(l.parts, chunk)
	}
	l.part, l.parts = l.parts[0], l.parts[1:]
	if end := bytes.IndexByte(l.part, '\n'); end >= 0 {
		l.part, l.rest, l.last = l.part[:end], l.part[end+1:], true
	}
}
