package rapid7download

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// script is a source of chunks: a nil chunk is an idle tick, and end is how it ends.
type script struct {
	chunks [][]byte
	end    error
	last   []byte
}

func (s *script) next(context.Context) ([]byte, error) {
	// What was handed out before is no longer the decoder's.
	for i := range s.last {
		s.last[i] = '!'
	}
	if len(s.chunks) == 0 {
		return nil, s.end
	}
	s.last = bytes.Clone(s.chunks[0])
	s.chunks = s.chunks[1:]
	return s.last, nil
}

// naive is what the decoder must find: records in order, their readable forms, and whether the last one isn't ended.
func naive(text []byte) (lines, bodies []string, unended bool) {
	for len(text) > 0 {
		line, rest, found := bytes.Cut(text, []byte("\n"))
		lines = append(lines, string(line))
		var body strings.Builder
		for _, r := range string(line) { // each invalid byte is a RuneError of its own
			body.WriteRune(r)
		}
		bodies = append(bodies, body.String())
		unended = !found
		text = rest
	}
	return lines, bodies, unended
}

func decodeAll(tb testing.TB, limits plugins.Limits, chunks [][]byte) (*collector, *decoder) {
	tb.Helper()
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	out := newCollector(tb)
	d := newDecoder(frameSchema(eventSchema(), false), roughAllocator{mem}, limits, out, time.Now)
	if err := d.run(context.Background(), &script{chunks: chunks, end: io.EOF}, math.MaxUint64); err != nil {
		tb.Fatalf("run: %v", err)
	}
	d.release()
	if n := mem.CurrentAlloc(); n != 0 {
		tb.Errorf("%d bytes aren't released", n)
	}
	return out, d
}

// cut cuts text into random chunks, some of them idle ticks.
func cut(rnd *rand.Rand, text []byte, most int) (chunks [][]byte) {
	for len(text) > 0 {
		if rnd.IntN(8) == 0 {
			chunks = append(chunks, nil)
		}
		n := min(len(text), 1+rnd.IntN(most))
		chunks = append(chunks, text[:n])
		text = text[n:]
	}
	return chunks
}

func checkDecoded(tb testing.TB, text []byte, limits plugins.Limits, chunks [][]byte) {
	tb.Helper()
	got, d := decodeAll(tb, limits, chunks)
	lines, bodies, unended := naive(text)
	if len(got.lines) == 0 {
		got.lines = nil
	}
	if diff := cmp.Diff(lines, got.lines); diff != "" {
		tb.Fatalf("lines (-want +got):\n%.2000s", diff)
	}
	var want flow.Sum
	for _, l := range lines {
		want.Add([]byte(l))
	}
	if got.sum != want {
		tb.Errorf("sum = %+v, want %+v", got.sum, want)
	}
	if d.rows != want.Rows || d.bytes != want.Bytes {
		tb.Errorf("counted %d rows and %d bytes, want %d and %d", d.rows, d.bytes, want.Rows, want.Bytes)
	}
	if len(got.dead) == 0 {
		if diff := cmp.Diff(bodies, got.bodies); diff != "" {
			tb.Fatalf("bodies (-want +got):\n%.2000s", diff)
		}
	}
	for _, b := range got.bodies {
		if !utf8.ValidString(b) {
			tb.Errorf("body %q isn't UTF-8", b)
		}
	}
	if unended != (got.counters[finalMark] == 1) {
		tb.Errorf("%s = %d, want it to be counted: %v", finalMark, got.counters[finalMark], unended)
	}
	for i, w := range got.weights {
		if limits.FrameMax > 0 && int64(w) > limits.FrameMax && got.batches[i] > 1 {
			tb.Errorf("batch %d weighs %d with %d rows, more than %d", i, w, got.batches[i], limits.FrameMax)
		}
	}
	for _, dead := range got.dead {
		if len(dead) <= d.record && 3*d.record >= 4*len(dead) {
			tb.Errorf("a record of %d bytes is dead, though %d are allowed", len(dead), d.record)
		}
	}
}

