package ipcfile

import (
	"testing"

	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

func BenchmarkWrite(b *testing.B) {
	for _, c := range Compressions() {
		b.Run(string(c), func(b *testing.B) { filetest.BenchmarkFormat(b, New(Options{Kind: File, Compression: c})) })
	}
}
