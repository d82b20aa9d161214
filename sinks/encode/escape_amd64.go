//go:build !purego

package encode

import "golang.org/x/sys/cpu"

// wide says that this processor puts 32 bytes and their escapes together at once.
var wide = cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512VBMI && cpu.X86.HasAVX512VBMI2 && cpu.X86.HasBMI2 && cpu.X86.HasPOPCNT

// escapeWide writes the n bytes at src to dst as they stand in a JSON string, up to a control character that is written as \u00XX.
// dst must have room for 2n+wideSlack bytes, of which any may be written over.
//
//go:noescape
func escapeWide(dst, src *byte, n int) (read, written int)

// doubleWide writes the n bytes at src to dst with every quote doubled, and says whether there is a comma, quote or line end among
// them. dst must have room for 2n+wideSlack bytes.
//
//go:noescape
func doubleWide(dst, src *byte, n int) (written int, special bool)
