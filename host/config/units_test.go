package config

import (
	"flag"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64 // negative: an error
	}{
		{"0", 0},
		{"1", 1},
		{"500", 500},
		{"500B", 500},
		{"1KB", 1000},
		{"1KiB", 1024},
		{"64MiB", 64 << 20},
		{"75GB", 75e9},
		{"1.5GiB", 3 << 29},
		{"0.5KiB", 512},
		{"2 MB", 2e6},
		{" 2MB ", 2e6},
		{"3TB", 3e12},
		{"1TiB", 1 << 40},
		{"9223372036854775807", math.MaxInt64},
		{"9223372036854775808", -1},
		{"8388607TiB", 8388607 << 40},
		{"8388608TiB", -1},
		{"", -1},
		{"MB", -1},
		{"-1", -1},
		{"+1", -1},
		{"1.5", -1},
		{"0.3KiB", -1},
		{"1e3", -1},
		{"1,000", -1},
		{"64 mib", -1},
		{"64Mb", -1},
		{"64M", -1},
		{".5MB", -1},
		{"5.MB", -1},
		{"1/2MB", -1},
		{"0x10", -1},
		{"1_000", -1},
		{"NaN", -1},
		{"1MBMB", -1},
		{"١", -1},
		{strings.Repeat("9", 1<<20), -1},
	} {
		got, err := ParseSize(tt.in)
		if tt.want < 0 {
			if err == nil {
				t.Errorf("%.40q: got %d, want an error", tt.in, got)
			}
			continue
		}
		if err != nil || int64(got) != tt.want {
			t.Errorf("%q: got %d, %v, want %d", tt.in, got, err, tt.want)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q prints as %q, which is %d, %v", tt.in, got, again, err)
		}
	}
	if got := Size(64 << 20).String(); got != "64MiB" {
		t.Errorf("got %s", got)
	}
	if got := Size(500e6).String(); got != "500MB" {
		t.Errorf("got %s", got)
	}
}

func TestParseDuration(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want time.Duration // negative: an error
	}{
		{"0", 0},
		{"0s", 0},
		{"1ms", time.Millisecond},
		{"90s", 90 * time.Second},
		{"5m", 5 * time.Minute},
		{"1h30m", 90 * time.Minute},
		{"7d", 168 * time.Hour},
		{"1w2d", 216 * time.Hour},
		{"1.5h", 90 * time.Minute},
		{"0.25s", 250 * time.Millisecond},
		{" 5m ", 5 * time.Minute},
		{"106751d", 106751 * 24 * time.Hour},
		{"106752d", -1},
		{"", -1},
		{"5", -1},
		{"-5m", -1},
		{"+5m", -1},
		{"5 m", -1},
		{"m", -1},
		{"5min", -1},
		{"5M", -1},
		{"30m1h", -1},
		{"1h1h", -1},
		{"5us", -1},
		{"0.0001s", -1},
		{"1e3s", -1},
		{".5s", -1},
		{"1h30", -1},
		{"99999999999999999999w", -1},
		{strings.Repeat("1h", 200), -1},
	} {
		got, err := ParseDuration(tt.in)
		if tt.want < 0 {
			if err == nil {
				t.Errorf("%.40q: got %s, want an error", tt.in, got)
			}
			continue
		}
		if err != nil || time.Duration(got) != tt.want {
			t.Errorf("%q: got %s, %v, want %s", tt.in, got, err, tt.want)
		}
		if again, err := ParseDuration(got.String()); err != nil || again != got {
			t.Errorf("%q prints as %q, which is %s, %v", tt.in, got, again, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"2026-11-01", "2026-11-01T00:00:00Z"},
		{"2026-11-01T06:00:00Z", "2026-11-01T06:00:00Z"},
		{"2026-11-01T06:00:00+09:00", "2026-10-31T21:00:00Z"},
		{"2026-11-01T06:00:00.25-00:30", "2026-11-01T06:30:00.25Z"},
		{"2026-11-01T06:00:00.123000Z", "2026-11-01T06:00:00.123Z"},
		{"2024-02-29", "2024-02-29T00:00:00Z"},
		{"1970-01-01", "1970-01-01T00:00:00Z"},
		{"2026-02-29", ""},
		{"2026-11-1", ""},
		{"2026-11-01T06:00:00", ""},
		{"2026-11-01 06:00:00Z", ""},
		{"2026-11-01T06:00Z", ""},
		{"2026-11-01T24:00:00Z", ""},
		{"2026-11-01T06:00:00.1234Z", ""},
		{"2026-11-01T06:00:00,5Z", ""},
		{"1969-12-31T23:59:59Z", ""},
		{"1793491200", ""},
		{"now", ""},
		{"", ""},
		{"20261101", ""},
		{"2026-11-01T06:00:60Z", ""},
	} {
		got, err := ParseTime(tt.in)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q: got %s, want an error", tt.in, got)
			}
			continue
		}
		if err != nil || got.String() != tt.want || got.Location() != time.UTC {
			t.Errorf("%q: got %s, %v, want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestParseSlice(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Slice
		ok   bool
	}{
		{"auto", Slice{Auto: true}, true},
		{"1h", Slice{Duration: time.Hour}, true},
		{"1d", Slice{Duration: 24 * time.Hour}, true},
		{"500MB", Slice{Bytes: 500e6}, true},
		{"25h", Slice{}, false},
		{"1B", Slice{}, false},
		{"5", Slice{}, false},
		{"0", Slice{}, false},
		{"", Slice{}, false},
	} {
		got, err := ParseSlice(tt.in)
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("%q: got %+v, %v", tt.in, got, err)
		}
	}
}

func TestFlags(t *testing.T) {
	flags := flag.NewFlagSet("x", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var size Size
	var duration Duration
	var at Time
	flags.Var(&size, "size", "")
	flags.Var(&duration, "duration", "")
	flags.Var(&at, "time", "")
	if err := flags.Parse([]string{"-size", "64MiB", "-duration", "1h30m", "-time", "2026-11-01"}); err != nil {
		t.Fatal(err)
	}
	if size != 64<<20 || duration != Duration(90*time.Minute) || at.String() != "2026-11-01T00:00:00Z" {
		t.Errorf("got %s %s %s", size, duration, at)
	}
	if err := flags.Parse([]string{"-size", "many"}); err == nil {
		t.Error("a wrong size is accepted")
	}
	if got := (Time{}).String(); got != "" {
		t.Errorf("a time that isn't given prints as %q", got)
	}
}
