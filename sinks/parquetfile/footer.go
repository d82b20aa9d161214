package parquetfile

import (
	"bytes"
	"encoding/base64"
	"fmt"

	ipc18 "github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/sluice-io/sluice/sinks/partfile"
)

// metadata returns what builds the footers of files.
func (t *table) metadata(c Compression, i partfile.Info) (*metadata.FileMetaDataBuilder, error) {
	p := parquet.NewWriterProperties(parquet.WithCompression(c.codec()), parquet.WithCreatedBy("sluice version "+orUnknown(i.Sluice)), parquet.WithVersion(parquet.V2_LATEST))
	s, err := pqarrow.ToParquet(t.schema, p, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, fmt.Errorf("make the file's schema: %w", err)
	}
	var own buffer
	if err := ipc18.NewWriter(&own, ipc18.WithSchema(t.schema)).Close(); err != nil {
		return nil, fmt.Errorf("make the file's schema: %w", err)
	}
	meta := metadata.NewKeyValueMetadata()
	all := append([][2]string{{"ARROW:schema", base64.StdEncoding.EncodeToString(own)}}, i.Metadata()...)
	for _, kv := range all {
		if err := meta.Append(kv[0], kv[1]); err != nil {
			return nil, fmt.Errorf("make the file's metadata: %w", err)
		}
	}
	return metadata.NewFileMetadataBuilder(s, p, meta), nil
}

func (l leaf) statistics() *metadata.EncodedStatistics {
	s := &metadata.EncodedStatistics{NullCount: int64(l.nulls), HasNullCount: true}
	s.Min, s.Max, s.HasMin = l.bounds.get()
	s.HasMax = s.HasMin
	return s
}

// checkFooter reads a footer as a reader does and compares it with what was counted while rows were copied.
func checkFooter(footer []byte, groups []group) error {
	meta, err := metadata.NewFileMetaData(footer, nil)
	if err != nil {
		return fmt.Errorf("read the footer back: %w", err)
	}
	if len(meta.RowGroups) != len(groups) {
		return fmt.Errorf("the footer has %d row groups, %d were written", len(meta.RowGroups), len(groups))
	}
	var rows int64
	for i, g := range groups {
		rows += g.rows
		read := meta.RowGroups[i]
		if read.NumRows != g.rows || len(read.Columns) != len(g.leaves) {
			return fmt.Errorf("row group %d has %d rows in %d columns by its footer, %d in %d were written",
				i, read.NumRows, len(read.Columns), g.rows, len(g.leaves))
		}
		for j, l := range g.leaves {
			c := read.Columns[j].MetaData
			s := c.Statistics
			lo, hi, ok := l.bounds.get()
			switch {
			case c.NumValues != int64(l.values):
				return fmt.Errorf("row group %d, column %v: %d values by the footer, %d were written", i, c.PathInSchema, c.NumValues, l.values)
			case s == nil || s.NullCount == nil || *s.NullCount != int64(l.nulls):
				return fmt.Errorf("row group %d, column %v: the footer doesn't count %d nulls", i, c.PathInSchema, l.nulls)
			case ok && (s.MinValue == nil || s.MaxValue == nil || !bytes.Equal(s.MinValue, lo) || !bytes.Equal(s.MaxValue, hi)):
				return fmt.Errorf("row group %d, column %v: the footer has other bounds than were seen", i, c.PathInSchema)
			case !ok && (s.MinValue != nil || s.MaxValue != nil):
				return fmt.Errorf("row group %d, column %v: the footer has bounds, and none were seen", i, c.PathInSchema)
			}
		}
	}
	if meta.NumRows != rows {
		return fmt.Errorf("the footer has %d rows, %d were written", meta.NumRows, rows)
	}
	return nil
}
