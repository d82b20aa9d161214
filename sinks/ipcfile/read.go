package ipcfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"
)

// Source is what Read reads.
type Source interface {
	io.Reader
	io.Seeker
	io.ReaderAt
}

var magic = []byte("ARROW1")

// Read calls each with the batches of a file or a stream; each is good until the call returns.
func Read(r Source, each func(rec arrow.Record) error) (err error) {
	defer func() { // the reader panics on some damage
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	head := make([]byte, len(magic))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(head, magic) {
		return readStream(r, each)
	}
	f, err := ipc.NewFileReader(r)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range f.NumRecords() {
		rec, err := f.RecordAt(i)
		if err != nil {
			return err
		}
		err = each(rec)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func readStream(r io.Reader, each func(rec arrow.Record) error) error {
	in, err := ipc.NewReader(r)
	if err != nil {
		return err
	}
	defer in.Release()
	for in.Next() {
		if err := each(in.Record()); err != nil {
			return err
		}
	}
	return in.Err()
}
