package flow

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// SelectionID names what decides a stream's content besides partition and time (FORMAT.md). It is printed as 32
// lower-case hex digits; Short gives the first eight, as they stand in folder names.
type SelectionID [16]byte

// String returns the ID as 32 lower-case hex digits.
func (id SelectionID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight hex digits.
func (id SelectionID) Short() string { return id.String()[:8] }

// MarshalText implements encoding.TextMarshaler.
func (id SelectionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it wants exactly 32 hex digits.
func (id *SelectionID) UnmarshalText(text []byte) error {
	if err := unhex(id[:], text); err != nil {
		return fmt.Errorf("selection ID %q: %w", text, err)
	}
	return nil
}

// NewSelectionID hashes a source's name and the settings that its config schema marks x-sluice-selection. settings holds
// the JSON value of each such key that the user gave; a key that was left out must be absent (never its default).
// Strings are trimmed of outer white space, nothing else; object keys are sorted; the order of arrays counts. It fails on
// a value that isn't JSON.
func NewSelectionID(source string, settings map[string]json.RawMessage) (SelectionID, error) {
	h := sha256.New()
	h.Write([]byte("sluice-selection-v1\x00"))
	writeField(h, source)
	keys := make([]string, 0, len(settings))
	for k := range settings {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		canonical, err := canonicalJSON(settings[k])
		if err != nil {
			return SelectionID{}, fmt.Errorf("selection key %s: %w", k, err)
		}
		writeField(h, k)
		writeField(h, canonical)
	}
	var id SelectionID
	copy(id[:], h.Sum(nil))
	return id, nil
}

// canonicalJSON writes a value without white space, keys sorted, strings trimmed, numbers as they were spelled, and
// without the escaping that encoding/json does for HTML.
func canonicalJSON(raw json.RawMessage) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", err
	}
	if dec.More() {
		return "", fmt.Errorf("more than one JSON value")
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(trimStrings(v)); err != nil { // Encode sorts the keys of maps
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

func trimStrings(v any) any {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case []any:
		for i := range v {
			v[i] = trimStrings(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = trimStrings(v[k])
		}
	}
	return v
}

// writeField writes a string with its length in front, so that fields can't run into each other.
func writeField(h hash.Hash, s string) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(s)))
	h.Write(n[:])
	h.Write([]byte(s))
}