func TestDecodeAwkward(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct{ name, text string }{
		{"nothing", ""},
		{"one empty line", "\n"},
		{"empty lines", "\n\n\n"},
		{"crlf", "a\r\nb\r\n"},
		{"carriage return at the end", "a\r"},
		{"nul", "\x00\na\x00b\n\x00"},
		{"no final newline", "a\nb"},
		{"invalid", "a\n\xff\xfe\nb\n"},
		{"valid only when joined", "\xe2\x82\n\xac\n"},
		{"cut rune at the end", "x\xe2\x82"},
		{"replacement itself", "\ufffd\n"},
		{"surrogate and overlong", "\xed\xa0\x80\n\xc0\xaf\n"},
		{"unicode", "Ünïcödé 世界 🎉\nnext line \u0085 and \u2028\n"},
		{"byte order mark", "\ufefftext\n"},
		{"longer than a record", long + "\nshort\n" + long},
		{"invalid and long", strings.Repeat("\xff", 90) + "\nshort\n"},
		{"invalid and too long with replacements", strings.Repeat("\xff", 99) + "\nshort\n"},
		{"exactly a record", long[:100] + "\n" + long[:101] + "\n" + long[:100]},
	}
	limits := plugins.Limits{FrameTarget: 128, FrameMax: 256, RecordMax: 100}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := []byte(tt.text)
			for size := 1; size <= len(text)+1; size++ {
				var chunks [][]byte
				for rest := text; len(rest) > 0; {
					n := min(size, len(rest))
					chunks = append(chunks, rest[:n])
					rest = rest[n:]
				}
				checkDecoded(t, text, limits, chunks)
				if t.Failed() {
					t.Fatalf("with chunks of %d", size)
				}
			}
		})
	}
}

// randomText is made of pieces that careless code loses or changes.
func randomText(rnd *rand.Rand) []byte {
	pieces := []string{"\n", "\n\n", "\r\n", "a", "some words of text", "\x00", "\xff", "\xe2\x82", "é", "世界", "\xf0\x9f", "🎉", strings.Repeat("long ", 40), strings.Repeat("\xfe", 30)}
	var b []byte
	for range rnd.IntN(200) {
		b = append(b, pieces[rnd.IntN(len(pieces))]...)
	}
	return b
}

func TestDecodeAnyChunks(t *testing.T) {
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		text := randomText(rnd)
		limits := plugins.Limits{
			FrameTarget: int64(1 + rnd.IntN(2000)), FrameMax: int64(100 + rnd.IntN(4000)), RecordMax: int64(40 + rnd.IntN(2000)),
		}
		checkDecoded(t, text, limits, cut(rnd, text, 1+rnd.IntN(500)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("a\nb\r\n\xff\n\n\x00"), uint64(1), uint16(100))
	f.Add([]byte(strings.Repeat("é\xe2\n", 50)), uint64(7), uint16(3))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64, record uint16) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		limits := plugins.Limits{FrameTarget: int64(1 + rnd.IntN(300)), FrameMax: int64(1 + rnd.IntN(600)), RecordMax: 1 + int64(record)}
		checkDecoded(t, text, limits, cut(rnd, text, 64))
	})
}

func TestBatchesAreOfTheTargetSize(t *testing.T) {
	text := bytes.Repeat([]byte(strings.Repeat("x", 199)+"\n"), 50_000) // 10 MB
	got, _ := decodeAll(t, plugins.Limits{}, [][]byte{text})
	for i, w := range got.weights[:len(got.weights)-1] {
		if w < frameTarget*9/10 || w > frameMax {
			t.Errorf("batch %d weighs %d", i, w)
		}
	}
	if n := len(got.batches); n < 9 || n > 11 {
		t.Errorf("%d batches for 10 MB", n)
	}
}

func TestRowsOfABatchAreBounded(t *testing.T) {
	got, d := decodeAll(t, plugins.Limits{}, [][]byte{bytes.Repeat([]byte("\n"), 200_000)})
	if d.rows != 200_000 {
		t.Errorf("rows = %d", d.rows)
	}
	for _, n := range got.batches {
		if n > frameRows {
			t.Errorf("a batch of %d rows", n)
		}
	}
}

func TestLargestRecordTravelsAlone(t *testing.T) {
	line := strings.Repeat("0123456789abcdef", recordMax/16)
	var chunks [][]byte
	text := []byte("before\n" + line + "\nafter\n" + line + "!\nend\n")
	for rest := text; len(rest) > 0; {
		n := min(blockSize, len(rest))
		chunks = append(chunks, rest[:n])
		rest = rest[n:]
	}
	got, _ := decodeAll(t, plugins.Limits{}, chunks)
	if diff := cmp.Diff([]int{1, 1, 1, 1}, got.batches); diff != "" {
		t.Errorf("rows of batches (-want +got):\n%s", diff)
	}
	if len(got.dead) != 1 || got.dead[0] != line+"!" || got.reasons[0] != "longer than 16777216 bytes" {
		t.Errorf("dead letters: %d, %q", len(got.dead), got.reasons)
	}
}

