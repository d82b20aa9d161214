package parquetfile

import (
	"testing"

	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

// BenchmarkWrite makes the pages of a chunk in as many goroutines as there are processors, up to four.
func BenchmarkWrite(b *testing.B) {
	for _, c := range Compressions() {
		b.Run(string(c), func(b *testing.B) {
			filetest.BenchmarkFormat(b, New(Options{Compression: c, Timestamps: Micros, RowGroup: DefaultRowGroup}))
		})
	}
}
