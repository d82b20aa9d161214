package vendorsim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// FromFolder makes a log of every *.log file in dir, its lines spread evenly over [from, to), every byte kept. A
// file that doesn't end in a line feed makes a log without a final one. Names are the files' without .log, IDs
// follow from the names.
func FromFolder(dir string, from, to time.Time) ([]Log, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, fmt.Errorf("vendorsim: folder %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("vendorsim: folder %s holds no *.log file", dir)
	}
	if !to.After(from) {
		return nil, fmt.Errorf("vendorsim: folder %s: the range must not be empty", dir)
	}
	sort.Strings(paths)
	logs := make([]Log, 0, len(paths))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("vendorsim: %w", err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".log")
		l := Log{ID: LogID(name), Name: name}
		if len(data) > 0 {
			rest, ended := bytes.CutSuffix(data, []byte{'\n'})
			l.NoFinalNewline = !ended
			l.Records = spread(bytes.Split(rest, []byte{'\n'}), from, to)
		}
		logs = append(logs, l)
	}
	return logs, nil
}

// spread gives the lines times in [from, to) at even distances.
func spread(lines [][]byte, from, to time.Time) []Record {
	out := make([]Record, len(lines))
	span := float64(to.Sub(from).Milliseconds())
	for i, line := range lines {
		ms := int64(span * float64(i) / float64(len(lines)))
		out[i] = Record{from.Add(time.Duration(ms) * time.Millisecond), line}
	}
	return out
}

// LogID makes a log ID from a name: a UUID that is always the same.
func LogID(name string) string {
	h := sha256.Sum256([]byte("vendorsim log " + name))
	h[6] = h[6]&0x0f | 0x80 // version 8: made by a rule of our own
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
