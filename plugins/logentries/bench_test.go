package logentries

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/plugins"
)

// benchKinds are the kinds of work that benchPage makes.
var benchKinds = []string{"json", "clean", "tiny", "long", "escapes", "nested", "numbers", "labels"}

// benchPage is an answer of so many bytes with events of one kind.
func benchPage(kind string, size int) []byte {
	quoted := func(text string) string {
		out, err := json.Marshal(text)
		if err != nil {
			panic(err) // a text can be written
		}
		return string(out)
	}
	message := `{"timestamp":"2026-11-01T00:00:00.123Z","level":"info","service":"checkout","trace":"4bf92f3577b34da6a3ce929d0e0e4736","message":"order 1234 of customer 5678 was shipped","took_ms":17}`
	labels, more := "[]", ""
	switch kind {
	case "clean":
		message = strings.Repeat("plain text ", 20)
	case "tiny":
		message = "x"
	case "long":
		message = strings.Repeat(`{"key":"a value that goes on"}`, 4000)
	case "escapes":
		message = strings.Repeat("\"k\"\t\\é\u2028", 40)
	case "nested":
		more = `,"extra":` + strings.Repeat(`{"a":[1,`, 100) + "0" + strings.Repeat(`]}`, 100)
	case "numbers":
		more = `,"n":` + strings.Repeat("1234567890", 20) + `,"m":[` + strings.Repeat("-12345.678e-10, ", 30) + "0]"
	case "labels":
		labels = `[{"id":"1bb00b66-a543-43dc-b093-53963c2e8f41"},{"id":"2bb00b66-a543-43dc-b093-53963c2e8f41"}]`
	}
	text := []byte(`{"logs":["aee00b66-a543-43dc-b093-53963c2e8f41"],"events":[`)
	body := quoted(message)
	for i := 0; len(text) < size; i++ {
		if i > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, `{"labels":%s,"timestamp":%d,"sequence_number":3237201778429120512,"sequence_number_str":"3237201778429120512",`+
			`"log_id":"aee00b66-a543-43dc-b093-53963c2e8f41","message":%s%s,"links":[{"rel":"Context","href":"https://eu.rest.logs.insight.rapid7.com/query/context/3237201778429120512?timestamp=1793491200000&log_keys=aee00b66-a543-43dc-b093-53963c2e8f41"}]}`,
			labels, 1793491200000+i, body, more)
	}
	return append(text, `],"links":[]}`...)
}

// nowhere is an Emitter that keeps nothing.
type nowhere struct{ plugins.Emitter }

func (nowhere) Batch(context.Context, arrow.Record) error { return nil }

// benchWriter makes batches that go nowhere.
func benchWriter(b *testing.B) *eventWriter {
	w := newEventWriter(project(eventSchema(), varies), plugins.NewAllocator(), plugins.Limits{}, nowhere{})
	b.Cleanup(w.release)
	return w
}

// BenchmarkDecode makes batches of pages, with one copy of each page: it is decoded in place. Bytes are those of the JSON.
func BenchmarkDecode(b *testing.B) {
	for _, kind := range benchKinds {
		b.Run(kind, func(b *testing.B) {
			text := benchPage(kind, 4<<20)
			body := make([]byte, len(text))
			w := benchWriter(b)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				copy(body, text)
				p, err := decodePage(body)
				if err == nil {
					err = w.page(context.Background(), &batch{events: p.events})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
