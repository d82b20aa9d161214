// Package recordid gives each record of a slice an ID, for sinks that are at least once: who gets a record again, because its slice
// was read again, gets it under the same ID and can drop it. FORMAT.md says what is hashed.
//
//	ids := recordid.New(slice, stream.DigestColumns)
//	texts, err = ids.Append(texts[:0], batch.Records)
//
// A record's ID is made of its slice, its content and how often the same content came before in the slice. It rests on SHA-256, so
// whoever writes log lines can't make two that have one ID.
package recordid

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	// Size is the number of characters of an ID: base64 in the alphabet for URLs, without padding.
	Size = 32
	// idBytes is what is kept of the SHA-256; as text it is Size characters.
	idBytes = 24
)

// Memory is the most bytes that a Sequence holds: 18.25 MiB while its table grows for the last time. It starts with 12 KiB.
const Memory = maxSlots*slotBytes*3/2 + shared*4

// ofTheRead are the columns of log streams that tell of the read or of the place, not of the record: they may differ when the slice
// is read again.
var ofTheRead = []string{flow.ColObservedTimestamp, flow.ColReceivedFrom, flow.ColReceivedTo, flow.ColSource, flow.ColLogName}

// Sequence gives IDs to the records of one try of one slice. Not safe for concurrent use.
type Sequence struct {
	columns []string // the stream's digest columns; empty: all but ofTheRead
	prefix  []byte   // of what is hashed: the format and the slice
	hash    hash.Hash
	seen    counts
	bound   []column
	scratch []byte
	text    []byte
}

// column is one that is hashed, with its array in the batch.
type column struct {
	name  []byte // as a field
	array arrow.Array
}

// New returns the sequence of a slice's records. digest names the stream's digest columns, as sinks.Stream does.
func New(s flow.Slice, digest []string) *Sequence {
	return &Sequence{
		columns: slices.Clone(digest), prefix: append([]byte("sluice-record-v1\x00"), s.ID[:]...), hash: sha256.New(), seen: newCounts(),
	}
}

// Append appends the IDs of a batch's records, in their order. It is given every batch of the slice once, from the first on, with
// the records that the sink can't deliver. After an error the sequence is of no use.
func (q *Sequence) Append(dst []string, rec arrow.Record) ([]string, error) {
	defer func() { clear(q.bound) }() // nothing of the batch is kept
	if err := q.bind(rec); err != nil {
		return dst, err
	}
	rows := int(rec.NumRows())
	q.text = q.text[:0]
	for row := range rows {
		id, err := q.id(row)
		if err != nil {
			return dst, err
		}
		q.text = base64.RawURLEncoding.AppendEncode(q.text, id[:idBytes])
	}
	all := string(q.text) // one text for the whole batch
	dst = slices.Grow(dst, rows)
	for row := range rows {
		dst = append(dst, all[row*Size:(row+1)*Size])
	}
	return dst, nil
}

// bind finds the columns that are hashed.
func (q *Sequence) bind(rec arrow.Record) error {
	schema := rec.Schema()
	q.bound = q.bound[:0]
	add := func(i int) {
		name := schema.Field(i).Name
		q.bound = append(q.bound, column{name: append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...), array: rec.Column(i)})
	}
	for _, name := range q.columns {
		at := schema.FieldIndices(name)
		if len(at) != 1 {
			return fault.Errorf(fault.Bug, "give records an ID", "the schema has %d columns %q, want one", len(at), name)
		}
		add(at[0])
	}
	for i, f := range schema.Fields() {
		if len(q.columns) == 0 && !slices.Contains(ofTheRead, f.Name) && f.Type.ID() != arrow.NULL {
			add(i)
		}
	}
	return nil
}

// id hashes a row's content, then that with its occurrence, which it counts.
func (q *Sequence) id(row int) (id [sha256.Size]byte, err error) {
	q.hash.Reset()
	q.hash.Write(q.prefix)
	for _, c := range q.bound {
		if c.array.IsNull(row) {
			continue // so that a column which is added later changes no ID of records that lack it
		}
		q.hash.Write(c.name)
		if q.scratch, err = writeValue(q.hash, q.scratch[:0], c.array, row); err != nil {
			return id, fault.New(fault.Config, "give records an ID", "", fmt.Errorf("column %q: %w", c.name[4:], err))
		}
	}
	var b [sha256.Size + 8]byte
	q.hash.Sum(b[:0])
	binary.BigEndian.PutUint64(b[sha256.Size:], q.seen.next(binary.BigEndian.Uint64(b[:8])))
	return sha256.Sum256(b[:]), nil
}
