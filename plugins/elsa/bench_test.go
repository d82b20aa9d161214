package elsa

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// benchRecords write the members of a record behind its time, by the kind of work that they make.
var benchRecords = map[string]func(b *bytes.Buffer, i int){
	"tiny": func(b *bytes.Buffer, i int) { fmt.Fprintf(b, `,"body":"%d"`, i%10) },
	"long": func(b *bytes.Buffer, i int) {
		fmt.Fprintf(b, `,"body":"%d %s"`, i, strings.Repeat("long text ", 10_000))
	},
	"escapes": func(b *bytes.Buffer, i int) {
		fmt.Fprintf(b, `,"body":"%s","path":"%s"`, strings.Repeat(`\"k\":\"v\",\t`, 30), strings.Repeat(`C:\\dir\u00e4\n`, 5))
	},
	"nested": func(b *bytes.Buffer, i int) {
		fmt.Fprintf(b, `,"body":"x","n":%s%d%s`, strings.Repeat(`{"a":[1,`, 100), i, strings.Repeat(`]}`, 100))
	},
	"numbers": func(b *bytes.Buffer, i int) {
		fmt.Fprintf(b, `,"body":"x","n":%s,"m":[%s%d]`, strings.Repeat("1234567890", 20), strings.Repeat("-12345.678e-10, ", 30), i)
	},
	"members": func(b *bytes.Buffer, i int) {
		b.WriteString(`,"body":"x"`)
		for k := range 60 {
			fmt.Fprintf(b, `,"member%d":"value %d"`, k, i)
		}
	},
}

// benchText is a JSON array of so many bytes.
func benchText(kind string, size int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	records := vendorsim.SeededProjects(vendorsim.SeedOptions{Start: firstDay, Days: 1, Lines: 2000})[0].Records
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `{"logTime":%d`, firstDay.UnixMilli()+int64(i))
		if write := benchRecords[kind]; write != nil {
			write(&b, i)
		} else {
			for _, f := range records[i%len(records)].Fields {
				fmt.Fprintf(&b, `,%q:%s`, f.Name, f.JSON)
			}
		}
		b.WriteByte('}')
	}
	b.WriteByte(']')
	return b.Bytes()
}

// BenchmarkDecode reads archives, packed and stored ones, as Read does: bytes are those of the JSON.
func BenchmarkDecode(b *testing.B) {
	for _, kind := range []string{"seeded", "packed", "tiny", "long", "escapes", "nested", "numbers", "members"} {
		b.Run(kind, func(b *testing.B) {
			text := benchText(kind, 16<<20)
			method := zip.Store
			if kind == "packed" { // the seeded one as a vendor packs it
				method = zip.Deflate
			}
			var archive bytes.Buffer
			z := zip.NewWriter(&archive)
			w, err := z.CreateHeader(&zip.FileHeader{Name: "a", Method: method})
			if err == nil {
				_, err = w.Write(text)
			}
			if err == nil {
				err = z.Close()
			}
			if err != nil {
				b.Fatal(err)
			}
			o := plainOptions()
			o.memory = sortMemory
			mem := plugins.NewAllocator()
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				benchDecode(b, archive.Bytes(), o, mem)
			}
		})
	}
}

func benchDecode(b *testing.B, archive []byte, o decodeOptions, mem *plugins.Allocator) {
	a, err := openArchive(bytes.NewReader(archive), int64(len(archive)), o.limits, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	out := newCollector(b)
	out.opened, out.quiet = 1, true
	sorted := newSorter(o.memory, spool{b.TempDir()}.create)
	defer sorted.close()
	ctx := context.Background()
	if err := newDecoder(out, sliceOf("p", firstDay, firstDay.AddDate(0, 0, 1)), a, sorted, &o.settings, o.emit).run(ctx); err != nil {
		b.Fatal(err)
	}
	batches := newBatcher(mem, frameSchema(eventSchema()), o.emit, out)
	defer batches.release()
	if err := sorted.each(ctx, func(p []byte) error { return batches.add(ctx, p) }); err != nil {
		b.Fatal(err)
	}
	if err := batches.flush(ctx); err != nil {
		b.Fatal(err)
	}
	if len(out.batches) == 0 {
		b.Fatal(io.ErrUnexpectedEOF)
	}
}

// BenchmarkScan takes objects out of text, without what is made of them.
func BenchmarkScan(b *testing.B) {
	for _, kind := range []string{"seeded", "tiny", "long", "escapes", "nested", "numbers", "members"} {
		b.Run(kind, func(b *testing.B) {
			text := benchText(kind, 1<<20)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var s jsonScanner
			for b.Loop() {
				for p := text; p[0] != ']'; {
					p = p[skipSpace(p, 1):]
					n, err := s.object(p, func([]byte, value) {})
					if err != nil {
						b.Fatal(err)
					}
					p = p[n:]
				}
			}
		})
	}
}
