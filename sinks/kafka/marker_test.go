package kafka

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

var update = flag.Bool("update", false, "write testdata anew: a new format, not a fix")

const goldenSink = "00112233445566778899aabbccddeeff"

func goldenCommit() commit {
	s := sinktest.Hours("a/ü", 5, 6)
	a := sinktest.Account(sinktest.Bodies(s, 3))
	return commit{
		V: commitVersion, Kind: kindCommit, Entry: 2, Slice: s, Topic: "logs", Messages: 3, Producer: 7000000001,
		Spans: []span{{Partition: 0, First: 17, Last: 18}, {Partition: 3, First: 4200000000, Last: 4200000000}}, Read: a.Read, Delivered: a.Delivered,
		DeadLetters: "x.ndjson", Source: program{"elsa", "1.2.3"}, Sluice: "0.1.0", At: time.Date(2026, 11, 2, 3, 4, 5, 678e6, time.UTC),
	}
}

func goldenForget(c commit) forget {
	return forget{
		V: version, Kind: kindForget, Entry: 3, Partition: c.Slice.Partition, Day: c.Slice.Day().Format(dayLayout), Entries: []uint64{1, 2},
		Sluice: "0.1.0", At: c.At,
	}
}

// TestGolden pins what lies in the marker topic.
func TestGolden(t *testing.T) {
	c := goldenCommit()
	o := owner{
		V: version, Kind: kindOwner, Cluster: "cluster", Topic: "logs-{stream}", Value: valueJSON, Markers: 4,
		Streams: map[string]ownedStream{"events": {Selection: c.Slice.Selection}}, Pipeline: "prod", Sink: "bus", At: c.At,
	}
	v, err := newValues(settings{Value: valueAvro, Key: keyPartition}, sinktest.Schema, "log_id")
	if err != nil {
		t.Fatal(err)
	}
	for name, message := range map[string]struct{ key, value any }{
		"commit": {commitKey(goldenSink, c.Slice, c.Entry), c},
		"owner":  {markerKey{Kind: kindOwner, Sink: goldenSink}, o},
		"forget": {forgetKey(goldenSink, c.Slice.Partition, c.Slice.Day(), 3), goldenForget(c)},
		"schema": {markerKey{Kind: kindSchema, Schema: v.fingerprint()}, avroSchema{version, kindSchema, v.document()}},
	} {
		key, err := encodeJSON(message.key)
		if err != nil {
			t.Fatal(err)
		}
		value, err := encodeJSON(message.value)
		if err != nil {
			t.Fatal(err)
		}
		got := string(key) + "\n" + string(value) + "\n"
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.MkdirAll("testdata", 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
		k, ok := parseKey(key)
		if !ok {
			t.Fatalf("%s: the key isn't read back", name)
		}
		switch name {
		case "commit":
			back, err := parseCommit(k, value)
			if diff := cmp.Diff(c, back); err != nil || diff != "" {
				t.Errorf("commit: %v\n%s", err, diff)
			}
		case "forget":
			back, err := parseForget(k, value)
			if diff := cmp.Diff(goldenForget(c), back); err != nil || diff != "" {
				t.Errorf("forget: %v\n%s", err, diff)
			}
		case "owner":
			back, err := parseOwner(value)
			if diff := cmp.Diff(o, back); err != nil || diff != "" {
				t.Errorf("owner: %v\n%s", err, diff)
			}
		}
	}
	// Fixed, so that another program finds the markers.
	k := &Sink{core: &core{id: goldenSink, set: defaults()}, markers: 4}
	p := sinktest.Partition("a/ü")
	if id, at := k.transactionalID(p), k.markerPartition(p); id != "sluice-"+goldenSink+"-ccf091def944adbd" || at != 3 {
		t.Errorf("transactional ID %s, marker partition %d", id, at)
	}
}

// TestFirstVersion reads a marker that doesn't say where its messages are: what it covers stays covered.
func TestFirstVersion(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "commit-v1.golden"))
	if err != nil {
		t.Fatal(err)
	}
	first, value, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	key, _ := parseKey([]byte(first))
	got, err := parseCommit(key, []byte(value))
	want := goldenCommit()
	want.V, want.Producer, want.Spans = 1, 0, nil
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	k := &Sink{core: &core{}, covered: newCoverage()}
	got.Entry = 1 // the day's first
	if err := k.covered.apply(got); err != nil {
		t.Fatal(err)
	}
	var inexact *sinks.InexactError
	if found, err := k.Audit(t.Context(), entryOf(got).receipt(got.Slice.Partition, 1), nil); len(found) > 0 || !errors.As(err, &inexact) {
		t.Errorf("audit: %v, %v, want an InexactError", found, err)
	}
}

