// Package splunkhec is the sink that sends records to Splunk's HTTP Event Collector. It is at least once: with acknowledgement a slice is
// committed when Splunk has said of every request that it is indexed. A slice that fails half way is sent again from its beginning, and
// every event carries the same record_id each time.
package splunkhec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/attempt"
	"github.com/sluice-io/sluice/sinks/columns"
	"github.com/sluice-io/sluice/sinks/sending"
)

// Definition is the splunk_hec sink's.
var Definition = sinks.Definition{
	Type:    sinkName,
	Promise: "at least once, with acknowledgement",
	Config:  []byte(schema),
	Open: func(_ context.Context, c sinks.Config) (sinks.Sink, error) {
		return Open(c)
	},
	Check: func(_ context.Context, c sinks.Config) error {
		_, err := parse(c)
		return err
	},
	Online: online,
	Buffer: func(c sinks.Config) (int64, error) {
		s, err := parse(c)
		return s.buffer(), err
	},
}

// buffer is the most that a transaction holds: a request's events, the part of them that is sent, that again packed, each with room to
// grow, and the IDs' counters.
func (s settings) buffer() int64 { return 5*int64(s.BatchSize) + attempt.Memory }

// Sink sends events.
type Sink struct {
	config   sinks.Config
	settings settings
	client   *client
	closed   atomic.Bool

	mu       sync.Mutex
	channels []string // that no transaction uses and whose requests are all acknowledged
}

var (
	_ sinks.Sink  = (*Sink)(nil)
	_ sinks.Sizer = (*Sink)(nil)
)

// Open returns a sink; it connects when records come.
func Open(c sinks.Config) (*Sink, error) {
	s, err := parse(c)
	if err != nil {
		return nil, err
	}
	k := &Sink{config: c, settings: s}
	if k.client, err = newClient(s, c); err != nil {
		return nil, err
	}
	return k, nil
}

// online sends no data, to which a collector answers just that when it knows the token, and asks for an acknowledgement.
func online(ctx context.Context, c sinks.Config) (string, error) {
	k, err := Open(c)
	if err != nil {
		return "", err
	}
	defer k.Close()
	channel := ""
	if k.settings.Ack {
		channel = newChannel()
	}
	if r, err := k.client.post(ctx, "/services/collector/event", channel, nil, false); err != nil && !r.is(codeNoData) {
		return "", err
	}
	if !k.settings.Ack {
		return k.settings.base + " takes the token; its index wasn't tried", nil
	}
	if _, err := k.client.acks(ctx, channel, []int64{0}); err != nil {
		return "", err
	}
	return k.settings.base + " takes the token and acknowledges; its index wasn't tried", nil
}

// Identity implements sinks.Sink: the collector's address.
func (k *Sink) Identity() string { return attempt.Identity(sinkName, k.settings.base) }

// Buffer implements sinks.Sizer.
func (k *Sink) Buffer() int64 { return k.settings.buffer() }

// Close implements sinks.Sink. A request that is under way ends by its timeout at the latest.
func (k *Sink) Close() error {
	k.closed.Store(true)
	k.client.close()
	return nil
}

// takeChannel returns a channel for one transaction. They are used again: a collector keeps each for some minutes at least, for good if it
// is set so, and takes a million of them by default.
func (k *Sink) takeChannel() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(k.channels)
	if n == 0 {
		return newChannel()
	}
	channel := k.channels[n-1]
	k.channels = k.channels[:n-1]
	return channel
}

// giveChannel takes back a channel whose requests are all acknowledged. Any other is forgotten: its ackIds could be taken for later ones.
func (k *Sink) giveChannel(channel string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.channels = append(k.channels, channel)
}

// Begin implements sinks.Sink. A transaction has its channel for itself.
func (k *Sink) Begin(_ context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	try, err := attempt.New(k.config, s, &k.closed)
	if err != nil {
		return nil, err
	}
	reader, err := columns.New(schema)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	enc, err := newEncoder(&k.settings, k.config, s)
	if err != nil {
		return nil, err
	}
	t := &txn{sink: k, try: try, reader: reader, encoder: enc, open: map[int64]struct{}{}}
	if k.settings.Ack {
		t.channel = k.takeChannel()
	}
	return t, nil
}

type txn struct {
	sink    *Sink
	try     *attempt.Attempt
	reader  *columns.Reader
	encoder *encoder
	channel string             // empty without acknowledgement
	open    map[int64]struct{} // requests that aren't acknowledged
	events  []byte             // gathered
	ends    []int              // where each event ends
	rows    []int              // where each stands in the batch
	event   []byte
	refused []sinks.Rejected // of the batch
}

// Append implements sinks.Txn: the collector has answered for all of the batch when it returns.
func (t *txn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	return t.try.Append(ctx, b, func(ids []string) ([]sinks.Rejected, error) { return t.append(ctx, b, ids) })
}

