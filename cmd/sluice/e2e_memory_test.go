package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

const mib = 1 << 20

// memoryCap is of host and plugin together, whatever the size of the data.
const memoryCap = 256 * mib

// rssMeter samples the memory of a host and its plugin.
type rssMeter struct {
	stop chan struct{}
	done sync.WaitGroup
	sums []int64       // VmRSS of both at each sample
	peak map[int]int64 // VmHWM by process
	file map[int]int64 // most RssFile by process: pages of the program
}

// measure samples until end is called or the command ends.
func measure(c *command) *rssMeter {
	m := &rssMeter{stop: make(chan struct{}), peak: map[int]int64{}, file: map[int]int64{}}
	m.done.Go(func() {
		for {
			var sum int64
			for _, pid := range append(c.plugins(), c.cmd.Process.Pid) {
				rss, hwm, file := memoryOf(pid)
				sum += rss
				m.peak[pid], m.file[pid] = max(m.peak[pid], hwm), max(m.file[pid], file)
			}
			m.sums = append(m.sums, sum)
			select {
			case <-m.stop:
				return
			case <-c.ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return m
}

// end stops sampling and requires that the peaks of all processes, added, stay under a limit. Host and plugin run one program, whose
// pages are in memory once, however many processes have them mapped: of all but the largest of the processes they aren't added.
func (m *rssMeter) end(t *testing.T, limit int64) {
	t.Helper()
	close(m.stop)
	m.done.Wait()
	var sum, shared, most int64
	for pid, p := range m.peak {
		sum += p
		shared, most = shared+m.file[pid], max(most, m.file[pid])
	}
	sum -= shared - most
	t.Logf("peak resident memory: %d MiB of %d processes, %d samples", sum/mib, len(m.peak), len(m.sums))
	if len(m.peak) < 2 {
		t.Errorf("%d processes were measured, want host and plugin", len(m.peak))
	}
	if sum > limit {
		t.Errorf("peak resident memory of host and plugin: %d MiB, want at most %d", sum/mib, limit/mib)
	}
}

// mustBeFlat requires that memory doesn't grow with what has been moved: the mean of the last third is near that of the middle.
func (m *rssMeter) mustBeFlat(t *testing.T) {
	t.Helper()
	n := len(m.sums)
	if n < 30 {
		t.Fatalf("%d samples are too few to tell", n)
	}
	mean := func(s []int64) (sum int64) {
		for _, v := range s {
			sum += v
		}
		return sum / int64(len(s))
	}
	middle, last := mean(m.sums[n/3:2*n/3]), mean(m.sums[2*n/3:n-2]) // the last samples see the processes end
	t.Logf("resident memory: %d MiB in the middle, %d MiB at the end", middle/mib, last/mib)
	if last > middle+middle/4+16*mib {
		t.Errorf("resident memory grew from %d MiB to %d MiB", middle/mib, last/mib)
	}
}

func memoryOf(pid int) (rss, hwm, file int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			rss = kb << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kb); err == nil {
			hwm = kb << 10
		}
		if _, err := fmt.Sscanf(line, "RssFile: %d kB", &kb); err == nil {
			file = kb << 10
		}
	}
	return rss, hwm, file
}

// lineSum is the sum of the hashes of many lines: equal sums mean the same lines the same number of times, in any order.
type lineSum struct {
	lines  int64
	hi, lo uint64
}

func (s *lineSum) add(line []byte) {
	h := xxh3.Hash128(line)
	s.lines++
	s.hi += h.Hi
	s.lo += h.Lo
}

func (r *rig) served(id string) (s lineSum) {
	for line := range r.sim.Lines(id, r.from, r.to) {
		s.add(line)
	}
	return s
}

// TestNoRaceSlowSink reads a run's standard output at 20 MB/s and stops for two seconds in the middle: the pressure reaches the
// vendor's socket, memory stays flat and nothing is lost.
func TestNoRaceSlowSink(t *testing.T) {
	testsize.Alone(t)
	size := int64(256 * mib)
	if os.Getenv("SLUICE_SOAK") == "1" {
		size = 2 << 30
	}
	const rate = 20_000_000
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{bulk(size)}, SendBufferBytes: 256 << 10})
	r.to = seedStart.AddDate(0, 0, 1)
	r.sinks = []map[string]any{{"name": "out", "type": "stdout", "config": obj{"format": "raw"}}}
	r.write()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	c := r.prepare("run")
	c.cmd.Stdout = out
	c.start()
	if err := out.Close(); err != nil { // the child has its own
		t.Fatal(err)
	}
	m := measure(c)
	var got lineSum
	var paused time.Duration // longest that the simulator saw its socket stand still
	slow := &slowReader{r: in, rate: rate, at: size / 2, stop: func() {
		for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(20 * time.Millisecond) {
			for _, q := range r.sim.Active() {
				paused = max(paused, q.Waiting)
			}
		}
	}}
	began := time.Now()
	if err := rawLines(slow, got.add); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	<-c.ended
	m.end(t, memoryCap)
	m.mustBeFlat(t)
	c.mustExit(0)
	if want := r.served(vendorsim.SeedWebID); got != want {
		t.Errorf("%d lines came, %d were served; sums %x and %x", got.lines, want.lines, got, want)
	}
	if fastest := time.Duration(float64(size) / rate * 0.9 * float64(time.Second)); took < fastest {
		t.Errorf("%d bytes in %s: the reader wasn't slow", size, took)
	}
	if paused < time.Second {
		t.Errorf("while nobody read, the simulator's socket stood still for %s, want more than a second", paused)
	}
	t.Logf("%d MiB in %s, socket paused for up to %s", size/mib, took.Round(time.Millisecond), paused.Round(time.Millisecond))
}

