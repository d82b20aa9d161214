package logtime

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
)

func parser(t testing.TB, settings string) *Parser {
	t.Helper()
	var s Settings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		t.Fatal(err)
	}
	p, err := s.Parser()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// hour is the hour after a time.
func hour(text string) flow.Range {
	from, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err) // a constant of a test
	}
	return flow.Range{From: from, To: from.Add(time.Hour)}
}

var noon = hour("2026-11-22T12:00:00Z")

func TestAuto(t *testing.T) {
	const none = ""
	tests := []struct{ name, line, want string }{
		{"RFC 3339", "2026-11-22T12:00:01Z started", "2026-11-22T12:00:01Z"},
		{"nothing behind", "2026-11-22T12:00:01Z", "2026-11-22T12:00:01Z"},
		{"fraction and offset", "2026-11-22T13:00:01.123456789+01:00 x", "2026-11-22T12:00:01.123456789Z"},
		{"more digits than there are", "2026-11-22T12:00:01.1234567899Z x", "2026-11-22T12:00:01.123456789Z"},
		{"a blank, a comma, a short offset", "2026-11-22 13:00:01,5 +0100 x", "2026-11-22T12:00:01.5Z"},
		{"an hour's offset", "2026-11-22 06:00:01-06 x", "2026-11-22T12:00:01Z"},
		{"brackets", "[2026-11-22T12:00:01Z] x", "2026-11-22T12:00:01Z"},
		{"RFC 5424", "<165>1 2026-11-22T12:00:01.003Z host app", "2026-11-22T12:00:01.003Z"},
		{"a leap second", "2016-12-31T23:59:60Z x", "2017-01-01T00:00:00Z"},
		{"29 February", "2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"no 29 February", "2026-02-29T00:00:00Z", none},
		{"no zone", "2026-11-22 12:00:01 x", none},
		{"no such hour", "2026-11-22T24:00:01Z", none},
		{"no such offset", "2026-11-22T12:00:01+99:00 x", none},
		{"part of a word", "2026-11-22T12:00:01Zulu", none},
		{"part of a number", "2026-11-22T12:00:01Z7", none},
		{"seconds", "1795348801 x", "2026-11-22T12:00:01Z"},
		{"seconds with a fraction", "1795348801.25 x", "2026-11-22T12:00:01.25Z"},
		{"milliseconds", "1795348801250 x", "2026-11-22T12:00:01.25Z"},
		{"in brackets as dmesg", "[1795348801] x", "2026-11-22T12:00:01Z"},
		{"digits that are no time", "1234567890 x", none},
		{"more digits", "179534880125 x", none},
		{"an address", "1795348801.25.3 x", none},
		{"RFC 3164", "<13>Nov 22 12:00:01 host app: x", "2026-11-22T12:00:01Z"},
		{"RFC 3164 without priority", "Nov  2 12:00:01 host app: x", "2026-11-02T12:00:01Z"},
		{"RFC 3164 with a year behind", "Nov 22 12:00:01 2025 x", none},
		{"no such month", "Nox 22 12:00:01 host", none},
		{"no such day", "Nov 31 12:00:01 host", none},
		{"the common log format", `10.0.0.1 - - [22/Nov/2026:13:00:01 +0100] "GET / HTTP/1.1" 200 5`, "2026-11-22T12:00:01Z"},
		{"the second bracket", `x [y] [22/Nov/2026:12:00:01 +0000] z`, "2026-11-22T12:00:01Z"},
		{"a bracket that isn't closed", `x [22/Nov/2026:12:00:01 +0000 z`, none},
		{"JSON", `{"level":"info","time":"2026-11-22T12:00:01Z"}`, "2026-11-22T12:00:01Z"},
		{"JSON's preference", `{"time":1,"timestamp":"2026-11-22T12:00:02Z","@timestamp":"2026-11-22T12:00:01Z"}`, "2026-11-22T12:00:01Z"},
		{"JSON in seconds", `{"timestamp": 1795348801.5 }`, "2026-11-22T12:00:01.5Z"},
		{"JSON in milliseconds", `{"timestamp":1795348801500}`, "2026-11-22T12:00:01.5Z"},
		{"JSON in milliseconds as text", `{"timestamp":"1795348801500"}`, "2026-11-22T12:00:01.5Z"},
		{"JSON's null gives way", `{"time":"2026-11-22T12:00:01Z","@timestamp":null}`, "2026-11-22T12:00:01Z"},
		{"JSON behind what is nested", `{"a":{"time":"x","b":[1,"]}"]},"c":"\"}\\","time":"2026-11-22T12:00:01Z"}`, "2026-11-22T12:00:01Z"},
		{"JSON that is nested", `{"a":{"time":"2026-11-22T12:00:01Z"}}`, none},
		{"JSON's text goes on", `{"time":"2026-11-22T12:00:01Z or so"}`, none},
		{"JSON in nanoseconds", `{"time":1795348801500000000}`, none},
		{"JSON that is cut", `{"time":"2026-11-22T12:00:01Z","x":`, "2026-11-22T12:00:01Z"},
		{"JSON in a word", `{"time":"yesterday"}`, none},
		{"a word", "started", none},
		{"nothing", "", none},
		{"blanks", " \t ", none},
		{"a priority alone", "<13>", none},
		{"a brace", "{", none},
		{"not UTF-8", "\xff\xfe2026", none},
	}
	p := parser(t, `"auto"`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := none
			if ns, ok := p.Time([]byte(tt.line), noon); ok {
				got = time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
			}
			if got != tt.want {
				t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
			}
		})
	}
}

