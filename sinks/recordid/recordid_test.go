package recordid

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var update = flag.Bool("update", false, "write testdata/golden.json: a new format, not a fix")

var (
	day   = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	slice = flow.NewSlice(flow.Partition{Selection: flow.SelectionID{1, 2, 3}, Stream: "events", Key: "a"}, day, day.Add(time.Hour), 0)
)

var logSchema = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: arrow.FixedWidthTypes.Timestamp_ns, Nullable: true},
	{Name: flow.ColObservedTimestamp, Type: arrow.FixedWidthTypes.Timestamp_ns, Nullable: true},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
	{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColAttributes, Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	{Name: "at", Type: arrow.FixedWidthTypes.Time64ns, Nullable: true},
	{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
}, nil)

func records(t testing.TB, schema *arrow.Schema, rows string) arrow.Record {
	t.Helper()
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	rec, _, err := array.RecordFromJSON(alloc, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		rec.Release()
		alloc.AssertSize(t, 0)
	})
	return rec
}

func bodies(t testing.TB, lines ...string) arrow.Record {
	t.Helper()
	rows := make([]map[string]any, len(lines))
	for i, l := range lines {
		rows[i] = map[string]any{"body": l, "observed_timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z"), "log_name": fmt.Sprint(rand.Int())}
	}
	b, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	return records(t, logSchema, string(b))
}

func ids(t testing.TB, q *Sequence, recs ...arrow.Record) []string {
	t.Helper()
	var out []string
	for _, r := range recs {
		var err error
		if out, err = q.Append(out, r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestGolden(t *testing.T) {
	const log = `[{"body": "a line"}, {"body": "a line"}, {"body": ""}, {"timestamp": "2026-11-01T00:00:00.000000001Z", "body": "a line"},
		{"body": "x", "body_raw": "/w=="}, {"body": "x", "attributes": [{"key": "k", "value": null}], "at": "12:30:00.000000001", "log_name": "web"}]`
	usage := arrow.NewSchema([]arrow.Field{
		{Name: "day", Type: arrow.FixedWidthTypes.Date32}, {Name: "log_name", Type: arrow.BinaryTypes.String}, {Name: "bytes", Type: arrow.PrimitiveTypes.Int64},
	}, nil)
	const use = `[{"day": "2026-11-01", "log_name": "web", "bytes": 5}]`
	got := map[string][]string{
		"log":            ids(t, New(slice, nil), records(t, logSchema, log)),
		"revision 1":     ids(t, New(flow.NewSlice(slice.Partition, slice.From, slice.To, 1), nil), records(t, logSchema, log)),
		"digest columns": ids(t, New(slice, []string{"bytes", "day"}), records(t, usage, use)),
	}
	file := filepath.Join("testdata", "golden.json")
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]string
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
	all := slices.Sorted(slices.Values(slices.Concat(got["log"], got["revision 1"], got["digest columns"])))
	if n := len(slices.Compact(all)); n != 13 {
		t.Errorf("%d different IDs, want 13", n)
	}
	for _, id := range all {
		if len(id) != Size {
			t.Errorf("%q has %d characters", id, len(id))
		}
	}
}

// A second read may cut the batches elsewhere, send the records in another order and at another time.
func TestSecondRead(t *testing.T) {
	var lines []string
	for i := range 3000 {
		lines = append(lines, fmt.Sprint("line ", i%1000), fmt.Sprint("once ", i))
	}
	want := slices.Sorted(slices.Values(ids(t, New(slice, nil), bodies(t, lines...))))
	if n := len(slices.Compact(slices.Clone(want))); n != len(lines) {
		t.Fatalf("%d different IDs of %d records", n, len(lines))
	}
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rng.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		var parts []arrow.Record
		for rest := lines; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(2000))
			parts = append(parts, bodies(t, rest[:n]...))
			rest = rest[n:]
		}
		got := slices.Sorted(slices.Values(ids(t, New(slice, nil), parts...)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: the IDs are others", seed)
		}
	}
}

