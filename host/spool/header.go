package spool

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
)

// Origin is what a slice was read by. What another source, version or settings would read may differ beyond what the slice's ID
// tells: a file of another origin isn't used.
type Origin struct {
	Source   string `json:"source"`
	Version  string `json:"version"`
	Sluice   string `json:"sluice"`
	Settings string `json:"settings"` // a hash of those that aren't secret
}

// Header is what is known when a read has opened.
type Header struct {
	Slice     flow.Slice
	Origin    Origin
	Schema    *arrow.Schema
	Constants []int  // columns with one value in the slice, ascending
	OneRow    []byte // the message of their one row; nil without
	// VendorTime is the vendor's clock in the answer that opened the slice, zero if it told none. ReadAt is the clock that the slice was
	// found closed by.
	VendorTime, ReadAt time.Time
}

type headerText struct {
	Slice      flow.Slice `json:"slice"`
	Origin     Origin     `json:"origin"`
	Schema     []byte     `json:"schema"`
	Constants  []int      `json:"constants,omitempty"`
	OneRow     []byte     `json:"one_row,omitempty"`
	VendorTime time.Time  `json:"vendor_time,omitzero"`
	ReadAt     time.Time  `json:"read_at"`
}

func (h *Header) text() ([]byte, error) {
	schema, err := wire.EncodeSchema(h.Schema)
	if err != nil {
		return nil, err
	}
	return json.Marshal(headerText{h.Slice, h.Origin, schema, h.Constants, h.OneRow, h.VendorTime, h.ReadAt})
}

func parseHeader(text []byte) (h Header, err error) {
	var t headerText
	if err := json.Unmarshal(text, &t); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	if err := t.Slice.Validate(); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	h = Header{Slice: t.Slice, Origin: t.Origin, Constants: t.Constants, OneRow: t.OneRow, VendorTime: t.VendorTime, ReadAt: t.ReadAt}
	h.Schema, err = wire.DecodeSchema(t.Schema)
	return h, err
}

// layout is what frames are written and read by.
func (h *Header) layout() (*wire.Layout, error) {
	l, err := wire.NewLayout(h.Schema, h.Constants)
	if err != nil {
		return nil, err
	}
	if err := l.SetConstants(h.OneRow); err != nil {
		l.Release()
		return nil, err
	}
	return l, nil
}

// endText is the payload of the end mark.
type endText struct {
	Rows     uint64            `json:"rows"`
	Bytes    uint64            `json:"bytes"`
	Digest   flow.Digest       `json:"digest"`
	Counters map[string]uint64 `json:"counters,omitempty"`
	Frames   uint64            `json:"frames"` // batches and pieces of dead letters
}

// batchMeta stands before a batch's compressed frame.
type batchMeta struct {
	Seq   uint64   `json:"seq"`
	Rows  uint64   `json:"rows"`
	Bytes int64    `json:"bytes"` // that it took on the wire
	Nulls []uint32 `json:"nulls,omitempty"`
}

// deadMeta stands before the compressed bytes of a dead letter's piece.
type deadMeta struct {
	Record uint64 `json:"record"`
	Offset int64  `json:"offset"`
	Last   bool   `json:"last,omitempty"`
	Reason string `json:"reason,omitempty"`
}