func (t *txn) append(ctx context.Context, b flow.Batch, ids []string) ([]sinks.Rejected, error) {
	rows, err := t.reader.Bind(b.Records)
	if err != nil {
		return nil, err
	}
	t.refused = nil
	batchSize := int(t.sink.settings.BatchSize)
	for row, id := range ids {
		if t.event, err = t.encoder.append(t.event[:0], rows, row, id); err != nil {
			return nil, err
		}
		if len(t.events)+len(t.event) > batchSize {
			if err := t.flush(ctx); err != nil {
				return nil, err
			}
		}
		t.events = append(t.events, t.event...)
		t.ends, t.rows = append(t.ends, len(t.events)), append(t.rows, row)
		if cap(t.event) > batchSize {
			t.event = nil // one large record must not be remembered by its buffer
		}
	}
	return t.refused, t.flush(ctx)
}

// allAtOnce is how many events a collector must refuse with all of their request for that to be no fault of theirs.
const allAtOnce = 8

// pollAt is how many open requests are asked for before a slice ends, so that a channel isn't idle for long.
const pollAt = 64

func (t *txn) flush(ctx context.Context) error {
	n := len(t.rows)
	if n == 0 {
		return nil
	}
	before := len(t.refused)
	err := t.send(ctx, 0, n)
	t.events, t.ends, t.rows = t.events[:0], t.ends[:0], t.rows[:0]
	if cap(t.events) > 2*int(t.sink.settings.BatchSize) {
		t.events = nil
	}
	switch {
	case err != nil:
		return err
	case n >= allAtOnce && len(t.refused)-before == n:
		return fault.New(fault.Config, "send to the collector "+t.sink.settings.base, "does it take events of this kind?",
			fmt.Errorf("it refuses every event: %s", t.refused[before].Reason))
	case len(t.open) >= pollAt:
		return t.poll(ctx)
	}
	return nil
}

// send sends the events [from, to). One that is named as refused is left out, and those before and after it are sent again: whether the
// collector kept those before it isn't documented. Where none is named, halves are sent until each refused one is alone.
func (t *txn) send(ctx context.Context, from, to int) error {
	if from == to {
		return nil
	}
	begin := 0
	if from > 0 {
		begin = t.ends[from-1]
	}
	r, err := t.sink.client.send(ctx, t.channel, t.events[begin:t.ends[to-1]])
	switch {
	case err == nil:
		return t.note(r)
	case !errors.Is(err, errRefused) && !errors.Is(err, errTooLarge):
		return err
	case to-from == 1 && errors.Is(err, errTooLarge) && t.ends[from]-begin <= sending.Small:
		return err // no event is that small and too large
	case to-from == 1:
		t.refused = append(t.refused, sinks.Rejected{Row: t.rows[from], Reason: err.Error()})
		return nil
	}
	if r.Event != nil && *r.Event >= 0 && *r.Event < to-from && errors.Is(err, errRefused) {
		at := from + *r.Event
		t.refused = append(t.refused, sinks.Rejected{Row: t.rows[at], Reason: err.Error()})
		if err := t.send(ctx, from, at); err != nil {
			return err
		}
		return t.send(ctx, at+1, to)
	}
	mid := from + (to-from)/2
	if err := t.send(ctx, from, mid); err != nil {
		return err
	}
	return t.send(ctx, mid, to)
}

// note remembers which acknowledgement a request waits for.
func (t *txn) note(r reply) error {
	if t.channel == "" {
		return nil
	}
	if r.AckID == nil {
		return fault.Errorf(fault.Config, "send to the collector "+t.sink.settings.base, "it gives no ackId").
			WithHint("turn indexer acknowledgement on for the token, or set `ack: false`, which promises less")
	}
	if _, again := t.open[*r.AckID]; again {
		return fault.Errorf(fault.Transient, "send to the collector "+t.sink.settings.base, "it gives ackId %d twice: it was restarted, or several stand behind the address", *r.AckID)
	}
	t.open[*r.AckID] = struct{}{}
	return nil
}

// poll asks once for what is open. A collector that is too busy to answer is asked again by and by.
func (t *txn) poll(ctx context.Context) error {
	ids := make([]int64, 0, len(t.open))
	for id := range t.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	acks, err := t.sink.client.acks(ctx, t.channel, ids)
	if err != nil && fault.KindOf(err) != fault.Throttled {
		return err
	}
	for text, indexed := range acks {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil && indexed {
			delete(t.open, id)
		}
	}
	return nil
}

// settle asks until everything is acknowledged.
func (t *txn) settle(ctx context.Context) error {
	limit := time.Duration(t.sink.settings.AckTimeout)
	deadline := time.Now().Add(limit)
	for pause := 20 * time.Millisecond; len(t.open) > 0; pause = min(2*pause, time.Second) {
		if err := t.poll(ctx); err != nil {
			return err
		}
		if len(t.open) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fault.Errorf(fault.Transient, "wait for the collector "+t.sink.settings.base, "%d requests are not acknowledged after %s", len(t.open), limit).
				WithHint("a restart of Splunk forgets them; behind a load balancer sessions must be sticky; a slow index needs a longer ack_timeout")
		}
		if err := sending.Sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements sinks.Txn. It waits until Splunk has indexed everything.
func (t *txn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	return t.try.Commit(ctx, a, func() error {
		if t.channel == "" {
			return nil
		}
		if err := t.settle(ctx); err != nil {
			return err
		}
		t.sink.giveChannel(t.channel)
		return nil
	})
}

// Abort implements sinks.Txn. What was sent stays sent.
func (t *txn) Abort() error {
	t.try.End()
	return nil
}
