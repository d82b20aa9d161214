package kafka

import (
	"bytes"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow/ipc"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/encode"
)

// decoder reads values back, as far as the digest of their stream counts them. It isn't safe for concurrent use.
type decoder struct {
	kind   string
	stream sinks.Stream
	json   encode.Decoder // of json
	avro   *avroDecoder   // of avro
}

func (k *Sink) newDecoder(stream string) (*decoder, error) {
	d := &decoder{kind: k.set.Value}
	for _, st := range k.conf.Streams {
		if st.Name == stream {
			d.stream = st
		}
	}
	if d.stream.Schema == nil {
		return nil, fault.Errorf(fault.Config, "read a slice back", "the sink wasn't opened for stream %q", stream)
	}
	var err error
	switch d.kind {
	case valueJSON:
		d.json, err = encode.NewDecoder(encode.NDJSON, d.stream.Schema, d.stream.DigestColumns)
	case valueAvro:
		d.avro, err = newAvroDecoder(d.stream.Schema, d.stream.DigestColumns)
	}
	return d, err
}

// sums calls each with the Sum of every record of a message.
func (d *decoder) sums(value []byte, each func(flow.Sum) error) error {
	var sum flow.Sum
	var err error
	switch d.kind {
	case valueRaw:
		sum = flow.SumOf(value)
	case valueJSON:
		sum, _, err = d.json.Sum(value)
	case valueAvro:
		sum, err = d.avro.sum(value)
	default:
		return d.batch(value, each)
	}
	if err != nil {
		return err
	}
	return each(sum)
}

func (d *decoder) batch(value []byte, each func(flow.Sum) error) (err error) {
	defer func() { // the reader panics on some damage
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	in, err := ipc.NewReader(bytes.NewReader(value))
	if err != nil {
		return err
	}
	defer in.Release()
	for in.Next() {
		if err := flow.EachRecord(in.Record(), d.stream.DigestColumns, each); err != nil {
			return err
		}
	}
	return in.Err()
}

// lossy says why values may not give back exactly what the digest counts; empty if they always do.
func (d *decoder) lossy() string {
	switch d.kind {
	case valueJSON:
		return encode.Lossy(encode.NDJSON, d.stream.Schema, d.stream.DigestColumns)
	case valueAvro:
		return d.avro.lossy()
	}
	return ""
}

func (d *decoder) close() {
	if d.json != nil {
		d.json.Close()
	}
	if d.avro != nil {
		d.avro.close()
	}
}
