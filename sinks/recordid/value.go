package recordid

import (
	"encoding/binary"
	"hash"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/flow"
)

// writeValue hashes a value that isn't null in the canonical form of proto/flow/FORMAT.md, beside which time32 and time64 are as
// integers are. scratch is returned for the next. Texts and bytes are hashed where they are: they may be large.
func writeValue(h hash.Hash, scratch []byte, a arrow.Array, row int) ([]byte, error) {
	switch a := a.(type) {
	case *array.String:
		offsets, values := a.ValueOffsets(), a.ValueBytes()
		return writeBytes(h, scratch, values[offsets[row]-offsets[0]:offsets[row+1]-offsets[0]]), nil
	case *array.Binary:
		return writeBytes(h, scratch, a.Value(row)), nil
	case *array.LargeBinary:
		return writeBytes(h, scratch, a.Value(row)), nil
	case *array.Time32:
		return writeBytes(h, scratch, binary.BigEndian.AppendUint64(nil, uint64(int64(a.Value(row))))), nil
	case *array.Time64:
		return writeBytes(h, scratch, binary.BigEndian.AppendUint64(nil, uint64(int64(a.Value(row))))), nil
	}
	scratch, err := flow.AppendValue(scratch, a, row)
	h.Write(scratch)
	return scratch, err
}

func writeBytes(h hash.Hash, scratch, value []byte) []byte {
	scratch = binary.BigEndian.AppendUint32(append(scratch, 1), uint32(len(value)))
	h.Write(scratch)
	h.Write(value)
	return scratch
}
