package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// lineCounts counts lines by their hash: those served up, those found down. Zero everywhere means the same multiset.
type lineCounts map[xxh3.Uint128]int

func (c lineCounts) add(line []byte, n int) {
	h := xxh3.Hash128(line)
	if c[h] += n; c[h] == 0 {
		delete(c, h)
	}
}

// mustHold requires that the data files of a root hold exactly what the simulator serves of every log in [from, to), and that
// its commit log says so too: every millisecond covered once, and none twice.
func (r *rig) mustHold(root, format string, from, to time.Time) {
	r.t.Helper()
	for _, id := range r.logs {
		r.mustHoldLog(root, format, id, from, to)
	}
	r.mustCover(root, from, to)
	r.mustHaveNothingStaged(root)
}

func (r *rig) mustHaveNothingStaged(root string) {
	r.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(root, "_sluice", "staging", "*")); len(left) > 0 {
		r.t.Errorf("%s: staging folders are left: %v", root, left)
	}
}

func (r *rig) mustHoldLog(root, format, id string, from, to time.Time) {
	r.t.Helper()
	counts, served, found := lineCounts{}, 0, 0
	for line := range r.sim.Lines(id, from, to) {
		counts.add(line, 1)
		served++
	}
	err := eachLine(filepath.Join(root, "stream=events", "log_id="+id), format, func(line []byte) {
		counts.add(line, -1)
		found++
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(counts) == 0 {
		return
	}
	missing, extra := 0, 0
	for _, n := range counts {
		missing, extra = missing+max(n, 0), extra+max(-n, 0)
	}
	r.t.Fatalf("%s, log %s: %d lines served, %d found, %d missing, %d too many; for example %s%s",
		root, id, served, found, missing, extra, r.example(root, format, id, from, to, counts), amiss(r.t, root))
}

// amiss names the parts of commits that aren't there or aren't as long as their commit says.
func amiss(t testing.TB, root string) string {
	var out strings.Builder
	for _, c := range commits(t, root) {
		for _, p := range c.Parts {
			info, err := os.Stat(filepath.Join(root, p.Path))
			if err != nil || info.Size() != p.Bytes {
				fmt.Fprintf(&out, "\n%s: %s has %d rows, %d bytes; there: %v, %v", c.Slice, p.Path, p.Rows, p.Bytes, info, err)
			}
		}
	}
	return out.String()
}

func (r *rig) example(root, format, id string, from, to time.Time, counts lineCounts) string {
	for line := range r.sim.Lines(id, from, to) {
		if n := counts[xxh3.Hash128(line)]; n != 0 {
			return fmt.Sprintf("%d times %.200q", n, line)
		}
	}
	text := "?"
	_ = eachLine(filepath.Join(root, "stream=events", "log_id="+id), format, func(line []byte) {
		if n := counts[xxh3.Hash128(line)]; n != 0 {
			text = fmt.Sprintf("%d times %.200q", n, line)
		}
	})
	return text
}

// eachLine calls f for each record in the data files below a folder, decoded from the format; the line is valid until f returns.
// A folder that isn't there holds nothing.
func eachLine(root, format string, f func([]byte)) error {
	return eachRecord(root, format, func(_ string, line []byte) { f(line) })
}

// eachRecord is eachLine with the record's column timestamp as it stands, "" where there is none.
func eachRecord(root, format string, f func(at string, line []byte)) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == root {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		if err := fileLines(path, format, f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

func fileLines(path, format string, f func(at string, line []byte)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var in io.Reader = file
	switch filepath.Ext(path) {
	case ".gz":
		if in, err = gzip.NewReader(file); err != nil {
			return err
		}
	case ".zst":
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		in = z
	}
	switch format {
	case "raw":
		return rawLines(in, func(line []byte) { f("", line) })
	case "ndjson":
		return jsonLines(in, f)
	default:
		return csvLines(in, f)
	}
}

func rawLines(in io.Reader, f func([]byte)) error {
	b := bufio.NewReaderSize(in, 1<<20)
	var long []byte
	for {
		piece, err := b.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, piece...)
		case err == nil:
			if long != nil {
				piece = append(long, piece...)
				long = nil
			}
			f(piece[:len(piece)-1])
		case errors.Is(err, io.EOF) && len(piece)+len(long) == 0:
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("the file doesn't end in a line feed")
		default:
			return err
		}
	}
}

func jsonLines(in io.Reader, f func(at string, line []byte)) error {
	return rawLines(in, func(line []byte) {
		var record struct {
			At   string  `json:"timestamp"`
			Body *string `json:"body"`
			Raw  []byte  `json:"body_raw"`
		}
		if err := json.Unmarshal(line, &record); err != nil {
			f("", fmt.Appendf(nil, "not JSON: %v: %s", err, line))
			return
		}
		switch {
		case record.Raw != nil:
			f(record.At, record.Raw)
		case record.Body != nil:
			f(record.At, []byte(*record.Body))
		default:
			f("", append([]byte("no body: "), line...))
		}
	})
}

func csvLines(in io.Reader, f func(at string, line []byte)) error {
	c := csv.NewReader(bufio.NewReaderSize(in, 1<<20))
	head, err := c.Read()
	if err != nil {
		return err
	}
	at, body, raw := slices.Index(head, "timestamp"), slices.Index(head, "body"), slices.Index(head, "body_raw")
	if at < 0 || body < 0 || raw < 0 {
		return fmt.Errorf("header %v", head)
	}
	c.ReuseRecord = true
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if row[raw] != "" {
			var bytes []byte
			if err := json.Unmarshal([]byte(`"`+row[raw]+`"`), &bytes); err != nil {
				return err
			}
			f(row[at], bytes)
			continue
		}
		f(row[at], []byte(row[body]))
	}
}

// commits returns every commit of a root that stands, in no order.
func commits(t testing.TB, root string) []commitlog.Commit {
	t.Helper()
	standing := map[string]commitlog.Commit{}
	var forgotten []string
	err := filepath.WalkDir(filepath.Join(root, "_sluice", "commits"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		e, err := commitlog.ParseEntry(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if e.Commit != nil {
			standing[path] = *e.Commit
		}
		if e.Forget != nil {
			for _, n := range e.Forget.Entries {
				forgotten = append(forgotten, filepath.Join(filepath.Dir(path), fmt.Sprintf("%06d.json", n)))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range forgotten {
		delete(standing, path)
	}
	return slices.Collect(maps.Values(standing))
}

// mustCover requires that the commits of a root cover [from, to) of every log, each millisecond once, and that their parts are
// there, whole, and nothing else is.
func (r *rig) mustCover(root string, from, to time.Time) {
	r.t.Helper()
	byLog := map[string][]flow.Range{}
	parts := map[string]int64{}
	for _, c := range commits(r.t, root) {
		byLog[c.Slice.Key] = append(byLog[c.Slice.Key], c.Slice.Range())
		for _, p := range c.Parts {
			parts[filepath.Join(root, p.Path)] = p.Bytes
		}
	}
	for _, id := range r.logs {
		ranges := byLog[id]
		slices.SortFunc(ranges, func(a, b flow.Range) int { return a.From.Compare(b.From) })
		at := from
		for _, g := range ranges {
			if !g.From.Equal(at) {
				r.t.Errorf("%s, log %s: a commit begins at %s, the one before ends at %s", root, id, g.From.Format(flow.Layout), at.Format(flow.Layout))
			}
			at = g.To
		}
		if !at.Equal(to) {
			r.t.Errorf("%s, log %s: covered up to %s, want %s", root, id, at.Format(flow.Layout), to.Format(flow.Layout))
		}
	}
	r.mustHoldOnly(root, parts)
}

func (r *rig) mustHoldOnly(root string, parts map[string]int64) {
	r.t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "_"):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if size, ok := parts[path]; !ok {
			r.t.Errorf("%s is named by no commit", path)
		} else if size != info.Size() {
			r.t.Errorf("%s has %d bytes, its commit says %d", path, info.Size(), size)
		}
		delete(parts, path)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for path := range parts {
		r.t.Errorf("%s is named by a commit and missing", path)
	}
}

// contains reports whether any file below a folder holds a text, and which.
func contains(t testing.TB, root string, text []byte) (found []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, text) || strings.Contains(path, string(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
