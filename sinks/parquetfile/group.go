package parquetfile

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/sluice-io/sluice/proto/fault"
)

const (
	// maxPlaces and maxPlacesSize bound the dictionary of a column in a row group. A column that has more different values goes on without.
	maxPlaces     = 16 << 10
	maxPlacesSize = 256 << 10
	// writeSize is how much is handed to a file at once: it is hashed and written while the processor has it at hand.
	writeSize = 256 << 10
)

// pages are those of a leaf in the row group that is being written.
type pages struct {
	bytes   []byte // with their headers
	raw     int64  // before compression
	values  int64
	counts  [encDictionary + 1]int32 // of pages, by encoding
	plain   bool                     // a page has values as they are: no more go to the dictionary
	repeats bool                     // values are looked up even if they aren't all the same

	places map[string]uint32
	dict   []byte // the values of places
}

// place returns a value's place in the dictionary; false: there is no room.
func (p *pages) place(v []byte) (uint32, bool) {
	if i, ok := p.places[string(v)]; ok {
		return i, true
	}
	if len(p.places) >= maxPlaces || len(p.dict)+len(v) > maxPlacesSize {
		return 0, false
	}
	if p.places == nil {
		p.places = map[string]uint32{}
	}
	i := uint32(len(p.places))
	p.places[string(v)] = i
	p.dict = append(p.dict, v...)
	return i, true
}

func (p *pages) add(j *job) {
	p.bytes = append(p.bytes, j.out...)
	p.raw += int64(j.raw)
	p.values += int64(j.values)
	p.counts[j.encoding]++
}

// reset empties the pages, whose memory is kept unless they were much larger than a row group should be.
func (p *pages) reset(most int64) {
	if int64(cap(p.bytes)) > most {
		p.bytes = nil
	}
	*p = pages{bytes: p.bytes[:0], dict: p.dict[:0], places: p.places, repeats: p.repeats}
	clear(p.places)
}

// pagesOf returns the empty pages of so many leaves, with another slice's memory if there is some.
func (f *Format) pagesOf(leaves int) []pages {
	if all, ok := f.groups.Get().(*[]pages); ok && len(*all) == leaves {
		return *all
	}
	return make([]pages, leaves)
}

// group is what was counted of a row group.
type group struct {
	rows   int64
	size   int64 // of the chunks
	leaves []leaf
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

// output is a file on its way, of which the footer is still to be written.
type output struct {
	to     io.Writer
	at     int64
	meta   *metadata.FileMetaDataBuilder
	groups []group
	open   bool // the last of groups is
}

// Write implements io.Writer.
func (f *output) Write(p []byte) (int, error) {
	for part := range slices.Chunk(p, writeSize) {
		n, err := f.to.Write(part)
		f.at += int64(n)
		if err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// endGroup writes the pages of a row group, column by column.
func (f *output) endGroup(all []pages, p *press, most int64) error {
	g := &f.groups[len(f.groups)-1]
	if len(all) != len(g.leaves) {
		return fmt.Errorf("a row group has %d columns, its chunks had %d", len(all), len(g.leaves))
	}
	meta := f.meta.AppendRowGroup()
	meta.SetNumRows(int(g.rows))
	for i := range all {
		if err := f.column(meta.NextColumnChunk(), &all[i], g.leaves[i], p); err != nil {
			return err
		}
		all[i].reset(most)
	}
	f.open = false
	return meta.Finish(0, int16(len(f.groups)-1))
}

func (f *output) column(meta *metadata.ColumnChunkMetaDataBuilder, c *pages, l leaf, p *press) error {
	begin, raw := f.at, c.raw
	info := metadata.ChunkMetaInfo{NumValues: c.values, IndexPageOffset: -1}
	if len(c.places) > 0 {
		body := p.compress(c.dict)
		header, err := appendHeader(nil, dictionaryPage, len(c.dict), len(c.places), encPlain, body)
		if err != nil {
			return err
		}
		raw += int64(len(header) + len(c.dict))
		info.DictPageOffset = f.at
		if _, err := f.Write(append(header, body...)); err != nil {
			return err
		}
	}
	info.DataPageOffset = f.at
	if _, err := f.Write(c.bytes); err != nil {
		return err
	}
	info.CompressedSize, info.UncompressedSize = f.at-begin, raw
	meta.SetStats(*l.statistics())
	stats := metadata.EncodingStats{DataEncodingStats: map[parquet.Encoding]int32{}}
	if len(c.places) > 0 {
		stats.DictEncodingStats = map[parquet.Encoding]int32{parquet.Encoding(encPlain): 1}
	}
	for e, n := range c.counts {
		if n > 0 {
			stats.DataEncodingStats[parquet.Encoding(e)] = n
		}
	}
	if err := meta.Finish(info, false, false, stats); err != nil {
		return err
	}
	c.tellEncodings(meta)
	return nil
}

// tellEncodings says in the footer how pages are encoded: the builder's own list can't be of two encodings of data, and it has a random order.
func (p *pages) tellEncodings(meta *metadata.ColumnChunkMetaDataBuilder) {
	const rle, plain, delta, places = 3, 0, 5, 8 // a number takes the footer's own type, which has no name outside of the library
	m := meta.Contents().MetaData
	m.Encodings = append(m.Encodings[:0], rle)
	if p.counts[plain] > 0 || len(p.places) > 0 {
		m.Encodings = append(m.Encodings, plain)
	}
	if p.counts[delta] > 0 {
		m.Encodings = append(m.Encodings, delta)
	}
	if p.counts[places] > 0 {
		m.Encodings = append(m.Encodings, places)
	}
	pageKinds := m.EncodingStats
	sort.SliceStable(pageKinds, func(i, j int) bool {
		a, b := pageKinds[i], pageKinds[j]
		if a.PageType != b.PageType {
			return a.PageType > b.PageType // that of dictionaries has the greater number, and comes first
		}
		return a.Encoding < b.Encoding
	})
}

// end writes the footer, which is read once more and compared with what was counted.
func (f *output) end() error {
	meta, err := f.meta.Finish()
	if err != nil {
		return fmt.Errorf("make the footer: %w", err)
	}
	var footer buffer
	if _, err := meta.WriteTo(&footer, nil); err != nil {
		return fmt.Errorf("make the footer: %w", err)
	}
	if err := checkFooter(footer, f.groups); err != nil {
		return fault.New(fault.Bug, "write parquet", "nothing of this slice was committed; please report it", err)
	}
	n := uint32(len(footer))
	if int(n) != len(footer) {
		return errors.New("the footer is larger than 4 GiB")
	}
	footer = append(footer, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	_, err = f.Write(append(footer, magic...))
	return err
}

// buffer is bytes that are written to.
type buffer []byte

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
