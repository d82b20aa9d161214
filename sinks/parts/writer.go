package parts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"runtime"
	"sync"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// writer turns chunks into part files. Its methods are called by one goroutine at a time, failure by any. After its first
// error it does nothing more.
type writer struct {
	txn *txn
	dir string // of the parts; set before the first chunk

	parts  []sinks.Part // those that are finished and durable
	part   *part        // the one that is being written, or nil
	broken bool         // a part was given up: the encoder holds half of it

	mu  sync.Mutex
	err error
}

// part is a file that is being written.
type part struct {
	file  commitlog.File
	path  string
	hash  hash.Hash
	bytes int64 // on disk
	rows  uint64
}

// sideBySide is the fewest bytes that are hashed and written at the same time, on two processors: fewer are done before another would have begun.
const sideBySide = 64 << 10

// Write hashes and writes what lies on disk. A block's hash takes longer than its copy into the page cache, and both together are the longest
// step of a slice.
func (p *part) Write(b []byte) (n int, err error) {
	if len(b) < sideBySide || runtime.GOMAXPROCS(0) == 1 {
		p.hash.Write(b)
	} else {
		var hashing sync.WaitGroup
		hashing.Go(func() { p.hash.Write(b) })
		defer hashing.Wait() // even if the file panics: the caller uses b again
	}
	n, err = p.file.Write(b)
	p.bytes += int64(n)
	return n, err
}

// failure returns the first error.
func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// write writes one chunk and ends the part if that makes it large enough.
func (w *writer) write(c partfile.Chunk) {
	if w.failure() != nil {
		return
	}
	if err := w.tryWrite(c); err != nil {
		w.fail(err)
	}
}

func (w *writer) tryWrite(c partfile.Chunk) (err error) {
	defer recoverTo(&err, "write a part")
	if w.part == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if err := w.txn.enc.Write(c); err != nil {
		return err
	}
	w.part.rows += c.Rows()
	if w.part.bytes+w.txn.enc.Pending() >= w.txn.sink.place.partSize {
		return w.end()
	}
	return nil
}

func (w *writer) begin() error {
	name := partfile.Name(w.txn.slice, len(w.parts), "")
	f, path, err := w.txn.stage.Create(w.dir, name, w.txn.sink.format.Extension())
	if err != nil {
		return err
	}
	w.part = &part{file: f, path: path, hash: sha256.New()}
	return w.txn.enc.Begin(w.part)
}

// end makes the part's content durable.
func (w *writer) end() (err error) {
	defer recoverTo(&err, "end a part")
	if err := w.txn.enc.Finish(); err != nil {
		return err
	}
	p := w.part
	if err := p.file.Sync(); err != nil {
		return err
	}
	w.part = nil
	if err := p.file.Close(); err != nil {
		return err
	}
	w.parts = append(w.parts, sinks.Part{
		Path: p.path, Bytes: p.bytes, SHA256: hex.EncodeToString(p.hash.Sum(nil)), Rows: p.rows,
	})
	return nil
}

// finish ends the last part. After an error nothing of the writer is open.
func (w *writer) finish() error {
	err := w.failure()
	if err == nil && w.part != nil {
		err = w.end()
	}
	if err != nil {
		w.fail(err)
		return errors.Join(err, w.giveUp())
	}
	return nil
}

// giveUp closes what is open.
func (w *writer) giveUp() error {
	if w.part == nil {
		return nil
	}
	p := w.part
	w.part, w.broken = nil, true
	return p.file.Close()
}