func TestYears(t *testing.T) {
	p := parser(t, `"auto"`)
	for _, tt := range []struct{ line, received, want string }{
		{"Dec 31 23:59:59 h", "2027-01-01T00:00:00Z", "2026-12-31T23:59:59Z"},
		{"Jan  1 00:00:01 h", "2026-12-31T23:00:00Z", "2027-01-01T00:00:01Z"}, // a clock that runs ahead
		{"Jan  1 00:00:01 h", "2027-01-01T00:00:00Z", "2027-01-01T00:00:01Z"},
		{"Feb 29 00:00:00 h", "2028-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"Feb 29 00:00:00 h", "2026-03-01T00:00:00Z", ""},
	} {
		got := ""
		if ns, ok := p.Time([]byte(tt.line), hour(tt.received)); ok {
			got = time.Unix(0, ns).UTC().Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("%q, received at %s: %q, want %q", tt.line, tt.received, got, tt.want)
		}
	}
}

func TestZonesAndLayouts(t *testing.T) {
	for _, tt := range []struct{ name, settings, line, want string }{
		{"a zone for auto", `{"zone":"Europe/Berlin"}`, "2026-11-22 13:00:01,250 x", "2026-11-22T12:00:01.25Z"},
		{"a zone for RFC 3164", `{"zone":"Europe/Berlin"}`, "Nov 22 13:00:01 x", "2026-11-22T12:00:01Z"},
		{"a line's own zone wins", `{"zone":"Europe/Berlin"}`, "2026-11-22T12:00:01Z x", "2026-11-22T12:00:01Z"},
		{"an hour that is skipped", `{"zone":"Europe/Berlin"}`, "2026-03-29 02:30:00 x", ""},
		{"strptime", `{"regex":"at=(\\S+ \\S+)","layout":"%d/%m/%Y %H:%M:%S","zone":"UTC"}`, "x at=22/11/2026 12:00:01 y", "2026-11-22T12:00:01Z"},
		{"Go", `{"regex":"at=(\\S+ \\S+)","layout":"02/01/2006 15:04:05 -0700"}`, "x at=22/11/2026 12:00:01", ""},
		{"Go with an offset", `{"regex":"at=(.*?);","layout":"02/01/2006 15:04:05 -0700"}`, "x at=22/11/2026 13:00:01 +0100;", "2026-11-22T12:00:01Z"},
		{"a named group", `{"regex":"(\\w+) (?P<time>\\S+)","layout":"rfc3339"}`, "x 2026-11-22T12:00:01Z", "2026-11-22T12:00:01Z"},
		{"the whole match", `{"regex":"\\d{10}","layout":"epoch"}`, "x=1795348801", "2026-11-22T12:00:01Z"},
		{"milliseconds", `{"regex":"t(\\d+)","layout":"epoch_ms"}`, "t1795348801500", "2026-11-22T12:00:01.5Z"},
		{"no year", `{"regex":"^(\\S+ \\S+)","layout":"%m/%d %H:%M:%S","zone":"UTC"}`, "11/22 12:00:01 x", "2026-11-22T12:00:01Z"},
		{"no match", `{"regex":"at=(\\S+)","layout":"rfc3339"}`, "x", ""},
		{"a group that isn't there", `{"regex":"x(y)?","layout":"rfc3339"}`, "x", ""},
		{"a year that doesn't fit", `{"regex":"(.+)","layout":"2006-01-02","zone":"UTC"}`, "2999-01-01", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if ns, ok := parser(t, tt.settings).Time([]byte(tt.line), noon); ok {
				got = time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
			}
			if got != tt.want {
				t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
			}
		})
	}
}

