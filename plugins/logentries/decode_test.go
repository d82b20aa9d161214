package logentries

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func decodeText(t *testing.T, text string) *page {
	t.Helper()
	p, err := decodePage([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func TestDecodeMessages(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"text", `"plain"`, "plain"},
		{"empty", `""`, ""},
		{"null", `null`, ""},
		{"escapes", `"\"\\\/\b\f\n\r\tä\u00e4\uD83C\uDF89"`, "\"\\/\b\f\n\r\tää🎉"},
		{"escape at the end", `"a\\"`, `a\`},
		{"quote behind an escape", `"a\"b"`, `a"b`},
		{"half a pair", `"a\ud800b"`, "a\xed\xa0\x80b"},
		{"halves the wrong way round", `"\udf89\ud83c"`, "\xed\xbe\x89\xed\xa0\xbc"},
		{"half a pair, then another escape", `"\ud83c\n"`, "\xed\xa0\xbc\n"},
		{"bytes that aren't UTF-8", "\"\xff\\n\xfe\"", "\xff\n\xfe"},
		{"raw control characters", "\"a\x00\tb\"", "a\x00\tb"},
		{"object", `{"a": ["x", 1.5e3, true]}`, `{"a": ["x", 1.5e3, true]}`},
		{"number", `-12.50`, `-12.50`},
		{"JSON in a text", `"{\"level\":\"error\",\"m\":\"a\\\"b\"}"`, `{"level":"error","m":"a\"b"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := decodeText(t, `{"events":[{"message":`+tt.json+`,"timestamp":1},{"timestamp":2,"message":"next"}]}`)
			if got := string(p.events[0].message); got != tt.want || string(p.events[1].message) != "next" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDecodeSequence(t *testing.T) {
	tests := []struct {
		name, json string
		want       uint64
		ordered    bool
	}{
		{"text before number", `"sequence_number_str":"3237201778429120512","sequence_number":3237201778429120500`, 3237201778429120512, true},
		{"number before text", `"sequence_number":3237201778429120500,"sequence_number_str":"3237201778429120512"`, 3237201778429120512, true},
		{"text as a number", `"sequence_number":3237201778429120500,"sequence_number_str":3237201778429120512`, 3237201778429120512, true},
		{"number alone", `"sequence_number":3237201778429120512`, 3237201778429120512, true},
		{"the largest", `"sequence_number_str":"18446744073709551615"`, 1<<64 - 1, true},
		{"rounded", `"sequence_number":3.2372017784291205e+18`, 0, false},
		{"too large", `"sequence_number":18446744073709551616`, 0, false},
		{"none", `"x":1`, 0, false},
		{"null", `"sequence_number":null,"sequence_number_str":null`, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := decodeText(t, `{"events":[{"timestamp":1605102271671,`+tt.json+`}]}`).events[0]
			if e.ordered != tt.ordered || e.ordered && e.sequence != tt.want || e.at != 1605102271671 {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestDecodePage(t *testing.T) {
	p := decodeText(t, ` {"id":"deadbeef:1:a:","progress":37,"leql":{"statement":"where(\"events\")","during":{"from":1,"to":2}},
		"links":[{"rel":"Context","href":"c"},{"href":"s","rel":"SELF"},{"rel":null,"href":7},{"rel":"next","href":"n"}],
		"events":[{"labels":[{"id":"a","links":[]},"b",null,{}],"kvp_info":[{"key":{"text":"k"}}],"log_id":"l","links":[{}],"timestamp":"3","message":"m"}],
		"statistics":null}
	`)
	self, running := p.running()
	next, _ := find(p.links, "Next")
	if self != "s" || !running || next != "n" || p.progress != 37 || p.statistic != "" || len(p.links) != 4 {
		t.Errorf("page %+v", p)
	}
	e := p.events[0]
	if diff := cmp.Diff([]string{"a", "b"}, e.labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if e.at != 3 || string(e.logID) != "l" || len(e.more) != 1 || e.more[0] != (field{"kvp_info", `[{"key":{"text":"k"}}]`}) {
		t.Errorf("event %+v", e)
	}
	if p := decodeText(t, `{"statistics":{ },"partial":{}}`); p.statistic != "" {
		t.Errorf("an empty object counts as a statistic: %+v", p)
	}
	if p := decodeText(t, `{"partial":{"stats":{}}}`); p.statistic != "partial" {
		t.Errorf("a statistic went by: %+v", p)
	}
	if p := decodeText(t, `{"events":null,"links":null}`); len(p.events)+len(p.links) != 0 || p.listed {
		t.Errorf("page %+v", p)
	}
}

func TestUnfinished(t *testing.T) {
	for json, want := range map[string]string{
		`{"events":[]}`: "",
		`{"id":"a","progress":100,"events":[],"links":[{"rel":"Next","href":"n"}]}`: "",
		`{"progress":null,"events":[{"timestamp":1}],"links":[]}`:                   "",
		`{}`:                         "no list of events",
		`{"events":null}`:            "no list of events",
		`{"message":"Unauthorized"}`: "no list of events",
		`{"id":"a","events":[],"links":[{"rel":"self","href":null}]}`: "leads nowhere",
		`{"id":"a","progress":0,"events":[]}`:                         "at 0 %",
		`{"id":"a","progress":99,"events":[],"links":[]}`:             "at 99 %",
	} {
		got := decodeText(t, json).unfinished()
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", json, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "null", "[]", `"x"`, "{", `{"a"`, `{"a":`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{a:1}`, `{"a":1}}`, `{"a":1} x`, `{"a":tru}`,
		`{"a":01}`, `{"a":1.}`, `{"a":1e}`, `{"a":-}`, `{"a":"\x"}`, `{"\u12":1}`, `{"a":"`, `{"a":"\`, `{"a":[1 2]}`, `{"a":[1,]}`,
		`{"events":{}}`, `{"events":[1]}`, `{"events":[{}]}`, `{"events":[{"timestamp":1.5}]}`, `{"events":[{"timestamp":-1}]}`,
		`{"events":[{"timestamp":9007199254740992}]}`, `{"events":[{"timestamp":1}],"events":[{"timestamp":1}]}`, `{"events":[],"events":[{"timestamp":1}]}`,
		`{"events":[{"timestamp":1,"message":"\u12g4"}]}`, `{"links":[{"rel":"Self","href":"cut`, strings.Repeat(`{"a":`, 2000),
	} {
		p, err := decodePage([]byte(text))
		if text == `{"a":"\x"}` || text == `{"a":"\` { // a value that nobody reads isn't unescaped
			continue
		}
		if err == nil {
			t.Errorf("%.60s: decoded as %+v", text, p)
		}
	}
}

func TestFresh(t *testing.T) {
	e := func(at int64, sequence uint64) event { return event{at: at, sequence: sequence, ordered: true} }
	at := position{from: 5, sequence: 10, after: true}
	tests := []struct {
		name   string
		events []event
		fresh  int
		last   position
		text   string
	}{
		{"none", nil, 0, at, ""},
		{"behind", []event{e(5, 11), e(5, 12), e(6, 1)}, 3, position{6, 1, true}, ""},
		{"again, then behind", []event{e(5, 9), e(5, 10), e(5, 11)}, 1, position{5, 11, true}, ""},
		{"all again", []event{e(5, 9), e(5, 10)}, 0, at, ""},
		{"before", []event{e(4, 1)}, 0, at, "isn't in order of time"},
		{"back in time", []event{e(6, 1), e(5, 11)}, 0, at, "isn't in order of time"},
		{"again, but later", []event{e(5, 11), e(5, 10)}, 0, at, "comes after 11"},
		{"twice", []event{e(6, 1), e(6, 1)}, 0, at, "sequence number 1 comes after 1"},
		{"without a number in the millisecond", []event{{at: 5}}, 0, at, errNoSequence.Error()},
		{"without a number later", []event{{at: 6}, {at: 6}}, 2, position{6, 0, false}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, last, err := at.fresh(tt.events)
			if len(got) != tt.fresh || last != tt.last || (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%d events, %+v, %v", len(got), last, err)
			}
		})
	}
}

// FuzzDecodePage holds the decoder to encoding/json: what that takes, it takes, with the same content.
func FuzzDecodePage(f *testing.F) {
	for _, seed := range []string{
		`{"events":[{"labels":[{"id":"a"}],"timestamp":1,"sequence_number":3,"sequence_number_str":"4","log_id":"x","message":"a\"\u00e4\ud83c\udf89"}],"links":[{"rel":"Self","href":"y"}],"progress":3}`,
		`{"events":[],"statistics":{"a":[1,2,{"b":null}]}}`, `{"partial":{}}`, `{"a":-1.5e+3,"b":[true,false,null,"\\"]}`, "{\"\xff\":\"\xfe\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		body := bytes.Clone(data)
		p, err := decodePage(body)
		var want struct {
			Events []struct {
				Message json.RawMessage `json:"message"`
			} `json:"events"`
		}
		plain := json.Valid(data) && utf8.Valid(data) && !bytes.Contains(data, []byte(`\u`)) && !bytes.ContainsAny(data, "MmEe\\")
		if err != nil {
			if _, again := decodePage(bytes.Clone(data)); again == nil || again.Error() != err.Error() {
				t.Fatalf("first %v, then %v", err, again)
			}
			return
		}
		if !json.Valid(data) && utf8.Valid(data) && !bytes.ContainsFunc(data, func(r rune) bool { return r < ' ' || r == '\\' }) {
			t.Fatalf("decoded what isn't JSON: %q", data)
		}
		if plain && json.Unmarshal(data, &want) == nil && len(want.Events) != len(p.events) {
			t.Fatalf("%d events, want %d: %q", len(p.events), len(want.Events), data)
		}
	})
}

// FuzzText holds texts to encoding/json where both know what they mean.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "a", "\"\\/\b\f\n\r\t", "ä🎉\u2028", "\ud7ff\ufffd", "{\"a\":\"b\"}"} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, html bool) {
		if !utf8.ValidString(text) {
			return
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(html)
		if err := enc.Encode(text); err != nil {
			t.Fatal(err)
		}
		p, err := decodePage([]byte(`{"events":[{"timestamp":1,"message":` + b.String() + `,"x":` + b.String() + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if e := p.events[0]; string(e.message) != text || e.more[0].value != text {
			t.Fatalf("got %q and %q, want %q", e.message, e.more[0].value, text)
		}
	})
}

// FuzzSnapshot feeds the decoder of lists.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"logs":[{"id":"a","name":"b","tokens":["t"],"logsets_info":[{"id":"c","name":null}]}]}`), 0)
	f.Add([]byte(`{"account":{"id":7,"name":{"x":1}}}`), 4)
	f.Add([]byte(`[{"id":"u","email":"e"}]`), 3)
	f.Fuzz(func(t *testing.T, data []byte, which int) {
		kind := &snapshots[uint(which)%uint(len(snapshots))]
		var items []item
		err := kind.each(bytes.NewReader(data), func(it item) error {
			items = append(items, it)
			return nil
		})
		if err != nil {
			return
		}
		for _, it := range items {
			var object map[string]any
			if err := json.Unmarshal([]byte(it.record), &object); err != nil || it.id == "" {
				t.Fatalf("id %q, record %s: %v", it.id, it.record, err)
			}
			for _, key := range kind.secret {
				if _, ok := object[key]; ok {
					t.Fatalf("%s in %s", key, it.record)
				}
			}
		}
	})
}
