package parquetfile

import (
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// encoder writes the files of one slice.
type encoder struct {
	options Options
	info    partfile.Info
	table   *table
	told    *partfile.Told

	scratch []column         // never filled
	bad     []sinks.Rejected // of the batch that Fill works on, from the row that it is at

	sink   *tail
	file   *pqarrow.FileWriter // nil before the first chunk
	groups []group             // of the file, ended ones and the one that is written
	ended  bool                // the last of groups has: the next chunk begins another
}

// group is what was counted of a row group.
type group struct {
	rows   int64
	size   int64 // of the chunks
	leaves []leaf
}

func newEncoder(o Options, i partfile.Info) (*encoder, error) {
	if err := setCodec(); err != nil {
		return nil, err
	}
	t, err := newTable(i.Schema, i.Omit, o.Timestamps)
	if err != nil {
		return nil, err
	}
	return &encoder{options: o, info: i, table: t, told: partfile.NewTold(i), scratch: t.columns()}, nil
}

// Fill implements partfile.Encoder.
func (e *encoder) Fill(c partfile.Chunk, rec arrow.Record, row int) (next int, rejected []sinks.Rejected, err error) {
	if row == 0 {
		if err := e.inspect(rec); err != nil {
			return row, nil, err
		}
	}
	k := c.(*chunk)
	k.use(e.table, int(min(chunkSize, e.info.PartSize)))
	rows := int(rec.NumRows())
	for row < rows && !k.Full() {
		hi := rows
		if len(e.bad) > 0 {
			hi = e.bad[0].Row
		}
		if row = k.add(rec, row, hi); row == hi && hi < rows {
			rejected = append(rejected, e.bad[0])
			e.bad = e.bad[1:]
			row++
		}
	}
	return row, rejected, nil
}

// inspect compares a batch with the schema and looks for rows that can't be written.
func (e *encoder) inspect(rec arrow.Record) error {
	e.bad = e.bad[:0]
	if err := partfile.CheckShape("write parquet", e.info.Schema, rec); err != nil {
		return err
	}
	rows := int(rec.NumRows())
	wrong := e.told.Misfit(rec, 0, rows) != ""
	for i, at := range e.table.source {
		wrong = wrong || e.scratch[i].misfit(rec.Column(at), 0, rows) != ""
	}
	for row := 0; wrong && row < rows; row++ {
		why := e.told.Misfit(rec, row, row+1)
		for i, at := range e.table.source {
			if w := e.scratch[i].misfit(rec.Column(at), row, row+1); w != "" && why == "" {
				why = fmt.Sprintf("column %q: %s", e.table.schema.Field(i).Name, w)
			}
		}
		if why != "" {
			e.bad = append(e.bad, sinks.Rejected{Row: row, Reason: "parquet: " + why})
		}
	}
	return nil
}

// Begin implements partfile.Encoder. The file is begun with its first chunk, by which columns get their encodings.
func (e *encoder) Begin(w io.Writer) error {
	e.sink, e.file, e.groups, e.ended = &tail{to: w}, nil, nil, true
	return nil
}

// Write implements partfile.Encoder.
func (e *encoder) Write(c partfile.Chunk) (err error) {
	k := c.(*chunk)
	if k.rows == 0 {
		return nil
	}
	rec := k.record()
	defer rec.Release()
	if e.file == nil {
		if e.file, err = e.open(e.properties(k)); err != nil {
			return err
		}
	}
	if e.ended {
		if err := e.file.NewBufferedRowGroupChecked(); err != nil {
			return err
		}
		e.groups, e.ended = append(e.groups, group{}), false
	}
	if err := e.file.WriteBuffered(rec); err != nil {
		return err
	}
	g := &e.groups[len(e.groups)-1]
	g.add(k.rows, k.leaves())
	g.size += int64(k.size)
	e.ended = e.file.RowGroupTotalCompressedBytes() >= e.options.RowGroup || g.rows >= maxRows || g.size >= maxRatio*e.options.RowGroup
	return nil
}

func (g *group) add(rows int, leaves []leaf) {
	g.rows += int64(rows)
	if g.leaves == nil {
		g.leaves = make([]leaf, len(leaves))
		for i, l := range leaves {
			g.leaves[i].bounds = l.bounds.fresh()
		}
	}
	for i, l := range leaves {
		g.leaves[i].values += l.values
		g.leaves[i].nulls += l.nulls
		g.leaves[i].bounds.merge(l.bounds)
	}
}

func (e *encoder) open(p *parquet.WriterProperties) (*pqarrow.FileWriter, error) {
	return pqarrow.NewFileWriter(e.table.schema, e.sink, p, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
}

// properties returns how a file is written whose first rows are k's. Without a compression that makes nothing of repeated texts, those
// that repeat get a dictionary; with one it costs time and saves nothing. Statistics are ours: see Finish.
func (e *encoder) properties(k *chunk) *parquet.WriterProperties {
	p := []parquet.WriterProperty{
		parquet.WithCompression(e.options.Compression.codec()), parquet.WithDictionaryDefault(false), parquet.WithStats(false),
		parquet.WithDataPageSize(pageSize), parquet.WithBatchSize(writeBatch), parquet.WithMaxRowGroupLength(1 << 40),
		parquet.WithCreatedBy("sluice version " + orUnknown(e.info.Sluice)), parquet.WithVersion(parquet.V2_LATEST),
	}
	if e.options.Compression == Zstd {
		return parquet.NewWriterProperties(append(p, parquet.WithCompressionLevel(zstdLevel))...)
	}
	for i, c := range k.columns {
		if repeats(c) {
			p = append(p, parquet.WithDictionaryFor(e.table.schema.Field(i).Name, true))
		}
	}
	return parquet.NewWriterProperties(p...)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// repeats reports whether a column of texts has few different ones, by a look at some hundred.
func repeats(c column) bool {
	var offsets []int32
	var data []byte
	switch c := c.(type) {
	case *varlen[int32]:
		offsets, data = c.offsets, c.data
	case *varlen[int64]:
		offsets, data = c.offsets, c.data
	default:
		return false
	}
	const look = 512
	n := len(offsets) - 1
	if n < 1 || len(data) == 0 {
		return false
	}
	seen := map[string]struct{}{}
	step := max(1, n/look)
	looked := 0
	for i := 0; i < n; i += step {
		seen[string(data[offsets[i]:offsets[i+1]])] = struct{}{}
		looked++
	}
	return len(seen) <= max(1, looked/8)
}

// Pending implements partfile.Encoder. What is in no page yet is taken to become an eighth, as logs do.
func (e *encoder) Pending() int64 {
	if e.file == nil || e.ended {
		return 0
	}
	loose := min(e.groups[len(e.groups)-1].size, int64(len(e.table.source))*pageSize)
	return e.file.RowGroupTotalCompressedBytes() + loose/8
}

// Finish implements partfile.Encoder. The writer's footer doesn't reach the file: it is read, compared with what was counted,
// given the statistics, written, and read once more.
func (e *encoder) Finish() (err error) {
	if e.file == nil {
		if e.file, err = e.open(e.properties(&chunk{})); err != nil {
			return err
		}
	}
	for _, kv := range e.info.Metadata() {
		if err := e.file.AppendKeyValueMetadata(kv[0], kv[1]); err != nil {
			return err
		}
	}
	e.sink.held = [][]byte{}
	if err := e.file.Close(); err != nil {
		return err
	}
	held, err := e.sink.footer()
	if err != nil {
		return err
	}
	footer, err := complete(held, e.groups)
	if err == nil {
		err = checkFooter(footer, e.groups)
	}
	if err != nil {
		return fault.New(fault.Bug, "write parquet", "nothing of this slice was committed; please report it", err)
	}
	e.file = nil
	return e.sink.end(footer)
}

// Release implements partfile.Encoder.
func (e *encoder) Release(bool) { e.file, e.sink = nil, nil }

// tail is the end of a file on its way: once held is there, the last three writes are held back. They are the footer, its
// length and the magic number.
type tail struct {
	to   io.Writer
	held [][]byte // nil: nothing is held back
}

// magic begins and ends a file.
const magic = "PAR1"

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	if t.held == nil {
		return t.to.Write(p)
	}
	t.held = append(t.held, append([]byte(nil), p...))
	if len(t.held) > 3 {
		if _, err := t.to.Write(t.held[0]); err != nil {
			return 0, err
		}
		t.held = t.held[1:]
	}
	return len(p), nil
}

// footer returns the footer that is held back.
func (t *tail) footer() ([]byte, error) {
	if len(t.held) != 3 || string(t.held[2]) != magic || len(t.held[1]) != 4 {
		return nil, errors.New("the Parquet writer ended a file otherwise than it should")
	}
	return t.held[0], nil
}

// end writes a footer and what belongs behind it.
func (t *tail) end(footer []byte) error {
	n := uint32(len(footer))
	footer = append(footer, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	_, err := t.to.Write(append(footer, magic...))
	return err
}
