package rapid7

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func date(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err) // a constant of a test
	}
	return t
}

// documented is the answer of the vendor's document, its IDs cut short as there.
const documented = `{"per_day_usage": {"usage": [
{"interval": "2018-12-16", "log_usage": [{"usage": 8267539, "id": "b2f37a6f-"}, {"usage": 9289532, "id": "cec3450b-"}]},
{"interval": "2018-12-17", "log_usage": [{"usage": 7648949, "id": "50499f85-"}]}],
"period": {"to": "2018-12-18", "from": "2018-12-16"}, "usage_units": "bytes", "report_interval": "day"}}`

func TestDecodeUsage(t *testing.T) {
	one := func(log string, bytes int64) []Figure { return []Figure{{date("2026-11-02"), log, bytes}} }
	tests := []struct {
		name, body string
		want       Figures
	}{
		{"the document's", documented, Figures{
			Figures: []Figure{
				{date("2018-12-16"), "b2f37a6f-", 8267539}, {date("2018-12-16"), "cec3450b-", 9289532}, {date("2018-12-17"), "50499f85-", 7648949},
			},
			From: date("2018-12-16"), To: date("2018-12-18"),
		}},
		{"nothing", `{"per_day_usage":{"usage":[]}}`, Figures{}},
		{"nothing on a day", `{"per_day_usage":{"usage":[{"interval":"2026-11-02","log_usage":[]}]}}`, Figures{}},
		{"nothing of one log", `{"usage":{"daily_usage":[],"id":"a"}}`, Figures{}},
		{"no total", `{"daily_usage":[]}`, Figures{}},
		{"texts, upper case", `{"per_day_usage":{"usage":[{"interval":"2026-11-02","log_usage":[{"usage":"290349","id":"ABC"}]}],"usage_units":"Bytes","report_interval":"Day"}}`, Figures{Figures: one("abc", 290349)}},
		{"one log", `{"usage":{"daily_usage":[{"usage":"7","day":"2026-11-02"}],"id":"a","period":{"from":"2026-11-02","to":"2026-11-02"}}}`, Figures{Figures: one("a", 7), From: date("2026-11-02"), To: date("2026-11-02")}},
		{"a day that is no list", `{"usage":{"daily_usage":{"usage":7,"day":"2026-11-02"},"id":"a"}}`, Figures{Figures: one("a", 7)}},
		{"a total", `{"daily_usage":[{"usage":7,"day":"2026-11-02"}],"period_usage":7,"id":"o","name":"Org"}`, Figures{Figures: one("", 7)}},
		{"zero is a figure", `{"daily_usage":[{"usage":0,"day":"2026-11-02"}]}`, Figures{Figures: one("", 0)}},
		{"null isn't", `{"daily_usage":[{"usage":null,"day":"2026-11-02"},{"day":"2026-11-03"}]}`, Figures{Nulls: []time.Time{date("2026-11-02"), date("2026-11-03")}}},
		{"exact in a float", `{"daily_usage":[{"usage":1.2627779E7,"day":"2026-11-02T00:00:00Z"}]}`, Figures{Figures: one("", 12627779)}},
		{"the largest", `{"daily_usage":[{"usage":9223372036854775807,"day":"2026-11-02"}]}`, Figures{Figures: one("", 1<<63-1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeUsage([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("figures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeUsageRefuses(t *testing.T) {
	total := func(usage string) string { return `{"daily_usage":[{"usage":` + usage + `,"day":"2026-11-02"}]}` }
	tests := []struct{ name, body, want string }{
		{"nothing", "", "documented JSON"},
		{"another answer", `{"logs":[]}`, "holds neither"},
		{"no list", `{"per_day_usage":{}}`, "no list usage"},
		{"no list, but null", `{"per_day_usage":{"usage":null,"usage_units":"bytes"}}`, "no list usage"},
		{"no list of logs", `{"per_day_usage":{"usage":[{"interval":"2026-11-02"}]}}`, "no list log_usage"},
		{"no list of one log", `{"usage":{}}`, "no list daily_usage"},
		{"no list of one log, but null", `{"usage":{"daily_usage":null,"id":"a"}}`, "no list daily_usage"},
		{"no list of totals, but null", `{"daily_usage":null}`, "holds neither"},
		{"cut", documented[:200], "documented JSON"},
		{"two answers", documented + documented, "something follows"},
		{"negative", total("-1"), "isn't a number of bytes"},
		{"a fraction", total("1.5"), "isn't a number of bytes"},
		{"beyond int64", total("9223372036854775808"), "isn't a number of bytes"},
		{"huge", total("1e400"), "isn't a number of bytes"},
		{"words", total(`"many"`), "isn't a number of bytes"},
		{"not a number", total(`"NaN"`), "isn't a number of bytes"},
		{"another unit", `{"per_day_usage":{"usage":[],"usage_units":"kilobytes"}}`, "kilobytes"},
		{"another interval", `{"per_day_usage":{"usage":[],"report_interval":"month"}}`, "month"},
		{"no log", `{"per_day_usage":{"usage":[{"interval":"2026-11-02","log_usage":[{"usage":1}]}]}}`, "no log"},
		{"no day", `{"daily_usage":[{"usage":1}]}`, "no day"},
		{"no such day", `{"daily_usage":[{"usage":1,"day":"2026-02-30"}]}`, "isn't a day"},
		{"an hour", `{"daily_usage":[{"usage":1,"day":"2026-11-02T01:00:00Z"}]}`, "isn't a day"},
		{"two figures", `{"daily_usage":[{"usage":1,"day":"2026-11-02"},{"usage":2,"day":"2026-11-02"}]}`, "two figures"},
		{"backward period", `{"daily_usage":[],"period":{"from":"2026-11-02","to":"2026-11-01"}}`, "period"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeUsage([]byte(tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("figures %v, error %v, want %q", got, err, tt.want)
			}
		})
	}
}

func FuzzDecodeUsage(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(`{"usage":{"daily_usage":{"usage":"7","day":"2026-11-02"},"id":"a"}}`))
	f.Add([]byte(`{"daily_usage":[{"usage":1e3,"day":"2026-11-02"}],"period":{"from":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := DecodeUsage(body)
		if err != nil {
			return
		}
		type key struct {
			day time.Time
			log string
		}
		seen := map[key]bool{}
		for _, fig := range got.Figures {
			k := key{fig.Day, fig.LogID}
			if seen[k] || fig.Bytes < 0 || !fig.Day.Equal(fig.Day.UTC().Truncate(24*time.Hour)) || fig.LogID != strings.ToLower(fig.LogID) {
				t.Fatalf("figure %+v of %q", fig, body)
			}
			seen[k] = true
		}
	})
}
