package pipeline

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// TestCheckDead compares files of dead letters with their receipts, wherever they are.
func TestCheckDead(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	slice := flow.NewSlice(flow.Partition{Stream: "events", Key: `a","record":"b`}, from, from.Add(time.Hour), 0)
	root := t.TempDir()
	d := &deadFile{
		root: root, folder: filepath.Join(root, stagingFolder, "0123456789abcdef"), limit: 1 << 30, text: true, hasher: flow.NewHasher(),
		name: "lake/20260301T000000.000Z-x.ndjson",
	}
	head, err := json.Marshal(map[string]any{"v": 1, "partition": slice.Key})
	if err != nil {
		t.Fatal(err)
	}
	d.head = head[:len(head)-1]
	owner, err := json.Marshal(stagedOwner{1, slice, "lake", "id", d.name})
	if err == nil {
		err = os.Mkdir(filepath.Dir(d.folder), 0o777)
	}
	if err == nil {
		err = d.open(owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	var sum flow.Sum
	large := bytes.Repeat([]byte("0123456789abcdefX"), 300_000) // of several buffers, and of no whole number of base64 groups
	for _, body := range []string{"", "text \"with\" \\ and \u2028", "\xff\x00 no text", "plain", strings.Repeat("long ", 500_000), string(large[:100_000])} {
		one, err := d.whole([]byte(body), "why", []byte("row"))
		if err != nil {
			t.Fatal(err)
		}
		sum = sum.Plus(one)
	}
	for piece := range slices.Chunk(large, 1<<20) {
		if err := d.write(piece); err != nil {
			t.Fatal(err)
		}
	}
	one, err := d.end("too large", nil)
	if err == nil {
		err = d.seal()
	}
	if err != nil {
		t.Fatal(err)
	}
	sum = sum.Plus(one)
	r := sinks.Receipt{Slice: slice, Dead: sum, DeadLetters: d.name}
	check := func(what string, kind sinks.FindingKind) {
		t.Helper()
		found, err := CheckDead(t.Context(), root, r)
		switch {
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case kind == "" && found != nil || kind != "" && (found == nil || found.Kind != kind || !strings.HasSuffix(found.Path, d.name)):
			t.Errorf("%s: %+v, want %q", what, found, kind)
		}
	}
	check("staged", "")
	if err := d.publish(); err != nil {
		t.Fatal(err)
	}
	check("published", "")
	file := filepath.Join(root, d.name)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(whole[:len(whole)-2])
	check("cut", sinks.FindingChanged)
	write(whole[bytes.IndexByte(whole, '\n')+1:])
	check("a letter less", sinks.FindingDiffers)
	write(append(bytes.Clone(whole), whole[:bytes.IndexByte(whole, '\n')+1]...))
	check("a letter twice", sinks.FindingDiffers)
	write(bytes.Replace(whole, []byte("plain"), []byte("Plain"), 1))
	check("a letter changed", sinks.FindingDiffers)
	write(bytes.Replace(whole, []byte(`"record":"plain"`), []byte(`"record":null,"a":"b"`), 1))
	check("a letter without its record", sinks.FindingDiffers)
	write([]byte("no JSON\n"))
	check("something else", sinks.FindingChanged)

	// Sent again, with one that was left: the whole file is where it was moved.
	kept := filepath.Join(root, deliveredFolder, d.name)
	if err := os.MkdirAll(filepath.Dir(kept), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, kept); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	write(whole[:bytes.IndexByte(whole, '\n')+1])
	check("delivered", "")
	if err := os.RemoveAll(filepath.Join(root, deliveredFolder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	check("removed", sinks.FindingMissing)
	r.DeadLetters = ""
	if found, err := CheckDead(t.Context(), root, r); err != nil || found == nil || found.Kind != sinks.FindingMissing {
		t.Errorf("not named: %+v, %v", found, err)
	}
	r.DeadLetters = "../outside.ndjson"
	if _, err := CheckDead(t.Context(), root, r); err == nil {
		t.Error("a file outside of the folder was read")
	}
}
