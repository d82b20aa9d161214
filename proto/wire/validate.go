package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// checkOffsets checks that offsets are neither negative nor decreasing and that the last isn't beyond length.
func checkOffsets[T int32 | int64](offsets []T, length int) error {
	if len(offsets) == 0 {
		return nil
	}
	if offsets[0] < 0 {
		return fmt.Errorf("offset %d is negative", offsets[0])
	}
	// One sign bit gathers every decrease: a branch per value costs more than all else here.
	var decreases T
	last := offsets[0]
	for _, o := range offsets[1:] {
		decreases |= (o - last) | o // the difference of two that aren't negative can't overflow
		last = o
	}
	if decreases < 0 {
		return errors.New("offsets decrease")
	}
	if int64(last) > int64(length) {
		return fmt.Errorf("last offset %d is beyond %d", last, length)
	}
	return nil
}

// checkStrings checks offsets, and for text that each value is UTF-8: the values as a whole are, and no offset lies inside
// a character.
func checkStrings[T int32 | int64](offsets []T, values []byte, isText bool) error {
	if err := checkOffsets(offsets, len(values)); err != nil {
		return err
	}
	if !isText || len(offsets) == 0 {
		return nil
	}
	used := values[offsets[0]:offsets[len(offsets)-1]]
	plain := asciiPrefix(used)
	if plain == len(used) {
		return nil
	}
	if !utf8.Valid(used[plain:]) { // plain lies between characters: what is before it is ASCII
		return errors.New("text isn't UTF-8")
	}
	for _, o := range offsets {
		if int(o) < len(values) && !utf8.RuneStart(values[o]) && o != offsets[len(offsets)-1] {
			return errors.New("an offset lies inside a character")
		}
	}
	return nil
}

// asciiPrefix returns how many bytes at the start of b are ASCII, whole blocks of 32 except at the end.
func asciiPrefix(b []byte) int {
	const high = 0x8080808080808080
	n := 0
	for ; len(b)-n >= 32; n += 32 {
		c := b[n : n+32 : n+32]
		if (binary.LittleEndian.Uint64(c)|binary.LittleEndian.Uint64(c[8:])|
			binary.LittleEndian.Uint64(c[16:])|binary.LittleEndian.Uint64(c[24:]))&high != 0 {
			return n
		}
	}
	for ; n < len(b); n++ {
		if b[n] >= utf8.RuneSelf {
			return n
		}
	}
	return n
}
