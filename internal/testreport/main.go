// Command testreport reads `go test -json` on stdin and prints what a person wants to see of it: the closing line of every package,
// all output of what failed, and every skipped test with its reason. It does not run tests and does not retry them.
//
//	go test -json ./... | testreport
//	go test -json ./... | testreport -forbid-skips
//	go test -json ./... | testreport -slowest 10
//
// It exits with 1 when a test, a package or a build failed, when a package never ended, when input is not test output, and with
// -forbid-skips when a test was skipped.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	forbid := flag.Bool("forbid-skips", false, "a skipped test is a failure")
	slowest := flag.Int("slowest", 0, "also print the `N` tests that took longest")
	flag.Parse()
	if flag.NArg() != 0 {
		fmt.Fprintln(os.Stderr, "testreport: takes no arguments, reads go test -json on stdin")
		os.Exit(2)
	}
	r := newReport(os.Stdout)
	err := r.read(os.Stdin)
	if err == nil {
		err = r.slowest(*slowest)
	}
	if err == nil {
		err = r.finish(*forbid)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
}
