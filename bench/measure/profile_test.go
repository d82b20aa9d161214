package main

import (
	"debug/elf"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func day(t *testing.T) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateOnly, "2026-11-01")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestProfile(t *testing.T) {
	symbols := []elf.Symbol{{Name: "first", Value: 0x401000}, {Name: "crypto/internal/fips140/sha256.blockSHANI", Value: 0x402000}}
	p, err := readProfile(strings.NewReader(`sluice   10 
	ffffffff81 copy_from_iter
	     1000 internal/poll.(*FD).Write
	     1000 os.(*File).Write
	     1000 github.com/sluice-io/sluice/sinks/parts.(*writer).write

sluice   10
	     2010 [unknown]
	     1000 github.com/sluice-io/sluice/sinks/parts.(*part).Write

sluice 11 
	     1000 runtime.memmove
	     1000 github.com/sluice-io/sluice/plugins/rapid7download.(*decoder).copyLines

sluice 11 
	 ffffffff82 nobody_knows
`), symbols, 0x400000)
	if err != nil || p.total != 4 {
		t.Fatalf("%d samples, %v", p.total, err)
	}
	want := map[string]int{"writing files": 1, "SHA-256 of the parts": 1, "lines: cutting, UTF-8, columns": 1, elsewhere: 1}
	if diff := cmp.Diff(want, p.shares); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("copy_from_iter 25.0, sha256.blockSHANI 25.0", p.top("host")); diff != "" {
		t.Errorf("host (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("nobody_knows 25.0, runtime.memmove 25.0", p.top("plugin")); diff != "" {
		t.Errorf("plugin (-want +got):\n%s", diff)
	}
}
