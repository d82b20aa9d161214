package flow

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// span is the number of milliseconds that the property tests look at, one by one.
const span = 60

var origin = time.Date(2026, 11, 1, 23, 59, 59, 970_000_000, time.UTC) // midnight lies within

func ms(n int) time.Time { return origin.Add(time.Duration(n) * time.Millisecond) }

func randomRanges(rng *rand.Rand) []Range {
	out := make([]Range, rng.IntN(8))
	for i := range out {
		from := rng.IntN(span)
		out[i] = Range{From: ms(from), To: ms(from + rng.IntN(20) - 2)} // some are empty
	}
	return out
}

// holds says for each millisecond whether it is in one of the ranges.
func holds(ranges []Range) (in [span + 20]bool) {
	for i := range in {
		in[i] = slices.ContainsFunc(ranges, func(r Range) bool { return !ms(i).Before(r.From) && ms(i).Before(r.To) })
	}
	return in
}

func TestRangesAreSetsOfMilliseconds(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		a, b := randomRanges(rng), randomRanges(rng)
		as, bs := NewRanges(a...), NewRanges(b...)
		before := fmt.Sprint(as, bs)
		results := []struct {
			name string
			got  Ranges
			want func(inA, inB bool) bool
		}{
			{"NewRanges", as, func(x, _ bool) bool { return x }},
			{"Union", as.Union(bs), func(x, y bool) bool { return x || y }},
			{"Minus", as.Minus(bs), func(x, y bool) bool { return x && !y }},
			{"Intersect", as.Intersect(bs), func(x, y bool) bool { return x && y }},
		}
		inA, inB := holds(a), holds(b)
		for _, r := range results {
			got := holds(r.got)
			count := 0
			for i := range got {
				if got[i] != r.want(inA[i], inB[i]) {
					t.Fatalf("seed %d: %s of %v and %v = %v: wrong at %v", seed, r.name, as, bs, r.got, ms(i))
				}
				if got[i] {
					count++
				}
			}
			for i, x := range r.got {
				if x.Empty() || i > 0 && !x.From.After(r.got[i-1].To) {
					t.Fatalf("seed %d: %s = %v isn't sorted and apart", seed, r.name, r.got)
				}
			}
			if r.got.Duration() != time.Duration(count)*time.Millisecond {
				t.Fatalf("seed %d: %s lasts %v, want %d ms", seed, r.name, r.got.Duration(), count)
			}
		}
		probe := Range{From: ms(rng.IntN(span)), To: ms(rng.IntN(span))}
		meets, covers := false, true
		for i, in := range inA {
			if !ms(i).Before(probe.From) && ms(i).Before(probe.To) {
				meets, covers = meets || in, covers && in
			}
		}
		if as.Meets(probe) != meets || as.Covers(probe) != covers {
			t.Fatalf("seed %d: %v meets %v: %v, covers: %v", seed, as, probe, as.Meets(probe), as.Covers(probe))
		}
		if fmt.Sprint(as, bs) != before {
			t.Fatalf("seed %d: an operand was changed", seed)
		}
	}
}

func TestCuts(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		r := Range{From: ms(rng.IntN(span)), To: ms(rng.IntN(span) + rng.IntN(3)*86400_000)}
		n := rng.IntN(12)
		for name, cut := range map[string][]Range{"Cut": r.Cut(n), "CutDays": r.CutDays()} {
			if r.Empty() {
				if len(cut) != 0 {
					t.Fatalf("seed %d: %s of an empty range = %v", seed, name, cut)
				}
				continue
			}
			at := r.From
			for _, c := range cut {
				if !c.From.Equal(at) || c.Empty() || !wholeMilli(c.To) {
					t.Fatalf("seed %d: %s of %v = %v", seed, name, r, cut)
				}
				if name == "CutDays" && c.To.After(Day(c.From).Add(24*time.Hour)) {
					t.Fatalf("seed %d: %v crosses a day", seed, c)
				}
				at = c.To
			}
			if !at.Equal(r.To) || name == "Cut" && len(cut) > max(n, 1) {
				t.Fatalf("seed %d: %s of %v into %d = %v", seed, name, r, n, cut)
			}
		}
	}
}

