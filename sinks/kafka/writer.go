package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/target"
)

const (
	// chunkBytes and chunkRows end a chunk: what is encoded before it is handed to the client.
	chunkBytes = 128 << 10
	chunkRows  = 1024
	// recordCost is what a message takes in memory beside its bytes: the client's structs and the sink's.
	recordCost = 384
	// future is how far ahead of this machine's clock a message's time may be: brokers refuse more than an hour.
	future = 30 * time.Minute
)

// writer turns the batches of a slice into messages and hands them to a client. Its memory is bounded by buffer_size.
type writer struct {
	core   *core
	slice  flow.Slice
	values values
	client *kgo.Client
	fit    func(ctx context.Context, limit int64) (*kgo.Client, error) // returns a client whose batches are at most as large as a message may be

	topic    string
	limit    int64 // of one message
	headers  []kgo.RecordHeader
	rows     uint64
	messages atomic.Uint64
	memory   *semaphore.Weighted // bytes of messages that are on their way; all of it is free when none is
	free     sync.Pool
	acked    atomic.Uint64
	placesMu sync.Mutex
	places   map[int32]span // where the messages are, by partition
	failure  atomic.Pointer[error]
}

// chunk is messages whose bytes lie in one buffer, given back when the last is acknowledged.
type chunk struct {
	writer  *writer
	bytes   []byte
	cuts    []cut
	records []kgo.Record
	headers []kgo.RecordHeader
	cost    int64
	left    atomic.Int64
}

// cut is where a message lies in its chunk's buffer.
type cut struct {
	key, value, end int // the key is bytes[key:value], the value bytes[value:end]
	keyed           bool
	at              time.Time
	rows            int
	digest          string
}

func newWriter(k *core, s flow.Slice, v values) *writer {
	w := &writer{core: k, slice: s, values: v, places: map[int32]span{}, memory: semaphore.NewWeighted(int64(k.set.BufferSize))}
	for _, h := range k.set.Headers {
		var value string
		switch h {
		case headerSlice:
			value = s.ID.String()
		case headerSource:
			value = k.conf.Source
		case headerStream:
			value = s.Stream
		case headerPart:
			value = s.Key
		default:
			continue
		}
		w.headers = append(w.headers, kgo.RecordHeader{Key: "sluice." + h, Value: []byte(value)})
	}
	if f := v.fingerprint(); f != "" {
		w.headers = append(w.headers, kgo.RecordHeader{Key: "sluice.schema", Value: []byte(f)})
	}
	return w
}

// failed returns why a message wasn't taken.
func (w *writer) failed() error {
	if p := w.failure.Load(); p != nil {
		return fmt.Errorf("slice %s: %w", w.slice, *p)
	}
	return nil
}

func (w *writer) fail(err error) {
	err = explain("write to topic "+w.topic, err)
	w.failure.CompareAndSwap(nil, &err)
}

// append hands a batch to the client. Rows that no message of the topic can hold are rejected.
func (w *writer) append(ctx context.Context, rec arrow.Record) (rejected []sinks.Rejected, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Errorf(fault.Bug, "encode a batch", "panic: %v", p)
		}
	}()
	rows := int(rec.NumRows())
	if rows == 0 {
		return nil, w.failed()
	}
	if w.topic == "" {
		if err := w.resolve(ctx, rec); err != nil {
			return nil, err
		}
	}
	if err := w.values.bind(rec); err != nil {
		return nil, err
	}
	for row := 0; row < rows; {
		c := w.chunk()
		for row < rows && !c.full() {
			next, reason, err := w.encode(c, row)
			if err != nil {
				return nil, err
			}
			if reason != "" {
				rejected = append(rejected, sinks.Rejected{Row: row, Reason: reason})
				next = row + 1
			} else {
				w.rows += uint64(next - row)
			}
			row = next
		}
		if err := w.send(ctx, c); err != nil {
			return nil, err
		}
	}
	return rejected, w.failed()
}

