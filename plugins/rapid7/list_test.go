package rapid7

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func listOf(r io.Reader) (got []string, err error) {
	err = Each(r, "logs", func(element json.RawMessage) error {
		got = append(got, string(element))
		return nil
	})
	return got, err
}

func TestEach(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{`[]`, nil},
		{` [1, {"a":[2]} ,"x"] `, []string{"1", `{"a":[2]}`, `"x"`}},
		{`{"logs":[]}`, nil},
		{`{"a":{"logs":[9]},"b":[[],{}],"c":null,"logs":[{"id":"1"},{"id":"2"}],"d":"logs"}`, []string{`{"id":"1"}`, `{"id":"2"}`}},
	} {
		got, err := listOf(iotest.OneByteReader(strings.NewReader(tt.text)))
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tt.text, err, diff)
		}
	}
	for _, text := range []string{
		``, `null`, `7`, `"logs"`, `{}`, `{"logs":null}`, `{"logs":{}}`, `{"logs":[1],"logs":[2]}`, `{"logs":[1]`, `{"logs":[1`, `[1`, `[1 2]`,
		`[1]x`, `{"logs":[1]} {}`, `{"logs":[tru]}`, `{"other":[`, `{"logs"`,
	} {
		if got, err := listOf(strings.NewReader(text)); !errors.Is(err, ErrNoList) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestEachKeepsErrors(t *testing.T) {
	broken := errors.New("the wire broke")
	if _, err := listOf(io.MultiReader(strings.NewReader(`{"logs":[1],`), iotest.ErrReader(broken))); !errors.Is(err, broken) || errors.Is(err, ErrNoList) {
		t.Errorf("within the list: %v", err)
	}
	// A list that is whole, and an answer that isn't.
	if got, err := listOf(io.MultiReader(strings.NewReader(`{"logs":[1]}`), iotest.ErrReader(broken))); !errors.Is(err, broken) || len(got) != 1 {
		t.Errorf("behind the list: %q, %v", got, err)
	}
	refused := errors.New("refused")
	err := Each(strings.NewReader(`[1,2]`), "", func(json.RawMessage) error { return refused })
	if !errors.Is(err, refused) || errors.Is(err, ErrNoList) {
		t.Errorf("of use: %v", err)
	}
}

// FuzzEach holds the list to encoding/json.
func FuzzEach(f *testing.F) {
	for _, seed := range []string{`{"a":[{}],"logs":[1,{"b":[2]}]}`, `[[],"x"]`, `{"logs":{}}`, "{\"logs\":[\"\xff\"]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := listOf(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		var object map[string]json.RawMessage
		list := json.RawMessage(data)
		if json.Unmarshal(data, &object) == nil {
			list = object["logs"]
		}
		var want []json.RawMessage
		if err := json.Unmarshal(list, &want); err != nil || len(want) != len(got) {
			t.Fatalf("%q: %d elements, want %d: %v", data, len(got), len(want), err)
		}
		for i := range want {
			if string(want[i]) != got[i] {
				t.Fatalf("%q: element %d is %s, want %s", data, i, got[i], want[i])
			}
		}
	})
}
