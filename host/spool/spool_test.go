package spool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// TestItemsComeAgain: what was read is given again as it was, and nothing is left behind when it is removed.
func TestItemsComeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "spool")
	s := openStore(t, dir, 1<<30)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.Mkdir(plain, 0o777); err != nil {
		t.Fatal(err)
	}
	other, err := os.Stat(plain)
	if err != nil {
		t.Fatal(err)
	}
	c := newContent(t, sliceOf(3), 1, 5, 200)
	c.keep(t, s)
	if !s.Has(c.header.Slice.ID) || s.Used() == 0 {
		t.Errorf("it has %t, uses %d", s.Has(c.header.Slice.ID), s.Used())
	}
	r, err := s.Open(c.header.Slice, schema, origin)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Schema().Equal(schema) || !r.VendorTime().Equal(c.header.VendorTime) || !r.ReadAt().Equal(c.header.ReadAt) {
		t.Errorf("opened as %v, %s, %s", r.Schema(), r.VendorTime(), r.ReadAt())
	}
	for n, want := range c.items {
		got, err := r.Next(t.Context())
		if err != nil {
			t.Fatalf("item %d: %v", n, err)
		}
		switch {
		case want.Batch != nil:
			if got.Batch == nil || got.Batch.Seq != want.Batch.Seq || got.Batch.Slice != want.Batch.Slice || got.Batch.Bytes != want.Batch.Bytes ||
				!array.RecordEqual(got.Batch.Records, want.Batch.Records) {
				t.Errorf("item %d differs", n)
			}
		default:
			if diff := cmp.Diff(want.Dead, got.Dead); diff != "" {
				t.Errorf("item %d (-want +got):\n%s", n, diff)
			}
		}
		r.Release(got)
	}
	if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("got %v at the end", err)
	}
	if diff := cmp.Diff(c.manifest, r.Manifest()); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if r.Counters()["retries"] != 3 {
		t.Errorf("counters %v", r.Counters())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]fs.FileMode{
		filepath.Dir(dir): other.Mode(), dir: 0o700 | fs.ModeDir, path(s, c.header.Slice): 0o600,
	} {
		if st, err := os.Stat(name); err != nil || st.Mode() != want {
			t.Errorf("%s has mode %v, %v", name, st.Mode(), err)
		}
	}
	if err := s.Remove(c.header.Slice.ID); err != nil {
		t.Error(err)
	}
	if _, _, err := read(s, c.header.Slice); !errors.Is(err, ErrNone) || s.Used() != 0 {
		t.Errorf("got %v, %d bytes are used", err, s.Used())
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 || filepath.Base(left[0]) != "lock" {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestARunFindsWhatTheOneBeforeSealed, and nothing that it didn't.
func TestARunFindsWhatTheOneBeforeSealed(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, 1<<30)
	whole, half := newContent(t, sliceOf(1), 1, 2, 20), newContent(t, sliceOf(2), 2, 2, 20)
	whole.keep(t, s)
	w, err := s.Create(half.header)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(half.items[0]); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(dir, "mine.txt"), []byte("not of the spool"))
	used := s.Used()
	if _, err := Open(dir, 1); fault.KindOf(err) != fault.Config {
		t.Errorf("a second one got %v", err)
	}
	if err := s.Close(); err != nil { // as a process does that is killed
		t.Fatal(err)
	}
	again := openStore(t, dir, 1<<30)
	if n := again.Used(); n == 0 || n >= used {
		t.Errorf("%d bytes are used, %d were", n, used)
	}
	if sum, _, err := read(again, whole.header.Slice); err != nil || sum != whole.manifest.Sum {
		t.Errorf("got %v, %v", sum, err)
	}
	if _, _, err := read(again, half.header.Slice); !errors.Is(err, ErrNone) {
		t.Errorf("half a slice: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 3 {
		t.Errorf("left %v, %v", left, err)
	}
	// A file under a whole one's name that is only half of one.
	w, err = again.Create(half.header)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(half.items[0]); err != nil {
		t.Fatal(err)
	}
	text := mustRead(t, again.path(half.header.Slice.ID, part))
	w.Abort()
	mustWrite(t, path(again, half.header.Slice), text)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	again = openStore(t, dir, 1<<30)
	var damaged *DamagedError
	if _, _, err := read(again, half.header.Slice); !errors.As(err, &damaged) || again.Has(half.header.Slice.ID) {
		t.Errorf("half a slice: %v", err)
	}
}

// TestDamage changes each byte, cuts at each length and adds a byte: nothing of it is ever given.
func TestDamage(t *testing.T) {
	s := openStore(t, t.TempDir(), 1<<30)
	c := newContent(t, sliceOf(3), 1, 2, 3)
	c.keep(t, s)
	name := path(s, c.header.Slice)
	good := mustRead(t, name)
	try := func(what string, at int, b []byte) {
		t.Helper()
		mustWrite(t, name, b)
		s.size[c.header.Slice.ID] = int64(len(b))
		var damaged *DamagedError
		r, err := s.Open(c.header.Slice, schema, origin) // before anything of it is given
		if err == nil {
			_ = r.Close()
		}
		if !errors.As(err, &damaged) {
			t.Fatalf("%s at %d: got %v", what, at, err)
		}
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s at %d: the file is there still", what, at)
		}
	}
	for at := range good {
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		try("a changed bit", at, b)
		if at%5 == 0 {
			try("an end", at, good[:at])
		}
	}
	try("a byte more", len(good), append(bytes.Clone(good), 0))
	try("twice", len(good), append(bytes.Clone(good), good...))
}

