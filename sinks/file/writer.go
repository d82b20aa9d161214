package file

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"sync"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// writer turns blocks into part files. Its methods are called by one goroutine at a time, failure by any. After its first
// error it does nothing more.
type writer struct {
	sink   *Sink
	stage  *commitlog.Staging
	header []byte
	name   func(part int) string

	parts []sinks.Part // those that are finished and durable
	part  *part        // the one that is being written, or nil
	zip   compressor   // kept from part to part
	buf   *bufio.Writer

	broken bool // a part was given up: the compressor holds half of it

	mu  sync.Mutex
	err error
}

// part is a file that is being written.
type part struct {
	file  commitlog.File
	hash  hash.Hash
	bytes int64 // on disk
	rows  uint64
}

// Write hashes and writes what lies on disk.
func (p *part) Write(b []byte) (int, error) {
	p.hash.Write(b)
	n, err := p.file.Write(b)
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

// write writes one block and ends the part if that makes it large enough.
func (w *writer) write(b block) {
	if w.failure() != nil {
		return
	}
	if err := w.tryWrite(b); err != nil {
		w.fail(err)
	}
}

func (w *writer) tryWrite(b block) (err error) {
	defer recoverTo(&err, "write a part")
	if w.part == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if err := w.put(b.bytes); err != nil {
		return err
	}
	w.part.rows += b.rows
	if w.part.bytes >= int64(w.sink.set.PartSize) {
		return w.end()
	}
	return nil
}

func (w *writer) put(b []byte) error {
	if w.sink.set.Compression == plain {
		_, err := w.part.Write(b)
		return err
	}
	_, err := w.zip.Write(b)
	return err
}

func (w *writer) begin() error {
	f, err := w.stage.Create()
	if err != nil {
		return err
	}
	w.part = &part{file: f, hash: sha256.New()}
	if w.sink.set.Compression != plain {
		if w.zip == nil {
			if w.zip, err = w.sink.compressor(); err != nil {
				return err
			}
			w.buf = bufio.NewWriterSize(nil, blockSize)
		}
		w.buf.Reset(w.part)
		w.zip.Reset(w.buf)
	}
	if len(w.header) > 0 {
		return w.put(w.header)
	}
	return nil
}

// end makes the part's content durable.
func (w *writer) end() error {
	if w.sink.set.Compression != plain {
		if err := w.zip.Close(); err != nil {
			return err
		}
		if err := w.buf.Flush(); err != nil {
			return err
		}
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
		Path: w.name(len(w.parts)), Bytes: p.bytes, SHA256: hex.EncodeToString(p.hash.Sum(nil)), Rows: p.rows,
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

// takeCompressor returns the compressor for another transaction's use, or nil. After an error it isn't used again.
func (w *writer) takeCompressor() compressor {
	if w.failure() != nil || w.broken {
		return nil
	}
	c := w.zip
	w.zip = nil
	return c
}
