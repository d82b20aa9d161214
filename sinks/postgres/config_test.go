package postgres

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestSettings(t *testing.T) {
	const base = `"host": "h", "database": "d", "user": "u"`
	two := []sinks.Stream{sinktest.Stream(), sinktest.Stream()}
	two[1].Name = "usage"
	month := sinktest.Stream()
	month.Schema = arrow.NewSchema([]arrow.Field{{Name: "m", Type: arrow.FixedWidthTypes.MonthInterval}, {Name: strings.Repeat("n", 64), Type: arrow.BinaryTypes.String}}, nil)
	for _, tt := range []struct {
		name, settings string
		streams        []sinks.Stream
		want           string
	}{
		{"keys", `{` + base + `}`, nil, ""},
		{"socket", `{"host": "/run/postgresql", "database": "d", "user": "u"}`, nil, ""},
		{"url", `{"url": "postgres://u:hidden%2F@h/d?sslmode=disable"}`, nil, ""},
		{"two streams", `{` + base + `}`, two, ""},
		{"two on one", `{` + base + `, "table": "one"}`, two, "events, usage"},
		{"nothing", `{}`, nil, "give url, or host"},
		{"both", `{` + base + `, "url": "postgres://u:hidden@h/d"}`, nil, "give either"},
		{"no url", `{"url": "hidden"}`, nil, "write it as"},
		{"url that can't be parsed", `{"url": "postgres://u:hidden%zz@h/d"}`, nil, "write it as"},
		{"url without database", `{"url": "postgres://u:hidden@h"}`, nil, "no database"},
		{"url's port", `{"url": "postgres://u:hidden@h:0/d"}`, nil, "port"},
		{"url's parameter", `{"url": "postgres://u:hidden@h/d?sslmode=require"}`, nil, `"sslmode"`},
		{"table", `{` + base + `, "table": "a.b.c"}`, nil, "more than one point"},
		{"half a table", `{` + base + `, "table": "a."}`, nil, "SCHEMA.TABLE"},
		{"label", `{` + base + `, "table": "{labels.x}"}`, nil, "no labels"},
		{"commit_schema", `{` + base + `, "commit_schema": "` + strings.Repeat("s", 64) + `"}`, nil, "64 bytes"},
		{"timeout", `{` + base + `, "timeout": "10ms"}`, nil, "less than a second"},
		{"tls", `{` + base + `, "tls": {"ca_file": "nowhere.pem"}}`, nil, "tls.ca_file"},
		{"tls off", `{` + base + `, "tls": {"enabled": false, "server_name": "x"}}`, nil, "enabled is false"},
		{"url's tls off", `{"url": "postgres://u:hidden@h/d?sslmode=verify-full", "tls": {"enabled": false}}`, nil, "sslmode=verify-full"},
		{"url's tls on", `{"url": "postgres://u:hidden@h/d?sslmode=disable", "tls": {"server_name": "x"}}`, nil, "sslmode=disable"},
		{"columns", `{` + base + `}`, []sinks.Stream{month}, "month_interval"},
		{"column's name", `{` + base + `}`, []sinks.Stream{month}, "64 bytes"},
		{"key", `{` + base + `, "tabel": "x"}`, nil, "tabel"},
	} {
		c := sinks.Config{Settings: json.RawMessage(tt.settings), Base: t.TempDir(), Streams: tt.streams}
		if c.Streams == nil {
			c.Streams = []sinks.Stream{sinktest.Stream()}
		}
		err := Definition.Check(t.Context(), c)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Config || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Nothing is taken from the environment or the files of other clients.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{"PGHOST": "elsewhere", "PGPASSWORD": "hidden", "PGSSLMODE": "require", "PGOPTIONS": "-c x=y", "PGTARGETSESSIONATTRS": "standby"} {
		t.Setenv(name, value)
	}
	s, err := parse(sinks.Config{Settings: []byte(`{"host": "h", "database": "d", "user": "u"}`)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.poolConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cc := c.ConnConfig; cc.Host != "h" || cc.Password != "" || cc.TLSConfig != nil || len(cc.Fallbacks) > 0 || len(cc.RuntimeParams) != 1 || cc.ValidateConnect != nil {
		t.Errorf("%+v", cc.Config)
	}
}

func TestHoldsNUL(t *testing.T) {
	for text, want := range map[string]bool{
		``: false, `\u0000`: true, `\\u0000`: false, `\\\u0000`: true, `\\u0000\u0000`: true, `\u00000`: true, `u0000`: false, `\\\\u0000 \u0001`: false,
	} {
		if holdsNUL([]byte(text)) != want {
			t.Errorf("%s: want %v", text, want)
		}
	}
}
