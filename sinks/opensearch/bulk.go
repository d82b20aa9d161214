package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sending"
)

// item is a record in a request: its row, and where its two lines lie in the body.
type item struct{ row, from, to int }

// bulk sends records until the cluster has taken or refused each, or the time is over.
type bulk struct {
	client  *client
	path    string
	gzipped bool
	timeout time.Duration
	busy    *sending.Busy

	body []byte
	zip  *gzip.Writer
}

// Waits between two tries, unless the server names one.
const (
	firstWait = 200 * time.Millisecond
	lastWait  = 10 * time.Second
)

func newBulk(c *client, s settings, busy *sending.Busy, index string) *bulk {
	return &bulk{
		client: c, gzipped: s.Compression == "gzip", timeout: time.Duration(s.Timeout), busy: busy,
		path: "/" + url.PathEscape(index) + "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason",
	}
}

// send returns the rows that the cluster refuses for good. The others are there when it returns nil.
func (b *bulk) send(ctx context.Context, items []item) (rejected []sinks.Rejected, err error) {
	if len(items) == 0 {
		return nil, nil
	}
	began := time.Now()
	deadline := began.Add(b.timeout)
	limited, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	queue := [][]item{items} // a request that is too large is cut
	for wait := firstWait; len(queue) > 0; {
		tried := queue[0]
		left, refused, err := b.try(limited, tried)
		rejected = append(rejected, refused...)
		var large *tooLargeError
		switch {
		case errors.As(err, &large) && len(tried) > 1:
			queue = append([][]item{tried[:len(tried)/2], tried[len(tried)/2:]}, queue[1:]...)
			continue
		case errors.As(err, &large) && tried[0].to-tried[0].from <= sending.Small:
			return rejected, fault.New(fault.Config, fmt.Sprintf("send a record of %d bytes", tried[0].to-tried[0].from), "its limit (http.max_content_length, or that of a proxy before it) must be larger", err)
		case errors.As(err, &large):
			rejected = append(rejected, sinks.Rejected{Row: tried[0].row, Reason: fmt.Sprintf("opensearch: its document of %d bytes is larger than the server takes (http.max_content_length)", tried[0].to-tried[0].from)})
			left = nil
		case err != nil && (fault.KindOf(err) != fault.Transient || ctx.Err() != nil):
			return rejected, orEnded(ctx, err)
		}
		if len(left) == 0 {
			queue, wait = queue[1:], firstWait
			continue
		}
		queue[0] = left
		pause := max(fault.RetryAfterOf(err), wait/2+rand.N(wait/2+1))
		if wait = min(2*wait, lastWait); time.Now().Add(pause).After(deadline) {
			return rejected, fault.New(fault.Transient, "send records", fault.HintOf(err), fmt.Errorf("%d records aren't taken within %s: %w", len(left), b.timeout, err)).
				After(fault.RetryAfterOf(err))
		}
		b.busy.Tell(time.Since(began)+pause, pause, err)
		if err := sending.Sleep(ctx, pause); err != nil {
			return rejected, err
		}
	}
	return rejected, nil
}

// orEnded is the end of ctx if that is what ended a request.
func orEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// tooLargeError is a request that the server doesn't take whole (413).
type tooLargeError struct{ said string }

func (e *tooLargeError) Error() string { return e.said }

// try sends items once. left are those that may be taken later, with the reason as err.
func (b *bulk) try(ctx context.Context, items []item) (left []item, rejected []sinks.Rejected, err error) {
	const op = "send records"
	q, err := b.request(items)
	if err != nil {
		return items, nil, err
	}
	a, err := b.client.send(ctx, q)
	for range b.client.urls[1:] { // a node that is down is no reason to wait while others are up
		if err == nil || fault.KindOf(err) != fault.Transient || ctx.Err() != nil {
			break
		}
		a, err = b.client.send(ctx, q)
	}
	if err != nil {
		return items, nil, err
	}
	switch {
	case a.StatusCode == http.StatusRequestEntityTooLarge:
		return items, nil, &tooLargeError{a.refusal(op).Error()}
	case a.StatusCode != http.StatusOK:
		err := a.refusal(op)
		if retryable(a.StatusCode) && a.StatusCode != http.StatusTooManyRequests {
			b.client.failed(a.node)
		}
		return items, nil, err
	}
	defer a.Body.Close()
	return results(a, items)
}

// request puts the items' lines together, in memory of its own: a client may be sending a request still when its answer has come.
func (b *bulk) request(items []item) (request, error) {
	var out bytes.Buffer
	var w io.Writer = &out
	if b.gzipped {
		if b.zip == nil {
			var err error
			if b.zip, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
				return request{}, err
			}
		}
		b.zip.Reset(&out)
		w = b.zip
	}
	if n := len(items); !b.gzipped && n > 0 {
		out.Grow(items[n-1].to - items[0].from)
	}
	for _, it := range items {
		if _, err := w.Write(b.body[it.from:it.to]); err != nil {
			return request{}, err
		}
	}
	if b.gzipped {
		if err := b.zip.Close(); err != nil {
			return request{}, err
		}
	}
	return request{method: http.MethodPost, path: b.path, body: out.Bytes(), gzipped: b.gzipped, lines: true}, nil
}

