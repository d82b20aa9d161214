package file

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/sinktest"
	"github.com/sluice-io/sluice/sinks/textfile"
)

func open(t *testing.T, root, more string) *parts.Sink {
	t.Helper()
	k, err := Definition.Open(t.Context(), sinktest.InFolder(root, more))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k.(*parts.Sink)
}

// TestOtherReaders reads what was written by programs that Sluice is no part of.
func TestOtherReaders(t *testing.T) {
	zstdTool := realpart.Need(t, "zstd", "apt-get install zstd")
	gzipTool := realpart.Need(t, "gzip", "apt-get install gzip")
	python := realpart.Need(t, "python3", "apt-get install python3")
	script := `
import csv, io, json, sys
data = sys.stdin.buffer.read().decode()
if sys.argv[1] == "csv":
    bodies = [r["body"] for r in csv.DictReader(io.StringIO(data.replace("\0", "\\0"), newline=""))]
elif sys.argv[1] == "ndjson":
    bodies = [json.loads(l)["body"].replace("\0", "\\0") for l in data.split("\n")[:-1]]
else:
    bodies = [l.replace("\0", "\\0") for l in data.split("\n")[:-1]]
sys.stdout.buffer.write("\n".join(sorted(bodies)).encode())
`
	s := sinktest.Hours("one", 0, 1)
	want := sinktest.Bodies(s, 50)
	slices.Sort(want)
	for _, f := range encode.Formats() {
		for _, c := range textfile.Compressions() {
			k := open(t, t.TempDir(), fmt.Sprintf(`"format": %q, "compression": %q, "part_size": "4KiB"`, f, c))
			r, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 50))
			if err != nil {
				t.Fatal(err)
			}
			var data []byte
			for i, p := range r.Parts {
				name := filepath.Join(k.Location(), p.Path)
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != p.SHA256 || int64(len(b)) != p.Bytes {
					t.Errorf("%s: size or SHA-256 isn't the receipt's", p.Path)
				}
				cmd := exec.Command("cat", name)
				switch c {
				case textfile.Zstd:
					cmd = exec.Command(zstdTool, "-dcq", name)
				case textfile.Gzip:
					cmd = exec.Command(gzipTool, "-dc", name)
				}
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s: %v", cmd, err)
				}
				var cat bytes.Buffer
				if err := Cat(&cat, name); err != nil || !bytes.Equal(cat.Bytes(), out) {
					t.Errorf("Cat of %s differs from %s, %v", p.Path, cmd, err)
				}
				if i > 0 && f == encode.CSV {
					out = out[bytes.IndexByte(out, '\n')+1:] // each part has its header
				}
				data = append(data, out...)
			}
			cmd := exec.Command(python, "-c", script, string(f))
			cmd.Stdin = bytes.NewReader(data)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s %s: python: %v", f, c, err)
			}
			if got := strings.ReplaceAll(string(out), "\\0", "\x00"); got != strings.Join(want, "\n") {
				t.Errorf("%s %s: python read other bodies", f, c)
			}
			if c == textfile.Plain && len(r.Parts) < 2 {
				t.Errorf("%d parts, want several", len(r.Parts))
			}
		}
	}
}

func TestLayout(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	for _, tt := range []struct{ name, more, key, want string }{
		{"default", `"format": "raw"`, "a:b", "stream=events/log_id=a%3Ab/date=2026-11-01/20261101T050000.000Z-ID-00000.log"},
		{"flat", `"layout": "", "compression": "zstd"`, "x", "20261101T050000.000Z-ID-00000.ndjson.zst"},
		{"own", `"layout": "{partition}/{date}T{hour}", "format": "csv", "compression": "gzip"`, "_x", "%5Fx/2026-11-01T05/20261101T050000.000Z-ID-00000.csv.gz"},
		{"value like a placeholder", `"layout": "p={partition}"`, "{date}", "p=%7Bdate}/20261101T050000.000Z-ID-00000.ndjson"},
	} {
		k := open(t, t.TempDir(), tt.more)
		s := sinktest.Hours(tt.key, 5, 6)
		r, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 1))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if want := strings.Replace(tt.want, "ID", s.ID.String()[:16], 1); r.Parts[0].Path != want {
			t.Errorf("%s: %s, want %s", tt.name, r.Parts[0].Path, want)
		}
		name := filepath.Join(k.Location(), r.Parts[0].Path)
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o640 {
			t.Errorf("%s: mode %v, %v, want 0666 less the umask", tt.name, info.Mode(), err)
		}
		if dir := filepath.Dir(name); dir != k.Location() {
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
				t.Errorf("%s: folder's mode %v, %v, want 0777 less the umask", tt.name, info.Mode(), err)
			}
		}
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct{ more, want string }{
		{`"format": "xml"`, "format:"},
		{`"compression": "lz4"`, "compression:"},
		{`"part_size": "1KB"`, "part_size: 1000 bytes"},
		{`"part_size": "1 lot"`, "isn't a size"},
		{`"layout": "../x"`, "layout:"},
		{`"layout": "/x"`, "layout:"},
		{`"layout": "a//b"`, "layout:"},
		{`"layout": "_x/{stream}"`, "layout:"},
		{`"layout": "x={log}"`, "no placeholder is called {log}"},
		{`"pth": 1`, "unknown field"},
	} {
		c := sinktest.InFolder(t.TempDir(), tt.more)
		_, err := Definition.Open(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v, want %q", tt.more, err, tt.want)
		}
		if cerr := Definition.Check(t.Context(), c); cerr == nil || cerr.Error() != err.Error() {
			t.Errorf("%s: check says %v, open %v", tt.more, cerr, err)
		}
	}
	c := sinktest.InFolder("lake", "")
	c.Base = t.TempDir()
	if err := Definition.Check(t.Context(), c); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(c.Base); err != nil || len(entries) > 0 {
		t.Errorf("Check made %v, %v", entries, err)
	}
}

