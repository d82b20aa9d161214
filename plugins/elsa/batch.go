package elsa

import (
	"context"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	frameTarget = 1 << 20 // bytes of a batch, when the host names none
	frameRows   = 1 << 16 // rows of a batch at most
	rowWeight   = 96      // bytes that a row's fixed columns, offsets and validity take
)

// batcher makes rows into batches and emits them.
type batcher struct {
	out    plugins.Emitter
	target int
	rows   *array.RecordBuilder
	row    row
	weight int
	count  int

	times    *logtime.Parser // nil: the vendor's times stand
	received flow.Range      // of the slice
	without  uint64          // rows of the batch so far whose body tells no time
	vendor   []byte          // the vendor's time of a row whose body tells another

	timestamp, sendTime *array.TimestampBuilder
	severity            *array.Int32Builder
	body                *array.StringBuilder
	raw                 *array.BinaryBuilder
	texts               [textColumns]*array.StringBuilder
	logName             *array.StringBuilder
	attributes          *array.MapBuilder
	keys, values        *array.StringBuilder
	scratch             []byte
}

func newBatcher(mem memory.Allocator, frame *arrow.Schema, limits plugins.Limits, out plugins.Emitter) *batcher {
	b := &batcher{out: out, target: frameTarget, rows: array.NewRecordBuilder(mem, frame)}
	if limits.FrameTarget > 0 {
		b.target = int(min(limits.FrameTarget, 64<<20))
	}
	if limits.FrameMax > 0 {
		b.target = int(min(int64(b.target), limits.FrameMax))
	}
	text := map[string]**array.StringBuilder{
		flow.ColBody: &b.body, flow.ColSeverityText: &b.texts[textSeverity], flow.ColLogName: &b.logName,
		colProjectName: &b.texts[textProjectName], colProjectVersion: &b.texts[textProjectVersion], colHost: &b.texts[textHost],
		colLogSource: &b.texts[textLogSource], colLogType: &b.texts[textLogType],
	}
	for i, f := range frame.Fields() {
		switch column := b.rows.Field(i).(type) {
		case *array.StringBuilder:
			*text[f.Name] = column
		case *array.TimestampBuilder:
			if f.Name == colSendTime {
				b.sendTime = column
			} else {
				b.timestamp = column
			}
		case *array.Int32Builder:
			b.severity = column
		case *array.BinaryBuilder:
			b.raw = column
		case *array.MapBuilder:
			b.attributes = column
			b.keys, b.values = column.KeyBuilder().(*array.StringBuilder), column.ItemBuilder().(*array.StringBuilder)
		}
	}
	return b
}

// add takes one packed row.
func (b *batcher) add(ctx context.Context, packed []byte) error {
	r := &b.row
	if err := r.unpack(packed); err != nil {
		return err
	}
	// A large row travels alone, not at the end of others.
	if b.count > 0 && b.weight+len(packed)+rowWeight > 2*b.target {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	appendTime(b.timestamp, b.timeOf(r))
	appendTime(b.sendTime, moment{r.send, r.sent})
	if n := severityNumber(r.texts[textSeverity]); n > 0 {
		b.severity.Append(n)
	} else {
		b.severity.AppendNull()
	}
	if utf8.Valid(r.body) {
		b.body.BinaryBuilder.Append(r.body)
		b.raw.AppendNull()
	} else {
		b.scratch = appendValid(b.scratch[:0], r.body)
		b.body.BinaryBuilder.Append(b.scratch)
		b.raw.Append(r.body)
		b.weight += len(b.scratch)
	}
	for i, t := range r.texts {
		appendText(b.texts[i], t)
	}
	appendText(b.logName, r.texts[textProjectName])
	if len(r.attributes) == 0 {
		b.attributes.AppendNull()
	} else {
		b.attributes.Append(true)
		for _, a := range r.attributes {
			b.keys.BinaryBuilder.Append(a.name)
			appendText(b.values, a.value)
		}
	}
	b.count++
	b.weight += len(packed) + rowWeight + len(r.texts[textProjectName]) + 8*len(r.attributes)
	if b.count >= frameRows || b.weight >= b.target {
		return b.flush(ctx)
	}
	return nil
}

// moment is a time in nanoseconds since 1970, if it is known.
type moment struct {
	ns    int64
	known bool
}

// timeOf returns the time that the body tells, and keeps the vendor's as an attribute; else the vendor's. Nothing but the column
// follows it: rows are sorted and slices cut by the vendor's.
func (b *batcher) timeOf(r *row) moment {
	if b.times == nil {
		return moment{r.time, r.timed}
	}
	ns, ok := b.times.Time(r.body, b.received)
	if !ok {
		b.without++
		return moment{r.time, r.timed}
	}
	if r.timed {
		b.vendor = logtime.AppendVendor(b.vendor[:0], r.time)
		r.attribute(vendorTimestamp, value{formText, b.vendor}, false)
		b.weight += len(vendorTimestamp) + len(b.vendor)
	}
	return moment{ns, true}
}

var vendorTimestamp = []byte(logtime.VendorTimestamp)

func appendTime(b *array.TimestampBuilder, at moment) {
	if at.known {
		b.Append(arrow.Timestamp(at.ns))
	} else {
		b.AppendNull()
	}
}

func appendText(b *array.StringBuilder, text []byte) {
	if text == nil {
		b.AppendNull()
	} else {
		b.BinaryBuilder.Append(text)
	}
}

// flush emits the rows so far.
func (b *batcher) flush(ctx context.Context) error {
	if b.count == 0 {
		return nil
	}
	record := b.rows.NewRecord()
	defer record.Release()
	if c, ok := b.out.(plugins.Counter); ok && b.without > 0 {
		c.Count(logtime.Without, b.without)
	}
	b.count, b.weight, b.without = 0, 0, 0
	return b.out.Batch(ctx, record)
}

// release gives up what wasn't emitted.
func (b *batcher) release() { b.rows.Release() }
