package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// EnvFile is the environment variable that names the file.
const EnvFile = "SLUICE_CONFIG"

// FileName is what a config file is called in the folders where it is looked for.
const FileName = "sluice.yaml"

// systemFile is the last place.
const systemFile = "/etc/sluice/" + FileName

// hintUnreadable is what to do about a config file that is there and can't be read.
const hintUnreadable = "let this user read it, or name another file with -f"

// NotFoundError says that there is no file in any of the places; a caller ends with the exit code of a wrong file.
type NotFoundError struct {
	Looked []string // in the order of precedence
}

// Error names all the places.
func (e *NotFoundError) Error() string {
	return "no config file; looked for:\n  " + strings.Join(e.Looked, "\n  ") +
		"\nwrite one with `sluice init`, or name one with -f or $" + EnvFile
}

// Find returns the absolute path of the file to load: what the flag names, else what $SLUICE_CONFIG names, else the first
// that exists of ./sluice.yaml, $XDG_CONFIG_HOME/sluice/sluice.yaml (~/.config without that variable) and
// /etc/sluice/sluice.yaml. A file that the flag or the variable names must exist: the others are not tried then. cwd is
// absolute.
func Find(flag string, getenv func(string) string, cwd string) (string, error) {
	return find(flag, getenv, cwd, systemFile)
}

func find(flag string, getenv func(string) string, cwd, system string) (string, error) {
	named, by := flag, "-f"
	if named == "" {
		named, by = getenv(EnvFile), "$"+EnvFile
	}
	if named != "" {
		path := resolvePath(cwd, named)
		if err := regular(path); err != nil {
			hint := "correct the path, or write the file with `sluice init`"
			if errors.Is(err, fs.ErrPermission) {
				hint = hintUnreadable
			}
			return "", hinted(hint, "config file of %s: %w", by, err)
		}
		return path, nil
	}
	looked := []string{"-f (not given)", "$" + EnvFile + " (not set)"}
	places := []string{filepath.Join(cwd, FileName)}
	// The XDG base directory specification says that a relative value is to be ignored.
	if xdg := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(xdg) {
		places = append(places, filepath.Join(xdg, "sluice", FileName))
	} else if home := getenv("HOME"); filepath.IsAbs(home) {
		places = append(places, filepath.Join(home, ".config", "sluice", FileName))
	}
	for _, path := range append(places, system) {
		err := regular(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", hinted(hintUnreadable, "config file: %w", err)
		}
		looked = append(looked, path)
	}
	return "", &NotFoundError{Looked: looked}
}

// regular reports why path can't be a config file. Pipes are fine: the shell's <(...) makes one.
func regular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder: name the file in it", path)
	}
	return nil
}

// resolvePath makes a path absolute against dir.
func resolvePath(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
