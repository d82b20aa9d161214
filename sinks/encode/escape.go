package encode

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"
)

const (
	// wideSlack is how much room there must be behind what an escape may need: whole registers are written.
	wideSlack = 64
	// escapePiece is how much of a text is escaped at a time: room is made for the worst of a piece, not of a long text.
	escapePiece = 16 << 10
	ones        = 0x0101010101010101
	highs       = 0x8080808080808080
)

const hexDigits = "0123456789abcdef"

// shortEscapes are what stands behind the backslash in JSON; 0 is for control characters that are written as \u00XX.
var shortEscapes = [256]byte{'"': '"', '\\': '\\', '\n': 'n', '\r': 'r', '\t': 't'}

// appendJSONString appends s in quotes.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for len(s) > escapePiece {
		dst = appendEscaped(dst, s[:escapePiece])
		s = s[escapePiece:]
	}
	return append(appendEscaped(dst, s), '"')
}

// appendEscaped appends s, which is at most escapePiece bytes long, as it stands in a JSON string.
func appendEscaped(dst []byte, s string) []byte {
	if !wide {
		return escapeNarrow(dst, s)
	}
	for len(s) > 0 {
		dst = slices.Grow(dst, 2*len(s)+wideSlack)
		end := len(dst)
		read, written := escapeWide(unsafe.SliceData(dst[end:cap(dst)]), unsafe.StringData(s), len(s))
		dst, s = dst[:end+written], s[read:]
		if len(s) > 0 {
			dst = appendLongEscape(dst, s[0])
			s = s[1:]
		}
	}
	return dst
}

// escapeNarrow is appendEscaped for any processor: it looks at eight bytes at a time.
func escapeNarrow(dst []byte, s string) []byte {
	start := len(dst)
	dst = slices.Grow(dst, 2*len(s)+wideSlack)
	out := dst[start:cap(dst)]
	text := unsafe.Slice(unsafe.StringData(s), len(s)) // never written to
	i, o := 0, 0
	for i < len(text) {
		if len(text)-i >= 8 {
			w := binary.LittleEndian.Uint64(text[i:])
			binary.LittleEndian.PutUint64(out[o:], w)
			// A byte's high bit is set if it is below 0x20, a quote or a backslash; above the lowest such byte a borrow may
			// set others, so only the lowest counts.
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			hit := ((w-ones*0x20) & ^w | (quote-ones) & ^quote | (slash-ones) & ^slash) & highs
			if hit == 0 {
				i, o = i+8, o+8
				continue
			}
			n := bits.TrailingZeros64(hit) / 8
			i, o = i+n, o+n
		} else if c := text[i]; c >= ' ' && c != '"' && c != '\\' {
			out[o] = c
			i, o = i+1, o+1
			continue
		}
		c := text[i]
		i++
		if e := shortEscapes[c]; e != 0 {
			out[o], out[o+1] = '\\', e
			o += 2
			continue
		}
		// Room was made for short escapes. Behind a long one there must be as much again.
		dst = slices.Grow(appendLongEscape(dst[:start+o], c), 2*(len(text)-i)+wideSlack)
		out, o = dst[start:cap(dst)], len(dst)-start
	}
	return dst[:start+o]
}

func appendLongEscape(dst []byte, c byte) []byte {
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendCSVString appends s, in quotes if it is empty or needs them.
func appendCSVString(dst []byte, s string) []byte {
	start, special := len(dst), s == ""
	dst = append(dst, '"')
	for rest := s; len(rest) > 0; {
		piece := rest[:min(len(rest), escapePiece)]
		rest = rest[len(piece):]
		dst = slices.Grow(dst, 2*len(piece)+wideSlack)
		end := len(dst)
		var n int
		var any bool
		if wide {
			n, any = doubleWide(unsafe.SliceData(dst[end:cap(dst)]), unsafe.StringData(piece), len(piece))
		} else {
			n, any = doubleNarrow(dst[end:cap(dst)], piece)
		}
		dst, special = dst[:end+n], special || any
	}
	if special {
		return append(dst, '"')
	}
	return append(dst[:start], s...)
}

// doubleNarrow is doubleWide for any processor.
func doubleNarrow(out []byte, s string) (written int, special bool) {
	text := unsafe.Slice(unsafe.StringData(s), len(s)) // never written to
	i, o := 0, 0
	for i < len(text) {
		if len(text)-i >= 8 {
			w := binary.LittleEndian.Uint64(text[i:])
			binary.LittleEndian.PutUint64(out[o:], w)
			quote, comma, feed, ret := w^(ones*'"'), w^(ones*','), w^(ones*'\n'), w^(ones*'\r')
			// As above only the lowest bit counts: that there is one, and where the lowest quote is.
			special = special || ((comma-ones) & ^comma | (feed-ones) & ^feed | (ret-ones) & ^ret)&highs != 0
			hit := (quote - ones) & ^quote & highs
			if hit == 0 {
				i, o = i+8, o+8
				continue
			}
			n := bits.TrailingZeros64(hit) / 8
			i, o = i+n, o+n
		}
		c := text[i]
		out[o] = c
		i, o = i+1, o+1
		switch c {
		case '"':
			out[o] = c
			o++
			special = true
		case ',', '\n', '\r':
			special = true
		}
	}
	return o, special
}
