package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"
)

// Bounds of schemas: one beyond them is a mistake or an attack.
const (
	maxFields = 4096
	maxDepth  = 16
	// maxWidth bounds the bytes that a column takes in each row whatever the row holds: a few bytes of schema must not become much memory.
	maxWidth = 64 << 10
)

const (
	continuation  = 0xFFFFFFFF
	metadataV5    = 4
	headerSchema  = 1
	headerRecords = 3
)

// Slots of the tables in Arrow's Message.fbs and Schema.fbs.
const (
	messageVersion, messageHeaderType, messageHeader, messageBodyLength = 0, 1, 2, 3
	schemaEndianness, schemaFields                                      = 0, 1
	fieldDictionary, fieldChildren                                      = 4, 5
	batchLength, batchNodes, batchBuffers, batchCompression             = 0, 1, 2, 3
	batchVariadic                                                       = 4
)

// EncodeSchema returns the encapsulated Arrow IPC message of a schema. It refuses types that frames can't carry.
func EncodeSchema(schema *arrow.Schema) ([]byte, error) {
	if err := checkSchema(schema); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := ipc.NewWriter(&buf, ipc.WithSchema(schema)).Close(); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	b := buf.Bytes() // the message, then the end of the stream: a continuation and a length of zero
	if len(b) < 16 {
		return nil, fmt.Errorf("schema: message of %d bytes", len(b))
	}
	return b[:len(b)-8], nil
}

// DecodeSchema returns the schema of an encapsulated Arrow IPC message. It refuses dictionaries, big-endian data, types
// that frames can't carry, and anything malformed.
func DecodeSchema(msg []byte) (schema *arrow.Schema, err error) {
	// The library's reader trusts what is inside the flatbuffer; this is the edge where its panics end.
	defer func() {
		if p := recover(); p != nil {
			schema, err = nil, fmt.Errorf("schema: malformed: %v", p)
		}
	}()
	if err := checkSchemaMessage(msg); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	r, err := ipc.NewReader(bytes.NewReader(msg))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	defer r.Release()
	schema = r.Schema()
	if err := checkSchema(schema); err != nil {
		return nil, err
	}
	return schema, nil
}

// checkSchemaMessage refuses what would make the library's reader allocate or recurse without bound.
func checkSchemaMessage(msg []byte) error {
	header, bodyLength, body, err := openMessage(msg, headerSchema)
	if err != nil {
		return err
	}
	if bodyLength != 0 || len(body) != 0 {
		return errors.New("the message has a body")
	}
	if endian, err := header.int16(schemaEndianness); err != nil {
		return err
	} else if endian != 0 {
		return errors.New("big-endian data")
	}
	fields, err := header.tables(schemaFields)
	if err != nil {
		return err
	}
	left := maxFields
	return checkFields(fields, maxDepth, &left)
}

// checkFields walks with a budget: fields may share children, so a small message could name very many.
func checkFields(fields []table, depth int, left *int) error {
	if depth <= 0 {
		return fmt.Errorf("types are nested deeper than %d", maxDepth)
	}
	for _, f := range fields {
		if *left--; *left < 0 {
			return fmt.Errorf("more than %d fields", maxFields)
		}
		if dict, err := f.has(fieldDictionary); err != nil {
			return err
		} else if dict {
			return errors.New("dictionaries aren't supported")
		}
		children, err := f.tables(fieldChildren)
		if err != nil {
			return err
		}
		if len(children) > 0 {
			if err := checkFields(children, depth-1, left); err != nil {
				return err
			}
		}
	}
	return nil
}

