package logentries

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Names of the streams.
const (
	streamEvents       = "events"
	streamLogs         = "logs"
	streamLogsets      = "logsets"
	streamSavedQueries = "saved_queries"
	streamUsers        = "users"
	streamAccount      = "account"
)

// snapshot is a stream of what is now: how it is asked for, and its columns beside snapshot_at, id and record.
type snapshot struct {
	stream, description string
	op                  string
	path                string // for the owner: behind the account's
	owner               bool
	query               bool   // falls under the limit of queries
	key                 string // of the answer's object that holds the list, or the one object
	single              bool
	columns             []snapshotColumn
	secret              []string // keys that are left out
}

// snapshotColumn is a value of an object: a text, or with many the texts of a list's objects.
type snapshotColumn struct {
	name string
	path []string
	many bool
}

func plain(name string, path ...string) snapshotColumn {
	if len(path) == 0 {
		path = []string{name}
	}
	return snapshotColumn{name: name, path: path}
}

func listed(name, list, key string) snapshotColumn {
	return snapshotColumn{name: name, path: []string{list, key}, many: true}
}

var snapshots = []snapshot{
	{
		stream: streamLogs, op: "list logs", path: "/management/logs", key: "logs",
		description: "The logs that the key sees. Ingest tokens are left out: who has one can write to the log.",
		columns: []snapshotColumn{
			plain("name"), plain("source_type"), plain("retention_period"), plain("rrn"),
			listed("logset_ids", "logsets_info", "id"), listed("logset_names", "logsets_info", "name"),
		},
		secret: []string{"tokens", "token_seed"},
	},
	{
		stream: streamLogsets, op: "list log sets", path: "/management/logsets", key: "logsets",
		description: "The log sets that the key sees.",
		columns: []snapshotColumn{
			plain("name"), plain("description"), plain("rrn"),
			listed("log_ids", "logs_info", "id"), listed("log_names", "logs_info", "name"),
		},
	},
	{
		stream: streamSavedQueries, op: "list saved queries", path: "/query/saved_queries", query: true, key: "saved_queries",
		description: "The saved queries.",
		columns: []snapshotColumn{
			plain("name"), plain("statement", "leql", "statement"), plain("time_range", "leql", "during", "time_range"),
			{name: "logs", path: []string{"logs"}, many: true},
		},
	},
	{
		stream: streamUsers, op: "list users", path: "/users", owner: true, key: "users",
		description: "The account's users; needs the owner key.",
		columns:     []snapshotColumn{plain("email"), plain("first_name"), plain("last_name"), plain("login_name")},
	},
	{
		stream: streamAccount, op: "read the account", path: "", owner: true, key: "account", single: true,
		description: "The account itself; needs the owner key.",
		columns:     []snapshotColumn{plain("name")},
	},
}

func snapshotOf(stream string) *snapshot {
	for i := range snapshots {
		if snapshots[i].stream == stream {
			return &snapshots[i]
		}
	}
	return nil
}

func (s *snapshot) schema() *arrow.Schema {
	fields := []arrow.Field{column(colSnapshotAt, instant, false), column(colID, text, false)}
	for _, c := range s.columns {
		if c.many {
			fields = append(fields, column(c.name, arrow.ListOf(text), true))
		} else {
			fields = append(fields, column(c.name, text, true))
		}
	}
	return arrow.NewSchema(append(fields, column(colRecord, text, false)), nil)
}

// digest names all columns but the clock's.
func (s *snapshot) digest() (names []string) {
	for _, f := range s.schema().Fields() {
		if f.Name != colSnapshotAt {
			names = append(names, f.Name)
		}
	}
	return names
}

// readSnapshot reads what is now, an object at a time. That the slice's day is today's is checked by the vendor's time in the
// opening.
func (s *source) readSnapshot(ctx context.Context, kind *snapshot, out plugins.Emitter) error {
	answer, err := s.ask(ctx, kind, out.Waiting)
	if err != nil {
		return err
	}
	defer answer.Close()
	if opener, ok := out.(plugins.Opener); ok {
		if err := opener.Open(ctx, plugins.Opening{VendorTime: answer.Date}); err != nil {
			return err
		}
	}
	w := newSnapshotWriter(kind, s.mem, s.limits, out)
	defer w.builder.Release()
	if w.at = answer.Date; w.at.IsZero() {
		w.at = s.client.now()
	}
	if err := kind.each(answer, func(it item) error { return w.add(ctx, it) }); errors.Is(err, rapid7.ErrNoList) {
		return fault.New(fault.Corrupt, kind.op, "check base_url", err)
	} else if err != nil {
		return err
	}
	return w.flush(ctx)
}

func (s *source) ask(ctx context.Context, kind *snapshot, w waiting) (*rest.Answer, error) {
	switch {
	case kind.owner:
		return s.client.getOwner(ctx, kind.op, "/management/accounts/"+s.client.settings.AccountID+kind.path, w)
	case kind.query:
		return s.client.get(ctx, kind.op, kind.path, s.client.query, w)
	}
	return s.client.get(ctx, kind.op, kind.path, s.client.management, w)
}

// item is one object of an answer, and its JSON: keys in order, without secrets.
type item struct {
	id     string
	object map[string]any
	record string
}

