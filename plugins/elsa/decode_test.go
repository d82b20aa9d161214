package elsa

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
)

var update = flag.Bool("update", false, "write golden files")

// pack makes an archive of name, text, name, text...
func pack(tb testing.TB, entries ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i+1 < len(entries); i += 2 {
		w, err := z.Create(entries[i])
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, entries[i+1]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

type decodeOptions struct {
	limits   archiveLimits
	emit     plugins.Limits
	settings settings
	memory   int
}

func plainOptions() decodeOptions {
	return decodeOptions{limits: defaultLimits, settings: settings{Count: maxCount}, memory: 1 << 16}
}

// decodeArchive reads an archive as Read does, from its bytes on.
func decodeArchive(tb testing.TB, text []byte, o decodeOptions) (*collector, *decoder, error) {
	tb.Helper()
	out := newCollector(tb)
	out.opened = 1
	a, err := openArchive(bytes.NewReader(text), int64(len(text)), o.limits, time.Now)
	if err != nil {
		return out, nil, err
	}
	sorted := newSorter(o.memory, spool{tb.TempDir()}.create)
	defer sorted.close()
	d := newDecoder(out, sliceOf("p", firstDay, firstDay.AddDate(0, 0, 1)), a, sorted, &o.settings, o.emit)
	if err := d.run(context.Background()); err != nil {
		return out, d, err
	}
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	b := newBatcher(mem, frameSchema(eventSchema()), o.emit, out)
	err = sorted.each(context.Background(), func(p []byte) error { return b.add(context.Background(), p) })
	if err == nil {
		err = b.flush(context.Background())
	}
	b.release()
	if n := mem.CurrentAlloc(); n != 0 {
		tb.Errorf("%d bytes aren't released", n)
	}
	return out, d, err
}

func TestGoldenBatches(t *testing.T) {
	inputs, err := filepath.Glob("testdata/golden/*.in")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("inputs: %v, %v", inputs, err)
	}
	for _, path := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".in"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := decodeArchive(t, pack(t, "log", string(text)), plainOptions())
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(out.lines(), "\n") + "\n"
			golden := strings.TrimSuffix(path, ".in") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOddEntries(t *testing.T) {
	row := `{"body":"a","logTime":1793491200000}`
	big := `{"body":"` + strings.Repeat("x", 5000) + `"}`
	many := func(piece string) string { return strings.Repeat(piece, 1<<20/len(piece)) } // more than the window holds
	tests := []struct {
		name    string
		entries []string
		bodies  []string
		want    string // in the error; "" for none
	}{
		{"no entries", nil, nil, ""},
		{"empty entry", []string{"a", ""}, nil, ""},
		{"blank entry", []string{"a", "\uFEFF \r\n"}, nil, ""},
		{"folder", []string{"dir/", "", "dir/a", row}, []string{"a"}, ""},
		{"empty array", []string{"a", " [ ] "}, nil, ""},
		{"two arrays", []string{"a", "[" + row + "]\n[" + row + "]"}, []string{"a", "a"}, ""},
		{"lines without a final line feed", []string{"a", row + "\n" + row}, []string{"a", "a"}, ""},
		{"lines in CRLF", []string{"a", row + "\r\n" + row + "\r\n"}, []string{"a", "a"}, ""},
		{"empty object", []string{"a", "[{}]"}, []string{""}, ""},
		{"forms of each entry", []string{"a", "[" + row + "]", "b", row, "c", "body,logTime\r\n\"b\nc\",1793491200000\r\n"}, []string{"a", "a", "b\nc"}, ""},
		{"CSV that goes on in a second entry", []string{"a", "body,x\n1,2\n", "b", "3,4\n", "c", "x,body\n5,6\n"}, []string{"1", "3", "6"}, ""},
		{"CSV that goes on with a field's name for a value", []string{"a", "body,x\n1,2\n", "b", "host,4\n5,6\n"}, []string{"1", "host", "5"}, ""},
		{"CSV that goes on with the same header", []string{"a", "body,x\n1,2\n", "b", "body,x\r\n5,6\n"}, []string{"1", "5"}, ""},
		{"CSV that goes on with another header", []string{"a", "body,x\n1,2\n", "b", " logTime,body\n1793491200000,6\n"}, []string{"6", "1"}, ""},
		{"CSV that goes on with blanks", []string{"a", "body,x\n1,2\n", "b", "\t 3 ,4\n"}, []string{"1", "\t 3 "}, ""},
		{"CSV that goes on with many blanks", []string{"a", "body,x\n1,2\n", "b", many(" ") + ",4\n5,6\n"}, []string{many(" ") + ",4\n", "1", "5"}, ""},
		{"CSV that goes on with an empty line", []string{"a", "body,x\n1,2\n", "b", "\r\n\n3,4\n"}, []string{"1", "3"}, ""},
		{"CSV that goes on with an empty line and a header", []string{"a", "body,x\n1,2\n", "b", "\nx,body\n4,3\n"}, []string{"1", "3"}, ""},
		{"CSV of one column that goes on with an empty record", []string{"a", "body\n1\n", "b", "\n3\n", "c", "\r\nbody\n4\n"}, []string{"1", "", "3", "", "4"}, ""},
		{"JSON and blanks behind CSV", []string{"a", "body,x\n1,2\n", "b", "\n " + row, "c", "\uFEFF\r\n"}, []string{"a", "1"}, ""},
		{"CSV of one column", []string{"a", "body\n\na\n\"\"\n"}, []string{"", "a", ""}, ""},
		{"CSV without a final line feed", []string{"a", "body,x\na,"}, []string{"a"}, ""},
		{"CSV header alone", []string{"a", "body,x\r\n"}, nil, ""},
		{"CSV with quotes", []string{"a", "\"body\",x\r\n\"say \"\"hi\"\", you\",\r\n"}, []string{`say "hi", you`}, ""},
		{"long record", []string{"a", "[" + row + "," + big + "," + row + "]"}, []string{big, "a", "a"}, ""},
		{"long CSV record", []string{"a", "body,x\na,1\n" + strings.Repeat("y", 5000) + ",2\nb,3\n"}, []string{strings.Repeat("y", 5000) + ",2\n", "a", "b"}, ""},

		{"long CSV record with quotes in a plain field", []string{"a", "body,x\n5\" " + many("y") + ",1\nb,3\n"}, []string{"5\" " + many("y") + ",1\n", "b"}, ""},
		{"long CSV record of quoted fields", []string{"a", "body,x\n\"\"\"\n" + many("y") + "\"\"\",\"a\n\"\r\nb,3\n"}, []string{"\"\"\"\n" + many("y") + "\"\"\",\"a\n\"\r\n", "b"}, ""},
		{"long CSV record at the end", []string{"a", "body,x\na,\"" + many("y") + "\""}, []string{"a,\"" + many("y") + "\""}, ""},

		{"a long quoted field has no end", []string{"a", "body,x\n\"a,1\n" + many("b,2\n")}, nil, "ends inside of a record"},
		{"a long quoted field ends in a record", []string{"a", "body,x\n\"a,1\n" + many("b,2\n") + "\"c\",3\n"}, nil, "behind a quoted field"},
		{"ends in an array", []string{"a", "[" + row}, nil, "ends inside of a record"},
		{"ends in a record", []string{"a", row[:10]}, nil, "ends inside of a record"},
		{"ends in a quoted field", []string{"a", "body\n\"a"}, nil, "has no end"},
		{"no objects", []string{"a", "[1]"}, nil, "want an object"},
		{"comma at the end", []string{"a", "[" + row + ",]"}, nil, "want an object"},
		{"no comma", []string{"a", "[" + row + row + "]"}, nil, "neither a comma"},
		{"bad escape", []string{"a", `[{"body":"\x"}]`}, nil, "unknown escape"},
		{"text behind a quoted field", []string{"a", "body\n\"a\"b\n"}, nil, "behind a quoted field"},
		{"other number of fields", []string{"a", "body,x\n1\n"}, nil, "1 fields, the header names 2"},
		{"other number of fields in a long record", []string{"a", "body,x\n" + many("y") + "\n"}, nil, "1 fields, the header names 2"},
		{"a long text behind CSV", []string{"a", "body,x\n1,2\n", "b", many("Error ")}, nil, "1 fields, the header names 2"},
		{"a long header", []string{"a", "body," + many("y") + "\n"}, nil, "header is too long"},
		{"plain text", []string{"a", "Internal Server Error"}, nil, "neither JSON nor CSV"},
		{"an error in an entry", []string{"a", `{"error":{"errorCode":"210","message":"Permission Denied"}}`}, nil, "Permission Denied"},
		{"an error in an array", []string{"a", `[{"error":{"errorCode":"500","message":"Endpoint Error"}}]`}, nil, "error 500"},
		{"an error behind a record", []string{"a", "[" + row + `, {"error":{"message":"Endpoint Error","errorCode":500}}]`}, nil, "error 500"},
		{"an error without its number in an array", []string{"a", `[{"error":{"errorCode":"E1"}}]`}, nil, "neither records nor a known error"},
		{"a record of an error of its own", []string{"a", "[" + row + `, {"error":{"text":"errorCode: 500"}}, {"error":{"errorCode":1},"x":2}, {"error":"errorCode: 500"}]`}, []string{"a", "", "", ""}, ""},
		{"an XML error in an entry", []string{"a", `<Error><errorCode>900</errorCode><message>Unexpected</message></Error>`}, nil, "error 900"},
		{"records in a wrapper", []string{"a", `{"total": 1, "logs": [{"body":"a"}]}`}, nil, "form isn't known"},
		{"records in a wrapper beyond the window", []string{"a", `{"total":1,"logs":[` + many(row+",") + row + "]}"}, nil, "form isn't known"},
		{"records in a wrapper's wrapper", []string{"a", `{"result":{"logs":[{"body":"a"}]}}`}, nil, "form isn't known"},
		{"the same beyond the window", []string{"a", `{"result":{"logs":[` + many(row+",") + row + "]}}"}, nil, "form isn't known"},
		{"a wrapper that names the project", []string{"a", `{"projectName":"p","logs":[` + row + "]}"}, nil, "form isn't known"},
		{"the same beyond the window, too", []string{"a", `{"projectName":"p","logs":[` + many(row+",") + row + "]}"}, nil, "form isn't known"},
		{"a wrapper in an array", []string{"a", `[{"total":1,"logs":[` + row + "]}]"}, nil, "form isn't known"},
		{"the same beyond the window, in an array", []string{"a", `[{"total":1,"logs":[` + many(row+",") + row + "]}]"}, nil, "form isn't known"},
		{"many small members of records", []string{"a", `{"h1":[` + row + "]" + many(`,"h":[`+row+"]") + "}"}, nil, "form isn't known"},
		{"an object of other fields", []string{"a", `{"status":"ok"}`}, nil, "form isn't known"},
		{"a long record with a nested field", []string{"a", `{"body":"b","ctx":[` + many(row+",") + row + "]}"}, []string{`{"body":"b","ctx":[` + many(row+",") + row + "]}"}, ""},
		{"UTF-16", []string{"a", "\xff\xfe[\x00"}, nil, "UTF-16"},
		{"zip in a zip", []string{"a", "PK\x03\x04...."}, nil, "nested archives"},
		{"gzip in a zip", []string{"a", "\x1f\x8b\x08\x00"}, nil, "nested archives"},
		{"absolute name", []string{"/etc/passwd", row}, nil, "leads out"},
		{"name up", []string{"a/../../b", row}, nil, "leads out"},
		{"Windows name", []string{`..\b`, row}, nil, "leads out"},
		{"Windows name in the middle", []string{`a\..\..\b`, row}, nil, "leads out"},
		{"Windows root", []string{`\b`, row}, nil, "leads out"},
		{"drive", []string{`C:b`, row}, nil, "leads out"},
		{"a name of nothing", []string{"a\x00b", row}, nil, "leads out"},

		{"a name with a time", []string{"2026-11-01T00:00:00.json", row}, []string{"a"}, ""},
		{"a folder of Windows", []string{`logs\1.json`, row}, []string{"a"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := plainOptions()
			o.emit.RecordMax = 4000
			out, _, err := decodeArchive(t, pack(t, tt.entries...), o)
			if tt.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error = %v, want %q", err, tt.want)
			}
			if err != nil && fault.KindOf(err) == fault.Unknown {
				t.Errorf("nobody classified %v", err)
			}
			if diff := cmp.Diff(tt.bodies, out.bodies); err == nil && diff != "" {
				t.Errorf("bodies (-want +got):\n%.1000s", diff)
			}
		})
	}
}

// TestManyFields of one name each get a number, in time that grows as they do; a record with too many goes to the dead letters whole.
func TestManyFields(t *testing.T) {
	record := func(fields int) string { return `{"body":"a"` + strings.Repeat(`,"x":1`, fields-1) + "}" }
	out, _, err := decodeArchive(t, pack(t, "a", record(maxMembers)+record(maxMembers+1)), plainOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(out.dead) != 1 || len(out.rows) != 1 || out.rows[0]["body"] != "a" {
		t.Fatalf("%d dead letters, %d rows", len(out.dead), len(out.rows))
	}
	attributes, _ := out.rows[0]["attributes"].(map[string]any)
	if last := fmt.Sprintf("x#%d", maxMembers-1); len(attributes) != maxMembers-1 || attributes["x"] != "1" || attributes["x#2"] != "1" || attributes[last] != "1" {
		t.Errorf("%d attributes", len(attributes))
	}
}

func TestArchiveLimits(t *testing.T) {
	blank := strings.Repeat(" ", 1<<20)
	tests := []struct {
		name    string
		limits  func(*archiveLimits)
		entries []string
		want    string
	}{
		{"unpacked size", func(l *archiveLimits) { l.unpacked = 1000 }, []string{"a", blank}, "bytes"},
		{"sum of sizes", func(l *archiveLimits) { l.unpacked = 1<<20 + 10 }, []string{"a", blank, "b", blank}, "would unpack"},
		{"entries", func(l *archiveLimits) { l.entries = 1 }, []string{"a", "", "b", ""}, "2 entries"},
		{"directory", func(l *archiveLimits) { l.directory = 10 }, []string{"a", ""}, "directory takes more"},
		{"ratio", func(l *archiveLimits) { l.ratio, l.ratioFrom = 10, 1000 }, []string{"a", blank}, "bomb"},
		{"time", func(l *archiveLimits) { l.time = -1 }, []string{"a", blank}, "longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := plainOptions()
			tt.limits(&o.limits)
			if _, _, err := decodeArchive(t, pack(t, tt.entries...), o); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
	// A checksum that is zero is one, too, which archive/zip takes for none.
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	row := `{"body":"x"}`
	w, err := z.CreateRaw(&zip.FileHeader{Name: "a", Method: zip.Store, CompressedSize64: uint64(len(row)), UncompressedSize64: uint64(len(row))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, row); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := decodeArchive(t, b.Bytes(), plainOptions()); !errors.Is(err, zip.ErrChecksum) {
		t.Errorf("a checksum of zero: %v", err)
	}
	whole := pack(t, "a", strings.Repeat(row, 100))
	for n := range len(whole) {
		if _, _, err := decodeArchive(t, whole[:n], plainOptions()); err == nil {
			t.Fatalf("the first %d of %d bytes pass", n, len(whole))
		}
	}
	if _, _, err := fetch(strings.NewReader("12345"), spool{t.TempDir()}, 4); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("an answer beyond the limit: %v", err)
	}
	if _, err := (spool{filepath.Join(t.TempDir(), "gone")}).create(); fault.KindOf(err) != fault.Transient {
		t.Errorf("no spool folder: %v", err)
	}
}

// brokenDisk fails beyond its first so many reads.
type brokenDisk struct {
	io.ReaderAt
	left int
}

func (b *brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errors.New("input/output error")
	}
	return b.ReaderAt.ReadAt(p, off)
}

// TestBrokenSpoolDisk has a disk that fails sooner or later: what can't be read back says nothing about the vendor's archive.
func TestBrokenSpoolDisk(t *testing.T) {
	var lines strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&lines, "{\"body\":\"line %x\"}\n", i*i)
	}
	text := pack(t, "a", lines.String(), "b", `{"body":"b"}`)
	for reads := 0; ; reads++ {
		disk := &brokenDisk{bytes.NewReader(text), reads}
		a, err := openArchive(disk, int64(len(text)), defaultLimits, time.Now)
		if err == nil {
			err = a.each(t.Context(), func(_ string, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
		}
		if disk.left >= 0 {
			if err != nil || reads < 5 {
				t.Errorf("a disk that doesn't fail in %d reads: %v", reads, err)
			}
			return
		}
		if fault.KindOf(err) != fault.Transient || !strings.Contains(fault.HintOf(err), "spool folder") {
			t.Fatalf("a disk that fails behind %d reads: %v, %v (%s)", reads, fault.KindOf(err), err, fault.HintOf(err))
		}
	}
}

// sameJSON compares the scanner with encoding/json on one object: what that takes, this must take, with the same members.
func sameJSON(t *testing.T, text []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(text))
	err := d.Decode(&want)
	if err != nil || want == nil || len(text) == 0 || text[0] != '{' {
		return
	}
	got := map[string]value{}
	var j jsonScanner
	n, err := j.object(text, func(name []byte, v value) { got[string(appendValid(nil, name))] = value{v.form, bytes.Clone(v.text)} })
	if err != nil || int64(n) != d.InputOffset() {
		t.Fatalf("%q: %d of %d bytes, %v", text, n, d.InputOffset(), err)
	}
	for k := range n { // every prefix is short
		if _, err := j.object(text[:k+1], func([]byte, value) {}); k+1 < n && !errors.Is(err, errShort) {
			t.Fatalf("%q: %v", text[:k+1], err)
		}
		if k > 200 {
			break
		}
	}
	for name, raw := range want {
		v, ok := got[name]
		if !ok {
			// An escaped half of a pair becomes three bytes that aren't UTF-8, encoding/json makes it one U+FFFD.
			if strings.Contains(name, "\uFFFD") {
				continue
			}
			t.Fatalf("%q: no member %q in %v", text, name, got)
		}
		if strings.Contains(name, "\uFFFD") {
			continue // names that become equal
		}
		switch {
		case raw[0] == '"':
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				t.Fatal(err)
			}
			if v.form != formText || !strings.Contains(s, "\uFFFD") && s != string(v.text) {
				t.Fatalf("%q: %q = %q, want %q", text, name, v.text, s)
			}
		case string(raw) == "null":
			if v.form != formNull {
				t.Fatalf("%q: %q isn't null", text, name)
			}
		default:
			if string(v.text) != string(raw) {
				t.Fatalf("%q: %q = %q, want %q", text, name, v.text, raw)
			}
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, `{"a":"\ud83d\ude00 \ud800 \udc00 \u00e9 \" \\ \/"}`, `{"a":{"b":[1,2,{"c":null}]},"d":[],"e":true}`, `{"a":-0.5e+10,"a":"x"}`,
		"{\"a\":\"\xff\xfe\"}", `{"a":01}`, `{"a":tru}`, "{\"\":\"\"}\n", `{"a":"\ud800\u0041"}`, `{"a" : [ ] , "b" : { } }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) { sameJSON(t, text) })
}

func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\r\nc,d\r\n", "\"a\"\"b\",\"c\nd\"\n", "a\n\n\"\"", "\"a\r\n\"\r\n", ",,\n", "\"a", "a\"b,\"c\"\"\n\",d\n", "\"a\"\r"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got [][]string
		var s csvScanner
		for rest := text; len(rest) > 0; {
			fields, n, err := s.record(rest, true)
			if err != nil {
				return
			}
			var record []string
			for _, f := range fields {
				record = append(record, string(f.text))
			}
			if _, short, err := s.record(rest[:n-1], false); err == nil && short >= n {
				t.Fatalf("%q is %d bytes long", rest[:n-1], short)
			}
			if n <= 0 || n > len(rest) {
				t.Fatalf("%d of %d bytes", n, len(rest))
			}
			// What finds the end of long records must find that of any.
			end, long := csvEnd{}, 0
			for whole := false; !whole && long < len(rest); long++ {
				whole = end.next(rest[long])
			}
			if err := end.check(true); err != nil || long != n || end.commas+1 != len(fields) {
				t.Fatalf("%q is %d bytes long, not %d, and has %d fields, not %d: %v", rest, n, long, len(fields), end.commas+1, err)
			}
			rest = rest[n:]
			got = append(got, record)
		}
		// encoding/csv drops carriage returns and empty lines; where there are none, both must agree.
		if bytes.Contains(text, []byte("\r")) || bytes.Contains(text, []byte("\n\n")) || bytes.HasPrefix(text, []byte("\n")) {
			return
		}
		r := csv.NewReader(bytes.NewReader(text))
		r.FieldsPerRecord = -1
		want, err := r.ReadAll()
		if err == nil && !slices.EqualFunc(want, got, func(a, b []string) bool { return slices.Equal(a, b) }) {
			t.Fatalf("%q: %q, want %q", text, got, want)
		}
	})
}

func FuzzZip(f *testing.F) {
	f.Add(pack(f, "a", `[{"body":"x","logTime":1}]`))
	f.Add(pack(f, "a", "body,logTime\nx,1\n", "b", `{"body":"y"}`))
	f.Add(pack(f))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o := plainOptions()
		o.limits = archiveLimits{size: 1 << 20, unpacked: 1 << 20, entries: 10, directory: 1 << 16, ratio: 100, ratioFrom: 1 << 16, time: time.Minute}
		o.emit.RecordMax = 1 << 16
		out, d, err := decodeArchive(t, text, o)
		if err == nil && uint64(len(out.bodies)) != d.rows {
			t.Fatalf("%d records out of %d", len(out.bodies), d.rows)
		}
		if err != nil && fault.KindOf(err) == fault.Unknown {
			t.Fatalf("nobody classified %v", err)
		}
		for _, r := range out.rows {
			if !utf8.ValidString(r["body"].(string)) {
				t.Fatalf("body %q", r["body"])
			}
		}
	})
}

// FuzzEntry reads any text as the one entry of an archive.
func FuzzEntry(f *testing.F) {
	f.Add(`[{"body":"x","logTime":1793491200000,"a":{"b":1},"a":2,"a#2":3}]`)
	f.Add("\uFEFFbody,logTime,x\r\n\"a\nb\",1793491200000,\r\n")
	f.Add(`{"body":"` + strings.Repeat("y", 300) + `"}{"body":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		o := plainOptions()
		o.emit.RecordMax = 200
		o.memory = 100
		out, d, err := decodeArchive(t, pack(t, "a", text), o)
		if err == nil && (uint64(len(out.bodies)) != d.rows || out.sum.Rows != d.rows || out.sum.Bytes != d.bytes) {
			t.Fatalf("%d records of %d bytes came of %d of %d", out.sum.Rows, out.sum.Bytes, d.rows, d.bytes)
		}
		if err != nil && fault.KindOf(err) == fault.Unknown {
			t.Fatalf("nobody classified %v", err)
		}
	})
}
