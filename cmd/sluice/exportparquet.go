package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/sluice-io/sluice/host/ledger"
)

// exportRows is how many rows are held before they become a row group.
const exportRows = 32 << 10

// parquetExport writes one table as a Parquet file.
type parquetExport struct {
	w       io.Writer
	builder *array.RecordBuilder
	file    *pqarrow.FileWriter
	rows    int
}

func (e *parquetExport) begin(t ledger.Table) error {
	fields := make([]arrow.Field, len(t.Columns))
	for i, c := range t.Columns {
		fields[i] = arrow.Field{Name: c.Name, Type: exportType(c.Kind), Nullable: c.Null}
	}
	meta := arrow.NewMetadata([]string{"sluice.table"}, []string{t.Name})
	schema := arrow.NewSchema(fields, &meta)
	var err error
	e.file, err = pqarrow.NewFileWriter(schema, e.w, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd)),
		pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	e.builder = array.NewRecordBuilder(memory.DefaultAllocator, schema)
	return nil
}

func exportType(k ledger.ColumnKind) arrow.DataType {
	switch k {
	case ledger.IntColumn:
		return arrow.PrimitiveTypes.Int64
	case ledger.BoolColumn:
		return arrow.FixedWidthTypes.Boolean
	case ledger.TimeColumn:
		return &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}
	}
	return arrow.BinaryTypes.String
}

func (e *parquetExport) row(t ledger.Table, values []any) error {
	for i, v := range values {
		switch b := e.builder.Field(i).(type) {
		case *array.StringBuilder:
			switch text := v.(type) {
			case string:
				b.Append(text)
			case json.RawMessage:
				b.Append(string(text))
			default:
				b.AppendNull()
			}
		case *array.Int64Builder:
			appendOr(v, b.Append, b.AppendNull)
		case *array.BooleanBuilder:
			appendOr(v, b.Append, b.AppendNull)
		case *array.TimestampBuilder:
			appendOr(v, func(at time.Time) { b.Append(arrow.Timestamp(at.UnixMilli())) }, b.AppendNull)
		default:
			return fmt.Errorf("%s.%s: no builder", t.Name, t.Columns[i].Name)
		}
	}
	if e.rows++; e.rows < exportRows {
		return nil
	}
	return e.flush()
}

func appendOr[T any](v any, value func(T), null func()) {
	if typed, ok := v.(T); ok {
		value(typed)
		return
	}
	null()
}

func (e *parquetExport) flush() error {
	rec := e.builder.NewRecordBatch()
	defer rec.Release()
	e.rows = 0
	if err := e.file.Write(rec); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

func (e *parquetExport) close() error {
	if e.file == nil {
		return nil
	}
	defer e.builder.Release()
	if e.rows > 0 {
		if err := e.flush(); err != nil {
			return err
		}
	}
	if err := e.file.Close(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}
