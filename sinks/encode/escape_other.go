//go:build !amd64 || purego

package encode

const wide = false

func escapeWide(dst, src *byte, n int) (read, written int) { panic("this processor isn't wide") }

func doubleWide(dst, src *byte, n int) (written int, special bool) {
	panic("this processor isn't wide")
}
