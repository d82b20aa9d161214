package textfile

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// someText is n bytes that compress as logs do.
func someText(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	words := strings.Fields("GET POST /index.html /api/v2/orders 200 404 500 request completed upstream timeout user session 10.0.0.1 error info")
	var b []byte
	for len(b) < n {
		b = append(append(b, words[r.IntN(len(words))]...), byte("0123456789 \n"[r.IntN(12)]))
	}
	return b[:n]
}

// zipped writes text in writes of a size through a compressor.
func zipped(t *testing.T, z compressor, text []byte, write int) []byte {
	t.Helper()
	var out bytes.Buffer
	z.Reset(&out)
	for rest := text; len(rest) > 0; {
		n := min(write, len(rest))
		if _, err := z.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestGzipPieces reads one member of every length back with the standard library, written by one writer after the other.
func TestGzipPieces(t *testing.T) {
	g := newPieces()
	for _, part := range []int64{1000, 64 << 20} {
		g.expect(part)
		for _, n := range []int{0, 1, gzipPiece - 1, gzipPiece, gzipPiece + 1, 7*gzipPiece + 99} {
			text := someText(n, uint64(n))
			first := zipped(t, g, text, 100_000)
			if again := zipped(t, newPiecesFor(part), text, 33_333); !bytes.Equal(again, first) {
				t.Errorf("%d bytes give %d bytes of gzip and another time %d others", n, len(first), len(again))
			}
			source := bytes.NewReader(append(bytes.Clone(first), "behind"...))
			r, err := stdgzip.NewReader(source)
			if err != nil {
				t.Fatal(err)
			}
			r.Multistream(false)
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes: %d come back: %v", n, len(got), err)
			}
			if rest, _ := io.ReadAll(source); string(rest) != "behind" {
				t.Errorf("%d bytes: what follows the member is %q", n, rest)
			}
		}
	}
}

func newPiecesFor(part int64) *pieces {
	g := newPieces()
	g.expect(part)
	return g
}

// failing fails after so many bytes.
type failing struct{ left int }

var errFull = errors.New("the disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestGzipPiecesFail has a write fail with pieces in hand, after which the writer is as new.
func TestGzipPiecesFail(t *testing.T) {
	text := someText(12*gzipPiece, 3)
	g := newPieces()
	g.Reset(&failing{left: 50_000})
	_, err := g.Write(text)
	if err == nil {
		err = g.Close()
	}
	if !errors.Is(err, errFull) {
		t.Fatalf("%v, want %v", err, errFull)
	}
	if got, want := zipped(t, g, text, len(text)), zipped(t, newPieces(), text, len(text)); !bytes.Equal(got, want) {
		t.Error("after a failure the writer writes something else")
	}
}

// TestGzipPending holds the weight of what is in hand against what it came to.
func TestGzipPending(t *testing.T) {
	g := newPieces()
	out := new(bytes.Buffer)
	g.Reset(out)
	if _, err := g.Write(someText(9*gzipPiece+1000, 4)); err != nil {
		t.Fatal(err)
	}
	told := int64(out.Len()) + g.pending()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if have := int64(out.Len()); told < have*9/10 || told > have*11/10 {
		t.Errorf("it was told as %d bytes and is %d", told, have)
	}
}

// TestZstdConcurrency: the number of processors doesn't show in a file.
func TestZstdConcurrency(t *testing.T) {
	text := someText(5<<20+77, 5)
	var want []byte
	for _, n := range []int{1, 2, 4} {
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(n), zstd.WithWindowSize(zstdWindow))
		if err != nil {
			t.Fatal(err)
		}
		got := zipped(t, z, text, blockSize)
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d side by side give another file", n)
		}
	}
}

func BenchmarkCompress(b *testing.B) {
	text := someText(32<<20, 6)
	for _, c := range []Compression{Gzip, Zstd} {
		b.Run(string(c), func(b *testing.B) {
			z, err := c.newCompressor()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				z.Reset(io.Discard)
				for rest := text; len(rest) > 0; rest = rest[blockSize:] {
					if _, err := z.Write(rest[:blockSize]); err != nil {
						b.Fatal(err)
					}
				}
				if err := z.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
