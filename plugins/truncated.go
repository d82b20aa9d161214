package plugins

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/sluice-io/sluice/proto/flow"
)

// Truncated returns the error of a Read that met the vendor's cap. parts must cover the slice exactly with at least two
// slices (the SDK checks it); without parts the host cuts.
func Truncated(s flow.Slice, rows, bytes uint64, parts ...flow.Slice) error {
	return &flow.Truncated{Slice: s, Into: parts, Rows: rows, Bytes: bytes}
}

// BudgetKey names a key without telling it: 16 hex digits of SHA-256 over "sluice-budget", the origin (scheme, host and
// port, lower case, no path) and the key, each followed by a NUL.
func BudgetKey(origin, key string) string {
	h := sha256.New()
	for _, part := range []string{"sluice-budget", origin, key} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
