// Package testsize says how much of what is alike tests do. Continuous integration and `make test` do all of it (SLUICE_TEST_SIZE=full);
// a plain `go test ./...`, which people wait for, does a sample: fewer steps, bytes and servers, of every promise some, and measures no memory.
package testsize

import (
	"flag"
	"os"
	"runtime"
	"strconv"
)

// Full reports whether all is to be done.
func Full() bool {
	return os.Getenv("SLUICE_TEST_SIZE") == "full" || os.Getenv("SLUICE_REQUIRE_PARTS") == "1"
}

// Of returns full if all is to be done, else sample.
func Of[T any](full, sample T) T {
	if Full() {
		return full
	}
	return sample
}

// skipper is what a testing.TB has.
type skipper interface {
	Helper()
	Skip(args ...any)
}

// Whole skips a test unless all is to be done; why says what keeps it out of a sample.
func Whole(t skipper, why string) {
	t.Helper()
	if !Full() {
		t.Skip(why + ": make unit")
	}
}

// Alone skips a test that measures memory unless all is to be done: a sample runs beside tests of other packages, which would be measured too.
func Alone(t skipper) {
	t.Helper()
	Whole(t, "it measures, and runs by itself")
}

// Crowd lets twice as many tests run side by side as there are processors, unless the command line says how many. It is for TestMain of
// packages whose tests mostly wait for processes of their own.
func Crowd() {
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue { // the flag is there in every test
		_ = flag.Set(f.Name, strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
}
