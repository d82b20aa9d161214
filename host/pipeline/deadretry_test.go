package pipeline

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/proto/flow"
)

// retrySteps are the steps of a file that is sent again, those of its slice among them.
var retrySteps = []Step{
	StepRetryPlan, StepRetrySend, StepAppend, StepCommit, StepRecord, StepPublish, StepRetryMove, StepRetryLeave, StepRetryEnd,
}

// retryDead sends the dead letters again, and ends as a process does at crash.
func (b *bench) retryDead(crash Step) (out []RetriedFile) {
	b.t.Helper()
	l, err := ledger.Open(context.Background(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	cfg := b.config(l, span(0, 1))
	cfg.Streams = map[string]Stream{"events": {Schema: bodySchema}}
	dead, kept := filepath.Join(b.dir, "dead"), filepath.Join(b.dir, "kept")
	cfg.Step = func(s Step) {
		if s != crash {
			return
		}
		if err := os.CopyFS(kept, os.DirFS(dead)); err != nil {
			b.t.Error(err)
		}
		panic(errTest)
	}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p != any(errTest) {
			panic(p)
		}
		// A panic runs what was deferred, which the end of a process doesn't.
		if err := errors.Join(os.RemoveAll(dead), os.Rename(kept, dead)); err != nil {
			b.t.Error(err)
		}
	}()
	if err := RetryDead(context.Background(), cfg, func(f RetriedFile) { out = append(out, f) }); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// withDead runs a pipeline of which some records become dead letters: the sink rejects one, the source can't put another into a batch.
func withDead(t *testing.T, edit func(*Config)) (*bench, flow.Range) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 30
	b.edit = edit
	asked := span(-20, 30)
	b.source.dead = func(ms int64) bool { return ms == at(7).UnixMilli() }
	b.sinks[0].reject = func(body string) bool {
		return body == fmt.Sprint(at(9).UnixMilli()) || body == fmt.Sprint(at(-3).UnixMilli())
	}
	s, err := b.run(asked)
	if err != nil || s.DeadLetters != 3 {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.source.dead = nil
	return b, asked
}

func TestRetryDead(t *testing.T) {
	b, asked := withDead(t, nil)
	b.sinks[0].reject = nil
	delivered := uint64(0)
	for _, f := range b.retryDead("") {
		if f.Err != nil || f.Rejected+f.Left > 0 || f.Slice.Rev != 1 {
			t.Errorf("got %+v", f)
		}
		delivered += f.Delivered
	}
	if delivered != 3 {
		t.Errorf("%d delivered, want 3", delivered)
	}
	b.sinks[0].store.wantExactly(t, asked)
	if again := b.retryDead(""); len(again) > 0 {
		t.Errorf("sent twice: %+v", again)
	}
	// A run finds nothing to do, and nothing wrong.
	reads := len(b.source.reads)
	if s, err := b.run(asked); err != nil || !s.Complete() || s.Failed() || len(b.source.reads) != reads {
		t.Errorf("got %v, %+v", err, s)
	}
	b.sinks[0].store.wantExactly(t, asked)
	// The ledger counts none as dead any more, also one that was lost and is healed.
	for range 2 {
		l, err := ledger.Open(context.Background(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		totals, err := l.Totals(context.Background(), "sink0", logA.Partition)
		if err := errors.Join(err, l.Close()); err != nil {
			t.Fatal(err)
		}
		if totals.DeadNow() != 0 || totals.Rows != 50 {
			t.Errorf("got %+v", totals)
		}
		if err := os.RemoveAll(filepath.Join(b.dir, "state")); err != nil {
			t.Fatal(err)
		}
		if s, err := b.run(asked); err != nil || s.Rows > 0 {
			t.Fatalf("got %v, %+v", err, s)
		}
	}
}

// TestRetryDeadRejectedAgain: what the sink still doesn't take stays a dead letter, and can be sent again.
func TestRetryDeadRejectedAgain(t *testing.T) {
	b, asked := withDead(t, nil)
	b.sinks[0].reject = func(body string) bool { return body == fmt.Sprint(at(9).UnixMilli()) }
	var delivered, rejected uint64
	for _, f := range b.retryDead("") {
		if f.Err != nil {
			t.Error(f.Err)
		}
		delivered, rejected = delivered+f.Delivered, rejected+f.Rejected
	}
	if delivered != 2 || rejected != 1 {
		t.Errorf("%d delivered and %d rejected, want 2 and 1", delivered, rejected)
	}
	revision := uint32(0)
	for _, f := range b.retryDead("") { // none of the file is taken: nothing changes
		if f.Err != nil || f.Delivered > 0 || f.Rejected != 1 || f.Why != "not wanted" {
			t.Errorf("got %+v", f)
		}
		revision = f.Slice.Rev
	}
	b.sinks[0].reject = nil
	files := b.retryDead("")
	if len(files) != 1 || files[0].Err != nil || files[0].Delivered != 1 || files[0].Slice.Rev != revision {
		t.Errorf("got %+v", files)
	}
	b.sinks[0].store.wantExactly(t, asked)
}

// TestRetryDeadCrash ends the process at each step, also one that sends what the crash left, and tries again.
func TestRetryDeadCrash(t *testing.T) {
	for _, first := range retrySteps {
		for _, second := range []Step{"", StepRecord, StepRetryLeave} {
			if !testsize.Full() && second == StepRecord {
				continue
			}
			t.Run(string(first)+"/"+string(second), func(t *testing.T) {
				b, asked := withDead(t, nil)
				b.sinks[0].reject = func(body string) bool { return body == fmt.Sprint(at(9).UnixMilli()) }
				b.damageLetter() // one that can't be made again
				b.retryDead(first)
				if second != "" {
					b.retryDead(second)
				}
				for range 2 {
					for _, f := range b.retryDead("") {
						if f.Err != nil {
							t.Error(f.Err)
						}
					}
				}
				// All but the one that is rejected and the one that can't be made again are there once.
				want := flow.NewRanges(asked).Minus(flow.NewRanges(span(9, 10), span(-3, -2)))
				b.sinks[0].store.wantExactly(t, want...)
				if got := b.deadRecords(); len(got) != 2 {
					t.Errorf("dead letters %q, want 2", got)
				}
				b.sinks[0].reject = nil
				for _, f := range b.retryDead("") {
					if f.Err != nil {
						t.Error(f.Err)
					}
				}
				b.sinks[0].store.wantExactly(t, flow.NewRanges(asked).Minus(flow.NewRanges(span(-3, -2)))...)
				if left, err := filepath.Glob(filepath.Join(b.dir, "dead", "s0", "*.retry*")); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			})
		}
	}
}

// damageLetter makes the row of the record before midnight one whose column has another type than the stream's.
func (b *bench) damageLetter() {
	b.t.Helper()
	files, _ := filepath.Glob(filepath.Join(b.dir, "dead", "s0", "*.ndjson"))
	col := array.NewInt64Builder(b.source.alloc)
	col.Append(1)
	values := col.NewArray()
	rec := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: flow.ColBody, Type: arrow.PrimitiveTypes.Int64}}, nil), []arrow.Array{values}, 1)
	row, err := encodeRow(rec, 0)
	rec.Release()
	values.Release()
	col.Release()
	if err != nil {
		b.t.Fatal(err)
	}
	done := false
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			b.t.Fatal(err)
		}
		var out strings.Builder
		for line := range strings.Lines(string(text)) {
			if before, _, ok := strings.Cut(line, `"row":"`); ok && strings.Contains(line, fmt.Sprintf(`"record":"%d"`, at(-3).UnixMilli())) {
				line, done = before+`"row":"`+base64.StdEncoding.EncodeToString(row)+"\"}\n", true
			}
			out.WriteString(line)
		}
		if err := os.WriteFile(f, []byte(out.String()), 0o666); err != nil {
			b.t.Fatal(err)
		}
	}
	if !done {
		b.t.Fatal("no letter to damage")
	}
}

