package object

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// carry commits one slice of n records.
func carry(t *testing.T, k sinks.Sink, s flow.Slice, n int) (bodies []string) {
	t.Helper()
	tx, bodies := attempt(t, k, s, n)
	if err := commit(tx, bodies); err != nil {
		t.Fatal(err)
	}
	return bodies
}

// A store that takes a put of a key that is there must not be trusted, neither when it is empty nor later.
func TestStoreThatReplaces(t *testing.T) {
	for _, later := range []bool{false, true} {
		b := sinktest.NewBucket()
		if later {
			carry(t, mustOpen(t, b, nil), sinktest.Hours("one", 0, 6), 3)
		}
		before := b.Keys()
		b.Replaces = true
		_, err := inMemory(t, b, nil)
		if fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "If-None-Match") {
			t.Errorf("open (a sink was there: %v): %v (%s)", later, err, fault.HintOf(err))
		}
		if _, err := commitlog.CheckStore(context.Background(), b, commitlog.Owner{Type: "object", Format: "ndjson"}); later && fault.KindOf(err) != fault.Config {
			t.Errorf("check: %v", err)
		}
		if diff := cmp.Diff(before, b.Keys()); later && diff != "" {
			t.Errorf("the refused open changed something:\n%s", diff)
		}
	}
}

func TestOwner(t *testing.T) {
	b := sinktest.NewBucket()
	first := mustOpen(t, b, nil)
	carry(t, first, sinktest.Hours("one", 0, 6), 3)
	again := mustOpen(t, b, nil)
	if again.Identity() != first.Identity() || len(first.Identity()) != 32 {
		t.Errorf("identities %q and %q", first.Identity(), again.Identity())
	}
	connect := onBucket(b)
	for name, change := range map[string]func(c *sinks.Config, settings map[string]any){
		"format":    func(_ *sinks.Config, m map[string]any) { m["format"] = "raw" },
		"layout":    func(_ *sinks.Config, m map[string]any) { m["layout"] = "{stream}" },
		"selection": func(c *sinks.Config, _ map[string]any) { c.Streams[0].Selection[0]++ },
	} {
		m := map[string]any{"bucket": "lake"}
		c := config(t, m)
		change(&c, m)
		with := config(t, m)
		c.Settings = with.Settings
		_, err := open(context.Background(), c, connect)
		if !errors.Is(err, sinks.ErrOwned) || !strings.Contains(fault.HintOf(err), "prefix") {
			t.Errorf("%s: %v (%s), want ErrOwned", name, err, fault.HintOf(err))
		}
	}
	// A stream that comes later is the owner's, for all that come after.
	c := config(t, map[string]any{"bucket": "lake"})
	users := sinktest.Stream()
	users.Name = "users"
	c.Streams = append(c.Streams, users)
	k, err := open(context.Background(), c, connect)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	c.Streams[1].Selection[0]++
	if _, err := open(context.Background(), c, connect); !errors.Is(err, sinks.ErrOwned) {
		t.Errorf("another selection of a stream that came later: %v, want ErrOwned", err)
	}
}

// TestStreamsAddedAtOnce: two processes let one stream in, each with a selection of its own: the first one's counts.
func TestStreamsAddedAtOnce(t *testing.T) {
	b := sinktest.NewBucket()
	mustOpen(t, b, nil)
	c := config(t, map[string]any{"bucket": "lake", "part_size": 4096})
	users := sinktest.Stream()
	users.Name = "users"
	c.Streams = append(c.Streams, users)
	others := c
	others.Streams = slices.Clone(c.Streams)
	others.Streams[1].Selection[0]++
	raced := false
	start := func(c sinks.Config, step sinktest.RemoteStep) error {
		k, err := open(context.Background(), c, seam{connect: func(context.Context, place, sinks.Config) (commitlog.Store, error) {
			return sinktest.Stepped(b, step), nil
		}})
		if err == nil {
			err = k.Close()
		}
		return err
	}
	err := start(c, func(name string, do func() error) error {
		if strings.Contains(name, "/streams/") && !raced {
			raced = true
			if err := start(others, nil); err != nil {
				t.Errorf("the first: %v", err)
			}
		}
		return do()
	})
	if !raced || !errors.Is(err, sinks.ErrOwned) {
		t.Errorf("raced %v: %v, want ErrOwned", raced, err)
	}
}