// openMessage splits an encapsulated message into its header table and body, and checks version, type and lengths.
func openMessage(msg []byte, want uint8) (header table, bodyLength int64, body []byte, err error) {
	if len(msg) < 8 || binary.LittleEndian.Uint32(msg) != continuation {
		return table{}, 0, nil, errors.New("not an encapsulated Arrow message")
	}
	n := int64(int32(binary.LittleEndian.Uint32(msg[4:])))
	if n <= 0 || n%8 != 0 || n > int64(len(msg)-8) {
		return table{}, 0, nil, fmt.Errorf("metadata of %d bytes in a message of %d", n, len(msg))
	}
	root, err := rootTable(msg[8 : 8+n : 8+n])
	if err != nil {
		return table{}, 0, nil, err
	}
	version, err := root.int16(messageVersion)
	if err != nil {
		return table{}, 0, nil, err
	}
	if version != metadataV5 {
		return table{}, 0, nil, fmt.Errorf("metadata version V%d, want V5", version+1)
	}
	kind, err := root.uint8(messageHeaderType)
	if err != nil {
		return table{}, 0, nil, err
	}
	if kind != want {
		return table{}, 0, nil, fmt.Errorf("message of type %d, want %d", kind, want)
	}
	header, ok, err := root.table(messageHeader)
	if err != nil {
		return table{}, 0, nil, err
	}
	if !ok {
		return table{}, 0, nil, errors.New("the message has no header")
	}
	bodyLength, err = root.int64(messageBodyLength)
	if err != nil {
		return table{}, 0, nil, err
	}
	body = msg[8+n:]
	if bodyLength != int64(len(body)) {
		return table{}, 0, nil, fmt.Errorf("body of %d bytes, the metadata says %d", len(body), bodyLength)
	}
	return header, bodyLength, body, nil
}

func checkSchema(schema *arrow.Schema) error {
	if schema == nil || schema.NumFields() == 0 {
		return errors.New("schema: no columns")
	}
	seen := make(map[string]bool, schema.NumFields())
	left := maxFields
	for _, f := range schema.Fields() {
		if seen[f.Name] {
			return fmt.Errorf("schema: two columns %q", f.Name)
		}
		seen[f.Name] = true
		if _, err := checkType(f.Type, maxDepth, &left); err != nil {
			return fmt.Errorf("schema: column %q: %w", f.Name, err)
		}
	}
	return nil
}

// checkType returns how many bytes a value of a type takes whatever it holds, children of fixed number included. It refuses a type that takes
// more than maxWidth, at each level: the product of nested ones can't overflow.
func checkType(dt arrow.DataType, depth int, left *int) (width int64, err error) {
	if *left--; *left < 0 {
		return 0, fmt.Errorf("more than %d fields", maxFields)
	}
	if depth <= 0 {
		return 0, fmt.Errorf("types are nested deeper than %d", maxDepth)
	}
	switch dt := dt.(type) {
	case *arrow.ListType:
		width = 4
		_, err = checkType(dt.Elem(), depth-1, left)
	case *arrow.LargeListType:
		width = 8
		_, err = checkType(dt.Elem(), depth-1, left)
	case *arrow.FixedSizeListType:
		if dt.Len() < 1 {
			return 0, fmt.Errorf("type %s has no elements", dt)
		}
		width, err = checkType(dt.Elem(), depth-1, left)
		width *= int64(dt.Len())
	case *arrow.MapType:
		width = 4
		if _, err = checkType(dt.KeyType(), depth-2, left); err == nil {
			_, err = checkType(dt.ItemType(), depth-2, left)
		}
	case *arrow.StructType:
		if dt.NumFields() == 0 { // any number of them would take no byte of a frame
			return 0, fmt.Errorf("type %s has no fields", dt)
		}
		for _, f := range dt.Fields() {
			w, err := checkType(f.Type, depth-1, left)
			if err != nil {
				return 0, err
			}
			width += w
		}
	case *arrow.FixedSizeBinaryType:
		if dt.ByteWidth < 1 {
			return 0, fmt.Errorf("type %s has no width", dt)
		}
		width = int64(dt.ByteWidth)
	default:
		if !flat(dt) {
			return 0, fmt.Errorf("type %s can't be carried", dt)
		}
		width = int64(offsetWidth(dt))
		if fixed, ok := dt.(arrow.FixedWidthDataType); ok {
			width = int64(max(fixed.BitWidth()/8, 1))
		}
	}
	if err != nil {
		return 0, err
	}
	if width > maxWidth {
		return 0, fmt.Errorf("type %s takes %d bytes in each row, want at most %d: use a list, text or bytes", dt, width, maxWidth)
	}
	return width, nil
}

// flat reports whether a type without children can be carried. Dictionaries, unions, views, run-end encoding, extension
// types and the null type can't: few sinks take them, and each is more to check.
func flat(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.BOOL,
		arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64, arrow.DECIMAL128, arrow.DECIMAL256,
		arrow.DATE32, arrow.DATE64, arrow.TIME32, arrow.TIME64, arrow.TIMESTAMP, arrow.DURATION,
		arrow.INTERVAL_MONTHS, arrow.INTERVAL_DAY_TIME, arrow.INTERVAL_MONTH_DAY_NANO,
		arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY:
		return true
	}
	return false
}