// TestFullDisk fills a real file system. It needs the right to mount one, as root has; where it can't, TestFileSizeLimit and the
// suite's faults are what is left.
func TestFullDisk(t *testing.T) {
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=256k"); err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			t.Fatal(err)
		}
		t.Log("no right to mount: ", err)
		return
	}
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	k := open(t, root, `"format": "raw"`)
	small, large := sinktest.Hours("one", 0, 1), sinktest.Hours("one", 1, 2)
	bodies := sinktest.Bodies(small, 5)
	if _, err := sinktest.Write(t.Context(), k, small, bodies); err != nil {
		t.Fatal(err)
	}
	_, err := sinktest.Write(t.Context(), k, large, sinktest.Bodies(large, 4000))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "is full") {
		t.Errorf("got %v", err)
	}
	if _, err := sinktest.Write(t.Context(), k, large, nil); err != nil {
		t.Errorf("after the large slice gave its space back: %v", err)
	}
	got, err := visible(commitlog.OS{}, root)
	slices.Sort(got)
	slices.Sort(bodies)
	if err != nil || !slices.Equal(got, bodies) {
		t.Errorf("visible %q, %v", got, err)
	}
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return // a file is open for writing: the lock
	}
	_, err = sinktest.Write(t.Context(), k, sinktest.Hours("one", 2, 3), nil)
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
}

// compress appends one member or frame to w.
func compress(t *testing.T, w io.Writer, c textfile.Compression, text string) {
	t.Helper()
	var z io.WriteCloser = gzip.NewWriter(w)
	if c == textfile.Zstd {
		var err error
		if z, err = zstd.NewWriter(w); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCat(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, c := range []textfile.Compression{textfile.Gzip, textfile.Zstd} {
		var members bytes.Buffer
		for _, text := range []string{"one\n", "two\n"} {
			compress(t, &members, c, text)
		}
		var out bytes.Buffer
		if err := Cat(&out, put("x.log"+c.Extension(), members.Bytes())); err != nil || out.String() != "one\ntwo\n" {
			t.Errorf("%s: %q, %v", c, out.String(), err)
		}
		cut := put("cut.log"+c.Extension(), members.Bytes()[:members.Len()-3])
		if err := Cat(&out, cut); err == nil || !strings.Contains(err.Error(), cut) {
			t.Errorf("%s cut: %v", c, err)
		}
	}
	var out bytes.Buffer
	if err := Cat(&out, put("owner.json", []byte(`{"v":1}`))); err != nil || out.String() != "{\n  \"v\": 1\n}\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := Cat(&out, put("000001.json", []byte(`{"v":1,"kind":"merge"}`))); err == nil || !strings.Contains(err.Error(), "unknown kind") {
		t.Errorf("entry of an unknown kind: %v", err)
	}
	if err := Cat(&out, put("x.txt", nil)); fault.KindOf(err) != fault.Config || CanCat("x.txt") || !CanCat("a.csv.gz") {
		t.Errorf("unknown file: %v", err)
	}
}

func TestStrays(t *testing.T) {
	k := open(t, t.TempDir(), "")
	s := sinktest.Hours("one", 0, 1)
	r, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 1))
	if err != nil {
		t.Fatal(err)
	}
	stray := strings.Replace(r.Parts[0].Path, "-00000.", "-00001.", 1)
	for _, name := range []string{stray, "notes.txt", "_x/" + filepath.Base(stray)} {
		name = filepath.Join(k.Location(), name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for p, err := range k.Strays(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	if !slices.Equal(got, []string{stray}) {
		t.Errorf("got %q, want %q", got, stray)
	}
}
