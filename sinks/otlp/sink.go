// Package otlp is the sink that exports records as OpenTelemetry logs, by OTLP over gRPC or HTTP. It is at least once: a request counts
// when the receiver has answered it, and a slice that fails half way is exported again from its beginning. Every record carries the same
// log.record.uid each time.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/attempt"
	"github.com/sluice-io/sluice/sinks/columns"
	"github.com/sluice-io/sluice/sinks/sending"
	"github.com/sluice-io/sluice/sinks/target"
)

// Definition is the otlp sink's.
var Definition = sinks.Definition{
	Type:    "otlp",
	Promise: "at least once",
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

// buffer is the most that a transaction holds: a request's records, the request, that again packed, each with room to grow, and the IDs'
// counters.
func (s settings) buffer() int64 { return 7*int64(s.BatchSize) + attempt.Memory }

// Sink exports.
type Sink struct {
	config    sinks.Config
	settings  settings
	resources []resource
	client    client
	busy      *sending.Busy
	closed    atomic.Bool
}

// resource is an attribute of the resource.
type resource struct {
	name  string
	value target.Template
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
	k := &Sink{config: c, settings: s, busy: &sending.Busy{Log: c.Log}}
	for _, name := range slices.Sorted(maps.Keys(s.Resource)) {
		t, err := target.Parse(s.Resource[name])
		if err != nil {
			return nil, err
		}
		k.resources = append(k.resources, resource{name, t})
	}
	if k.client, err = s.open(c.Base, c.Sluice); err != nil {
		return nil, err
	}
	return k, nil
}

// online sends a request without records.
func online(ctx context.Context, c sinks.Config) (string, error) {
	k, err := Open(c)
	if err != nil {
		return "", err
	}
	defer k.Close()
	if _, err := k.client.export(ctx, nil); err != nil {
		return "", err
	}
	where := k.settings.address
	if k.settings.Protocol == "http" {
		where = k.settings.url
	}
	return where + " takes OTLP logs: it has answered a request without records", nil
}

// Identity implements sinks.Sink: the receiver's address.
func (k *Sink) Identity() string { return attempt.Identity("otlp", k.settings.address) }

// Buffer implements sinks.Sizer.
func (k *Sink) Buffer() int64 { return k.settings.buffer() }

// Close implements sinks.Sink. A request that is under way ends by its timeout at the latest.
func (k *Sink) Close() error {
	if !k.closed.Swap(true) {
		k.client.close()
	}
	return nil
}

// Begin implements sinks.Sink.
func (k *Sink) Begin(_ context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	try, err := attempt.New(k.config, s, &k.closed)
	if err != nil {
		return nil, err
	}
	reader, err := columns.New(schema)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	t := &txn{sink: k, slice: s, try: try, reader: reader, values: target.Of(k.config, s)}
	t.request.scope = appendString(appendString(nil, fieldScopeName, "sluice"), fieldScopeVersion, k.config.Sluice)
	return t, nil
}

type txn struct {
	sink    *Sink
	slice   flow.Slice
	try     *attempt.Attempt
	reader  *columns.Reader
	values  target.Values
	of      [3]string // source, log_id and log_name of request.resource
	encoder recordEncoder
	record  []byte
	request request
	refused []sinks.Rejected // of the batch
	told    bool             // a warning of the receiver was logged
}

// Append implements sinks.Txn: the receiver has answered for all of the batch when it returns.
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
		of := [3]string{rows.Source(row), rows.LogID(row), rows.LogName(row)}
		if t.request.resource == nil || of != t.of {
			if err := t.flush(ctx); err != nil {
				return nil, err
			}
			if err := t.enter(of); err != nil {
				return nil, err
			}
		}
		if t.record, err = t.encoder.append(t.record[:0], rows, row, id); err != nil {
			return nil, err
		}
		if len(t.request.records)+len(t.record) > batchSize {
			if err := t.flush(ctx); err != nil {
				return nil, err
			}
		}
		t.request.add(row, t.record)
		if cap(t.record) > batchSize {
			t.record = nil // one large record must not be remembered by its buffer
		}
	}
	return t.refused, t.flush(ctx)
}

