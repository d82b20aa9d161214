package sinktest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/sinks/commitlog"
)

// RunStore tries what commitlog.Store promises on an empty store.
func RunStore(t *testing.T, s commitlog.Store) {
	ctx := context.Background()
	if _, err := s.Get(ctx, "a/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("get what isn't there: %v, want fs.ErrNotExist", err)
	}
	if err := s.Delete(ctx, "a/absent"); err != nil {
		t.Errorf("delete what isn't there: %v", err)
	}
	keys := []string{"a/log_id=x%2Fy z+é/1", "a/log_id=x%2Fy z+é/2", "a/z", "a0", "b/000001.json", "b/000002.json", "b/c/d"}
	for _, key := range keys {
		if err := s.PutAbsent(ctx, key, []byte("of "+key)); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
		if err := s.PutAbsent(ctx, key, []byte("another")); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("put %s again: %v, want fs.ErrExist", key, err)
		}
		if b, err := s.Get(ctx, key); err != nil || string(b) != "of "+key {
			t.Fatalf("get %s: %q, %v", key, b, err)
		}
	}
	for _, tt := range []struct {
		prefix, after string
		folders       bool
		want          string
	}{
		{"", "", false, strings.Join(keys, "|")},
		{"a/", "", false, strings.Join(keys[:3], "|")},
		{"a/", keys[0], false, strings.Join(keys[1:3], "|")},
		{"b/", "b/000001.json", false, "b/000002.json|b/c/d"},
		{"b/", "b/c", false, "b/c/d"},
		{"nothing/", "", false, ""},
		{"a/", "", true, "a/log_id=x%2Fy z+é/|a/z"},
	} {
		var got []string
		for key, err := range s.List(ctx, tt.prefix, tt.after, tt.folders) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, key)
		}
		if tt.folders {
			slices.Sort(got)
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("list %q after %q, folders %v: %q, want %s", tt.prefix, tt.after, tt.folders, got, tt.want)
		}
	}
	testRanges(t, s, "b/c/d", "of b/c/d")
	if err := s.Delete(ctx, "a/z"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "a/z"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get what was deleted: %v", err)
	}
	testUploads(t, s)
}

// testRanges reads pieces of an object.
func testRanges(t *testing.T, s commitlog.Store, key, whole string) {
	t.Helper()
	ctx := context.Background()
	for _, at := range [][2]int64{{0, 3}, {2, 4}, {5, 100}, {0, int64(len(whole))}, {int64(len(whole)), 7}, {100, 1}} {
		want := ""
		if at[0] < int64(len(whole)) {
			want = whole[at[0]:min(at[0]+at[1], int64(len(whole)))]
		}
		b, size, err := s.GetRange(ctx, key, at[0], at[1])
		if err != nil || string(b) != want || size != int64(len(whole)) {
			t.Errorf("%d bytes of %s from %d: %q of %d, %v, want %q", at[1], key, at[0], b, size, err, want)
		}
	}
	if _, _, err := s.GetRange(ctx, key+"/absent", 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a piece of what isn't there: %v, want fs.ErrNotExist", err)
	}
}

// testUploads sends objects in pieces, side by side, as small as stores take them.
func testUploads(t *testing.T, s commitlog.Store) {
	ctx := context.Background()
	pieces := [][]byte{bytes.Repeat([]byte("one "), 5<<18), bytes.Repeat([]byte("two "), 5<<18), []byte("the end")}
	send := func(key string) commitlog.Upload {
		t.Helper()
		up, err := s.NewUpload(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range pieces {
			wg.Go(func() {
				if err := up.Put(ctx, len(pieces)-i, pieces[len(pieces)-1-i]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if _, err := s.Get(ctx, key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s before Complete: %v, want fs.ErrNotExist", key, err)
		}
		return up
	}
	if err := send("up/whole").Complete(ctx); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Get(ctx, "up/whole"); err != nil || !bytes.Equal(b, bytes.Join(pieces, nil)) {
		t.Errorf("what was sent in pieces has %d bytes, %v", len(b), err)
	}
	testRanges(t, s, "up/whole", string(bytes.Join(pieces, nil)))
	if err := s.PutAbsent(ctx, "up/taken", []byte("first")); err != nil {
		t.Fatal(err)
	}
	up, err := s.NewUpload(ctx, "up/taken")
	if err == nil {
		err = errors.Join(up.Put(ctx, 1, []byte("second")), up.Complete(ctx))
	}
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("complete an upload of a taken key: %v, want fs.ErrExist", err)
	}
	if b, err := s.Get(ctx, "up/taken"); string(b) != "first" {
		t.Errorf("the taken key holds %q, %v", b, err)
	}
	if err := send("up/given-up").Abort(ctx); err != nil {
		t.Error(err)
	}
	if err := s.AbortUploads(ctx, "up/", func(string) bool { return true }); err != nil {
		t.Error(err)
	}
	var got []string
	for key, err := range s.List(ctx, "up/", "", false) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, key)
	}
	if diff := cmp.Diff([]string{"up/taken", "up/whole"}, got); diff != "" {
		t.Errorf("after uploads (-want +got):\n%s", diff)
	}
}