func TestSettingsRefused(t *testing.T) {
	for settings, want := range map[string]string{
		`"always"`: "want none, auto", `3`: "want none, auto", `{"pattern":"x"}`: "pattern",
		`{"zone":"Mars/Olympus"}`:                                    "time.zone",
		`{"zone":"Local"}`:                                           "time.zone",
		`{"layout":"rfc3339"}`:                                       "time.regex: is missing",
		`{"regex":"x"}`:                                              "time.layout: is missing",
		`{"regex":"(","layout":"rfc3339"}`:                           "time.regex",
		`{"regex":"x","layout":"15:04:05"}`:                          "no day and month",
		`{"regex":"x","layout":"%Y-%Q"}`:                             "isn't known",
		`{"regex":"x","layout":"%Y-%"}`:                              "ends with %",
		`{"regex":"x","layout":"%Y-%m-%d 15:04"}`:                    "mixes",
		`{"regex":"x","layout":"%Y-%m-%d %H:%M:%S"}`:                 "time.zone: is missing",
		`{"regex":"x","layout":"2006-01-02 15:04:05 MST"}`:           "names of zones",
		`{"regex":"x","layout":"%Y-%m-%d %H:%M:%S %Z","zone":"UTC"}`: "names of zones",
	} {
		var s Settings
		err := json.Unmarshal([]byte(settings), &s)
		if err == nil {
			err = s.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
	var none Settings
	if err := json.Unmarshal([]byte(`"none"`), &none); err != nil {
		t.Fatal(err)
	}
	if p, err := none.Parser(); p != nil || err != nil {
		t.Errorf("none: %v, %v", p, err)
	}
	var schema any
	if err := json.Unmarshal([]byte("{"+Schema+"}"), &schema); err != nil {
		t.Error(err)
	}
}

// TestRoundTrip writes any time in each form that auto knows, and reads the same back.
func TestRoundTrip(t *testing.T) {
	p := parser(t, `"auto"`)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		at := time.Unix(0, rng.Int64N(8_000_000_000_000_000_000)).In(time.FixedZone("", 60*(rng.IntN(2*840)-840)))
		for layout, unit := range map[string]time.Duration{
			time.RFC3339: time.Second, time.RFC3339Nano: 1, "2006-01-02 15:04:05.000000 -0700": time.Microsecond,
			"[02/Jan/2006:15:04:05 -0700]": time.Second, "Jan _2 15:04:05": time.Second,
		} {
			written := at
			if layout == "Jan _2 15:04:05" {
				written = at.UTC()
			}
			line, want := written.Format(layout), at.UnixNano()-at.UnixNano()%int64(unit)
			// Received up to five months later.
			from := at.Add(time.Duration(rng.Int64N(int64(150 * 24 * time.Hour)))).UTC()
			got, ok := p.Time([]byte(line+" x"), flow.Range{From: from, To: from.Add(time.Hour)})
			if !ok || got != want {
				t.Fatalf("%q: %d, %v, want %d", line, got, ok, want)
			}
		}
		for text, want := range map[string]int64{
			fmt.Sprint(at.Unix()): at.Unix() * 1e9, fmt.Sprint(at.UnixMilli()): at.UnixMilli() * 1e6,
		} {
			if at.Unix() < 1_000_000_000 {
				continue // fewer digits
			}
			if got, ok := p.Time([]byte(`{"time":`+text+`}`), noon); !ok || got != want {
				t.Fatalf("%s: %d, %v, want %d", text, got, ok, want)
			}
		}
	}
}

func TestColumn(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	lines := []string{"2026-11-22T12:00:01Z", "no time", "1795348802"}
	data, without := parser(t, `"auto"`).Column(mem, len(lines), func(i int) []byte { return []byte(lines[i]) }, noon)
	defer data.Release()
	column := array.NewTimestampData(data)
	defer column.Release()
	if without != 1 || column.NullN() != 1 || !column.IsNull(1) || column.Value(0) != 1795348801e9 || column.Value(2) != 1795348802e9 {
		t.Errorf("%v, %d without", column, without)
	}
}

var benchmarked = map[string]string{
	"rfc3339": "2026-11-22T12:00:01.123Z INFO started the thing that was to be started",
	"syslog":  "<13>Nov 22 12:00:01 host app[17]: message of some length, as they are",
	"clf":     `10.0.0.1 - frank [22/Nov/2026:13:00:01 +0100] "GET /index.html HTTP/1.1" 200 2326`,
	"json":    `{"level":"info","service":"web","message":"a message of some length","@timestamp":"2026-11-22T12:00:01Z"}`,
	"none":    "a message of some length, which holds no time at all, as many do",
}

func TestNoAllocation(t *testing.T) {
	p := parser(t, `"auto"`)
	for name, line := range benchmarked {
		text := []byte(line)
		if n := testing.AllocsPerRun(100, func() { p.Time(text, noon) }); n > 0 {
			t.Errorf("%s: %v allocations a line", name, n)
		}
	}
}

func BenchmarkAuto(b *testing.B) {
	p := parser(b, `"auto"`)
	for name, line := range benchmarked {
		b.Run(name, func(b *testing.B) {
			text := []byte(line)
			for b.Loop() {
				p.Time(text, noon)
			}
		})
	}
}

func FuzzAuto(f *testing.F) {
	for _, line := range benchmarked {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"a":"\\\"","time":{"b":[1,2]},"timestamp":"x"`))
	p, zoned := parser(f, `"auto"`), parser(f, `{"zone":"America/St_Johns"}`)
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, p := range []*Parser{p, zoned} {
			ns, ok := p.Time(line, noon)
			if !ok {
				continue
			}
			if y := time.Unix(0, ns).UTC().Year(); y < 1969 || y > 2262 {
				t.Fatalf("%q: %d", line, y)
			}
			if again, _ := p.Time(line, noon); again != ns {
				t.Fatalf("%q: %d, then %d", line, ns, again)
			}
		}
	})
}
