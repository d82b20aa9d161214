// Package realpart is for tests that check Sluice against a program it did not write: curl, zstd, sqlite3, a broker.
//
// Such a part may be missing on a machine. The test is then skipped, but never quietly: the part and the command that would bring
// it are written down, and the test command prints them at its end. Where every part is expected (SLUICE_REQUIRE_PARTS=1, as in
// the continuous integration) a missing part fails the test instead.
//
//	func TestOtherReader(t *testing.T) {
//		zstd := realpart.Need(t, "zstd", "apt-get install zstd")
//		out, err := exec.Command(zstd, "-dc", file).Output()
//
// The package imports testing and so is for test files only; a test of the import graph holds that.
package realpart

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const (
	// RequireEnv set to 1 turns a missing part into a failure of the test.
	RequireEnv = "SLUICE_REQUIRE_PARTS"
	// MissingEnv names the file to which missing parts are appended, one a line. Unset: they are only in the test's own log.
	MissingEnv = "SLUICE_MISSING_PARTS"
)

// Need returns the path of the program name, looked up in PATH. A program that is missing ends the test: it is skipped after a line
// "name: remedy" was appended to the file that [MissingEnv] names, or fails where [RequireEnv] is 1. A line that can't be written
// fails the test too. The remedy is the command that brings the program. Need is safe to call from parallel tests and from
// several test processes at once; like t.FailNow it must be called from the test's own goroutine.
func Need(t testing.TB, name, remedy string) string {
	t.Helper()
	// Both variables are read before the look-up, so that go test's result cache knows that the outcome depends on them.
	required, list := os.Getenv(RequireEnv) == "1", os.Getenv(MissingEnv)
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	missing(t, name, remedy, required, list)
	return ""
}

// Missing ends the test as Need does for a program, for another thing that this machine can't do, such as a mount.
func Missing(t testing.TB, name, remedy string) {
	t.Helper()
	missing(t, name, remedy, os.Getenv(RequireEnv) == "1", os.Getenv(MissingEnv))
}

func missing(t testing.TB, name, remedy string, required bool, list string) {
	t.Helper()
	if required {
		t.Fatalf("%s is missing and %s=1 forbids a skip; to enable this test: %s", name, RequireEnv, remedy)
	}
	if list != "" {
		if err := appendLine(list, name+": "+remedy); err != nil {
			t.Fatalf("%s is missing, and that could not be written down: %v", name, err)
		}
	}
	t.Skipf("%s is missing; to enable this test: %s", name, remedy)
}

// appendLine adds one line with one write, which O_APPEND keeps whole among concurrent writers.
func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, strings.ReplaceAll(line, "\n", " ")); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
