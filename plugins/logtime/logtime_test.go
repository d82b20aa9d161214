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
		{"Jul  3 00:00:00 h", "2027-01-01T00:00:00Z", "2026-07-03T00:00:00Z"},
		{"Jul  2 00:00:00 h", "2027-01-01T00:00:00Z", "2027-07-02T00:00:00Z"},
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

// TestClocksThatChange has clocks that go forward, which skip an hour, and back, which show one twice: neither's times are certain.
func TestClocksThatChange(t *testing.T) {
	const (
		berlin   = `{"zone":"Europe/Berlin"}`
		newYork  = `{"zone":"America/New_York"}`
		lordHowe = `{"zone":"Australia/Lord_Howe"}` // half an hour
		layout   = `{"regex":"^(\\S+ \\S+)","layout":"%Y-%m-%d %H:%M:%S","zone":"Europe/Berlin"}`
		offset   = `{"regex":"^(\\S+ \\S+ \\S+)","layout":"%Y-%m-%d %H:%M:%S %z","zone":"Europe/Berlin"}`
		yearless = `{"regex":"^(\\S+ \\S+)","layout":"%m/%d %H:%M:%S","zone":"Europe/Berlin"}`
		rfc3339  = `{"regex":"^(\\S+ \\S+)","layout":"rfc3339","zone":"Europe/Berlin"}`

		spring, autumn = "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"
	)
	for _, tt := range []struct{ settings, received, line, want string }{
		{berlin, spring, "2026-03-29 01:59:59 x", "2026-03-29T00:59:59Z"},
		{berlin, spring, "2026-03-29 01:59:60 x", "2026-03-29T01:00:00Z"}, // a leap second
		{berlin, spring, "2026-03-29 02:00:00 x", ""},
		{berlin, spring, "2026-03-29 02:30:60 x", ""},
		{berlin, spring, "2026-03-29 02:59:59 x", ""},
		{berlin, spring, "2026-03-29 03:00:00 x", "2026-03-29T01:00:00Z"},
		{berlin, spring, "2026-03-29 02:30:00+02:00 x", "2026-03-29T00:30:00Z"},
		{layout, spring, "2026-03-29 02:30:00 x", ""},
		{rfc3339, spring, "2026-03-29 02:30:00 x", ""},
		{offset, spring, "2026-03-29 02:30:00 +0200 x", "2026-03-29T00:30:00Z"},
		{yearless, spring, "03/29 02:30:00 x", ""},
		{yearless, spring, "03/29 03:30:00 x", "2026-03-29T01:30:00Z"},
		{berlin, spring, "Mar 29 02:30:00 host x", ""},
		{berlin, spring, "Mar 29 03:30:00 host x", "2026-03-29T01:30:00Z"},
		{berlin, spring, `{"time":"2026-03-29 02:30:00"}`, ""},

		{berlin, autumn, "2026-10-25 01:59:59 x", "2026-10-24T23:59:59Z"},
		{berlin, autumn, "2026-10-25 02:00:00 x", ""},
		{berlin, autumn, "2026-10-25 02:30:00.5 x", ""},
		{berlin, autumn, "2026-10-25 02:59:59.999999999 x", ""},
		{berlin, autumn, "2026-10-25 03:00:00 x", "2026-10-25T02:00:00Z"},
		{berlin, autumn, "2026-10-25 02:30:00+01:00 x", "2026-10-25T01:30:00Z"},
		{berlin, autumn, "Oct 25 02:30:00 host x", ""},
		{berlin, autumn, "Oct 25 03:00:00 host x", "2026-10-25T02:00:00Z"},
		{layout, autumn, "2026-10-25 02:30:00 x", ""},
		{layout, autumn, "2026-10-25 03:00:00 x", "2026-10-25T02:00:00Z"},
		{offset, autumn, "2026-10-25 02:30:00 +0200 x", "2026-10-25T00:30:00Z"},
		{yearless, autumn, "10/25 02:30:00 x", ""},
		{yearless, autumn, "10/25 03:00:00 x", "2026-10-25T02:00:00Z"},
		{newYork, autumn, "2026-11-01 00:59:59 x", "2026-11-01T04:59:59Z"},
		{newYork, autumn, "2026-11-01 01:30:00 x", ""},
		{newYork, autumn, "2026-11-01 02:00:00 x", "2026-11-01T07:00:00Z"},
		{newYork, autumn, "2026-03-08 02:30:00 x", ""},
		{lordHowe, autumn, "2026-04-05 01:29:59 x", "2026-04-04T14:29:59Z"},
		{lordHowe, autumn, "2026-04-05 01:30:00 x", ""},
		{lordHowe, autumn, "2026-04-05 02:00:00 x", "2026-04-04T15:30:00Z"},
	} {
		got := ""
		if ns, ok := parser(t, tt.settings).Time([]byte(tt.line), hour(tt.received)); ok {
			got = time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
		}
		if got != tt.want {
			t.Errorf("%s: %q: %q, want %q", tt.settings, tt.line, got, tt.want)
		}
	}
}

// TestEveryHourOfAYear holds what a zone's clocks show against all instants that show it.
func TestEveryHourOfAYear(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Chatham", "UTC"} {
		p := parser(t, `{"zone":"`+name+`"}`)
		const step = 15 * time.Minute
		shown := map[string][]time.Time{}
		from, to := time.Date(2025, 12, 30, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC)
		for at := from; at.Before(to); at = at.Add(step) {
			text := at.In(p.zone).Format(time.DateTime)
			shown[text] = append(shown[text], at)
		}
		for wall := from.AddDate(0, 0, 2); wall.Before(to.AddDate(0, 0, -2)); wall = wall.Add(step) {
			line := wall.Format(time.DateTime)
			ns, ok := p.Time([]byte(line), noon)
			at := shown[line]
			if ok != (len(at) == 1) || ok && at[0].UnixNano() != ns {
				t.Fatalf("%s: %s: %v, %v; clocks show it at %v", name, line, time.Unix(0, ns).UTC(), ok, at)
			}
		}
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
	zoned, line := parser(t, `{"zone":"Europe/Berlin"}`), []byte("Oct 25 02:30:00 host x")
	if n := testing.AllocsPerRun(100, func() { zoned.Time(line, noon) }); n > 0 {
		t.Errorf("on the day when clocks go back: %v allocations a line", n)
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
