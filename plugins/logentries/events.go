package logentries

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"golang.org/x/sync/semaphore"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	frameTarget = 1 << 20 // bytes of a batch, when the host names none
	recordMax   = 16 << 20
	recordLimit = 512 << 20   // no RecordMax goes beyond: offsets have 31 bits, and a body may grow threefold
	flushAfter  = time.Second // an event waits no longer for its batch to fill
	rawFactor   = 3           // a body with its raw bytes may weigh so many records: beyond, it is unfit for a batch
	replacement = "\uFFFD"    // stands in body for each byte that isn't UTF-8
)

// Names of the counters that the summary shows.
const (
	countOutside = "events_of_the_next_slice"
	countRetried = "pages_asked_again"
	countBeyond  = "pages_beyond_retention"
)

// readEvents reads one slice: a pager asks, this goroutine emits.
func (s *source) readEvents(ctx context.Context, slice flow.Slice, out plugins.Emitter) error {
	op := "read " + slice.String()
	if !uuid.MatchString(slice.Key) {
		return bug(op, "the partition %q is no log ID", slice.Key)
	}
	opener, ok := out.(plugins.Opener)
	if !ok {
		return bug(op, "the emitter %T can't be told which columns are constant", out)
	}
	observed := s.client.now()
	name, err := s.directory.logName(ctx, slice.Key)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	news, pages := newNews(), make(chan *batch, 1)
	p := &pager{
		client: s.client, directory: s.directory, slice: slice, pace: s.pace, perPage: s.perPage, sizes: s.sizes,
		room: semaphore.NewWeighted(s.sizes.single), news: news, rowCap: s.rowCap(),
	}
	var failed error // set before pages is closed
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(pages)
		failed = p.run(inner, pages)
	}()
	defer func() { <-done }()
	defer cancel()

	w := newEventWriter(s.frame, s.mem, s.limits, out)
	w.times, w.received = s.times, slice.Range()
	defer w.release()
	for opened := false; ; {
		b, ok, err := w.next(ctx, pages, news)
		if err != nil {
			return err
		}
		if !ok {
			if err := w.flush(ctx); err != nil {
				return err
			}
			return failed
		}
		if !opened {
			opened = true
			opening := plugins.Opening{Constants: constants(s.mem, s.schema, slice, observed, name), VendorTime: b.date}
			err := opener.Open(ctx, opening)
			opening.Constants.Release()
			if err != nil {
				return err
			}
		}
		if err := w.page(ctx, b); err != nil {
			return err
		}
		p.release(b)
	}
}

// eventWriter makes batches of events.
type eventWriter struct {
	out     plugins.Emitter
	builder *array.RecordBuilder
	target  int
	record  int

	times    *logtime.Parser // nil: the vendor's times stand
	received flow.Range      // of the slice
	without  uint64          // events of the batch so far whose message tells no time

	timestamps *array.TimestampBuilder
	bodies     *array.StringBuilder
	raws       *array.BinaryBuilder
	sequences  *array.Uint64Builder
	labels     *array.ListBuilder
	attributes *array.MapBuilder

	rows, bytes int // of the batch so far
	readable    []byte
	names       map[string]struct{} // of the attributes of one event
}

func newEventWriter(frame *arrow.Schema, mem memory.Allocator, limits plugins.Limits, out plugins.Emitter) *eventWriter {
	pick := func(n int64, fallback int) int {
		if n <= 0 {
			return fallback
		}
		return int(min(n, recordLimit))
	}
	w := &eventWriter{
		out: out, builder: array.NewRecordBuilder(mem, frame),
		target: pick(limits.FrameTarget, frameTarget), record: pick(limits.RecordMax, recordMax), names: map[string]struct{}{},
	}
	for i, f := range frame.Fields() {
		switch b := w.builder.Field(i).(type) {
		case *array.TimestampBuilder:
			w.timestamps = b
		case *array.StringBuilder:
			w.bodies = b
		case *array.BinaryBuilder:
			w.raws = b
		case *array.Uint64Builder:
			w.sequences = b
		case *array.MapBuilder:
			w.attributes = b
		case *array.ListBuilder:
			w.labels = b
		default:
			panic("column " + f.Name + " isn't written") // the schema is ours
		}
	}
	return w
}

func (w *eventWriter) release() { w.builder.Release() }

// next waits for a page and meanwhile passes on what the pager waits for. What is there to be sent doesn't wait long.
func (w *eventWriter) next(ctx context.Context, pages <-chan *batch, n *news) (b *batch, ok bool, err error) {
	var late <-chan time.Time
	if w.rows > 0 {
		timer := time.NewTimer(flushAfter)
		defer timer.Stop()
		late = timer.C
	}
	for {
		select {
		case b, ok = <-pages:
			return b, ok, nil
		case <-n.ready:
			err = w.out.Waiting(n.get())
		case <-late:
			err = w.flush(ctx)
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return nil, false, err
		}
	}
}