// TestDamageWhileItIsRead: a file that changes after it was proved fails the read, which may be tried again.
func TestDamageWhileItIsRead(t *testing.T) {
	s := openStore(t, t.TempDir(), 1<<30)
	c := newContent(t, sliceOf(3), 1, 4, 500)
	c.keep(t, s)
	r, err := s.Open(c.header.Slice, schema, origin)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := mustRead(t, path(s, c.header.Slice))
	f, err := os.OpenFile(path(s, c.header.Slice), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{^b[len(b)/2]}, int64(len(b)/2)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		it, err := r.Next(t.Context())
		if err == nil {
			r.Release(it)
			continue
		}
		var damaged *DamagedError
		if !errors.As(err, &damaged) || fault.KindOf(err) != fault.Transient || s.Has(c.header.Slice.ID) {
			t.Errorf("got %v", err)
		}
		break
	}
	if _, again := r.Next(t.Context()); again == nil || errors.Is(again, io.EOF) {
		t.Errorf("after the error: %v", again)
	}
}

// TestFull: what doesn't fit is refused, what is there stays, and what was given up makes room again.
func TestFull(t *testing.T) {
	c, other := newContent(t, sliceOf(1), 1, 3, 200), newContent(t, sliceOf(2), 2, 3, 200)
	probe := openStore(t, t.TempDir(), 1<<30)
	c.keep(t, probe)
	one := probe.Used()

	s := openStore(t, t.TempDir(), one+one/2)
	c.keep(t, s)
	w, err := s.Create(other.header)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range other.items {
		if err = w.Write(it); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("got %v", err)
	}
	w.Abort()
	w.Abort()
	if s.Used() != one {
		t.Errorf("%d bytes are used, want %d", s.Used(), one)
	}
	if sum, _, err := read(s, c.header.Slice); err != nil || sum != c.manifest.Sum {
		t.Errorf("got %v, %v", sum, err)
	}
	if err := s.Remove(c.header.Slice.ID); err != nil {
		t.Fatal(err)
	}
	other.keep(t, s)
	tiny := openStore(t, t.TempDir(), 4)
	if _, err := tiny.Create(c.header); !errors.Is(err, ErrFull) || tiny.Used() != 0 {
		t.Errorf("got %v, %d bytes are used", err, tiny.Used())
	}
}

