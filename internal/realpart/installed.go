package realpart

import (
	"os"
	"path/filepath"
	"testing"
)

// Installed returns the folder of a part that `.ci/parts.sh NAME` installs below the module's `.tools/parts`, or ends the test as
// Need does.
func Installed(t testing.TB, name string) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, ".tools", "parts", name)
	if _, err := os.Stat(filepath.Join(dir, "stamp")); err != nil {
		Missing(t, name, ".ci/parts.sh "+name)
	}
	return dir
}

// moduleRoot finds the folder of go.mod above the test's working folder.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", os.ErrNotExist
		}
		dir = parent
	}
}
