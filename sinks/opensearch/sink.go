// Package opensearch is the sink that sends records to OpenSearch or Elasticsearch: at least once, with IDs of recordid by which what
// comes again is dropped.
//
// Each batch is sent, in requests of bounded size, while Append runs, so what the server refuses is known when it returns. What the
// server can't take now is sent again until a time is over.
package opensearch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/attempt"
	"github.com/sluice-io/sluice/sinks/sending"
	"github.com/sluice-io/sluice/sinks/target"
)

// Definition is the opensearch sink's.
var Definition = sinks.Definition{
	Type:    sinkType,
	Promise: "at least once",
	Config:  []byte(schema),
	Open:    func(ctx context.Context, c sinks.Config) (sinks.Sink, error) { return open(ctx, c) },
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

// Sink writes to the indexes of one cluster.
type Sink struct {
	set    settings
	config sinks.Config
	client *client
	id     string
	busy   *sending.Busy

	closed atomic.Bool

	mu    sync.Mutex
	ready map[string]bool // data streams that are there
}

var (
	_ sinks.Sink  = (*Sink)(nil)
	_ sinks.Sizer = (*Sink)(nil)
)

// info is what a cluster says of itself.
type info struct {
	Name    string `json:"cluster_name"`
	UUID    string `json:"cluster_uuid"`
	Version struct {
		Number       string `json:"number"`
		Distribution string `json:"distribution"`
	} `json:"version"`
}

func (i info) String() string {
	kind := "Elasticsearch"
	if i.Version.Distribution == "opensearch" {
		kind = "OpenSearch"
	}
	return fmt.Sprintf("%s %s, cluster %s", kind, i.Version.Number, i.Name)
}

// connect makes the client and asks who the cluster is.
func connect(ctx context.Context, s settings, c sinks.Config) (*client, info, error) {
	const op = "ask who the cluster is"
	k, err := newClient(s, c.Base)
	if err != nil {
		return nil, info{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	var i info
	ok, err := k.get(ctx, op, "/", &i)
	switch {
	case err != nil:
	case !ok || i.Version.Number == "":
		err = fault.Errorf(fault.Config, op, "%s answers, but not as OpenSearch or Elasticsearch does", k.node()).WithHint("check urls")
	case i.UUID == "" || i.UUID == "_na_":
		err = fault.Errorf(fault.Transient, op, "the cluster %s is being formed", i.Name)
	}
	if err != nil {
		k.close()
	}
	return k, i, err
}

func open(ctx context.Context, c sinks.Config) (*Sink, error) {
	s, err := parse(c)
	if err != nil {
		return nil, err
	}
	place, err := s.place(c, func(name string) string { return "{" + name + "}" })
	if err != nil {
		return nil, fault.New(fault.Config, "name the index", "", err)
	}
	k, i, err := connect(ctx, s, c)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(place))
	return &Sink{set: s, config: c, client: k, id: "opensearch-" + i.UUID + "-" + hex.EncodeToString(sum[:8]), ready: map[string]bool{}, busy: &sending.Busy{Log: c.Log}}, nil
}

// Identity implements sinks.Sink: the cluster's UUID and a hash of the index's template.
func (k *Sink) Identity() string { return k.id }

// Buffer implements sinks.Sizer.
func (k *Sink) Buffer() int64 { return k.set.buffer() }

// Close implements sinks.Sink.
func (k *Sink) Close() error {
	k.closed.Store(true)
	k.client.close()
	return nil
}

// Begin implements sinks.Sink.
func (k *Sink) Begin(_ context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	try, err := attempt.New(k.config, s, &k.closed)
	if err != nil {
		return nil, err
	}
	docs, err := newDocuments(k.set.Naming, k.config.Source, schema)
	if err != nil {
		return nil, err
	}
	return &txn{sink: k, slice: s, try: try, docs: docs, from: `"` + s.From.UTC().Format(flow.Layout) + `"`}, nil
}

// ensure makes a data stream that isn't there, for which the server needs a template: without one it would make an index.
func (k *Sink) ensure(ctx context.Context, index string) error {
	const op = "make the data stream"
	k.mu.Lock()
	ready := !k.set.DataStream || k.ready[index]
	k.mu.Unlock()
	if ready {
		return nil
	}
	there, err := k.client.get(ctx, op, "/_data_stream/"+url.PathEscape(index), new(struct{}))
	if err != nil {
		return err
	}
	if !there {
		a, err := k.client.send(ctx, request{method: http.MethodPut, path: "/_data_stream/" + url.PathEscape(index)})
		if err != nil {
			return err
		}
		if a.StatusCode != http.StatusOK {
			err := a.refusal(op)
			// Another host may have made it at the same time.
			if there, gerr := k.client.get(ctx, op, "/_data_stream/"+url.PathEscape(index), new(struct{})); gerr != nil || !there {
				if a.StatusCode == http.StatusBadRequest {
					return fault.New(fault.Config, op, "make an index template that matches it and has data_stream: {}; docs/sinks/opensearch.md shows one", err)
				}
				return err
			}
		} else {
			_ = a.Body.Close()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready[index] = true
	return nil
}

// txn is one slice on its way.
type txn struct {
	sink  *Sink
	slice flow.Slice
	try   *attempt.Attempt
	docs  *documents
	from  string // JSON of the time of records that have none
	bulk  *bulk  // nil until there is a record
	items []item
}

// start names the index with the slice's first record.
func (t *txn) start(ctx context.Context, rec arrow.Record) error {
	if t.bulk != nil {
		return nil
	}
	v := target.Of(t.sink.config, t.slice)
	if at := rec.Schema().FieldIndices(flow.ColLogName); len(at) == 1 {
		if names, ok := rec.Column(at[0]).(*array.String); ok && names.IsValid(0) {
			v.LogName = names.Value(0)
		}
	}
	index, err := t.sink.set.index.Fill(v, escapeIndex)
	if err == nil {
		err = checkIndex(index)
	}
	if err != nil {
		return fault.New(fault.Config, "name the index", "see `index` of the sink's settings", err)
	}
	if err := t.sink.ensure(ctx, index); err != nil {
		return err
	}
	t.bulk = newBulk(t.sink.client, t.sink.set, t.sink.busy, index)
	return nil
}

// Append implements sinks.Txn: the batch's records are at the server when it returns.
func (t *txn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	return t.try.Append(ctx, b, func(ids []string) ([]sinks.Rejected, error) { return t.append(ctx, b, ids) })
}

func (t *txn) append(ctx context.Context, b flow.Batch, ids []string) ([]sinks.Rejected, error) {
	rows := int(b.Records.NumRows())
	if rows == 0 {
		return nil, nil
	}
	if err := t.start(ctx, b.Records); err != nil {
		return nil, err
	}
	t.docs.bind(b.Records)
	defer t.docs.release()
	var rejected []sinks.Rejected
	flush := func() error {
		out, err := t.bulk.send(ctx, t.items)
		rejected = append(rejected, out...)
		t.items, t.bulk.body = t.items[:0], t.bulk.body[:0]
		return err
	}
	limit := int(t.sink.set.BatchBytes)
	for row := range rows {
		body, start := t.bulk.body, len(t.bulk.body)
		body = append(append(append(body, `{"create":{"_id":"`...), ids[row]...), "\"}}\n"...)
		body = append(t.docs.append(body, row, t.from), '\n')
		t.bulk.body = body
		t.items = append(t.items, item{row: row, from: start, to: len(body)})
		if len(body) >= limit || row == rows-1 {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	t.bulk.shrink(limit)
	return rejected, nil
}

// shrink lets go of what one large record has made of the buffer.
func (b *bulk) shrink(limit int) {
	if cap(b.body) > 2*limit {
		b.body = nil
	}
}

// Commit implements sinks.Txn. The records are at the server already.
func (t *txn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	return t.try.Commit(ctx, a, nil)
}

// Abort implements sinks.Txn. What was sent stays, and is recognised when it comes again.
func (t *txn) Abort() error {
	t.try.End()
	return nil
}
