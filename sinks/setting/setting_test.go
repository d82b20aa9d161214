package setting

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{`4096`: 4096, `"4096"`: 4096, `"1KB"`: 1000, `"1 KiB"`: 1024, `"1.5MiB"`: 3 << 19, `"2GB"`: 2e9} {
		var z Size
		if err := z.UnmarshalJSON([]byte(text)); err != nil || z != want {
			t.Errorf("%s = %d, %v, want %d", text, z, err, want)
		}
	}
	for _, text := range []string{`"1 lot"`, `"-1"`, `"MiB"`, `true`, `1.5`, `"99999999TB"`} {
		var z Size
		if err := z.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s = %d, want an error", text, z)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`"250ms"`: 250 * time.Millisecond, `"90s"`: 90 * time.Second, `"1h30m"`: 90 * time.Minute, `"1.5h"`: 90 * time.Minute, `"7d"`: 168 * time.Hour, `"1w"`: 168 * time.Hour,
	} {
		var d Duration
		if err := d.UnmarshalJSON([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s = %s, %v, want %s", text, time.Duration(d), err, want)
		}
	}
	for _, text := range []string{`""`, `"s"`, `"5"`, `"5x"`, `5`, `"-1s"`, `"1..5s"`, `"99999999999w"`} {
		var d Duration
		if err := d.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s = %s, want an error", text, time.Duration(d))
		}
	}
}

func TestDecode(t *testing.T) {
	v := struct {
		Path string `json:"path"`
	}{Path: "default"}
	if err := Decode("file", nil, &v); err != nil || v.Path != "default" {
		t.Errorf("%q, %v", v.Path, err)
	}
	err := Decode("file", []byte(`{"pth": 1}`), &v)
	if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "pth") {
		t.Errorf("%v, want an error of kind Config that names the key", err)
	}
}
