package spool

import (
	"bytes"

	"github.com/apache/arrow/go/v15/arrow"
)

func newSchema(fields []arrow.Field) *arrow.Schema { return arrow.NewSchema(fields, nil) }

// resealed makes the checksums of a changed file fit, as far as its frames can be found, so that a fuzzer gets behind them.
func resealed(b []byte) []byte {
	out := bytes.Clone(b)
	var t tag
	for at := len(magic); at+prefixSize <= len(out); {
		p, err := parsePrefix(out[at:])
		if err != nil || at+prefixSize+int(p.stored) > len(out) {
			break
		}
		t = t.next(out[at:], out[at+prefixSize:at+prefixSize+int(p.stored)])
		copy(out[at+16:], t[:])
		at += prefixSize + int(p.stored)
	}
	return out
}
