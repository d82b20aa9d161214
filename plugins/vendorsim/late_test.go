package vendorsim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestLate serves a share of the records late, the same ones each time, and all of them in the end; downloads, usage and ELSA agree.
func TestLate(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	seed := SeedOptions{Seed: 3, Start: day, Days: 1, Lines: 4000}
	clock := NewClock(0)
	sim, base := start(t, Options{
		Logs: Seeded(seed), Clock: clock, Late: Late{Share: 0.05}, Elsa: Elsa{Projects: SeededProjects(seed)},
	})
	id, end := sim.LogIDs()[0], day.AddDate(0, 0, 1)
	all, records := sim.Count(id, day, end), 0
	for range sim.ProjectRecords(SeedProject, day, end) {
		records++
	}
	clock.Freeze(end)
	last, lastUsage, lastRecords := int64(0), int64(0), 0
	for n, after := range []time.Duration{0, time.Hour, 6 * time.Hour, 24 * time.Hour} {
		clock.Freeze(end.Add(after))
		var want bytes.Buffer
		count := int64(0)
		for line := range sim.Served(id, day, end) {
			want.Write(append(line[:len(line):len(line)], '\n'))
			count++
		}
		if got := download(t, base, id, day, end); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: a download of %d bytes isn't what is served, %d", after, len(got), want.Len())
		}
		if usage := sim.DayBytes(id, day); usage != int64(want.Len()) || n > 0 && usage <= lastUsage {
			t.Errorf("%s: usage %d after %d, served %d", after, usage, lastUsage, want.Len())
		} else {
			lastUsage = usage
		}
		served := 0
		for range sim.ServedRecords(SeedProject, day, end) {
			served++
		}
		if count <= last && n > 0 || served < lastRecords {
			t.Errorf("%s: %d lines after %d, %d records after %d", after, count, last, served, lastRecords)
		}
		last, lastRecords = count, served
		if share := float64(all-count) / float64(all); n == 0 && (share < 0.01 || share > 0.05) {
			t.Errorf("at its end %.3f of the day's lines aren't served yet", share)
		}
	}
	if last != all || lastRecords != records {
		t.Errorf("at the end %d of %d lines and %d of %d records are served", last, all, lastRecords, records)
	}
}

func download(t *testing.T, base, id string, from, to time.Time) []byte {
	t.Helper()
	url := fmt.Sprintf("%s/download/logs/%s?from=%d&to=%d&query=where(/.*/)", base, id, from.UnixMilli(), to.UnixMilli())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("x-api-key", DemoKey)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v: %s", answer.StatusCode, err, text)
	}
	return text
}
