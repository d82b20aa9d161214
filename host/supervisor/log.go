package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	maxLogLine   = 16 << 10 // bytes of a plugin's log line; the rest of a longer one is left out
	maxLogAttr   = 2 << 10  // bytes of one attribute's value
	maxLogAttrs  = 32
	keptLines    = 20 // the last lines of a plugin's log that are kept for errors
	shownLines   = 6  // how many of them an error shows
	maxShownLine = 240
)

// logReader takes a plugin's log lines, from standard error and from what go-plugin forwards, into the host's log, and keeps
// the last ones for errors. Safe for concurrent use.
type logReader struct {
	log    *slog.Logger
	redact *redactor

	mu     sync.Mutex
	pid    int
	lines  []string // the last keptLines
	panic  string   // the first line of a Go panic or fatal error
	strays map[string]bool
}

func newLogReader(log *slog.Logger, redact *redactor) *logReader {
	return &logReader{log: log, redact: redact, strays: make(map[string]bool)}
}

func (l *logReader) setPID(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pid = pid
}

// run reads lines until the end.
func (l *logReader) run(r io.Reader) {
	br := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			l.line(line, errors.Is(err, bufio.ErrBufferFull))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// stray tells once a place that a plugin writes to places where nothing belongs.
func (l *logReader) stray(where string, b []byte) {
	l.mu.Lock()
	known := l.strays[where]
	l.strays[where] = true
	pid := l.pid
	l.mu.Unlock()
	if !known {
		l.log.Warn("the plugin prints to "+where+": what it prints there is thrown away", "pid", pid, "first", clean([]byte(l.redact.cut(string(b))), maxShownLine))
	}
}

// line takes one line. JSON lines in the manner of hclog or slog keep their level and attributes.
func (l *logReader) line(b []byte, cut bool) {
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 {
		return
	}
	level, text, attrs := l.redact.parseLine(b, cut)
	if cut {
		attrs = append(attrs, slog.Bool("cut", true))
	}
	shown := text
	for _, a := range attrs {
		if a.Key == "error" || a.Key == "err" {
			shown += ": " + a.Value.String()
		}
	}
	l.mu.Lock()
	pid := l.pid
	if l.panic == "" && attrs == nil && startsTrace(text) {
		l.panic = text
	}
	if level >= slog.LevelInfo { // debug lines explain nothing to an operator
		if l.lines = append(l.lines, shown); len(l.lines) > keptLines {
			l.lines = slices.Delete(l.lines, 0, 1)
		}
	}
	l.mu.Unlock()
	l.log.LogAttrs(context.Background(), level, text, append([]slog.Attr{slog.Int("pid", pid)}, attrs...)...)
}

// startsTrace reports whether a line begins what Go's runtime prints when it ends a process.
func startsTrace(line string) bool {
	sig, _, ok := strings.Cut(line, ": ")
	return ok && (sig == "panic" || sig == "fatal error" || strings.HasPrefix(sig, "SIG") && !strings.Contains(sig, " "))
}

// last returns the last log lines for an error, "" without any. A panic's first line stands before the rest of its trace.
func (l *logReader) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	if l.panic != "" {
		lines = []string{l.panic}
	}
	if len(lines) > shownLines {
		lines = lines[len(lines)-shownLines:]
	}
	short := make([]string, len(lines))
	for i, line := range lines {
		short[i] = clean([]byte(line), maxShownLine)
	}
	return strings.Join(short, " | ")
}

// parseLine reads a JSON line of hclog ("@level", "@message") or slog ("level", "msg"); any other line is a message as it
// stands: a warning if it looks like trouble. What it returns is masked; cut says that the line's end is missing.
func (r *redactor) parseLine(b []byte, cut bool) (slog.Level, string, []slog.Attr) {
	var fields map[string]json.RawMessage
	if b[0] == '{' && json.Unmarshal(b, &fields) == nil {
		for _, keys := range [][3]string{{"@level", "@message", "@timestamp"}, {"level", "msg", "time"}} {
			var level, msg string
			if json.Unmarshal(fields[keys[0]], &level) != nil || json.Unmarshal(fields[keys[1]], &msg) != nil {
				continue
			}
			for _, k := range keys {
				delete(fields, k)
			}
			return parseLevel(level), r.shown(msg, maxLogLine), r.attributes(fields)
		}
	}
	text := r.told(string(b))
	if cut {
		text = r.cut(text)
	}
	text = clean([]byte(text), maxLogLine)
	for _, sign := range []string{"panic:", "fatal error:", "[ERROR]", "ERROR"} {
		if strings.HasPrefix(text, sign) {
			return slog.LevelError, text, nil
		}
	}
	if strings.HasPrefix(text, "[WARN]") || strings.HasPrefix(text, "WARN") {
		return slog.LevelWarn, text, nil
	}
	return slog.LevelInfo, text, nil
}

func parseLevel(name string) slog.Level {
	switch strings.ToLower(name) {
	case "trace", "debug":
		return slog.LevelDebug
	case "warn", "warning":
		return slog.LevelWarn
	case "error", "fatal":
		return slog.LevelError
	}
	return slog.LevelInfo
}

func (r *redactor) attributes(fields map[string]json.RawMessage) []slog.Attr {
	keys := make([]string, 0, len(fields))
	for k := range fields {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var out []slog.Attr
	for _, k := range keys {
		if len(out) == maxLogAttrs {
			return append(out, slog.String("more", fmt.Sprintf("%d attributes left out", len(keys)-maxLogAttrs)))
		}
		value := string(fields[k])
		var s string
		if json.Unmarshal(fields[k], &s) == nil {
			value = s
		}
		switch k {
		case "plugin", "pid", "level", "msg", "time":
			k = "plugin_" + k // these are the host's own
		}
		out = append(out, slog.String(r.shown(k, maxShownLine), r.shown(value, maxLogAttr)))
	}
	return out
}

// clean makes foreign bytes fit to be shown: valid UTF-8 without control characters, at most n bytes.
func clean(b []byte, n int) string {
	cut := len(b) > n
	if cut {
		b = b[:n]
		for len(b) > 0 && !utf8.RuneStart(b[len(b)-1]) {
			b = b[:len(b)-1]
		}
		if len(b) > 0 && b[len(b)-1] >= utf8.RuneSelf {
			b = b[:len(b)-1]
		}
	}
	s := strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r):
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
	if cut {
		s += "..."
	}
	return s
}

// strayWriter takes what a plugin's os.Stdout carries after the handshake.
type strayWriter struct {
	log   *logReader
	where string
}

func (w strayWriter) Write(b []byte) (int, error) {
	w.log.stray(w.where, b)
	return len(b), nil
}

// lineWriter cuts what go-plugin forwards of a plugin's os.Stderr into log lines. Used by one goroutine.
type lineWriter struct {
	log  *logReader
	held []byte
	skip bool // to the line's end: its beginning was told as a line that is cut
}

func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			w.take(b)
			return n, nil
		}
		w.take(b[:i])
		if !w.skip {
			w.log.line(w.held, false)
		}
		w.held, w.skip, b = w.held[:0], false, b[i+1:]
	}
	return n, nil
}

// take adds to the line, of which what is beyond maxLogLine is left out.
func (w *lineWriter) take(b []byte) {
	if w.skip {
		return
	}
	if w.held = append(w.held, b...); len(w.held) > maxLogLine {
		w.log.line(w.held[:maxLogLine], true)
		w.held, w.skip = w.held[:0], true
	}
}