// page adds a page's events to the batch.
func (w *eventWriter) page(ctx context.Context, b *batch) error {
	w.count(countOutside, b.outside)
	w.count(countRetried, b.retried)
	if b.beyond != "" {
		w.count(countBeyond, 1)
	}
	for i := range b.events {
		if err := w.add(ctx, &b.events[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *eventWriter) count(name string, n uint64) {
	if c, ok := w.out.(plugins.Counter); ok && n > 0 {
		c.Count(name, n)
	}
}

func (w *eventWriter) add(ctx context.Context, e *event) error {
	size := len(e.message)
	if size > w.record {
		return w.dead(ctx, fmt.Sprintf("longer than %d bytes", w.record), e.message)
	}
	if e.weight()+size > rawFactor*w.record {
		return w.dead(ctx, "its attributes are too large for a batch", e.message)
	}
	body, valid := e.message, utf8.Valid(e.message)
	if !valid {
		w.readable = appendReadable(w.readable[:0], e.message)
		if body = w.readable; len(body)+size > rawFactor*w.record {
			return w.dead(ctx, "not UTF-8, and too long with replacement characters", e.message)
		}
		size += len(body)
	}
	if w.rows > 0 && w.bytes+size > w.target {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.timestamps.Append(w.timeOf(e))
	w.bodies.BinaryBuilder.Append(body)
	if valid {
		w.raws.AppendNull()
	} else {
		w.raws.Append(e.message)
	}
	if e.ordered {
		w.sequences.Append(e.sequence)
	} else {
		w.sequences.AppendNull()
	}
	size += w.addLabels(e)
	size += w.addAttributes(e)
	w.rows++
	w.bytes += size + rowSize
	if w.bytes >= w.target {
		return w.flush(ctx)
	}
	return nil
}

// timeOf returns the time that the message tells, and keeps the vendor's as an attribute; else the vendor's. Nothing but the column
// follows it: slices, pages and what was seen before go by the vendor's.
func (w *eventWriter) timeOf(e *event) arrow.Timestamp {
	vendor := e.at * int64(time.Millisecond)
	if w.times == nil {
		return arrow.Timestamp(vendor)
	}
	ns, ok := w.times.Time(e.message, w.received)
	if !ok {
		w.without++
		return arrow.Timestamp(vendor)
	}
	e.more = append(e.more, field{logtime.VendorTimestamp, string(logtime.AppendVendor(nil, vendor))})
	return arrow.Timestamp(ns)
}

// rowSize is about what a row weighs beside its texts.
const rowSize = 40

func (w *eventWriter) addLabels(e *event) (size int) {
	if len(e.labels) == 0 {
		w.labels.AppendNull()
		return 0
	}
	w.labels.Append(true)
	values := w.labels.ValueBuilder().(*array.StringBuilder)
	for _, l := range e.labels {
		values.Append(strings.ToValidUTF8(l, replacement))
		size += len(l) + 4
	}
	return size
}

// addAttributes adds the labels in one text, for sinks that have no lists, and what the vendor's documents don't name.
func (w *eventWriter) addAttributes(e *event) (size int) {
	if len(e.labels) > 0 {
		e.more = append(e.more, field{colLabels, strings.Join(e.labels, ", ")})
	}
	if len(e.more) == 0 {
		w.attributes.AppendNull()
		return 0
	}
	w.attributes.Append(true)
	keys := w.attributes.KeyBuilder().(*array.StringBuilder)
	items := w.attributes.ItemBuilder().(*array.StringBuilder)
	clear(w.names)
	for _, f := range e.more {
		keys.Append(w.unique(strings.ToValidUTF8(f.key, replacement)))
		items.Append(strings.ToValidUTF8(f.value, replacement))
		size += len(f.key) + len(f.value) + 8
	}
	return size
}

// weight is how many bytes the event has beside its message.
func (e *event) weight() (size int) {
	for _, f := range e.more {
		size += len(f.key) + len(f.value)
	}
	for _, l := range e.labels {
		size += 2 * len(l) // in a list and in a text
	}
	return size
}

// unique returns an attribute's name, or NAME#2 and so on if the event has it already: keys of a map are unique.
func (w *eventWriter) unique(key string) string {
	name := key
	for n := 2; ; n++ {
		if _, taken := w.names[name]; !taken {
			break
		}
		name = fmt.Sprintf("%s#%d", key, n)
	}
	w.names[name] = struct{}{}
	return name
}

// appendReadable writes one replacement character for each byte that isn't UTF-8.
func appendReadable(dst, p []byte) []byte {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, replacement...)
		} else {
			dst = append(dst, p[:n]...)
		}
		p = p[n:]
	}
	return dst
}

func (w *eventWriter) flush(ctx context.Context) error {
	if w.rows == 0 {
		return nil
	}
	w.count(logtime.Without, w.without)
	w.rows, w.bytes, w.without = 0, 0, 0
	r := w.builder.NewRecord()
	defer r.Release()
	return w.out.Batch(ctx, r)
}

func (w *eventWriter) dead(ctx context.Context, reason string, message []byte) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	return w.out.Dead(ctx, reason, bytes.NewReader(message))
}
