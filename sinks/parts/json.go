package parts

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"

	"github.com/sluice-io/sluice/sinks/commitlog"
)

// IsJSON reports whether a file is one of the _sluice folder's, or another of JSON, by its name.
func IsJSON(path string) bool { return filepath.Ext(path) == ".json" }

// CopyJSON writes a file of JSON to w, indented. path is its name. An entry of a commit log that no reader would believe is an
// error after that.
func CopyJSON(w io.Writer, r io.Reader, path string) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(b), "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	if _, err := w.Write(out.Bytes()); err != nil {
		return err
	}
	if isEntry(path) {
		_, err = commitlog.ParseEntry(b)
	}
	return err
}

func isEntry(path string) bool {
	base := strings.TrimSuffix(filepath.Base(path), ".json")
	return len(base) >= 6 && strings.Trim(base, "0123456789") == ""
}