// Without its owner, neither a log nor data is taken over.
func TestLostOwner(t *testing.T) {
	b := sinktest.NewBucket()
	carry(t, mustOpen(t, b, nil), sinktest.Hours("one", 0, 6), 3)
	if err := b.Delete(context.Background(), "_sluice/owner.json"); err != nil {
		t.Fatal(err)
	}
	if _, err := inMemory(t, b, nil); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "there is a commit log") {
		t.Errorf("open without the owner: %v", err)
	}
	for _, key := range b.Keys() {
		if strings.HasPrefix(key, "_sluice/") {
			if err := b.Delete(context.Background(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := inMemory(t, b, nil); !errors.Is(err, sinks.ErrOwned) {
		t.Errorf("open without _sluice: %v, want ErrOwned", err)
	}
}

// A log with a hole, an unknown object or an entry of elsewhere stops whoever reads it.
func TestDamagedLog(t *testing.T) {
	s := sinktest.Hours("one", 0, 6)
	damage := map[string]func(b *sinktest.Bucket, dir string){
		"hole": func(b *sinktest.Bucket, dir string) { _ = b.Delete(context.Background(), dir+"/000001.json") },
		"name": func(b *sinktest.Bucket, dir string) { _ = b.PutAbsent(context.Background(), dir+"/x.json", nil) },
		"entry": func(b *sinktest.Bucket, dir string) {
			e, _ := b.Get(context.Background(), dir+"/000001.json")
			_ = b.PutAbsent(context.Background(), strings.Replace(dir, "2026-11-01", "2026-11-02", 1)+"/000001.json", e)
			_ = b.PutAbsent(context.Background(), dir+"/000003.json", []byte("{}"))
		},
	}
	for _, name := range slices.Sorted(maps.Keys(damage)) {
		b := sinktest.NewBucket()
		k := mustOpen(t, b, nil)
		carry(t, k, s, 3)
		carry(t, k, sinktest.Hours("one", 6, 7), 3)
		i := slices.IndexFunc(b.Keys(), func(key string) bool { return strings.HasSuffix(key, "/000001.json") })
		damage[name](b, dir(b.Keys()[i]))
		k = mustOpen(t, b, nil)
		if _, err := k.Lookup(context.Background(), s); fault.KindOf(err) != fault.Config {
			t.Errorf("%s: lookup: %v", name, err)
		}
		var last error
		for _, err := range k.Committed(context.Background(), flow.Gap{Partition: s.Partition, From: s.From, To: s.To.Add(48 * time.Hour)}, nil) {
			last = err
		}
		if fault.KindOf(last) != fault.Config {
			t.Errorf("%s: committed: %v", name, last)
		}
	}
}

// Empty objects that consoles and file-system tools make to have folders say nothing and are in nobody's way.
func TestFolderMarkers(t *testing.T) {
	ctx := context.Background()
	b := sinktest.NewBucket()
	s, next := sinktest.Hours("one", 0, 6), sinktest.Hours("one", 6, 7)
	mark := func(key string) {
		if err := b.PutAbsent(ctx, key, nil); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"", "_sluice/", "_sluice/commits/", "_sluice/selections/", "_sluice/staging/", "_sluice/streams/"} {
		mark(key)
	}
	carry(t, mustOpen(t, b, nil), s, 3)
	for _, key := range b.Keys() {
		for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
			mark(dir + "/")
		}
	}
	k := mustOpen(t, b, nil)
	if _, err := k.Lookup(ctx, s); err != nil {
		t.Error(err)
	}
	n := 0
	for _, err := range k.Committed(ctx, flow.Gap{Partition: s.Partition, From: s.Day(), To: s.Day().Add(48 * time.Hour)}, nil) {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d commits, want 1", n)
	}
	if got, err := k.Partitions(ctx); err != nil || len(got) != 1 || got[0] != s.Partition {
		t.Errorf("partitions %v, %v, want %v", got, err, s.Partition)
	}
	for key, err := range k.Strays(ctx) {
		t.Errorf("stray %s, %v", key, err)
	}
	carry(t, k, next, 3)
}

// What a lost ledger is rebuilt from, and what a forget entry withdraws.
func TestListerAndForget(t *testing.T) {
	ctx := context.Background()
	b := sinktest.NewBucket()
	k := mustOpen(t, b, nil)
	for day := range 3 {
		for hour := range 3 {
			carry(t, k, sinktest.Hours("one", day*24+hour, day*24+hour+1), 2)
		}
	}
	carry(t, k, sinktest.Hours("a/b c", 0, 5), 2)
	k = mustOpen(t, b, nil)
	got, err := k.Partitions(ctx)
	if diff := cmp.Diff([]flow.Partition{sinktest.Partition("a/b c"), sinktest.Partition("one")}, got); err != nil || diff != "" {
		t.Errorf("partitions (-want +got): %v\n%s", err, diff)
	}
	entries := func(from, to int, after uint64) (out []string) {
		g := sinktest.Hours("one", from, to)
		for r, err := range k.Committed(ctx, flow.Gap{Partition: g.Partition, From: g.From, To: sinktest.Day.Add(time.Duration(to) * time.Hour)}, func(time.Time) uint64 { return after }) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r.Slice.From.Format("02T15"))
		}
		return out
	}
	for _, tt := range []struct {
		from, to int
		after    uint64
		want     string
	}{
		{0, 24, 0, "01T00 01T01 01T02"},
		{25, 26, 0, "02T00 02T01 02T02"},
		{23, 25, 2, "01T02 02T02"},
		{60, 72, 0, "03T00 03T01 03T02"},
		{0, 72, 2, "01T02 02T02 03T02"},
		{0, 72, 3, ""},
		{72, 96, 0, ""},
	} {
		if got := strings.Join(entries(tt.from, tt.to, tt.after), " "); got != tt.want {
			t.Errorf("committed of hours %d to %d after %d: %q, want %q", tt.from, tt.to, tt.after, got, tt.want)
		}
	}
	strays := func() (out []string) {
		for key, err := range k.Strays(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, key)
		}
		return out
	}
	if s := strays(); len(s) > 0 {
		t.Errorf("strays %q", s)
	}
	s := sinktest.Hours("one", 1, 2)
	r, err := k.Lookup(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Forget(ctx, s.Partition, s.Day(), []uint64{r.Entry}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{r.Parts[0].Path}, strays()); diff != "" {
		t.Errorf("strays of a forgotten commit (-want +got):\n%s", diff)
	}
	if _, err := k.Forget(ctx, s.Partition, s.Day(), []uint64{r.Entry}); err == nil {
		t.Error("a commit was forgotten twice")
	}
	if left, err := k.Left(ctx, r); err != nil || len(left) != len(r.Parts) {
		t.Errorf("left of a forgotten commit: %q, %v", left, err)
	}
	if gone, err := k.Clear(ctx, []sinks.Receipt{r}, nil); err != nil || len(gone) != len(r.Parts) || len(strays()) > 0 {
		t.Errorf("cleared %q, %v", gone, err)
	}
	carry(t, mustOpen(t, b, nil), s, 2)
	if r, err = k.Lookup(ctx, s); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Withdraw(ctx, []sinks.Receipt{r}, true); err != nil || len(strays()) > 0 {
		t.Errorf("withdrawn with its objects: strays %q, %v", strays(), err)
	}
}
