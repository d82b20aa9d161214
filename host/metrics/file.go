package metrics

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile replaces a file with a Set in one step: a reader sees the text of before or the new one, never a part. What an error leaves
// is the file of before.
func WriteFile(path string, s *Set) error {
	temp := tempOf(path)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = s.WriteTo(f)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, ignoreGone(os.Remove(temp)))
	}
	return nil
}

// Writable says whether WriteFile could write to a path, and leaves what is there alone.
func Writable(path string) error {
	st, err := os.Stat(path)
	switch {
	case err == nil && !st.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	temp := tempOf(path)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(temp))
}

// tempOf is beside the file, so that it can be renamed, is no other process's, and has an end that the textfile collector passes over.
func tempOf(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d.tmp", filepath.Base(path), os.Getpid()))
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
