package otlp

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// request gathers LogRecords of one resource until they are sent.
type request struct {
	resource []byte // Resource
	scope    []byte // InstrumentationScope
	records  []byte // LogRecord fields of ScopeLogs, with tags and lengths
	ends     []int  // where each record ends
	rows     []int  // where each stands in the batch
	body     []byte // what was encoded last
}

func (q *request) add(row int, record []byte) {
	q.records = appendBytes(q.records, fieldLogRecords, record)
	q.ends = append(q.ends, len(q.records))
	q.rows = append(q.rows, row)
}

func (q *request) len() int { return len(q.rows) }

// reset forgets the records; a buffer that one large record has made is given back.
func (q *request) reset(batchSize int) {
	q.records, q.ends, q.rows = q.records[:0], q.ends[:0], q.rows[:0]
	if cap(q.records) > 2*batchSize {
		q.records = nil
	}
	if cap(q.body) > 3*batchSize {
		q.body = nil
	}
}

// encode returns the ExportLogsServiceRequest of the records [from, to), good until the next call.
func (q *request) encode(from, to int) []byte {
	begin := 0
	if from > 0 {
		begin = q.ends[from-1]
	}
	var records []byte
	if to > from {
		records = q.records[begin:q.ends[to-1]]
	}
	scopeLogs := sizeBytes(fieldScope, len(q.scope)) + len(records)
	resourceLogs := sizeBytes(fieldResource, len(q.resource)) + sizeBytes(fieldScopeLogs, scopeLogs)
	dst := appendHead(q.body[:0], fieldResourceLogs, resourceLogs)
	dst = appendBytes(dst, fieldResource, q.resource)
	dst = appendHead(dst, fieldScopeLogs, scopeLogs)
	dst = appendBytes(dst, fieldScope, q.scope)
	q.body = append(dst, records...)
	return q.body
}

// answer is what a receiver says to a request that it took: how many records it refused all the same, and why.
type answer struct {
	refused int64
	message string
}

// parseAnswer reads an ExportLogsServiceResponse: its field 1 is a partial success with the count and the message.
func parseAnswer(b []byte) (answer, error) {
	var a answer
	err := fields(b, func(n protowire.Number, t protowire.Type, value []byte, _ uint64) error {
		if n != 1 || t != protowire.BytesType {
			return nil
		}
		return fields(value, func(n protowire.Number, t protowire.Type, value []byte, number uint64) error {
			switch {
			case n == 1 && t == protowire.VarintType:
				a.refused = int64(number)
			case n == 2 && t == protowire.BytesType:
				a.message = string(value)
			}
			return nil
		})
	})
	return a, err
}

// parseStatus returns the message of a google.rpc.Status.
func parseStatus(b []byte) string {
	var message string
	err := fields(b, func(n protowire.Number, t protowire.Type, value []byte, _ uint64) error {
		if n == 2 && t == protowire.BytesType {
			message = string(value)
		}
		return nil
	})
	if err != nil {
		return ""
	}
	return message
}

func fields(b []byte, yield func(n protowire.Number, t protowire.Type, value []byte, number uint64) error) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var value []byte
		var number uint64
		switch t {
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(n, t, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err := yield(n, t, value, number); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}
