package main

import (
	"io/fs"
	"os"
)

// replaceFile puts a file in the place of another at once: whoever is stopped meanwhile leaves no half of one. A device or a pipe is
// written to, never replaced.
func replaceFile(path string, text []byte, mode fs.FileMode) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return os.WriteFile(path, text, mode)
	}
	temp := path + ".tmp"
	err := os.WriteFile(temp, text, mode)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}