func TestIdleAndAgeFlush(t *testing.T) {
	now := time.Unix(0, 0)
	out := newCollector(t)
	d := newDecoder(frameSchema(eventSchema(), false), memory.NewGoAllocator(), plugins.Limits{}, out, func() time.Time { return now })
	step := func(chunks ...[]byte) {
		t.Helper()
		if err := d.run(context.Background(), &script{chunks: chunks, end: errors.New("no more for now")}, math.MaxUint64); err.Error() != "no more for now" {
			t.Fatal(err)
		}
	}
	step([]byte("a\nb\nhalf"))
	if len(out.batches) != 0 {
		t.Fatalf("a batch was sent at once: %v", out.batches)
	}
	step(nil)
	if diff := cmp.Diff([]string{"a", "b"}, out.lines); diff != "" {
		t.Errorf("after an idle tick (-want +got):\n%s", diff)
	}
	step([]byte(" line\n"))
	now = now.Add(flushAfter)
	step([]byte("c"))
	if diff := cmp.Diff([]string{"a", "b", "half line"}, out.lines); diff != "" {
		t.Errorf("after %v of a drip (-want +got):\n%s", flushAfter, diff)
	}
	d.release()
}

func TestCutInsideADeadRecord(t *testing.T) {
	cutErr := fault.New(fault.Transient, "read", "", io.ErrUnexpectedEOF)
	out := newCollector(t)
	d := newDecoder(frameSchema(eventSchema(), false), memory.NewGoAllocator(), plugins.Limits{RecordMax: 10}, out, time.Now)
	err := d.run(context.Background(), &script{chunks: [][]byte{[]byte("a\n0123456789012345"), []byte("678")}, end: cutErr}, math.MaxUint64)
	if !errors.Is(err, cutErr) {
		t.Errorf("error = %v, want the stream's", err)
	}
	d.release()
}

func TestErrorsOfTheEmitterEndTheRead(t *testing.T) {
	full := errors.New("disk full")
	for _, text := range []string{"0123456789012345\nb\n", "a\n0123456789012345\n"} {
		out := newCollector(t)
		out.deadErr = full
		d := newDecoder(frameSchema(eventSchema(), false), memory.NewGoAllocator(), plugins.Limits{RecordMax: 10}, out, time.Now)
		err := d.run(context.Background(), &script{chunks: [][]byte{[]byte(text)}, end: io.EOF}, math.MaxUint64)
		if !errors.Is(err, full) {
			t.Errorf("%q: error = %v", text, err)
		}
		d.release()
	}
}

func TestStopsAtTheLimit(t *testing.T) {
	out := newCollector(t)
	d := newDecoder(frameSchema(eventSchema(), false), memory.NewGoAllocator(), plugins.Limits{}, out, time.Now)
	src := &script{chunks: [][]byte{[]byte("a\nb\n"), []byte("c\nd\n"), []byte("e\n")}, end: io.EOF}
	if err := d.run(context.Background(), src, 4); err != nil {
		t.Fatal(err)
	}
	if d.rows != 4 || len(src.chunks) != 1 || len(out.lines) != 4 {
		t.Errorf("rows = %d, chunks left = %d, lines = %q", d.rows, len(src.chunks), out.lines)
	}
	d.release()
}

type ringChunks struct {
	block []byte
	left  int
}

func (r *ringChunks) next(context.Context) ([]byte, error) {
	if r.left -= len(r.block); r.left < 0 {
		return nil, io.EOF
	}
	return r.block, nil
}

func BenchmarkDecode(b *testing.B) {
	line := "203.0.113.7 - - [01/Nov/2026:00:00:01 +0000] \"GET /api/v1/orders/100017 HTTP/1.1\" 200 5123 \"-\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\"\n"
	kinds := []struct{ name, line string }{
		{"ascii", line},
		{"unicode", strings.Replace(line, "orders", "bestellungen/größe", 1)},
		{"short", "x\n"},
		{"one invalid in a thousand", ""},
	}
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			var block []byte
			for i := 0; len(block) < blockSize; i++ {
				l := k.line
				if l == "" {
					if l = line; i%1000 == 500 {
						l = "\xff" + line
					}
				}
				block = append(block, l...)
			}
			block = block[:blockSize] // lines run from block to block, as they do on the wire
			const total = 64 << 20
			mem := plugins.NewAllocator().Unzeroed()
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				d := newDecoder(frameSchema(eventSchema(), false), mem, plugins.Limits{}, benchSink{}, time.Now)
				if err := d.run(context.Background(), &ringChunks{block: block, left: total}, math.MaxUint64); err != nil {
					b.Fatal(err)
				}
				d.release()
			}
			b.ReportMetric(float64(bytes.Count(block, []byte{'\n'})*(total/blockSize)), "events/op")
		})
	}
}

// benchSink is an emitter that costs nothing.
type benchSink struct{ plugins.Emitter }

func (benchSink) Batch(context.Context, arrow.Record) error { return nil }
func (benchSink) Count(string, uint64)                      {}