// enter makes the resource of the records that follow.
func (t *txn) enter(of [3]string) error {
	for i := range of {
		of[i] = strings.Clone(of[i]) // they belong to the batch
	}
	t.of, t.values.LogName = of, of[2]
	dst := []byte{}
	for _, r := range t.sink.resources {
		text, err := r.value.Fill(t.values, target.Plain)
		if err != nil {
			return fmt.Errorf("resource.%s: %w", r.name, err)
		}
		if text != "" {
			dst = appendText(dst, fieldAttributes, r.name, text)
		}
	}
	for _, a := range [][2]string{{attributeStream, t.values.Stream}, {attributeSource, of[0]}, {attributeLogID, of[1]}, {attributeLogName, of[2]}} {
		if a[1] != "" {
			dst = appendText(dst, fieldAttributes, a[0], a[1])
		}
	}
	t.request.resource = dst
	return nil
}

// allAtOnce is how many records a receiver must refuse with all of their request for that to be no fault of the records.
const allAtOnce = 8

// flush sends what is gathered. What the receiver refuses is added to t.refused.
func (t *txn) flush(ctx context.Context) error {
	n := t.request.len()
	if n == 0 {
		return nil
	}
	defer t.request.reset(int(t.sink.settings.BatchSize))
	before := len(t.refused)
	first, err := t.send(ctx, 0, n)
	if err != nil {
		return err
	}
	if first != nil && n >= allAtOnce && len(t.refused)-before == n {
		return fault.New(fault.Config, "export logs", "the receiver refuses every record: does it take logs of this kind?", first)
	}
	return nil
}

// send sends the records [from, to) of the request. A receiver says how many it refuses and not which, or refuses the whole: then the
// halves are sent, and theirs, until each refused record is alone. What was taken comes again that way, under the same IDs; there are
// fewer than two requests for each record. refusal is the error by which the whole was refused, nil without.
func (t *txn) send(ctx context.Context, from, to int) (refusal, err error) {
	a, err := deliver(ctx, t.sink.client, t.sink.busy, t.request.encode(from, to))
	reason := ""
	switch {
	case err == nil && a.refused <= 0:
		t.warn(a.message)
		return nil, nil
	case err == nil:
		if a.refused >= int64(to-from) {
			t.refuse(from, to, fmt.Sprintf("the receiver refuses the record: %q", a.message))
			return nil, nil
		}
	case errors.Is(err, errRefused), errors.Is(err, errTooLarge):
		refusal, reason = err, err.Error()
	default:
		return nil, err
	}
	if to-from == 1 && errors.Is(err, errTooLarge) && len(t.request.body) <= sending.Small {
		return nil, err // no record is that small and too large
	}
	if to-from == 1 {
		t.refuse(from, to, reason)
		return refusal, nil
	}
	mid := from + (to-from)/2
	for _, half := range [][2]int{{from, mid}, {mid, to}} {
		if _, err := t.send(ctx, half[0], half[1]); err != nil {
			return nil, err
		}
	}
	return refusal, nil
}

func (t *txn) refuse(from, to int, reason string) {
	for _, row := range t.request.rows[from:to] {
		t.refused = append(t.refused, sinks.Rejected{Row: row, Reason: reason})
	}
}

// warn passes on, once a slice, what a receiver says to records that it took.
func (t *txn) warn(message string) {
	if log := t.sink.config.Log; message != "" && !t.told && log != nil {
		t.told = true
		log.Warn("the OTLP receiver warns", "slice", t.slice.String(), "message", message)
	}
}

// Commit implements sinks.Txn. The receiver has answered for every record already.
func (t *txn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	return t.try.Commit(ctx, a, nil)
}

// Abort implements sinks.Txn. What was exported stays exported.
func (t *txn) Abort() error {
	t.try.End()
	return nil
}
