package parquetfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	ipc18 "github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"
)

// readRows is how many rows Read yields at a time.
const readRows = 8 << 10

// Read calls each with the records of a file, one batch after the other; each is good until the call returns.
func Read(r parquet.ReaderAtSeeker, each func(rec arrow.Record) error) (err error) {
	return read(r, nil, each)
}

// read is Read of the columns that keep accepts; nil accepts all.
func read(r parquet.ReaderAtSeeker, keep func(column string) bool, each func(rec arrow.Record) error) (err error) {
	defer func() { // the reader panics on some damage
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	f, err := file.NewParquetReader(r)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: readRows}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	var leaves []int
	if keep != nil {
		for i := range f.MetaData().Schema.NumColumns() {
			if keep(f.MetaData().Schema.Column(i).ColumnPath()[0]) {
				leaves = append(leaves, i)
			}
		}
		if len(leaves) == 0 {
			leaves = []int{0} // there are as many records of no columns
		}
	}
	records, err := rows.GetRecordReader(context.Background(), leaves, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	var buf bytes.Buffer
	for records.Next() {
		buf.Reset()
		w := ipc18.NewWriter(&buf, ipc18.WithSchema(records.Schema()))
		if err := errors.Join(w.Write(records.RecordBatch()), w.Close()); err != nil {
			return err
		}
		if err := each15(&buf, each); err != nil {
			return err
		}
	}
	if err := records.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// each15 reads batches of the later release of Arrow as ones of the first.
func each15(r io.Reader, each func(rec arrow.Record) error) error {
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