// deadRecords returns the records that are dead letters now.
func (b *bench) deadRecords() (out []string) {
	files, _ := filepath.Glob(filepath.Join(b.dir, "dead", "s0", "*.ndjson"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			_, rest, _ := strings.Cut(line, `"record":"`)
			record, _, _ := strings.Cut(rest, `"`)
			out = append(out, record)
		}
	}
	return out
}

// TestRetryDeadWithoutMemory: a sink that keeps no account has each at least once, and after a file was delivered no more.
func TestRetryDeadWithoutMemory(t *testing.T) {
	for _, step := range append([]Step{""}, retrySteps...) {
		t.Run(string(step), func(t *testing.T) {
			b, _ := withDead(t, func(c *Config) {
				c.FirstRun = true
				k := c.Sinks[0].Sink.(*fakeSink)
				k.takesTwice = true
				c.Sinks[0].Sink = noMemory{k}
			})
			st := b.sinks[0].store
			b.sinks[0].reject = nil
			b.retryDead(step)
			b.retryDead("")
			for _, ms := range []int64{7, 9, -3} {
				if n := st.bodies[fmt.Sprint(at(ms).UnixMilli())]; n == 0 || n > 2 {
					t.Errorf("millisecond %d is there %d times", ms, n)
				}
			}
			if again := b.retryDead(""); len(again) > 0 {
				t.Errorf("sent again: %+v", again)
			}
		})
	}
}

