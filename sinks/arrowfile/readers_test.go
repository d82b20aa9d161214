package arrowfile

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/ipcfile"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestReaders has pyarrow read a root as its users would.
func TestReaders(t *testing.T) {
	exe := filepath.Join(realpart.Installed(t, "python"), "bin", "python")
	for _, kind := range ipcfile.Kinds() {
		root := filepath.Join(t.TempDir(), "lake")
		k, err := Definition.Open(t.Context(), sinktest.InFolder(root, fmt.Sprintf(`"format": %q, "part_size": "8KiB"`, kind)))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "b:/2"} {
			s := sinktest.Hours(key, 0, 1)
			r, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 300))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Parts) < 2 {
				t.Errorf("%d parts, want several", len(r.Parts))
			}
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(exe, "-c", `
import glob, sys
import pyarrow as pa, pyarrow.dataset as ds
root = sys.argv[1]
if sys.argv[2] == "file":
    table = ds.dataset(root, format="arrow", partitioning="hive").to_table()
    assert set(table["log_id"].to_pylist()) == {"a", "b:/2"}
else:
    table = pa.concat_tables(pa.ipc.open_stream(n).read_all() for n in glob.glob(root + "/**/*.arrows", recursive=True))
    assert "log_id" not in table.column_names
print(table.num_rows, len(set(table["body"].to_pylist())))
`, root, string(kind)).CombinedOutput()
		if err != nil || string(out) != "600 600\n" {
			t.Errorf("%s: %v\n%s", kind, err, out)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct{ more, want string }{
		{`"compression": "gzip"`, "compression:"},
		{`"format": "feather"`, "format:"},
		{`"timestamps": "s"`, "timestamps:"},
		{`"row_group_size": "60KiB"`, "row_group_size:"},
		{`"part_size": "1KB"`, "part_size: 1000 bytes"},
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
}

// TestFiles: readers are told the format without the unit of timestamps.
func TestFiles(t *testing.T) {
	for more, want := range map[string]string{
		`"format": "file"`: "arrow", `"timestamps": "us"`: "arrow", `"format": "stream", "timestamps": "ns"`: "arrow-stream",
	} {
		if f, err := Definition.Files(sinktest.InFolder(t.TempDir(), more)); err != nil || f.Format != want {
			t.Errorf("%s: %q, %v, want %q", more, f.Format, err, want)
		}
	}
}
