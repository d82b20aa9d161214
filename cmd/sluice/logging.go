package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/sluice-io/sluice/host/config"
)

// logging is where logs and progress go: stderr, secrets masked.
type logging struct {
	redactor config.Redactor
	logger   *slog.Logger
	out      *syncWriter
}

// syncWriter lets logs and the progress line share stderr: it clears the line before a log line is written.
type syncWriter struct {
	mu    sync.Mutex
	w     io.Writer
	drawn bool // a progress line stands
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn {
		_, _ = io.WriteString(s.w, "\r\x1b[K")
		s.drawn = false
	}
	return s.w.Write(p)
}

// draw replaces the progress line; an empty text clears it.
func (s *syncWriter) draw(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" && !s.drawn {
		return
	}
	_, _ = io.WriteString(s.w, "\r\x1b[K"+text)
	s.drawn = text != ""
}

// jsonLogs is the --log-format for machines: each line on stderr is an object then.
const jsonLogs = "json"

func (a *app) startLogging() error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usageError(fmt.Errorf("--log-level %q: want debug, info, warn or error", a.logLevel))
	}
	if a.quiet {
		level = max(level, slog.LevelError)
	}
	a.log.out = &syncWriter{w: a.stderr}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: a.log.redactor.ReplaceAttr}
	switch a.logFormat {
	case jsonLogs:
		a.log.logger = slog.New(slog.NewJSONHandler(a.log.out, opts))
	case "text":
		a.log.logger = slog.New(&lineHandler{out: a.log.out, level: level, redactor: &a.log.redactor})
	default:
		return usageError(fmt.Errorf("--log-format %q: want text or json", a.logFormat))
	}
	return nil
}

// isTerminal reports whether stderr is a terminal that can redraw a line.
func (a *app) isTerminal() bool {
	f, ok := a.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && a.getenv("TERM") != "dumb"
}

// width is the terminal's columns.
func (a *app) width() int {
	if f, ok := a.stderr.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}

// lineHandler writes a record as one line for people: time, level unless info, message, key=value.
type lineHandler struct {
	out      io.Writer
	level    slog.Level
	redactor *config.Redactor
	prefix   string
	group    string
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Time.UTC().Format("15:04:05Z "))
	if r.Level != slog.LevelInfo {
		b.WriteString(strings.ToLower(r.Level.String()) + ": ")
	}
	b.WriteString(r.Message)
	b.WriteString(h.prefix)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(h.attr(a))
		return true
	})
	_, err := io.WriteString(h.out, strings.ReplaceAll(h.redactor.Redact(b.String()), "\n", "\n    ")+"\n")
	return err
}

func (h *lineHandler) attr(a slog.Attr) string {
	if a.Equal(slog.Attr{}) {
		return ""
	}
	v := a.Value.Resolve()
	text := v.String()
	if v.Kind() == slog.KindTime {
		text = v.Time().UTC().Format(time.RFC3339)
	}
	if strings.ContainsAny(text, " \t\"") && !strings.Contains(text, "\n") {
		text = fmt.Sprintf("%q", text)
	}
	return " " + h.group + a.Key + "=" + text
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.prefix += h.attr(a)
	}
	return &c
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}