// TestTextRow makes a record of bytes alone.
func TestTextRow(t *testing.T) {
	ns := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: flow.ColTimestamp, Type: ns, Nullable: true},
		{Name: flow.ColObservedTimestamp, Type: ns},
		{Name: flow.ColReceivedFrom, Type: ns},
		{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
		{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
		{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColSource, Type: arrow.BinaryTypes.String},
	}, nil)
	for _, body := range []string{"plain", "", "a\xff\xfeb"} {
		l := &letter{Stream: "events", Partition: "p", From: at(0), To: at(5), Base64: []byte(body)}
		rec, err := textRow(l, schema, "src", "web")
		if err != nil {
			t.Fatal(err)
		}
		sum, err := flow.SumRecord(rec)
		if err != nil || sum != flow.SumOf([]byte(body)) {
			t.Errorf("%q: got %+v, %v", body, sum, err)
		}
		got := []string{}
		for n := range schema.Fields() {
			if schema.Field(n).Name != flow.ColObservedTimestamp {
				got = append(got, rec.Column(n).ValueStr(0))
			}
		}
		raw := array.NullValueStr
		if body == "a\xff\xfeb" {
			raw = "Yf/+Yg=="
		}
		want := []string{array.NullValueStr, "2026-11-02 00:00:00Z", string([]rune(body)), raw, "p", "web", "src"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", body, diff)
		}
		rec.Release()
	}
	if _, err := textRow(&letter{Base64: []byte("\xff")}, bodySchema, "", ""); err == nil {
		t.Error("bytes that aren't UTF-8 went into a column of text")
	}
	for _, f := range []arrow.Field{{Name: "colour", Type: arrow.BinaryTypes.String}, {Name: "weight", Type: arrow.PrimitiveTypes.Int64}} {
		more := arrow.NewSchema(append(schema.Fields(), f), nil)
		if _, err := textRow(&letter{Partition: "p", Base64: []byte("x")}, more, "src", "web"); err == nil || !strings.Contains(err.Error(), f.Name+" isn't known") {
			t.Errorf("a column %s that may not be null: %v", f.Name, err)
		}
	}
}

// TestRowsOfAnyType: each row of a batch goes into a dead letter and comes back, its empty lists of texts, too.
func TestRowsOfAnyType(t *testing.T) {
	binary, text := arrow.BinaryTypes.LargeBinary, arrow.BinaryTypes.String
	for _, tt := range []struct {
		dt   arrow.DataType
		json string
	}{
		{arrow.ListOf(binary), `[{"x": ["YQ==", "YmM="]}, {"x": []}, {"x": null}, {"x": ["ZA=="]}, {"x": []}]`},
		{arrow.ListOf(arrow.ListOf(text)), `[{"x": [["a"], []]}, {"x": [[]]}, {"x": []}, {"x": [["b", null]]}]`},
		{arrow.MapOf(text, binary), `[{"x": [{"key": "a", "value": "YQ=="}]}, {"x": []}, {"x": null}, {"x": [{"key": "b", "value": null}]}]`},
		{arrow.StructOf(arrow.Field{Name: "y", Type: arrow.ListOf(text), Nullable: true}), `[{"x": {"y": ["a"]}}, {"x": {"y": []}}, {"x": null}, {"x": {"y": null}}]`},
	} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: tt.dt, Nullable: true}}, nil)
		all, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(tt.json))
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []int64{0, 1} {
			rec := all.NewSlice(from, all.NumRows())
			for row := range int(rec.NumRows()) {
				out, err := encodeRow(rec, row)
				if err != nil {
					t.Fatalf("%s, row %d from %d on: %v", tt.dt, row, from, err)
				}
				back, err := decodeRow(out, schema)
				if err != nil {
					t.Fatal(err)
				}
				if want := rec.NewSlice(int64(row), int64(row)+1); !array.RecordEqual(want, back) {
					t.Errorf("%s, row %d from %d on: got %v, want %v", tt.dt, row, from, back.Column(0), want.Column(0))
				}
			}
		}
	}
}
