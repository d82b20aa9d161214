package parts

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/target"
)

var lines = arrow.NewSchema([]arrow.Field{
	{Name: "body", Type: arrow.BinaryTypes.String},
	{Name: "log_id", Type: arrow.BinaryTypes.String},
	{Name: "log_name", Type: arrow.BinaryTypes.String, Nullable: true},
}, nil)

func TestDir(t *testing.T) {
	c := sinks.Config{Pipeline: "prod", Source: "elsa", Labels: map[string]string{"tenant": "acme/1"}}
	events := sinks.Stream{Name: "events", PartitionBy: "log_id", Schema: lines}
	users := sinks.Stream{Name: "users", Schema: lines}
	at := time.Date(2026, 11, 1, 5, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		layout  string
		stream  sinks.Stream
		key     string
		logName string
		want    string
	}{
		{DefaultLayout, events, "a:b", "", "stream=events/log_id=a%3Ab/date=2026-11-01"},
		{DefaultLayout, users, "", "", "stream=users/date=2026-11-01"},
		{"", events, "x", "", ""},
		{"p={partition}", events, "{date}", "", "p=%7Bdate}"},
		{"{partition}", events, "..", "", "%2E."},
		{"log={log_name}/{date}T{hour}", events, "x", "web / 1", "log=web %2F 1/2026-11-01T05"},
		{"log={log_name}", events, "x", "", "log=__HIVE_DEFAULT_PARTITION__"},
		{"{log_name}/x", events, "x", "", "%5F_HIVE_DEFAULT_PARTITION__/x"},
		{"{log_name}-{log_name}", events, "x", "_a", "%5Fa-_a"},
		{"log={log_name}/d={date}", users, "", "web", "d=2026-11-01"},
		{"{pipeline}/{source}/tenant={labels.tenant}", events, "x", "", "prod/elsa/tenant=acme%2F1"},
	} {
		l, err := ParseLayout(tt.layout)
		if err != nil {
			t.Fatalf("%s: %v", tt.layout, err)
		}
		of, err := l.Of(c, tt.stream)
		if err != nil {
			t.Fatalf("%s: %v", tt.layout, err)
		}
		v := target.Of(c, flow.NewSlice(flow.Partition{Stream: tt.stream.Name, Key: tt.key}, at, at.Add(time.Hour), 0))
		v.LogName = tt.logName
		if got, err := of.Dir(v); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.layout, got, err, tt.want)
		}
	}
}

func TestOmit(t *testing.T) {
	s := sinks.Stream{Name: "events", PartitionBy: "log_id", Schema: lines}
	for layout, want := range map[string]string{
		DefaultLayout:                            "log_id",
		"{date}":                                 "",
		"{partition}":                            "",
		"log_name={log_name}/log_id={partition}": "log_name log_id",
		"log={log_name}":                         "",
		"body={date}":                            "!body={date}",
		"log_id=x{partition}":                    "!log_id",
	} {
		l, err := ParseLayout(layout)
		if err != nil {
			t.Fatal(err)
		}
		of, err := l.Of(sinks.Config{}, s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := of.Omit(s)
		if bad, ok := strings.CutPrefix(want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%s: %v, want an error", layout, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q, %v, want %q", layout, got, err, want)
		}
	}
}