func TestMarkersThatAreRefused(t *testing.T) {
	c := goldenCommit()
	key := commitKey(goldenSink, c.Slice, c.Entry)
	text, err := encodeJSON(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"newer", `"v":2`, `"v":3`, "use a newer sluice"},
		{"no version", `"v":2,`, ``, "no format version"},
		{"unknown key", `"v":2`, `"v":2,"w":1`, "unknown field"},
		{"number", `"entry":2`, `"entry":3`, "its key doesn't fit"},
		{"range", `T05:00:00Z`, `T04:00:00Z`, "ID doesn't fit"},
		{"sums", `"rows":3`, `"rows":4`, "isn't the sum"},
		{"cut", `}`, ``, ""},
	} {
		changed := strings.Replace(string(text), tt.old, tt.new, 1)
		if changed == string(text) {
			t.Fatalf("%s: nothing to replace in %s", tt.name, text)
		}
		if _, err := parseCommit(key, []byte(changed)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	for _, foreign := range []string{"", "x", "1", "{}", `{"a":1}`, "\x00\x00\x00\x01"} {
		if _, ok := parseKey([]byte(foreign)); ok {
			t.Errorf("key %q was taken", foreign)
		}
	}
	if k, ok := parseKey([]byte(`{"kind":"unheard-of","sink":"x","later":1}`)); !ok || k.Kind != "unheard-of" {
		t.Error("a later kind isn't seen")
	}
}

func TestCoverageHasNoHoles(t *testing.T) {
	v := newCoverage()
	at := func(hour int, n uint64) commit {
		s := sinktest.Hours("one", hour, hour+1)
		return commit{Slice: s, Entry: n, At: sinktest.Day}
	}
	if err := v.apply(at(0, 2)); err == nil {
		t.Error("a first entry 2 was taken")
	}
	for _, c := range []commit{at(0, 1), at(1, 2), at(0, 1)} {
		if err := v.apply(c); err != nil {
			t.Error(err)
		}
	}
	if err := v.apply(at(5, 2)); err == nil {
		t.Error("two slices have one number")
	}
	if err := v.apply(at(5, 4)); err == nil {
		t.Error("an entry is missing")
	}
	f := forget{V: 1, Kind: kindForget, Entry: 3, Partition: sinktest.Partition("one"), Day: sinktest.Day.Format(dayLayout), Entries: []uint64{1}}
	for range 2 { // a marker that is read again is as good
		if err := v.forget(f); err != nil {
			t.Error(err)
		}
	}
	if _, ok := v.lookup(at(0, 1).Slice); ok {
		t.Error("a forgotten slice is found")
	}
	if err := v.conflict(at(0, 4).Slice); err != nil {
		t.Errorf("a forgotten slice is in the way: %v", err)
	}
	f.Entry = 4
	if err := v.forget(f); err == nil {
		t.Error("a commit was forgotten twice")
	}
	if err := v.apply(at(0, 4)); err != nil {
		t.Error(err)
	}
	if r, ok := v.lookup(at(0, 4).Slice); !ok || r.Entry != 4 {
		t.Errorf("the slice that was committed again: %+v, %v", r, ok)
	}
	if got := v.partitions(); !cmp.Equal(got, []flow.Partition{sinktest.Partition("one")}) {
		t.Error(got)
	}
}

func FuzzParseCommit(f *testing.F) {
	c := goldenCommit()
	key, _ := encodeJSON(commitKey(goldenSink, c.Slice, c.Entry))
	value, _ := encodeJSON(c)
	f.Add(key, value)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		k, ok := parseKey(key)
		if !ok {
			return
		}
		c, err := parseCommit(k, value)
		if err != nil {
			return
		}
		again, err := encodeJSON(c)
		if err != nil || !json.Valid(again) {
			t.Fatal(err)
		}
		if _, err := parseCommit(k, again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