// A batch that is a part of another's memory has the same IDs.
func TestSliced(t *testing.T) {
	whole := bodies(t, "a", "b", "a", "c")
	want := ids(t, New(slice, nil), whole)
	q := New(slice, nil)
	var got []string
	for i := range int64(4) {
		part := whole.NewSlice(i, i+1)
		got = append(got, ids(t, q, part)...)
		part.Release()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-whole +parts):\n%s", diff)
	}
}

// Lengths are hashed: what stands at the end of one column can't be the begin of the next.
func TestFramed(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	all := ids(t, New(slice, nil), records(t, schema, `[{"body": "ab", "b": "c"}, {"body": "a", "b": "bc"}, {"body": "abc", "b": ""}, {"body": "abc"}, {"b": "abc"}]`))
	slices.Sort(all)
	if len(slices.Compact(all)) != 5 {
		t.Errorf("%q", all)
	}
}

// A column that came later changes no ID of the records that lack it.
func TestSchemaGrows(t *testing.T) {
	old := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)
	grown := arrow.NewSchema(append(old.Fields(), arrow.Field{Name: "level", Type: arrow.PrimitiveTypes.Int8, Nullable: true}, arrow.Field{Name: "n", Type: arrow.Null, Nullable: true}), nil)
	before := ids(t, New(slice, nil), records(t, old, `[{"body": "a"}, {"body": "b"}]`))
	after := ids(t, New(slice, nil), records(t, grown, `[{"body": "a"}, {"body": "b", "level": 1}]`))
	if before[0] != after[0] || before[1] == after[1] {
		t.Errorf("before %q, after %q", before, after)
	}
}

func TestUnfit(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "m", Type: arrow.FixedWidthTypes.MonthInterval}}, nil)
	if _, err := New(slice, nil).Append(nil, records(t, schema, `[{"m": {"months": 1}}]`)); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), `"m"`) {
		t.Errorf("a type without canonical form: %v", err)
	}
	if _, err := New(slice, []string{"gone"}).Append(nil, bodies(t, "a")); fault.KindOf(err) != fault.Bug {
		t.Errorf("a missing digest column: %v", err)
	}
}

// counts are exact until the table is full. After that no key gets a number twice, memory stays, and the same order gives the same
// numbers.
func TestCounts(t *testing.T) {
	const slots = 1 << 14
	const exact = slots / 4 * 3
	key := func(i int) uint64 { return binary.BigEndian.Uint64([]byte(fmt.Sprintf("%08d", i))) }
	a, b := newCounts(), newCounts()
	a.max, b.max = slots, slots
	for i := range exact {
		if n := a.next(key(i)); n != 0 {
			t.Fatalf("key %d came %d times before", i, n)
		}
		b.next(key(exact - 1 - i))
	}
	for i := 0; i < exact; i += 1000 {
		if n, m := a.next(key(i)), b.next(key(i)); n != 1 || m != 1 {
			t.Fatalf("key %d came %d and %d times before", i, n, m)
		}
	}
	numbers := map[[2]uint64]bool{}
	for i := range 200_000 {
		k := key(exact + i%70_000)
		n := a.next(k)
		if m := b.next(k); n != m {
			t.Fatalf("key %d has the numbers %d and %d", i, n, m)
		}
		if numbers[[2]uint64{k, n}] {
			t.Fatalf("key %d has the number %d twice", i, n)
		}
		numbers[[2]uint64{k, n}] = true
	}
	if n := a.next(key(0)); n != 2 {
		t.Errorf("key 0 came %d times before", n)
	}
	if len(a.keys) != slots || len(a.extra) != shared {
		t.Errorf("%d slots and %d shared counters", len(a.keys), len(a.extra))
	}
	zero := newCounts()
	if zero.next(0) != 0 || zero.next(0) != 1 {
		t.Error("the key 0 isn't counted")
	}
}

func BenchmarkAppend(b *testing.B) {
	lines := make([]string, 1000)
	for i := range lines {
		lines[i] = fmt.Sprint(i, strings.Repeat("x", 200))
	}
	rec := bodies(b, lines...)
	q := New(slice, nil)
	var out []string
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if out, err = q.Append(out[:0], rec); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(1000, "events/op")
}