// resolve finds the topic of the slice: what a placeholder stands for is the same in all its records.
func (w *writer) resolve(ctx context.Context, rec arrow.Record) error {
	v := target.Of(w.core.conf, w.slice)
	if w.core.topic.Uses("log_name") {
		if at := rec.Schema().FieldIndices(flow.ColLogName); len(at) == 1 {
			if names, ok := rec.Column(at[0]).(*array.String); ok && names.IsValid(0) {
				v.LogName = names.Value(0)
			}
		}
	}
	name, err := topicOf(w.core.topic, v)
	if err != nil {
		return err
	}
	t, err := w.core.findTopic(ctx, name, false)
	if err != nil {
		return err
	}
	limit := w.core.recordLimit(t)
	if w.client, err = w.fit(ctx, limit); err != nil {
		return err
	}
	w.topic, w.limit = name, limit
	return nil
}

func (w *writer) chunk() *chunk {
	if c, ok := w.free.Get().(*chunk); ok {
		return c
	}
	return &chunk{writer: w, bytes: make([]byte, 0, chunkBytes+chunkBytes/4)}
}

// full says that no more should be encoded before the chunk is sent.
func (c *chunk) full() bool { return len(c.bytes) >= chunkBytes || len(c.cuts) >= chunkRows }

// encode appends the message that begins with a row to the chunk; it returns the row after it, or why there can be none.
func (w *writer) encode(c *chunk, row int) (next int, reason string, err error) {
	m := cut{key: len(c.bytes), at: w.values.at(row, w.slice)}
	c.bytes, m.keyed = w.values.key(c.bytes, row, w.slice)
	m.value = len(c.bytes)
	room := w.limit - w.overhead(m)
	if least := int64(w.values.least(row)); least > room {
		// Made into a message it would take several times its size for nothing.
		c.bytes = c.bytes[:m.key]
		return row + 1, w.tooLarge("at least ", w.overhead(m)+least), nil
	}
	c.bytes, next, reason, err = w.values.value(c.bytes, row, int(room))
	m.end, m.rows = len(c.bytes), next-row
	if err == nil && reason == "" && int64(m.end-m.value) > room {
		reason = w.tooLarge("", w.overhead(m)+int64(m.end-m.value))
	}
	if err != nil || reason != "" {
		c.bytes = c.bytes[:m.key]
		return next, reason, err
	}
	if w.values.digests() {
		m.digest = w.values.digest(row)
	}
	c.cuts = append(c.cuts, m)
	return next, "", nil
}

// tooLarge is why a record is rejected.
func (w *writer) tooLarge(about string, size int64) string {
	if w.limit == int64(w.core.set.BufferSize) {
		return fmt.Sprintf("its message of %s%d bytes is larger than buffer_size (%d)", about, size, w.limit)
	}
	return fmt.Sprintf("its message of %s%d bytes is larger than topic %s takes (%d)", about, size, w.topic, w.limit)
}

// overhead is the most that a batch of one message takes beside its value.
func (w *writer) overhead(m cut) int64 {
	const batch, record, header = 61, 5 + 1 + 10 + 5 + 5 + 5 + 5, 10
	n := int64(batch + record + m.value - m.key)
	for _, h := range w.headers {
		n += int64(header + len(h.Key) + len(h.Value))
	}
	return n + 2*(header+48) // digest and rows
}

// send hands a chunk to the client, when there is room for it.
func (w *writer) send(ctx context.Context, c *chunk) error {
	if len(c.cuts) == 0 {
		w.giveBack(c)
		return nil
	}
	c.cost = min(int64(cap(c.bytes))+int64(len(c.cuts))*recordCost, int64(w.core.set.BufferSize))
	if err := w.wait(ctx, c.cost); err != nil {
		return err
	}
	if err := w.failed(); err != nil {
		w.memory.Release(c.cost)
		return err
	}
	c.build()
	c.left.Store(int64(len(c.records)))
	w.messages.Add(uint64(len(c.records)))
	// The records outlive this call: it must not end them when its context does. Both values are made once for all of them.
	ctx, taken := context.WithoutCancel(ctx), c.acknowledged
	for i := range c.records {
		w.client.Produce(ctx, &c.records[i], taken)
	}
	return nil
}