func TestSliceValidate(t *testing.T) {
	p := Partition{Stream: "events", Key: "a"}
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	good := NewSlice(p, day, day.Add(24*time.Hour), 0)
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	other := good
	other.Rev = 1
	tests := []struct {
		name, want string
		s          Slice
	}{
		{"empty", "range is empty", NewSlice(p, day, day, 0)},
		{"reversed", "range is empty", NewSlice(p, day.Add(time.Hour), day, 0)},
		{"two days", "crosses a UTC day", NewSlice(p, day, day.Add(24*time.Hour+time.Millisecond), 0)},
		{"parts of a millisecond", "whole milliseconds", NewSlice(p, day, day.Add(time.Nanosecond), 0)},
		{"no stream", "no stream", NewSlice(Partition{}, day, day.Add(1e6), 0)},
		{"NUL", "NUL", NewSlice(Partition{Stream: "a\x00"}, day, day.Add(1e6), 0)},
		{"other revision", "ID doesn't fit", other},
	}
	for _, tt := range tests {
		if err := tt.s.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestIDsReadBack(t *testing.T) {
	s := NewSlice(Partition{Stream: "events"}, origin, origin.Add(time.Millisecond), 3)
	m := Manifest{Slice: s, Sum: SumOf([]byte("x"))}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Manifest
	if err := json.Unmarshal(b, &back); err != nil || back != m {
		t.Errorf("got %+v, %v from %s", back, err, b)
	}
	for _, bad := range []string{"", "zz", strings.Repeat("g", 32), strings.Repeat("0", 31), strings.Repeat("0", 33)} {
		if new(SliceID).UnmarshalText([]byte(bad)) == nil || new(SelectionID).UnmarshalText([]byte(bad)) == nil ||
			new(Digest).UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for _, bad := range []string{"", "{", "1 2"} {
		if _, err := NewSelectionID("s", map[string]json.RawMessage{"k": json.RawMessage(bad)}); err == nil {
			t.Errorf("setting %q was taken", bad)
		}
	}
}

func TestDigestIsAMultisetHash(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		records := make([][]byte, rng.IntN(20))
		for i := range records {
			records[i] = make([]byte, rng.IntN(5))
			for j := range records[i] {
				records[i][j] = byte(rng.IntN(2))
			}
		}
		var whole, left, right Sum
		for i, r := range records {
			whole.Add(r)
			if i%2 == 0 {
				left.Add(r)
			} else {
				right.Add(r)
			}
		}
		rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		var shuffled Sum
		h := NewHasher()
		for _, r := range records {
			cut := rng.IntN(len(r) + 1)
			h.Write(r[:cut])
			h.Write(r[cut:])
			shuffled = shuffled.Plus(h.Sum())
		}
		if whole != shuffled || left.Plus(right) != whole || whole.Minus(left) != right {
			t.Fatalf("seed %d: sums differ", seed)
		}
	}
	a := SumOf([]byte("a"))
	if a.Plus(a).Digest == (Digest{}) || a.Plus(a).Digest == a.Digest {
		t.Error("doubles cancel")
	}
	max := Digest{Hi: ^uint64(0), Lo: ^uint64(0)}
	if got := max.Plus(Digest{Lo: 1}); got != (Digest{}) {
		t.Errorf("carry: %v", got)
	}
	if got := (Digest{}).Minus(Digest{Lo: 1}); got != max {
		t.Errorf("borrow: %v", got)
	}
}

// However a record is cut, and whether body or body_raw holds a row, the sum is that of its bytes.
func TestSumRecord(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: ColBody, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil)
	for seed := range uint64(200) {
		alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
		rng := rand.New(rand.NewPCG(seed, 4))
		b := array.NewRecordBuilder(alloc, schema)
		text, raw := b.Field(0).(*array.StringBuilder), b.Field(1).(*array.BinaryBuilder)
		var want []Sum
		for i := range 1 + rng.IntN(30) {
			line := fmt.Sprint("line", i%3)
			switch rng.IntN(4) {
			case 0:
				text.AppendNull()
				raw.AppendNull()
				want = append(want, SumOf(nil))
			case 1:
				text.Append("\uFFFD")
				raw.Append([]byte("\xff" + line))
				want = append(want, SumOf([]byte("\xff"+line)))
			default:
				text.Append(line)
				raw.AppendNull()
				want = append(want, SumOf([]byte(line)))
			}
		}
		rec := b.NewRecord()
		b.Release()
		from := rng.IntN(len(want))
		to := from + rng.IntN(len(want)-from+1)
		part := rec.NewSlice(int64(from), int64(to))
		var sum Sum
		for _, s := range want[from:to] {
			sum = sum.Plus(s)
		}
		if got, err := SumRecord(part); err != nil || got != sum {
			t.Fatalf("seed %d: got %+v, %v, want %+v", seed, got, err, sum)
		}
		part.Release()
		rec.Release()
		alloc.AssertSize(t, 0)
	}
}

func TestSumsOfUnfitSchemas(t *testing.T) {
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "t", Type: arrow.FixedWidthTypes.Time64ns},
	}, nil))
	b.Field(0).(*array.Int64Builder).Append(1)
	b.Field(1).(*array.Time64Builder).Append(1)
	rec := b.NewRecord()
	if _, err := SumRecord(rec); err == nil {
		t.Error("a stream without a body was summed by its body")
	}
	for _, names := range [][]string{{"missing"}, {"t"}} {
		if _, err := SumColumns(rec, names); err == nil {
			t.Errorf("columns %v were summed", names)
		}
	}
}
