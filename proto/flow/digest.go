package flow

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Digest is a multiset hash: the sum modulo 2^128 of the XXH3-128 of each record's exact bytes. Order doesn't matter and
// doubles don't cancel. It finds accidents (loss, doubles, changed bytes), not forgery: against that a commit entry holds
// the SHA-256 of each part. The zero Digest is that of no records. It is printed as 32 hex digits, high half first.
type Digest struct{ Hi, Lo uint64 }

// DigestOf returns the digest of one record.
func DigestOf(record []byte) Digest {
	h := xxh3.Hash128(record)
	return Digest{Hi: h.Hi, Lo: h.Lo}
}

// Plus returns the digest of both multisets together.
func (d Digest) Plus(o Digest) Digest {
	lo, carry := bits.Add64(d.Lo, o.Lo, 0)
	hi, _ := bits.Add64(d.Hi, o.Hi, carry)
	return Digest{Hi: hi, Lo: lo}
}

// Minus returns the digest of d's multiset without o's.
func (d Digest) Minus(o Digest) Digest {
	lo, borrow := bits.Sub64(d.Lo, o.Lo, 0)
	hi, _ := bits.Sub64(d.Hi, o.Hi, borrow)
	return Digest{Hi: hi, Lo: lo}
}

// String returns 32 lower-case hex digits, the high half first.
func (d Digest) String() string {
	b := d.Bytes()
	return hex.EncodeToString(b[:])
}

// Bytes returns the digest in big-endian order.
func (d Digest) Bytes() [16]byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], d.Hi)
	binary.BigEndian.PutUint64(b[8:], d.Lo)
	return b
}

// DigestFromBytes is the inverse of Bytes; it wants 16 bytes.
func DigestFromBytes(b []byte) (Digest, error) {
	if len(b) != 16 {
		return Digest{}, fmt.Errorf("digest of %d bytes, want 16", len(b))
	}
	return Digest{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}, nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	var b [16]byte
	if err := unhex(b[:], text); err != nil {
		return fmt.Errorf("digest %q: %w", text, err)
	}
	*d, _ = DigestFromBytes(b[:])
	return nil
}

// Hasher is the digest of one record whose bytes come in pieces. The zero value isn't ready: use NewHasher. Not safe for
// concurrent use.
type Hasher struct {
	h *xxh3.Hasher
	n uint64
}

// NewHasher returns a Hasher of an empty record.
func NewHasher() *Hasher { return &Hasher{h: xxh3.New()} }

// Write adds bytes to the record; it never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	h.n += uint64(len(p))
	return h.h.Write(p)
}

// Sum returns the Sum of the one record written so far and starts a new record.
func (h *Hasher) Sum() Sum {
	u := h.h.Sum128()
	s := Sum{Rows: 1, Bytes: h.n, Digest: Digest{Hi: u.Hi, Lo: u.Lo}}
	h.h.Reset()
	h.n = 0
	return s
}

// Sum is what is counted of a multiset of records. Bytes are exactly the bytes that the digest hashes.
type Sum struct {
	Rows   uint64 `json:"rows"`
	Bytes  uint64 `json:"bytes"`
	Digest Digest `json:"digest"`
}

// SumOf returns the Sum of one record.
func SumOf(record []byte) Sum {
	return Sum{Rows: 1, Bytes: uint64(len(record)), Digest: DigestOf(record)}
}

// Add adds one record.
func (s *Sum) Add(record []byte) {
	s.Rows++
	s.Bytes += uint64(len(record))
	s.Digest = s.Digest.Plus(DigestOf(record))
}

// Plus returns the Sum of both multisets together.
func (s Sum) Plus(o Sum) Sum {
	return Sum{Rows: s.Rows + o.Rows, Bytes: s.Bytes + o.Bytes, Digest: s.Digest.Plus(o.Digest)}
}

// Minus returns the Sum of s's multiset without o's, which must be part of it.
func (s Sum) Minus(o Sum) Sum {
	return Sum{Rows: s.Rows - o.Rows, Bytes: s.Bytes - o.Bytes, Digest: s.Digest.Minus(o.Digest)}
}

// Manifest is what was read of a slice, dead letters included: the same for every read of the same records.
type Manifest struct {
	Slice Slice `json:"slice"`
	Sum
}