// slowReader reads at a rate, and calls stop once when it has read so many bytes.
type slowReader struct {
	r     io.Reader
	rate  float64
	at    int64
	stop  func()
	began time.Time
	n     int64
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.began.IsZero() {
		s.began = time.Now()
	}
	due := s.began.Add(time.Duration(float64(s.n) / s.rate * float64(time.Second)))
	time.Sleep(time.Until(due))
	n, err := s.r.Read(p[:min(len(p), 256<<10)])
	s.n += int64(n)
	if s.stop != nil && s.n >= s.at {
		paused := time.Now()
		s.stop()
		s.stop = nil
		s.began = s.began.Add(time.Since(paused))
	}
	return n, err
}

// TestNoRaceMemory moves 1 GiB into files with the defaults.
func TestNoRaceMemory(t *testing.T) {
	testsize.Alone(t)
	for format, size := range map[string]int64{"raw": 1 << 30, "ndjson": 256 * mib} {
		t.Run(format, func(t *testing.T) {
			r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{bulk(size)}})
			r.to = seedStart.AddDate(0, 0, 1)
			root := r.fileSink("out", format, "none")
			r.write()
			c := r.prepare("run").start()
			m := measure(c)
			c.wait().mustExit(0)
			m.end(t, memoryCap)
			if format == "raw" {
				var got lineSum
				if err := eachLine(filepath.Join(root, "stream=events"), format, got.add); err != nil {
					t.Fatal(err)
				}
				if want := r.served(vendorsim.SeedWebID); got != want {
					t.Errorf("%d lines came, %d were served; sums %x and %x", got.lines, want.lines, got, want)
				}
			}
		})
	}
}

// TestNoRaceLongLines has lines of 16 MiB, which is the most that travels as a record, and longer ones, which are dead letters.
func TestNoRaceLongLines(t *testing.T) {
	testsize.Alone(t)
	line := func(size int, c byte) []byte {
		out := bytes.Repeat([]byte{c}, size)
		copy(out, fmt.Sprintf("%d bytes ", size))
		return out
	}
	lines := [][]byte{
		[]byte("first"), line(16*mib, 'a'), []byte("between"), line(16*mib+1, 'b'), line(20*mib, '\xff'), line(64*mib, 'd'), []byte("last"),
	}
	const fit, dead = 4, 3
	var records []vendorsim.Record
	for i, l := range lines {
		records = append(records, vendorsim.Record{Time: seedStart.Add(time.Duration(i) * time.Minute), Line: l})
	}
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web", Records: records}}})
	r.to = seedStart.AddDate(0, 0, 1)
	root := r.fileSink("out", "raw", "none")
	r.write()
	c := r.prepare("run").start()
	m := measure(c)
	c.wait().mustExit(1) // dead_letter.max is 0
	m.end(t, memoryCap)
	c.mustSay("3 dead letters")
	var got lineSum
	if err := eachLine(filepath.Join(root, "stream=events"), "raw", got.add); err != nil {
		t.Fatal(err)
	}
	var want lineSum
	for _, i := range []int{0, 1, 2, 6} {
		want.add(lines[i])
	}
	if got != want || got.lines != fit {
		t.Errorf("%d lines came that fit, want %d", got.lines, want.lines)
	}
	letters := r.deadLetters()
	if len(letters) != dead {
		t.Fatalf("%d dead letters, want %d", len(letters), dead)
	}
	for n, i := range []int{3, 4, 5} {
		if !bytes.Equal(letters[n], lines[i]) {
			t.Errorf("dead letter %d: %d bytes, want those of line %d (%d)", n, len(letters[n]), i, len(lines[i]))
		}
	}
	// What is dead is settled: it isn't asked for again. Allowed, it doesn't fail a run.
	r.run(0, "run").mustSay("nothing to do")
	mustRemove(t, root, filepath.Join(r.dir, "state"), filepath.Join(r.dir, "dead"))
	r.pipeline["dead_letter"] = obj{"max": dead}
	r.write()
	r.run(0, "run")
	if n := len(r.deadLetters()); n != dead {
		t.Errorf("%d dead letters, want %d", n, dead)
	}
}

// deadLetters returns the records in all published files of dead letters, in the order they were written.
func (r *rig) deadLetters() (out [][]byte) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "dead", "main", "*", "*.ndjson"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasPrefix(filepath.Base(filepath.Dir(path)), "_") {
			continue
		}
		err := fileLines(path, "raw", func(_ string, line []byte) {
			var letter struct {
				Text   string `json:"record"`
				Record []byte `json:"record_base64"`
				Bytes  int64  `json:"bytes"`
			}
			if err := json.Unmarshal(line, &letter); err != nil {
				r.t.Fatal(err)
			}
			if letter.Record == nil {
				letter.Record = []byte(letter.Text)
			}
			if letter.Bytes != int64(len(letter.Record)) {
				r.t.Errorf("a dead letter of %d bytes says %d", len(letter.Record), letter.Bytes)
			}
			out = append(out, letter.Record)
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return out
}
