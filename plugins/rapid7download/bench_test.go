package rapid7download

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// BenchmarkValidUTF8 is the check that each block of lines gets. The standard library's is the fastest that was tried: by itself it goes
// through ASCII at the speed of memory.
func BenchmarkValidUTF8(b *testing.B) {
	line := `203.0.113.7 - - [01/Nov/2026:00:00:01 +0000] "GET /api/v1/orders/100017 HTTP/1.1" 200 5123 "-" "Mozilla/5.0 (X11; Linux x86_64)"` + "\n"
	for _, k := range []struct{ name, line string }{
		{"ascii", line},
		{"one character a line", strings.Replace(line, "orders", "größe", 1)},
		{"no ascii", strings.Repeat("日志記錄", 10)},
	} {
		text := bytes.Repeat([]byte(k.line), blockSize/len(k.line))
		b.Run(k.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if !utf8.Valid(text) {
					b.Fatal("not UTF-8")
				}
			}
		})
	}
}
