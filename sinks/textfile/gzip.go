package textfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

const (
	// gzipPiece is how much text is compressed on its own. A piece can't refer to the one before, which costs 1 to 2 % in size.
	gzipPiece = 512 << 10
	// gzipPieces is how many are compressed at once. It doesn't follow the number of processors, because where a part ends does
	// follow it, and the same records must give the same files everywhere.
	gzipPieces = 4
)

// The one member of a file: its first bytes, as klauspost's and Go's writers have them for the fastest level, and the last block of
// its stream, which is empty.
var (
	gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff}
	gzipEnd    = []byte{3, 0}
)

// pieces is a gzip writer that compresses pieces of a file side by side and writes them in order, as one member. What it writes
// follows from the text alone. It isn't safe for concurrent use.
type pieces struct {
	w     io.Writer
	size  int // of a piece
	most  int // pieces at once; 0: each is waited for
	sum   uint32
	total uint32 // bytes of text; the format counts no further

	filling *piece
	running []*piece // oldest first
	idle    []*piece

	// What is known of this file's pieces that are written.
	text, written int64
	held          int64 // text in running
	err           error
}

// piece is one job.
type piece struct {
	text []byte
	out  output
	z    *flate.Writer
	done chan error
}

// output collects what is compressed.
type output []byte

func (o *output) Write(p []byte) (int, error) {
	*o = append(*o, p...)
	return len(p), nil
}

func newPieces() *pieces { return &pieces{size: gzipPiece, most: gzipPieces} }

// expect says how large a file will be: the pieces of one that is small are small, too, so that it can end where it should. It comes
// before Reset.
func (g *pieces) expect(size int64) {
	g.size, g.most = gzipPiece, gzipPieces
	if size < 4*gzipPieces*gzipPiece {
		g.size, g.most = int(min(size, gzipPiece)), 0
	}
}

// Reset begins a file.
func (g *pieces) Reset(w io.Writer) {
	for len(g.running) > 0 { // of a file that was given up
		p := g.running[0]
		<-p.done //nolint:errcheck // nobody wants it any more
		g.retire(p)
	}
	if g.filling != nil {
		g.filling.text = g.filling.text[:0]
	}
	g.w, g.sum, g.total, g.text, g.written, g.held = w, 0, 0, 0, 0, 0
	_, g.err = w.Write(gzipHeader)
}

// Write takes text.
func (g *pieces) Write(b []byte) (int, error) {
	g.sum = crc32.Update(g.sum, crc32.IEEETable, b)
	g.total += uint32(len(b))
	for rest := b; len(rest) > 0 && g.err == nil; {
		if g.filling == nil {
			g.next()
		}
		n := min(len(rest), g.size-len(g.filling.text))
		g.filling.text = append(g.filling.text, rest[:n]...)
		if rest = rest[n:]; len(g.filling.text) >= g.size {
			g.start()
		}
	}
	return len(b), g.err
}

// next takes an idle piece, or makes one.
func (g *pieces) next() {
	if n := len(g.idle); n > 0 {
		g.filling, g.idle = g.idle[n-1], g.idle[:n-1]
		return
	}
	z, err := flate.NewWriter(io.Discard, flate.BestSpeed)
	if err != nil {
		g.err = err
	}
	g.filling = &piece{text: make([]byte, 0, g.size), z: z, done: make(chan error, 1)}
}

// start compresses the piece that is full, and writes those that were waited for.
func (g *pieces) start() {
	p := g.filling
	g.filling = nil
	g.held += int64(len(p.text))
	g.running = append(g.running, p)
	if g.most == 0 {
		p.compress()
	} else {
		go p.compress()
	}
	for len(g.running) > g.most {
		g.settle()
	}
}

func (p *piece) compress() {
	var err error
	defer func() {
		if r := recover(); r != nil { // of this file alone
			err = fmt.Errorf("compress: panic: %v", r)
			p.z = nil
		}
		p.done <- err
	}()
	p.out = p.out[:0]
	p.z.Reset(&p.out)
	if _, err = p.z.Write(p.text); err == nil {
		err = p.z.Flush()
	}
}

// settle writes the oldest piece.
func (g *pieces) settle() {
	p := g.running[0]
	err := <-p.done
	if err == nil && g.err == nil {
		_, err = g.w.Write(p.out)
	}
	if err != nil && g.err == nil {
		g.err = err
	}
	g.text += int64(len(p.text))
	g.written += int64(len(p.out))
	g.retire(p)
}

// retire keeps the oldest piece for later.
func (g *pieces) retire(p *piece) {
	g.held -= int64(len(p.text))
	g.running = append(g.running[:0], g.running[1:]...)
	if p.text = p.text[:0]; p.z != nil {
		g.idle = append(g.idle, p)
	}
}

// pending is how much the pieces in hand will weigh in the file, by those before.
func (g *pieces) pending() int64 {
	held := g.held
	if g.filling != nil {
		held += int64(len(g.filling.text))
	}
	if g.text == 0 {
		return 0
	}
	return int64(float64(held) * float64(g.written) / float64(g.text))
}

// Close ends the file.
func (g *pieces) Close() error {
	if g.filling != nil && len(g.filling.text) > 0 {
		g.start()
	}
	for len(g.running) > 0 {
		g.settle()
	}
	if g.err != nil {
		return g.err
	}
	end := binary.LittleEndian.AppendUint32(append([]byte(nil), gzipEnd...), g.sum)
	_, err := g.w.Write(binary.LittleEndian.AppendUint32(end, g.total))
	return err
}
