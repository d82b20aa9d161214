package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// maxLetter is the longest line of a file of dead letters that is sent again, in bytes: a record that large is no batch's.
const maxLetter = 64 << 20

// letter is one line of a file of dead letters.
type letter struct {
	Slice     flow.SliceID     `json:"slice"`
	Selection flow.SelectionID `json:"selection"`
	Stream    string           `json:"stream"`
	Partition string           `json:"partition"`
	From      time.Time        `json:"from"`
	To        time.Time        `json:"to"`
	Rev       uint32           `json:"rev"`
	Record    *string          `json:"record"`
	Base64    []byte           `json:"record_base64"`
	Row       []byte           `json:"row"`
}

// body returns the record's bytes.
func (l *letter) body() []byte {
	if l.Record != nil {
		return []byte(*l.Record)
	}
	return l.Base64
}

// origin is the slice that the record was read for.
func (l *letter) origin() (flow.Slice, error) {
	p := flow.Partition{Selection: l.Selection, Stream: l.Stream, Key: l.Partition}
	s := flow.NewSlice(p, l.From, l.To, l.Rev)
	if s.ID != l.Slice {
		return s, fmt.Errorf("the line says slice %s, and its range and partition are those of %s", l.Slice, s.ID)
	}
	return s, nil
}

// rebuilder makes an Arrow record of a letter, in the stream's schema. The caller releases it.
type rebuilder func(l *letter) (arrow.Record, error)

// letters is a file of dead letters, read like a slice. It is used by one goroutine.
type letters struct {
	path    string
	rebuild rebuilder
	origin  flow.Slice
	count   uint64
	left    []int // lines that can't be sent
	why     string
	schema  *arrow.Schema

	file  *os.File
	lines *bufio.Reader
	at    int // the next line
	slice flow.Slice
	sum   flow.Sum
	seq   uint64
	skip  map[int]bool
	sums  func(rec arrow.Record) (flow.Sum, error)
}

// openLetters looks through a file: how many records it has, of which slice they are, and which can't be sent again.
func openLetters(path string, rebuild rebuilder) (*letters, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	x := &letters{path: path, rebuild: rebuild, file: f}
	if err := x.look(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return x, nil
}

func (x *letters) look() error {
	x.lines = bufio.NewReaderSize(x.file, 1<<20)
	for n := 0; ; n++ {
		line, tooLong, err := readLine(x.lines, maxLetter)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("dead letters: %w", err)
		}
		x.count++
		if tooLong {
			x.leave(n, fmt.Sprintf("a line of more than %d bytes", maxLetter))
			continue
		}
		var l letter
		if err := json.Unmarshal(line, &l); err != nil {
			return fault.New(fault.Config, "dead letters", "look at the file: it was changed, or isn't one of dead letters",
				fmt.Errorf("%s: line %d: %w", x.path, n+1, err))
		}
		origin, err := l.origin()
		if err == nil && x.schema != nil && origin.ID != x.origin.ID {
			err = fmt.Errorf("it is of slice %s, the first of %s", origin.ID, x.origin.ID)
		}
		if err != nil {
			return fault.New(fault.Config, "dead letters", "look at the file: it was changed", fmt.Errorf("%s: line %d: %w", x.path, n+1, err))
		}
		x.origin = origin
		rec, err := x.rebuild(&l)
		if err != nil {
			x.leave(n, err.Error())
			continue
		}
		x.schema = rec.Schema()
		rec.Release()
	}
	return nil
}

func (x *letters) leave(line int, why string) { x.left, x.why = append(x.left, line), why }

// begin makes ready to read what isn't left as a slice.
func (x *letters) begin(s flow.Slice, left []int) {
	x.slice, x.at, x.skip = s, 0, map[int]bool{}
	for _, n := range left {
		x.skip[n] = true
	}
	x.lines = nil
}

// Next implements flow.Reader: a batch for each record, which is small work for few records.
func (x *letters) Next(ctx context.Context) (flow.Item, error) {
	if x.lines == nil {
		if _, err := x.file.Seek(0, io.SeekStart); err != nil {
			return flow.Item{}, fmt.Errorf("dead letters: %w", err)
		}
		x.lines = bufio.NewReaderSize(x.file, 1<<20)
	}
	for {
		if err := ctx.Err(); err != nil {
			return flow.Item{}, err
		}
		line, _, err := readLine(x.lines, maxLetter)
		if err != nil {
			return flow.Item{}, err
		}
		x.at++
		if x.skip[x.at-1] {
			continue
		}
		var l letter
		if err := json.Unmarshal(line, &l); err != nil {
			return flow.Item{}, fmt.Errorf("dead letters: %s: line %d: %w", x.path, x.at, err)
		}
		rec, err := x.rebuild(&l)
		if err != nil {
			return flow.Item{}, fmt.Errorf("dead letters: %s: line %d: %w", x.path, x.at, err)
		}
		sum, err := x.sums(rec)
		if err != nil {
			rec.Release()
			return flow.Item{}, err
		}
		x.sum = x.sum.Plus(sum)
		x.seq++
		return flow.Item{Batch: &flow.Batch{Slice: x.slice.ID, Seq: x.seq - 1, Records: rec, Bytes: int64(len(line)), Sum: sum}}, nil
	}
}

// Release implements flow.Reader.
func (x *letters) Release(it flow.Item) { it.Batch.Records.Release() }

// Manifest implements flow.Reader.
func (x *letters) Manifest() flow.Manifest { return flow.Manifest{Slice: x.slice, Sum: x.sum} }

// Close implements flow.Reader.
func (x *letters) Close() error { return x.file.Close() }

// Schema implements Reader.
func (x *letters) Schema() *arrow.Schema { return x.schema }