// build makes the client's records of the messages. They lie in one piece of memory that the chunk keeps, point into its bytes, and
// share the slice's headers unless they have some of their own.
func (c *chunk) build() {
	w := c.writer
	c.records = slices.Grow(c.records[:0], len(c.cuts))[:len(c.cuts)]
	c.headers = c.headers[:0]
	many := w.values.many()
	for i := range c.cuts {
		m, r := &c.cuts[i], &c.records[i]
		*r = kgo.Record{Topic: w.topic, Timestamp: m.at, Value: c.bytes[m.value:m.end:m.end], Headers: w.headers}
		if m.keyed {
			r.Key = c.bytes[m.key:m.value:m.value]
		}
		if m.digest == "" && !many {
			continue
		}
		from := len(c.headers)
		c.headers = append(c.headers, w.headers...)
		if m.digest != "" {
			c.headers = append(c.headers, kgo.RecordHeader{Key: "sluice.digest", Value: []byte(m.digest)})
		}
		if many {
			c.headers = append(c.headers, kgo.RecordHeader{Key: "sluice.rows", Value: strconv.AppendInt(nil, int64(m.rows), 10)})
		}
		r.Headers = c.headers[from:len(c.headers):len(c.headers)]
	}
}

// acknowledged is called once for each message.
func (c *chunk) acknowledged(r *kgo.Record, err error) {
	w := c.writer
	if err != nil {
		w.fail(err)
	} else {
		w.place(r.Partition, r.Offset)
	}
	w.acked.Add(1)
	if c.left.Add(-1) == 0 {
		cost := c.cost
		w.giveBack(c)
		w.memory.Release(cost)
	}
}

// place remembers where a message is.
func (w *writer) place(partition int32, offset int64) {
	w.placesMu.Lock()
	defer w.placesMu.Unlock()
	s, known := w.places[partition]
	if !known {
		s = span{Partition: partition, First: offset, Last: offset}
	}
	s.First, s.Last = min(s.First, offset), max(s.Last, offset)
	w.places[partition] = s
}

// spans returns where the messages are, in the order of the partitions.
func (w *writer) spans() []span {
	w.placesMu.Lock()
	defer w.placesMu.Unlock()
	return slices.SortedFunc(maps.Values(w.places), func(a, b span) int { return int(a.Partition - b.Partition) })
}

func (w *writer) giveBack(c *chunk) {
	if cap(c.bytes) > 2*chunkBytes {
		c.bytes = make([]byte, 0, chunkBytes+chunkBytes/4) // one large record must not be remembered by its buffer
	}
	clear(c.records)
	clear(c.headers)
	c.bytes, c.cuts, c.records, c.headers = c.bytes[:0], c.cuts[:0], c.records[:0], c.headers[:0]
	w.free.Put(c)
}

// flush waits until every message is acknowledged.
func (w *writer) flush(ctx context.Context) error {
	whole := int64(w.core.set.BufferSize)
	if err := w.wait(ctx, whole); err != nil {
		return err
	}
	w.memory.Release(whole)
	return w.failed()
}

// stall is how long messages are kept that no broker takes: a broker that restarts is back sooner.
const stall = 2 * time.Minute

// wait takes room in memory, as long as messages are still acknowledged.
func (w *writer) wait(ctx context.Context, bytes int64) error {
	for {
		seen := w.acked.Load()
		within, cancel := context.WithTimeout(ctx, stall)
		err := w.memory.Acquire(within, bytes)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case w.failed() != nil:
			return w.failed()
		case w.acked.Load() == seen:
			return fault.New(fault.Transient, "write to topic "+w.topic, "are the brokers up, and have the topic's partitions a leader?",
				fmt.Errorf("slice %s: no broker has taken a message for %s", w.slice, stall))
		}
	}
}