// TestOtherOrigins aren't used, and make way.
func TestOtherOrigins(t *testing.T) {
	wider := newContent(t, sliceOf(3), 1, 1, 1).header.Schema
	fields := wider.Fields()
	narrower := newSchema(fields[:2])
	for name, change := range map[string]func(o *Origin){
		"source": func(o *Origin) { o.Source = "other" }, "version": func(o *Origin) { o.Version = "2" },
		"sluice": func(o *Origin) { o.Sluice = "2" }, "settings": func(o *Origin) { o.Settings = "2" }, "schema": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir(), 1<<30)
			c := newContent(t, sliceOf(3), 1, 1, 3)
			c.keep(t, s)
			o, as := origin, schema
			if change == nil {
				as = narrower
			} else {
				change(&o)
			}
			if _, err := s.Open(c.header.Slice, as, o); !errors.Is(err, ErrNone) || s.Has(c.header.Slice.ID) {
				t.Errorf("got %v", err)
			}
		})
	}
	// A file that was given another slice's name.
	s := openStore(t, t.TempDir(), 1<<30)
	c := newContent(t, sliceOf(3), 1, 1, 3)
	c.keep(t, s)
	if err := os.Rename(path(s, c.header.Slice), path(s, sliceOf(4))); err != nil {
		t.Fatal(err)
	}
	s.size[sliceOf(4).ID] = 1
	var damaged *DamagedError
	if _, _, err := read(s, sliceOf(4)); !errors.As(err, &damaged) {
		t.Errorf("got %v", err)
	}
}

func TestSweep(t *testing.T) {
	s := openStore(t, t.TempDir(), 1<<30)
	before := time.Now().Add(-time.Minute)
	for hour := range 4 {
		newContent(t, sliceOf(hour), uint64(hour), 1, 3).keep(t, s)
	}
	mustWrite(t, path(s, sliceOf(3)), []byte("SLSPOOL"))
	removed, err := s.Sweep(func(x flow.Slice, at time.Time) (bool, error) {
		if at.Before(before) || at.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s was sealed at %s", x, at)
		}
		if x.ID == sliceOf(2).ID {
			return false, errTest
		}
		return x.ID == sliceOf(1).ID, nil
	})
	if !errors.Is(err, errTest) || removed != 2 {
		t.Errorf("got %d, %v", removed, err)
	}
	for hour, want := range []bool{false, true, true, false} {
		if s.Has(sliceOf(hour).ID) != want {
			t.Errorf("hour %d is there: %t", hour, !want)
		}
	}
}

var errTest = errors.New("test")

// TestOneWriter: two reads of a slice, for different sinks, don't write one file.
func TestOneWriter(t *testing.T) {
	s := openStore(t, t.TempDir(), 1<<30)
	c := newContent(t, sliceOf(1), 1, 1, 3)
	w, err := s.Create(c.header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(c.header); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	w.Abort()
	c.keep(t, s)
	c.keep(t, s) // in its place
	if sum, _, err := read(s, c.header.Slice); err != nil || sum != c.manifest.Sum {
		t.Errorf("got %v, %v", sum, err)
	}
	if st, err := os.Stat(path(s, c.header.Slice)); err != nil || st.Size() != s.Used() {
		t.Errorf("%d bytes are used, the file has %d, %v", s.Used(), st.Size(), err)
	}
}

// TestFolderIsGone: the writer says so, and the store goes on.
func TestFolderIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := openStore(t, dir, 1<<30)
	c := newContent(t, sliceOf(1), 1, 1, 3)
	w, err := s.Create(c.header)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(c.manifest, nil); err == nil {
		t.Error("sealed in a folder that is gone")
	}
	if _, err := s.Create(c.header); err == nil || s.Used() != 0 {
		t.Errorf("got %v, %d bytes are used", err, s.Used())
	}
	file := filepath.Join(t.TempDir(), "file")
	mustWrite(t, file, nil)
	if _, err := Open(file, 1); fault.KindOf(err) != fault.Config || fault.HintOf(err) == "" || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// TestCanceled ends a read with its context.
func TestCanceled(t *testing.T) {
	s := openStore(t, t.TempDir(), 1<<30)
	c := newContent(t, sliceOf(1), 1, 1, 3)
	c.keep(t, s)
	r, err := s.Open(c.header.Slice, schema, origin)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx); fault.KindOf(err) != fault.Canceled {
		t.Errorf("got %v", err)
	}
}

// FuzzRead: no file makes the reader panic, or gives a slice whose manifest isn't what was read.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	s := openStore(f, dir, 1<<40)
	c := newContent(f, sliceOf(1), 1, 2, 5)
	c.keep(f, s)
	f.Add(mustRead(f, path(s, c.header.Slice)))
	f.Fuzz(func(t *testing.T, b []byte) {
		mustWrite(t, path(s, c.header.Slice), resealed(b))
		s.mu.Lock()
		s.size[c.header.Slice.ID] = int64(len(b))
		s.mu.Unlock()
		_, _, _ = read(s, c.header.Slice)
	})
}
