package parquetfile

import (
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// encoder writes the files of one slice.
type encoder struct {
	format  *Format
	options Options
	info    partfile.Info
	table   *table
	told    *partfile.Told

	scratch []column         // never filled
	bad     []sinks.Rejected // of the batch that Fill works on, from the row that it is at

	out   *output // nil: none has begun
	pages []pages // of the row group that is written, by leaf; nil before the first chunk
	jobs  []job   // memory of the last Write's
	paths []leafPath
}

func newEncoder(f *Format, i partfile.Info) (*encoder, error) {
	t, err := newTable(i.Schema, i.Omit, f.options.Timestamps)
	if err != nil {
		return nil, err
	}
	return &encoder{format: f, options: f.options, info: i, table: t, told: partfile.NewTold(i), scratch: t.columns()}, nil
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

// magic begins and ends a file.
const magic = "PAR1"

// Begin implements partfile.Encoder.
func (e *encoder) Begin(w io.Writer) error {
	meta, err := e.table.metadata(e.options.Compression, e.info)
	if err != nil {
		return err
	}
	e.out = &output{to: w, meta: meta}
	e.forget()
	_, err = e.out.Write([]byte(magic))
	return err
}

// forget empties pages: those of a file that was given up, and what the next file's columns are like isn't known yet.
func (e *encoder) forget() {
	for i := range e.pages {
		e.pages[i].repeats = false
		e.pages[i].reset(e.mostPages())
	}
}

// mostPages is how much memory for pages of one column is kept between row groups.
func (e *encoder) mostPages() int64 { return 2*e.options.RowGroup + chunkSize }

// Write implements partfile.Encoder.
func (e *encoder) Write(c partfile.Chunk) error {
	k := c.(*chunk)
	if k.rows == 0 {
		return nil
	}
	e.paths = k.paths(e.paths[:0])
	if e.pages == nil {
		e.pages = e.format.pagesOf(len(e.paths))
	}
	if len(e.pages) != len(e.paths) {
		return fault.Errorf(fault.Bug, "write parquet", "a chunk has %d columns, the one before had %d", len(e.paths), len(e.pages))
	}
	if len(e.out.groups) == 0 {
		e.observe()
	}
	e.plan(k.rows)
	if err := e.format.runAll(e.jobs); err != nil {
		return err
	}
	for i := range e.jobs {
		e.jobs[i].chunk.add(&e.jobs[i])
	}
	f := e.out
	if !f.open {
		f.groups, f.open = append(f.groups, group{}), true
	}
	g := &f.groups[len(f.groups)-1]
	g.add(k.rows, k.leaves())
	g.size += int64(k.size)
	if e.Pending() >= e.options.RowGroup || g.rows >= maxRows || g.size >= maxRatio*e.options.RowGroup {
		return e.endGroup()
	}
	return nil
}

// observe decides by the first chunk of a file which texts get a dictionary: without a compression that makes nothing of repeated
// ones, those that repeat. With one it costs time and saves nothing, unless all are the same: see job.fillValues.
func (e *encoder) observe() {
	for i, p := range e.paths {
		e.pages[i].repeats = e.options.Compression != Zstd && len(p.steps) == 1 && repeats(p.values)
	}
}

// plan lists the pages that a chunk becomes.
func (e *encoder) plan(rows int) {
	n := 0
	add := func(leaf, cut, size int) {
		if n == len(e.jobs) {
			e.jobs = append(e.jobs, job{})
		}
		if cap(e.jobs[n].out) > 2*chunkSize {
			e.jobs[n].out = nil // one large record must not be remembered by its page
		}
		e.jobs[n] = job{leaf: &e.paths[leaf], chunk: &e.pages[leaf], rows: rows, cut: cut, size: size, out: e.jobs[n].out[:0]}
		n++
	}
	e.jobs = e.jobs[:cap(e.jobs)]
	for i, p := range e.paths {
		c, ok := p.values.(cutter)
		if !ok || len(p.steps) > 1 || p.same() != nil || p.count() == 0 || e.pages[i].repeats && !e.pages[i].plain {
			add(i, -1, p.size())
			continue
		}
		e.pages[i].plain = true
		for cut := range c.pages() {
			add(i, cut, len(c.page(cut)))
		}
	}
	e.jobs = e.jobs[:n]
}

func (e *encoder) endGroup() error {
	p, err := e.format.press()
	if err != nil {
		return err
	}
	defer e.format.giveBack(p)
	return e.out.endGroup(e.pages, p, e.mostPages())
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// Pending implements partfile.Encoder.
func (e *encoder) Pending() (n int64) {
	for i := range e.pages {
		n += int64(len(e.pages[i].bytes) + len(e.pages[i].dict))
	}
	return n
}

// Finish implements partfile.Encoder.
func (e *encoder) Finish() error {
	if e.out.open {
		if err := e.endGroup(); err != nil {
			return err
		}
	}
	if err := e.out.end(); err != nil {
		return err
	}
	e.out = nil
	return nil
}

// Release implements partfile.Encoder.
func (e *encoder) Release(bool) {
	if e.pages != nil {
		e.forget()
		all := e.pages
		e.format.groups.Put(&all)
	}
	e.out, e.pages, e.jobs, e.paths = nil, nil, nil, nil
}
