package vendorsim

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"
)

// IDs of the logs that Seeded makes.
const (
	SeedWebID     = "aee00b66-a543-43dc-b093-53963c2e8f41"
	SeedAppID     = "d8eacea6-3dbd-4163-8fc2-3ef5067bd7c9"
	SeedAwkwardID = "1c1f2885-ed93-4650-9e14-d46af4bf0886"
	SeedEmptyID   = "7f7c461f-2e71-4d50-8cdf-06c11ee67789"
)

// SeedOptions says what Seeded makes.
type SeedOptions struct {
	Seed     uint64
	Start    time.Time // truncated to its UTC midnight
	Days     int       // 0: 7
	Lines    int       // of each of the two large logs; 0: 20,000
	LongLine int       // bytes of the longest line of the awkward log; 0: 64 KiB
}

// Seeded makes four logs over some days, the same for the same options: "web" (access lines), "app" (several
// styles), "awkward" (every byte that is easily lost, and no line feed at an answer's end) and "empty". Besides
// evenly scattered records, the first three have some on every seam: at each midnight and hour, a millisecond
// before and behind, several in one millisecond, and equal lines next to each other.
func Seeded(o SeedOptions) []Log {
	o = o.withDefaults()
	return []Log{
		{ID: SeedWebID, Name: "web", Records: styledRecords(o, StyleNginx, 1)},
		{ID: SeedAppID, Name: "app", Records: styledRecords(o, StyleMixed, 2)},
		{ID: SeedAwkwardID, Name: "awkward", Records: awkwardRecords(o), NoFinalNewline: true},
		{ID: SeedEmptyID, Name: "empty"},
	}
}

// What SeededDirectory makes. The owner's key opens nothing but a simulator.
const (
	SeedLogsetID = "5e75e75e-0000-4000-8000-000000000001"
	SeedAccount  = "acc00001-0000-4000-8000-000000000001"
	DemoOwnerID  = "0e5f0001-0000-4000-8000-000000000001"
	DemoOwnerKey = "0e5f0001-0000-4000-8000-00000000000f"
)

// SeededDirectory adds what an account holds beside the logs of Seeded: a log set of two of them, a saved query, and an account with
// two users.
func SeededDirectory(o *Options) {
	lastHour := "last 1 hour"
	o.Logsets = []Logset{{ID: SeedLogsetID, Name: "front", Description: "what users see", Logs: []string{SeedWebID, SeedAppID}}}
	o.SavedQueries = []SavedQuery{{
		ID: "5afed000-0000-4000-8000-000000000001", Name: "errors", Logs: []string{SeedAppID},
		LEQL: SavedLEQL{Statement: "where(ERROR)", During: SavedDuring{TimeRange: &lastHour}},
	}}
	o.Owner = Owner{Account: SeedAccount, Name: "Simulated", KeyID: DemoOwnerID, Key: DemoOwnerKey, Users: []User{
		{ID: "0e5f0001-0000-4000-8000-0000000000a1", Email: "ann@example.com", FirstName: "Ann", LastName: "Archer", LoginName: "ann"},
		{ID: "0e5f0001-0000-4000-8000-0000000000b2", Email: "bob@example.com", FirstName: "Bob", LastName: "Baker", LoginName: "bob"},
	}}
}

func (o SeedOptions) withDefaults() SeedOptions {
	o.Days = cmp.Or(o.Days, 7)
	o.Lines = cmp.Or(o.Lines, 20_000)
	o.LongLine = cmp.Or(o.LongLine, 64<<10)
	o.Start = o.Start.UTC().Truncate(24 * time.Hour)
	return o
}

// seams returns the times where slices are likely to meet, some of them several times.
func seams(o SeedOptions) []time.Time {
	var out []time.Time
	for h := range o.Days * 24 {
		t := o.Start.Add(time.Duration(h) * time.Hour)
		out = append(out, t)
		if h%24 == 0 {
			out = append(out, t, t, t.Add(time.Millisecond))
			if h > 0 {
				out = append(out, t.Add(-time.Millisecond), t.Add(-time.Millisecond))
			}
		}
	}
	end := o.Start.AddDate(0, 0, o.Days)
	return append(out, end.Add(-time.Millisecond))
}

func styledRecords(o SeedOptions, style Style, salt uint64) []Record {
	r := random(o.Seed<<8 ^ salt)
	times := seams(o)
	span := uint64(o.Days) * 24 * 3600 * 1000
	for len(times) < o.Lines {
		times = append(times, o.Start.Add(time.Duration(r.next()%span)*time.Millisecond))
	}
	slices.SortFunc(times, time.Time.Compare)
	w := newWriter(o.Seed<<8^salt, style)
	var clock stampClock
	out := make([]Record, 0, len(times))
	for i, t := range times {
		if i > 0 && i%997 == 0 {
			out = append(out, Record{t, out[i-1].Line})
			continue
		}
		line, st := w.line(nil)
		if st.layout != noStamp {
			clock.put(line[st.offset:], st.layout, t.UnixMilli())
		}
		out = append(out, Record{t, line})
	}
	return out
}

// awkward are lines that careless code loses or changes.
var awkward = []string{
	"", " ", "\r", "ends in CRLF\r", "two\r\r", "a\rb in the middle", "\x00", "nul \x00 within", "\x00\x00\x00",
	"\xff\xfe invalid UTF-8", "cut rune \xe2\x82", "overlong \xc0\xaf", "surrogate \xed\xa0\x80", "\xef\xbb\xbfa mark in front",
	"tab\tand\vand\f", "\x1b[31mcolour\x1b[0m", "next line \u0085 and \u2028 and \u2029", "\ufffd itself",
	`"quoted", with 'both' and \ and \n as text`, `a,"b ""c""",d`, "=1+1", `{"half": "json`, "trailing blanks   ", "\x7f\x01\x02\x1a",
	"Ünïcödé 世界 🎉", "ERROR in capitals", "\\", "null", "NaN", "#comment", "--", "-", "a:b;c",
}

func awkwardRecords(o SeedOptions) []Record {
	times := seams(o)
	for i := range 40 * len(awkward) {
		times = append(times, o.Start.Add(time.Duration(i)*time.Duration(o.Days)*24*time.Hour/time.Duration(40*len(awkward))))
	}
	slices.SortFunc(times, time.Time.Compare)
	out := make([]Record, 0, len(times))
	for i, t := range times {
		line := []byte(awkward[i%len(awkward)])
		switch {
		case i == len(times)/2:
			line = bytes.Repeat([]byte("long line, 20 bytes "), o.LongLine/20+1)[:o.LongLine]
		case i%3 == 0 && len(line) > 0:
			line = fmt.Appendf(line, " %d", i) // some are unique, most repeat
		}
		out = append(out, Record{t, line})
	}
	return out
}
