package stdout

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func config(settings string) sinks.Config {
	return sinks.Config{Settings: []byte(settings), Streams: []sinks.Stream{sinktest.Stream()}, Stdout: &bytes.Buffer{}}
}

func TestConformance(t *testing.T) {
	for _, format := range []string{"raw", "ndjson"} {
		t.Run(format, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Driver {
				var out bytes.Buffer
				return sinktest.Driver{
					AtLeastOnce: true,
					Open: func(commitlog.FS, string) (sinks.Sink, error) {
						c := config(fmt.Sprintf(`{"format": %q}`, format))
						c.Stdout = &out
						return Definition.Open(t.Context(), c)
					},
					Visible: func(commitlog.FS, string) ([]string, error) {
						var bodies []string
						for line := range strings.Lines(out.String()) {
							rec := struct{ Body string }{strings.TrimSuffix(line, "\n")}
							if format == "ndjson" {
								if err := json.Unmarshal([]byte(line), &rec); err != nil {
									return nil, err
								}
							}
							bodies = append(bodies, rec.Body)
						}
						return bodies, nil
					},
				}
			})
		})
	}
}

func TestCSVHasOneHeader(t *testing.T) {
	c := config(`{"format": "csv"}`)
	k, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for h := range 3 {
		s := sinktest.Hours("one", h, h+1)
		if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 10)[:1]); err != nil {
			t.Fatal(err)
		}
	}
	out := c.Stdout.(*bytes.Buffer).String()
	if n := strings.Count(out, "timestamp,body"); n != 1 || !strings.HasPrefix(out, "timestamp,body,log_id,attributes,body_raw\r\n") || strings.Count(out, "\n") != 4 {
		t.Errorf("%d headers in\n%s", n, out)
	}
}

func TestReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c := config(`{}`)
	c.Stdout = w
	k, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || !json.Valid([]byte(line)) {
		t.Fatalf("%q, %v", line, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3))
		if !errors.Is(err, ErrReaderGone) || fault.KindOf(errors.Unwrap(err)) != fault.Canceled && fault.KindOf(err) != fault.Canceled {
			t.Errorf("got %v of kind %s, want ErrReaderGone", err, fault.KindOf(err))
		}
	}
}

func TestSettings(t *testing.T) {
	two := config(`{"format": "csv"}`)
	two.Streams = append(two.Streams, sinktest.Stream())
	nowhere := config(`{}`)
	nowhere.Stdout = nil
	for _, tt := range []struct {
		name, want string
		c          sinks.Config
	}{
		{"format", "isn't one of", config(`{"format": "xml"}`)},
		{"key", "unknown field", config(`{"path": "x"}`)},
		{"csv of two streams", "takes one stream", two},
		{"no stdout", "doesn't print", nowhere},
	} {
		if _, err := Open(tt.c); err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	a, err := Open(config(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(config(``))
	if err != nil {
		t.Fatal(err)
	}
	if a.Identity() == b.Identity() {
		t.Error("two runs have one identity")
	}
	if err := Definition.Check(context.Background(), config(`{}`)); err != nil {
		t.Error(err)
	}
}
