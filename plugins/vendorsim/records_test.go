package vendorsim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func collect(sim *Sim, id string, from, to time.Time) []string {
	var out []string
	for line := range sim.Lines(id, from, to) {
		out = append(out, string(line))
	}
	return out
}

func split(body string) []string {
	if body == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(body, "\n"), "\n")
}

// Whatever is served in pieces must be the log, under both meanings of `to`.
func TestSeededIsServedByteForByte(t *testing.T) {
	logs := Seeded(SeedOptions{Seed: 1, Start: day.Add(5 * time.Hour), Lines: 2000, LongLine: 100_000})
	end := day.AddDate(0, 0, 7)
	for _, inclusive := range []bool{false, true} {
		sim, base := start(t, Options{Logs: logs, ToInclusive: inclusive})
		for _, l := range logs {
			want := collect(sim, l.ID, day, end)
			var got []string
			for from := day; from.Before(end); from = from.Add(12 * time.Hour) {
				to := from.Add(12 * time.Hour)
				if inclusive {
					to = to.Add(-time.Millisecond)
				}
				_, body := mustGet(t, base+"/download/logs/"+l.ID+"?"+rangeQuery(from, to)+everything)
				if l.NoFinalNewline && body != "" && strings.HasSuffix(body, "\n") && !strings.HasSuffix(body, "\n\n") {
					t.Errorf("log %s from %s ends in a line feed", l.Name, from)
				}
				got = append(got, split(body)...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("log %s, inclusive %t: %d lines served, want %d", l.Name, inclusive, len(got), len(want))
			}
			if n := int(sim.Count(l.ID, day, end)); n != len(want) || n != len(l.Records) || (n == 0) != (l.Name == "empty") {
				t.Errorf("log %s: Count %d, lines %d, records %d", l.Name, n, len(want), len(l.Records))
			}
		}
	}
}

func TestSeededHoldsSeamsAndAwkwardBytes(t *testing.T) {
	logs := Seeded(SeedOptions{Seed: 1, Start: day, Lines: 1000})
	if !reflect.DeepEqual(logs, Seeded(SeedOptions{Seed: 1, Start: day, Lines: 1000})) {
		t.Error("not the same twice")
	}
	sim, _ := start(t, Options{Logs: logs})
	for d := 1; d < 7; d++ {
		midnight := day.AddDate(0, 0, d)
		for _, id := range []string{SeedWebID, SeedAppID, SeedAwkwardID} {
			if at, before := sim.Count(id, midnight, midnight.Add(time.Millisecond)), sim.Count(id, midnight.Add(-time.Millisecond), midnight); at < 3 || before < 2 {
				t.Errorf("log %s at %s: %d records, %d before", id, midnight, at, before)
			}
		}
	}
	all := strings.Join(collect(sim, SeedAwkwardID, day, day.AddDate(0, 0, 7)), "\n")
	for _, want := range []string{"\r\n", "\n\n", "\x00", "\xff\xfe", "\xef\xbb\xbf", "\xed\xa0\x80"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in the awkward log", want)
		}
	}
}

