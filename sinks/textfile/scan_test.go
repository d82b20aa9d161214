package textfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

// TestScan reads files back as far as a digest needs.
func TestScan(t *testing.T) {
	filetest.Scan(t, New(encode.NDJSON, Zstd), 18)
	filetest.Scan(t, New(encode.CSV, Gzip), 18)
}

// TestLines cuts text of any line lengths, however it comes.
func TestLines(t *testing.T) {
	for _, size := range []int{0, 1, 7, blockSize - 1, blockSize, blockSize + 1, 3*blockSize + 5} {
		var want []string
		for i := range 5 {
			want = append(want, strings.Repeat("x", size*i/2)+fmt.Sprint(i))
		}
		text := strings.Join(want, "\n") + "\n"
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(text), "halves": iotest.HalfReader(strings.NewReader(text)), "end with data": iotest.DataErrReader(strings.NewReader(text)),
		} {
			l := lines{r: r, most: maxLine}
			for i, w := range want {
				if got, err := l.next(); err != nil || string(got) != w {
					t.Fatalf("%s, size %d: line %d has %d bytes, want %d: %v", name, size, i, len(got), len(w), err)
				}
			}
			if _, err := l.next(); !errors.Is(err, io.EOF) {
				t.Errorf("%s, size %d: at the end %v", name, size, err)
			}
		}
	}
	quoted := []string{`a,b`, `"a` + "\r\n" + `b",c`, `"""` + "\r\n" + `""",` + "x\ny", ``}
	l := lines{r: strings.NewReader(strings.Join(quoted, "\r\n") + "\r\n"), quoted: true, most: maxLine}
	for i, w := range quoted {
		if got, err := l.next(); err != nil || string(got) != w {
			t.Errorf("record %d: %q, %v, want %q", i, got, err, w)
		}
	}
	l = lines{r: strings.NewReader("a\nb"), most: maxLine}
	if _, err := l.next(); err != nil {
		t.Error(err)
	}
	if _, err := l.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a line without an end: %v", err)
	}
}

// TestLinesWithoutEnd: a file that goes on and on without an end of a line isn't read into memory whole.
func TestLinesWithoutEnd(t *testing.T) {
	const most = 4 * blockSize
	l := lines{r: io.MultiReader(strings.NewReader("one\n"), zeros{}), most: most}
	if line, err := l.next(); string(line) != "one" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := l.next(); err == nil || !strings.Contains(err.Error(), "line 2 is longer than any record") {
		t.Errorf("got %v", err)
	}
	if len(l.buf) > 2*most {
		t.Errorf("%d bytes are held for a line of at most %d", len(l.buf), most)
	}
}

// zeros is a file that never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestScanDamage never reads more or other records than stand before the damage, and says where it is.
func TestScanDamage(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: flow.ColBody, Type: arrow.BinaryTypes.String}, {Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true}}, nil)
	for _, tt := range []struct {
		format encode.Format
		text   string
		rows   int
		want   string // empty: no damage
	}{
		{encode.NDJSON, "{\"body\":\"a\"}\n{}\n{\"body\":\"\",\"body_raw\":\"/w==\"}\n", 3, ""},
		{encode.NDJSON, "{\"body\":\"a\"}\n{\"body\":\"b\"", 1, "no end"},
		{encode.NDJSON, "{\"body\":\"a\"}\n{\"body\":\"b\"}x\n", 1, "line 2: something follows"},
		{encode.NDJSON, "{\"body\":1}\n", 0, "isn't a JSON string"},
		{encode.NDJSON, "{\"body\":\"a\\q\"}\n", 0, "unknown escape"},
		{encode.NDJSON, "{\"body\":\"a\",\"body_raw\":\"?\"}\n", 0, "body_raw"},
		{encode.NDJSON, "{\"body\":\"\\ud83d\\ude00\\u00fc\\/\"}\n", 1, ""},
		{encode.NDJSON, "{\"body\":\"\\ud83d\"}\n", 0, "bad escape"},
		{encode.NDJSON, "[]\n", 0, "unexpected"},
		{encode.NDJSON, "\n", 0, "too early"},
		{encode.CSV, "body,body_raw\r\na,\r\n\"\",\r\n,/w==\r\n", 3, ""},
		{encode.CSV, "body\r\na\r\nb,c\r\n", 1, "2 columns"},
		{encode.CSV, "line\r\na\r\n", 0, "no column \"body\""},
		{encode.CSV, "body\r\n\"a\r\n", 0, "no end"},
		{encode.CSV, "body\r\n\"a\"b\r\n", 0, "behind a quoted cell"},
		{encode.Raw, "a\n\nb\n", 3, ""},
		{encode.Raw, "a\nb", 1, "no end"},
	} {
		rows := 0
		of := partfile.Stored{Path: "x" + tt.format.Extension(), Schema: schema}
		err := New(tt.format, Plain).Scan(bytes.NewReader([]byte(tt.text)), of, func(flow.Sum) error { rows++; return nil })
		if rows != tt.rows || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: %d records, %v; want %d and %q", tt.format, tt.text, rows, err, tt.rows, tt.want)
		}
	}
}

// FuzzScan reads anything without a panic, and what it wrote itself exactly.
func FuzzScan(f *testing.F) {
	schema := arrow.NewSchema([]arrow.Field{{Name: flow.ColBody, Type: arrow.BinaryTypes.String}}, nil)
	f.Add([]byte("{\"body\":\"a\\n\"}\n"))
	f.Add([]byte("body\r\n\"a\"\"\"\r\n"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, format := range encode.Formats() {
			of := partfile.Stored{Path: "x" + format.Extension(), Schema: schema}
			_ = New(format, Plain).Scan(bytes.NewReader(b), of, func(flow.Sum) error { return nil }) // any error is right, a panic isn't
		}
	})
}

// endless repeats a text until size bytes have come.
type endless struct {
	text []byte
	at   int
	size int64
}

func (e *endless) Read(b []byte) (int, error) {
	if e.size <= 0 {
		return 0, io.EOF
	}
	n := copy(b, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	e.size -= int64(n)
	return n, nil
}

func (e *endless) ReadAt([]byte, int64) (int, error) {
	return 0, errors.New("a text file is read from its beginning")
}
func (e *endless) Size() int64 { return e.size }

// TestNoRaceScanMemory reads a file of 64 MiB with a record of one MiB in every two, and holds no more than a few records.
func TestNoRaceScanMemory(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: flow.ColBody, Type: arrow.BinaryTypes.String}}, nil)
	text := []byte("{\"body\":\"" + strings.Repeat(`x\n`, 1<<19) + "\"}\n")
	for len(text) < 2<<20 {
		text = append(text, "{\"body\":\"a line like many others\"}\n"...)
	}
	in := &endless{text: text, size: 32 * int64(len(text))}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most, rows := uint64(0), 0
	of := partfile.Stored{Path: "x.ndjson", Schema: schema}
	err := New(encode.NDJSON, Plain).Scan(in, of, func(flow.Sum) error {
		if rows++; rows%50_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
		}
		return nil
	})
	if err != nil || rows < 400_000 {
		t.Fatalf("%d records, %v", rows, err)
	}
	if most > 8<<20 {
		t.Errorf("%d bytes were held", most)
	}
}
