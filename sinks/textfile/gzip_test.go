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
		b = append(append(b, words[r.IntN(len(words))]...), "0123456789 \n"[r.IntN(12)])
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

// smallPiece is a piece's size in tests.
const smallPiece = 16 << 10

func newSmallPieces(most int) *pieces {
	g := newPieces()
	g.size, g.most = smallPiece, most
	return g
}

// TestGzipPieces reads one member of every length back with the standard library, written by one writer after the other.
func TestGzipPieces(t *testing.T) {
	g := newSmallPieces(gzipPieces)
	for _, n := range []int{0, 1, smallPiece - 1, smallPiece, smallPiece + 1, 4 * smallPiece, 17*smallPiece + 99} {
		text := someText(n, uint64(n))
		first := zipped(t, g, text, 10_000)
		for _, most := range []int{0, 1, gzipPieces} {
			if again := zipped(t, newSmallPieces(most), text, 3_333); !bytes.Equal(again, first) {
				t.Errorf("%d bytes give %d bytes of gzip, and %d others with %d side by side", n, len(first), len(again), most)
			}
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

// TestGzipExpect: small files have small pieces that are waited for, so that they end where they should.
func TestGzipExpect(t *testing.T) {
	for _, tt := range []struct {
		part       int64
		size, most int
	}{
		{64 << 10, 64 << 10, 0}, {1 << 20, gzipPiece, 0}, {128 << 20, gzipPiece, gzipPieces},
	} {
		g := newPieces()
		if g.expect(tt.part); g.size != tt.size || g.most != tt.most {
			t.Errorf("parts of %d: pieces of %d, %d at once, want %d, %d", tt.part, g.size, g.most, tt.size, tt.most)
		}
	}
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
	text := someText(30*smallPiece, 3)
	g := newSmallPieces(gzipPieces)
	g.Reset(&failing{left: 2 * smallPiece})
	_, err := g.Write(text)
	if err == nil {
		err = g.Close()
	}
	if !errors.Is(err, errFull) {
		t.Fatalf("%v, want %v", err, errFull)
	}
	if got, want := zipped(t, g, text, len(text)), zipped(t, newSmallPieces(0), text, len(text)); !bytes.Equal(got, want) {
		t.Error("after a failure the writer writes something else")
	}
}

// TestGzipPending holds the weight of what is in hand against what it came to.
func TestGzipPending(t *testing.T) {
	g := newSmallPieces(gzipPieces)
	out := new(bytes.Buffer)
	g.Reset(out)
	if _, err := g.Write(someText(20*smallPiece+1000, 4)); err != nil {
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
	text := someText(3<<20+77, 5)
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
	text := someText(16<<20, 6)
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
