package target

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

func TestFill(t *testing.T) {
	c := sinks.Config{
		Pipeline: "prod", Source: "elsa", Labels: map[string]string{"tenant": "acme/1"},
		Streams: []sinks.Stream{{Name: "events", PartitionBy: "log_id"}},
	}
	from := time.Date(2026, 11, 1, 5, 0, 0, 0, time.UTC)
	s := flow.NewSlice(flow.Partition{Stream: "events", Key: "a{date}"}, from, from.Add(time.Hour), 0)
	v := Of(c, s)
	v.LogName = "web"
	for text, want := range map[string]string{
		"":     "",
		"logs": "logs",
		"{pipeline}-{source}-{stream}-{partition_by}={partition}": "prod-elsa-events-log_id=a{date}",
		"{log_name}/{date}T{hour}/{labels.tenant}":                "web/2026-11-01T05/acme_1",
	} {
		tmpl, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, err := tmpl.Fill(v, func(s string) string { return strings.ReplaceAll(s, "/", "_") })
		if err != nil || got != want || tmpl.String() != text {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	tmpl, _ := Parse("{labels.team}")
	if got, err := tmpl.Fill(v, Plain); err == nil || !strings.Contains(err.Error(), "tenant") {
		t.Errorf("unknown label: %q, %v, want an error that names those there are", got, err)
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{"{log}", "{labels.}", "{", "}", "a}b", "{stream", "{{stream}}", "{str{eam}"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func TestCheck(t *testing.T) {
	one := sinks.Config{Streams: []sinks.Stream{{Name: "events"}}, Labels: map[string]string{"tenant": "acme"}}
	two := one
	two.Streams = []sinks.Stream{{Name: "events"}, {Name: "usage"}}
	for _, tt := range []struct {
		name string
		c    sinks.Config
		text string
		want string
	}{
		{"one stream", one, "logs", ""},
		{"two on one", two, "logs-{date}", "events, usage"},
		{"two apart", two, "logs-{stream}", ""},
		{"label", one, "{labels.tenant}", ""},
		{"no such label", one, "{labels.team}", "no such label"},
		{"no labels", sinks.Config{}, "{labels.team}", "has no labels"},
	} {
		tmpl, err := Parse(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		err = Check(tt.c, "topic", tmpl)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
