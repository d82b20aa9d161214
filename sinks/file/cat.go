package file

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/textfile"
)

// Cat writes what a file of this sink holds to w: data files decompressed (members and frames one after another are all
// read), files of the _sluice folder as indented JSON. A cut or damaged file is an error that names it, after what could be read.
func Cat(w io.Writer, path string) error {
	if err := cat(w, path); err != nil {
		var known *fault.Error
		if errors.As(err, &known) {
			return err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// CanCat reports whether Cat knows files with such a name.
func CanCat(path string) bool {
	_, _, ok := textfile.KindOf(path)
	return ok || parts.IsJSON(path)
}

func cat(w io.Writer, path string) error {
	_, zip, ok := textfile.KindOf(path)
	if !ok && !parts.IsJSON(path) {
		return fault.New(fault.Config, "cat", "the file sink writes .log, .ndjson and .csv, with .gz or .zst behind, and .json in _sluice",
			fmt.Errorf("%s isn't a file that it knows", path))
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if !ok {
		return parts.CopyJSON(w, f, path)
	}
	return textfile.Copy(w, f, zip)
}
