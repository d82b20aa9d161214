package main

import (
	"testing"
	"time"
)

// TestEachClockIsToldOnce: pipelines of one source type share a clock, unless it is another at another address.
func TestEachClockIsToldOnce(t *testing.T) {
	r := &running{}
	for _, tt := range []struct {
		clock saidClock
		told  bool
	}{
		{saidClock{"elsa", time.Hour}, true},
		{saidClock{"elsa", time.Hour + 30*time.Second}, false}, // the same, asked later
		{saidClock{"elsa", -time.Hour}, true},
		{saidClock{"logentries", time.Hour}, true},
		{saidClock{"elsa", -time.Hour}, false},
	} {
		if told := r.newClock(tt.clock); told != tt.told {
			t.Errorf("%+v: told %v", tt.clock, told)
		}
	}
}