func TestWithoutFinalNewline(t *testing.T) {
	tests := []struct {
		name  string
		pages []string
		want  string
	}{
		{"nothing", nil, ""},
		{"one line", []string{"a\n"}, "a"},
		{"two pages", []string{"a\nb\n", "c\n"}, "a\nb\nc"},
		{"empty last line", []string{"a\n\n"}, "a\n\n"},
		{"empty last page", []string{"a\n", "\n"}, "a\n\n"},
		{"only an empty line", []string{"\n"}, "\n"},
		{"empty lines within", []string{"\n", "\n", "a\n"}, "\n\na"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []byte
			for page := range withoutFinalNewline(func(yield func([]byte) bool) {
				for _, p := range tt.pages {
					if !yield([]byte(p)) {
						return
					}
				}
			}) {
				got = append(got, page...)
			}
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGeneratedRanges(t *testing.T) {
	for _, g := range []Generated{
		{Seed: 1, From: day, To: day.Add(time.Hour), Bytes: 3 << 20, RingBytes: 1 << 20},
		{Seed: 2, From: day, To: day.Add(time.Hour), LinesPerSecond: 7.3, Stamped: true, RingBytes: 1 << 16},
		{Seed: 3, From: day, To: day.Add(time.Second), LinesPerSecond: 90_000, Stamped: true, RingBytes: 1 << 20},
		{Seed: 4, From: day, To: day.Add(time.Hour), Bytes: 100, RingBytes: 1 << 16},
		{Seed: 5, From: day, To: day.Add(time.Hour), Bytes: 1000, Style: StyleJSON, Stamped: true, RingBytes: 1 << 16},
	} {
		c, err := newLogContent(Log{ID: "x", Generated: &g})
		if err != nil {
			t.Fatal(err)
		}
		from, to := g.From.UnixMilli(), g.To.UnixMilli()
		var whole, pieces bytes.Buffer
		lo, hi := c.span(0, 1<<60)
		for page := range c.pages(lo, hi) {
			whole.Write(page)
		}
		if n := int64(bytes.Count(whole.Bytes(), []byte{'\n'})); lo != 0 || n != hi {
			t.Errorf("seed %d: %d lines in [%d, %d)", g.Seed, n, lo, hi)
		}
		if g.Bytes > 0 && (int64(whole.Len()) > g.Bytes || int64(whole.Len()) < g.Bytes-500) {
			t.Errorf("seed %d: %d bytes, want about %d", g.Seed, whole.Len(), g.Bytes)
		}
		next := int64(0)
		for at := from - 5; at < to; at += 1 + (to-from)/97 {
			end := at + 1 + (to-from)/97
			lo, hi := c.span(at, end)
			if lo != next {
				t.Fatalf("seed %d: range from %d begins with record %d, want %d", g.Seed, at, lo, next)
			}
			for i := lo; i < hi; i += max(1, (hi-lo)/5) {
				if c.at(i) < at || c.at(i) >= end {
					t.Fatalf("seed %d: record %d at %d is not in [%d, %d)", g.Seed, i, c.at(i), at, end)
				}
			}
			for page := range c.pages(lo, hi) {
				pieces.Write(page)
			}
			next = hi
		}
		if !bytes.Equal(whole.Bytes(), pieces.Bytes()) {
			t.Errorf("seed %d: pieces differ from the whole", g.Seed)
		}
	}
}

func TestStampsShowTheRecordsTime(t *testing.T) {
	from := day.Add(13*time.Hour + 59*time.Minute + 58*time.Second + 250*time.Millisecond)
	for style, want := range map[Style][2]string{
		StyleSyslog:   {"Nov  1 13:59:58", "Nov  1 14:00:00"},
		StyleNginx:    {"01/Nov/2026:13:59:58 +0000", "01/Nov/2026:14:00:00 +0000"},
		StyleJSON:     {"2026-11-01T13:59:58.250Z", "2026-11-01T14:00:00.250Z"},
		StyleKeyValue: {"2026-11-01T13:59:58.250Z", "2026-11-01T14:00:00.250Z"},
		StyleWindows:  {"2026-11-01T13:59:58.250Z", "2026-11-01T14:00:00.250Z"},
	} {
		for _, stamped := range []bool{false, true} {
			c, err := newLogContent(Log{ID: "x", Generated: &Generated{Seed: 1, Style: style, From: from, To: from.Add(time.Minute), LinesPerSecond: 1, Stamped: stamped, RingBytes: 1 << 14}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range lines(c.pages(0, 3)) {
				got = append(got, string(line))
			}
			if !strings.Contains(got[0], want[0]) || !strings.Contains(got[2], want[1]) {
				t.Errorf("%s: %q", style, got)
			}
			if strings.HasSuffix(got[0], "\r") != (style == StyleWindows) {
				t.Errorf("%s: line end of %q", style, got[0])
			}
		}
	}
}

// The lines of a seed are a promise: recorded results stay comparable.
func TestGeneratorIsPinned(t *testing.T) {
	for style, want := range map[Style]string{
		StyleSyslog: "7de7802691ba", StyleNginx: "9e0220768c75", StyleJSON: "001e8f048df5", StyleKeyValue: "7290c03ea4a6",
		StyleJava: "0e6b1f1d39c6", StyleWindows: "68513ef81f94", StyleMixed: "854e66edd0e5",
	} {
		c, err := newLogContent(Log{ID: "x", Generated: &Generated{Seed: 42, Style: style, From: day, To: day.Add(time.Hour), LinesPerSecond: 10}})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		lo, hi := c.span(day.UnixMilli(), day.Add(100*time.Second).UnixMilli())
		size := 0
		for page := range c.pages(lo, hi) {
			n, _ := h.Write(page)
			size += n
		}
		if got := hex.EncodeToString(h.Sum(nil)[:6]); got != want {
			t.Errorf("%s: %s, want %s", style, got, want)
		}
		if mean := size / int(hi-lo); mean < 130 || mean > 270 {
			t.Errorf("%s: lines of %d bytes on average, want about 200", style, mean)
		}
	}
}

func TestFromFolder(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"a.log": "one\r\n\ntwo \xff\x00\nthree", "b.log": "x\n\n", "c.log": "", "README.md": "no",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := FromFolder(dir, day, day.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, base := start(t, Options{Logs: logs})
	for i, want := range []string{"one\r\n\ntwo \xff\x00\nthree", "x\n\n", ""} {
		if _, body := mustGet(t, base+"/download/logs/"+logs[i].ID+"?"+rangeQuery(day, day.Add(time.Hour))+everything); body != want {
			t.Errorf("log %s: %q, want %q", logs[i].Name, body, want)
		}
	}
	if _, err := FromFolder(t.TempDir(), day, day.Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "no *.log file") {
		t.Errorf("empty folder: %v", err)
	}
}

// Real samples, where there are some: every file comes back as it is.
func TestRealSamples(t *testing.T) {
	dir := os.Getenv("SLUICE_TEST_DATA")
	if dir == "" {
		dir = "testdata/samples"
	}
	logs, err := FromFolder(dir, day, day.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	_, base := start(t, Options{Logs: logs, Download: Budget{Requests: 10_000}})
	for _, l := range logs {
		want, err := os.ReadFile(filepath.Join(dir, l.Name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		if _, body := mustGet(t, base+"/download/logs/"+l.ID+"?"+rangeQuery(day, day.AddDate(0, 0, 1))+everything); body != string(want) {
			t.Errorf("log %s: %d bytes differ from the file's %d", l.Name, len(body), len(want))
		}
	}
}

func TestWriteLinesReportsTheWriter(t *testing.T) {
	sim, _ := start(t, Options{})
	r, w := io.Pipe()
	r.Close()
	if _, _, err := sim.WriteLines(w, "one", day, day.Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "log one") {
		t.Errorf("error %v", err)
	}
	if got := collect(sim, "nowhere", day, day.Add(time.Hour)); got != nil {
		t.Errorf("an unknown log holds %q", got)
	}
}

func TestClock(t *testing.T) {
	c := NewClock(0)
	c.Freeze(day)
	c.Jump(time.Hour)
	if got := c.Now(); !got.Equal(day.Add(time.Hour)) {
		t.Errorf("frozen and jumped: %s", got)
	}
	before := c.Monotonic()
	c.Elapse(time.Minute)
	if got := c.Now(); !got.Equal(day.Add(time.Hour+time.Minute)) || c.Monotonic()-before < time.Minute {
		t.Errorf("elapsed: %s, %s", got, c.Monotonic()-before)
	}
	c.Thaw()
	c.Elapse(time.Minute)
	if ahead := c.Now().Sub(day.Add(time.Hour + 2*time.Minute)); ahead < 0 || ahead > 10*time.Second {
		t.Errorf("thawed: %s ahead", ahead)
	}
	c.Set(day)
	if ahead := c.Now().Sub(day); ahead < 0 || ahead > 10*time.Second {
		t.Errorf("set: %s ahead", ahead)
	}
}

func TestSizeIsWhatPagesYield(t *testing.T) {
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	logs := append(Seeded(SeedOptions{Start: from, Days: 1, Lines: 200}),
		Log{ID: "ring", Generated: &Generated{From: from, To: from.Add(time.Hour), Bytes: 200_000, RingBytes: 30_000}},
		Log{ID: "stamped", Generated: &Generated{From: from, LinesPerSecond: 1, Stamped: true, RingBytes: 30_000}})
	for _, l := range logs {
		c, err := newLogContent(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range [][2]time.Duration{{0, time.Hour}, {0, 24 * time.Hour}, {time.Minute, 7 * time.Minute}, {time.Hour, time.Hour}, {5 * time.Hour, 6 * time.Hour}} {
			lo, hi := c.span(from.Add(r[0]).UnixMilli(), from.Add(r[1]).UnixMilli())
			var want int64
			for page := range c.pages(lo, hi) {
				want += int64(len(page))
			}
			if got := c.size(lo, hi); got != want {
				t.Errorf("log %s, records %d to %d: size %d, pages %d", l.Name, lo, hi, got, want)
			}
		}
	}
}