// VendorTime implements Reader: no vendor was asked.
func (x *letters) VendorTime() time.Time { return time.Time{} }

// Counters implements Reader.
func (x *letters) Counters() map[string]uint64 { return nil }

// readLine returns a line without its end; of one that is longer than most only that it is.
func readLine(r *bufio.Reader, most int) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if !tooLong && len(line)+len(part) > most {
			line, tooLong = nil, true
		}
		if !tooLong {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (len(line) > 0 || tooLong):
			return nil, false, io.ErrUnexpectedEOF // every line that was sealed ends
		case err != nil:
			return nil, false, err
		}
		return bytes.TrimSuffix(line, []byte("\n")), tooLong, nil
	}
}

// copyLines writes some lines of a file into a new one, durably. keep ascends.
func copyLines(from, to string, keep []int) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	lines, w := bufio.NewReaderSize(in, 1<<20), bufio.NewWriterSize(out, 1<<20)
	for n := 0; ; {
		part, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return err
		}
		if len(keep) > 0 && keep[0] == n {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			if len(keep) > 0 && keep[0] == n {
				keep = keep[1:]
			}
			n++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return out.Sync()
}

// rebuild makes the record of a letter again: of its Arrow row if it has one, else of the bytes of a line of text, whose other columns
// are what the slice says.
func (r *run) rebuild(l *letter) (arrow.Record, error) {
	stream := r.cfg.Streams[l.Stream]
	if stream.Schema == nil {
		return nil, fmt.Errorf("the source has no stream %s", l.Stream)
	}
	if l.Row != nil {
		return decodeRow(l.Row, stream.Schema)
	}
	if len(stream.DigestColumns) > 0 {
		return nil, fmt.Errorf("a record of stream %s can't be made again from its bytes alone", l.Stream)
	}
	name := ""
	for _, p := range r.cfg.Partitions {
		if p.Stream == l.Stream && p.Key == l.Partition {
			name = p.Name
		}
	}
	return textRow(l, stream.Schema, r.cfg.SourceName, name)
}

// decodeRow reads a row and gives it the columns of schema, null where it has none.
func decodeRow(row []byte, schema *arrow.Schema) (arrow.Record, error) {
	in, err := ipc.NewReader(bytes.NewReader(row))
	if err != nil {
		return nil, fmt.Errorf("its row: %w", err)
	}
	defer in.Release()
	if !in.Next() {
		return nil, fmt.Errorf("its row: %w", errors.Join(in.Err(), io.ErrUnexpectedEOF))
	}
	rec := in.Record()
	if rec.NumRows() != 1 {
		return nil, fmt.Errorf("its row: %d rows", rec.NumRows())
	}
	columns := make([]arrow.Array, schema.NumFields())
	for n, f := range schema.Fields() {
		at := rec.Schema().FieldIndices(f.Name)
		if len(at) == 1 && arrow.TypeEqual(rec.Column(at[0]).DataType(), f.Type) {
			columns[n] = rec.Column(at[0])
			continue
		}
		if !f.Nullable || len(at) > 0 {
			return nil, fmt.Errorf("its row has no column %s of type %s", f.Name, f.Type)
		}
		null := array.MakeArrayOfNull(memory.DefaultAllocator, f.Type, 1)
		defer null.Release()
		columns[n] = null
	}
	return array.NewRecord(schema, columns, 1), nil
}

// textRow makes a row of a line of text.
func textRow(l *letter, schema *arrow.Schema, source, name string) (arrow.Record, error) {
	body := l.body()
	valid := utf8.Valid(body)
	text, raw, ok := flow.BodyColumns(schema)
	if !ok || !valid && raw < 0 {
		return nil, fmt.Errorf("stream %s has no column for its bytes", l.Stream)
	}
	columns := make([]arrow.Array, schema.NumFields())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	texts := map[string]string{flow.ColSource: source, flow.ColLogID: l.Partition, flow.ColLogName: name}
	times := map[string]time.Time{flow.ColReceivedFrom: l.From, flow.ColReceivedTo: l.To, flow.ColObservedTimestamp: time.Now()}
	for n, f := range schema.Fields() {
		switch {
		case n == text:
			shown := body
			if !valid { // the copy has one U+FFFD in the place of each byte that isn't UTF-8
				shown = bytes.Map(func(r rune) rune { return r }, body)
			}
			columns[n] = oneValue(f.Type, shown)
			continue
		case n == raw && !valid:
			columns[n] = oneValue(f.Type, body)
			continue
		}
		b := array.NewBuilder(memory.DefaultAllocator, f.Type)
		switch b := b.(type) {
		case *array.StringBuilder:
			if text := texts[f.Name]; text != "" {
				b.Append(text)
			}
		case *array.TimestampBuilder:
			if at, ok := times[f.Name]; ok {
				v, err := arrow.TimestampFromTime(at, f.Type.(*arrow.TimestampType).Unit)
				if err != nil {
					b.Release()
					return nil, err
				}
				b.Append(v)
			}
		}
		if b.Len() == 0 && f.Nullable {
			b.AppendNull()
		}
		columns[n] = b.NewArray()
		b.Release()
		if columns[n].Len() == 0 {
			return nil, fmt.Errorf("its column %s isn't known any more", f.Name)
		}
	}
	return array.NewRecord(schema, columns, 1), nil
}

// oneValue is a column of text or bytes with one value, which it keeps: a record may be tens of MiB, of which there is to be one copy.
func oneValue(t arrow.DataType, value []byte) arrow.Array {
	offsets := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes([]int32{0, int32(len(value))}))
	data := array.NewData(t, 1, []*memory.Buffer{nil, offsets, memory.NewBufferBytes(value)}, nil, 0, 0)
	defer data.Release()
	return array.MakeFromData(data)
}