// result is what the server says of one item.
type result struct {
	Status int `json:"status"`
	Error  struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
		Cause  struct {
			Reason string `json:"reason"`
		} `json:"caused_by"`
	} `json:"error"`
}

// results reads the answer item by item, so that a long one takes no memory. An answer that isn't whole settles nothing: everything is
// sent again, and what is there already says so.
func results(a answer, items []item) (left []item, rejected []sinks.Rejected, err error) {
	broken := func(err error) ([]item, []sinks.Rejected, error) {
		if foreign(err) {
			return items, nil, fault.New(fault.Config, "read what became of the records", "do urls lead to OpenSearch or Elasticsearch itself?", fmt.Errorf("%s answers as neither does: %w", a.node, err))
		}
		return items, nil, fault.New(fault.Transient, "read what became of the records", "", fmt.Errorf("%s: %w", a.node, err))
	}
	dec := json.NewDecoder(a.Body)
	if err := enterItems(dec); err != nil {
		return broken(err)
	}
	n := 0
	for ; dec.More(); n++ {
		var by map[string]result
		if err := dec.Decode(&by); err != nil {
			return broken(err)
		}
		r, ok := by["create"]
		if !ok || n >= len(items) {
			return broken(errors.New("it isn't the answer to what was sent"))
		}
		switch d := r.verdict(); d.kind {
		case delivered:
		case refused:
			rejected = append(rejected, sinks.Rejected{Row: items[n].row, Reason: "opensearch: " + r.String()})
		case later:
			left, err = append(left, items[n]), d.err
		default:
			return items[n:], rejected, d.err
		}
	}
	for { // to its end, so that it is known to be whole
		if _, terr := dec.Token(); errors.Is(terr, io.EOF) {
			break
		} else if terr != nil {
			return broken(terr)
		}
	}
	if n != len(items) {
		return broken(fmt.Errorf("it tells of %d records, sent were %d", n, len(items)))
	}
	return left, rejected, err
}

// enterItems reads up to the first of the items.
func enterItems(dec *json.Decoder) error {
	depth := 0
	for {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'):
			depth++
		case json.Delim('}'):
			if depth--; depth == 0 {
				return errors.New("it has no items")
			}
		case "items":
			if depth != 1 {
				continue
			}
			if t, err := dec.Token(); err != nil || t != json.Delim('[') {
				return errors.New("its items are no list")
			}
			return nil
		}
	}
}

// outcome is what a result asks for.
type outcome uint8

const (
	delivered outcome = iota
	refused           // the record makes a dead letter
	later             // it may be taken when it is sent again
	stop              // no record will be taken
)

type verdict struct {
	kind outcome
	err  error
}

// maxReason bounds what a dead letter quotes.
const maxReason = 600

func (r result) String() string {
	s := fmt.Sprintf("%d %s: %s", r.Status, r.Error.Type, r.Error.Reason)
	if c := r.Error.Cause.Reason; c != "" {
		s += ": " + c
	}
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	return s
}

// recordTypes are the errors that a record alone causes. Others of status 400 say that the index is wrong: every record would be
// refused, and making dead letters of them all would be a loss.
var recordTypes = []string{
	"mapper_parsing_exception", "document_parsing_exception", "strict_dynamic_mapping_exception", "parse_exception", "parsing_exception",
	"x_content_parse_exception", "script_exception", "max_bytes_length_exceeded_exception", "json_parse_exception", "input_coercion_exception",
}

func (r result) verdict() verdict {
	const op = "send records"
	err := errors.New(r.String())
	switch {
	case r.Status == http.StatusOK, r.Status == http.StatusCreated, r.Status == http.StatusConflict:
		// A conflict: a record with this ID, which only this record has, is there already.
		return verdict{kind: delivered}
	case r.Error.Type == "cluster_block_exception":
		return verdict{later, fault.New(fault.Transient, op, "the index is blocked: is the disk full, or the index read-only?", err)}
	case retryable(r.Status):
		return verdict{later, fault.New(fault.Transient, op, "the cluster is busy; its own logs tell", err)}
	case r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden:
		return verdict{stop, fault.New(fault.Auth, op, "the user lacks the privilege to create documents in this index", err)}
	case r.Status == http.StatusRequestEntityTooLarge:
		return verdict{kind: refused}
	case r.Status == http.StatusBadRequest && r.ofRecord():
		return verdict{kind: refused}
	}
	return verdict{stop, fault.New(fault.Config, op, "the index doesn't take documents: look at its settings, alias or data stream", err)}
}

func (r result) ofRecord() bool {
	for _, t := range recordTypes {
		if r.Error.Type == t {
			return true
		}
	}
	// Of these some are of a record: too many fields, a term that is too long, a field that is an object elsewhere.
	return r.Error.Type == "illegal_argument_exception" &&
		!strings.Contains(r.Error.Reason, "alias") && !strings.Contains(r.Error.Reason, "data stream") && !strings.Contains(r.Error.Reason, "pipeline")
}