// each calls use with the objects of an answer: a list under a key, or bare; or with single the one object, which may stand under the
// key. What isn't known stays in record. What isn't such an answer is an error that wraps rapid7.ErrNoList.
func (s *snapshot) each(r io.Reader, use func(item) error) error {
	n := 0
	one := func(element json.RawMessage) error {
		it, err := s.item(element)
		if err != nil {
			return fmt.Errorf("%w: %s[%d]: %w", rapid7.ErrNoList, s.key, n, err)
		}
		n++
		return use(it)
	}
	if !s.single {
		return rapid7.Each(r, s.key, one)
	}
	body, err := readAll(r, s.op, maxObject)
	if err != nil {
		return err
	}
	var around map[string]json.RawMessage
	if err := unmarshal(body, &around); err != nil {
		return fmt.Errorf("%w: %w", rapid7.ErrNoList, err)
	}
	if inner, ok := around[s.key]; ok {
		body = inner
	}
	return one(body)
}

func (s *snapshot) item(element json.RawMessage) (item, error) {
	var object map[string]any
	if err := unmarshal(element, &object); err != nil {
		return item{}, errors.New("no object")
	}
	id, _ := textOf(object["id"])
	if id == "" {
		return item{}, errors.New("an object without id")
	}
	for _, key := range s.secret {
		delete(object, key)
	}
	var record bytes.Buffer
	enc := json.NewEncoder(&record)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(object); err != nil {
		return item{}, err
	}
	return item{id: id, object: object, record: strings.TrimSuffix(record.String(), "\n")}, nil
}

func unmarshal(body []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the answer")
	}
	return nil
}

// textOf returns a value as text: a text's content, of other values their JSON; ok is false for null.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	b, err := json.Marshal(v)
	return string(b), err == nil
}

// snapshotWriter makes batches of objects.
type snapshotWriter struct {
	kind    *snapshot
	out     plugins.Emitter
	builder *array.RecordBuilder
	at      time.Time
	target  int
	record  int
	rows    int // of the batch so far
	bytes   int
}

func newSnapshotWriter(kind *snapshot, mem memory.Allocator, limits plugins.Limits, out plugins.Emitter) *snapshotWriter {
	w := &snapshotWriter{kind: kind, out: out, builder: array.NewRecordBuilder(mem, kind.schema()), target: frameTarget, record: recordMax}
	if limits.FrameTarget > 0 {
		w.target = int(min(limits.FrameTarget, recordLimit))
	}
	if limits.RecordMax > 0 {
		w.record = int(min(limits.RecordMax, recordLimit))
	}
	return w
}

func (w *snapshotWriter) add(ctx context.Context, it item) error {
	if len(it.record) > w.record {
		if err := w.flush(ctx); err != nil {
			return err
		}
		return w.out.Dead(ctx, fmt.Sprintf("longer than %d bytes", w.record), strings.NewReader(it.record))
	}
	last := w.builder.Schema().NumFields() - 1
	w.builder.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(w.at.UnixNano()))
	w.builder.Field(1).(*array.StringBuilder).Append(it.id)
	for i, c := range w.kind.columns {
		switch b := w.builder.Field(2 + i).(type) {
		case *array.StringBuilder:
			c.appendText(b, it.object)
		case *array.ListBuilder:
			if err := c.appendList(b, it.object); err != nil {
				return fmt.Errorf("%w: %s %s: %w", rapid7.ErrNoList, w.kind.stream, it.id, err)
			}
		}
	}
	w.builder.Field(last).(*array.StringBuilder).Append(it.record)
	w.rows++
	if w.bytes += 2 * len(it.record); w.bytes >= w.target { // the columns repeat parts of it
		return w.flush(ctx)
	}
	return nil
}

func (w *snapshotWriter) flush(ctx context.Context) error {
	if w.rows == 0 {
		return nil
	}
	w.rows, w.bytes = 0, 0
	r := w.builder.NewRecord()
	defer r.Release()
	return w.out.Batch(ctx, r)
}

func (c snapshotColumn) appendText(b *array.StringBuilder, object map[string]any) {
	var v any = object
	for _, key := range c.path {
		inner, _ := v.(map[string]any)
		v = inner[key]
	}
	if value, ok := textOf(v); ok {
		b.Append(value)
		return
	}
	b.AppendNull()
}

// appendList takes the texts of a list, or those that its objects have under the path's last key.
func (c snapshotColumn) appendList(b *array.ListBuilder, object map[string]any) error {
	list, ok := object[c.path[0]].([]any)
	if !ok {
		if object[c.path[0]] != nil {
			return fmt.Errorf("%s is no list", c.path[0])
		}
		b.AppendNull()
		return nil
	}
	b.Append(true)
	values := b.ValueBuilder().(*array.StringBuilder)
	for _, v := range list {
		if len(c.path) > 1 {
			inner, _ := v.(map[string]any)
			v = inner[c.path[1]]
		}
		if value, ok := textOf(v); ok {
			values.Append(value)
		} else {
			values.AppendNull()
		}
	}
	return nil
}

func known(stream string) error {
	if stream == streamEvents || stream == rapid7.StreamUsage || snapshotOf(stream) != nil {
		return nil
	}
	return fault.Errorf(fault.Config, Name, "there is no stream %q: want %s", stream, strings.Join(streamNames(), ", "))
}

func streamNames() []string {
	names := []string{streamEvents}
	for _, s := range snapshots {
		names = append(names, s.stream)
	}
	return append(names, rapid7.StreamUsage)
}

func planSnapshot(g flow.Gap) []flow.Slice {
	return plugins.CutGap(g, plugins.SliceTarget{Duration: 24 * time.Hour}, plugins.CutOptions{})
}
