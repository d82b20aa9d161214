package commitlog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// owner is of a root that holds what sinktest's slices are of.
func owner() commitlog.Owner {
	s := sinktest.Stream()
	return commitlog.Owner{
		Type: "test", Format: "raw", Pipeline: "prod", Sink: "lake",
		Streams: map[string]commitlog.OwnedStream{s.Name: {Selection: s.Selection, Layout: "a"}},
	}
}

func openStore(t *testing.T, s commitlog.Store) *commitlog.StoreLog {
	t.Helper()
	l, err := commitlog.OpenStore(t.Context(), commitlog.StoreOptions{Store: s, Owner: owner(), PieceSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// put writes a part of one record for each stem and returns what is to be committed.
func put(t *testing.T, tx *commitlog.StoreStaging, stems ...string) (parts []sinks.Part, a sinks.Account) {
	t.Helper()
	for _, stem := range stems {
		f, key, err := tx.Create("stream=events", stem, ".log")
		if err == nil {
			_, err = f.Write([]byte("one\n"))
		}
		if err == nil {
			err = f.Sync()
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, sinks.Part{Path: key, Bytes: 4, SHA256: strings.Repeat("0a", 32), Rows: 1})
		a.Read = a.Read.Plus(flow.SumOf([]byte("one")))
	}
	a.Delivered = a.Read
	return parts, a
}

// An entry that couldn't be read again would end every later start. It is refused while that costs only its attempt.
func TestEntryBeyondWhatIsRead(t *testing.T) {
	b := sinktest.NewBucket()
	l := openStore(t, b)
	s := sinktest.Hours("one", 0, 6)
	tx, err := l.Begin(t.Context(), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	var stems []string
	for i := range 17 {
		stems = append(stems, fmt.Sprintf("%s-%05d", strings.Repeat("x", commitlog.MaxObject/16), i))
	}
	parts, a := put(t, tx, stems...)
	if _, err := tx.Commit(t.Context(), parts, a); fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "part_size") {
		t.Errorf("commit: %v: %v (%s)", fault.KindOf(err), err, fault.HintOf(err))
	}
	for _, key := range b.Keys() {
		if !strings.HasPrefix(key, "_sluice/owner") {
			t.Errorf("%.60s is left", key)
		}
	}
}

// taken is a store that says of each entry's key that it is taken, after it has put the entry, and whose next read fails.
type taken struct {
	commitlog.Store
	broken bool
}

func (s *taken) PutAbsent(ctx context.Context, key string, b []byte) error {
	err := s.Store.PutAbsent(ctx, key, b)
	if err == nil && strings.HasSuffix(key, "/000001.json") {
		s.broken = true
		return fmt.Errorf("sent again: %w", fs.ErrExist)
	}
	return err
}

func (s *taken) Get(ctx context.Context, key string) ([]byte, error) {
	if s.broken {
		s.broken = false
		return nil, fault.Errorf(fault.Auth, "read "+key, "the session has ended")
	}
	return s.Store.Get(ctx, key)
}

// TestTakenByItself: what has the entry's number may be the entry itself. While it can't be read, the commit is in doubt and its parts stay.
func TestTakenByItself(t *testing.T) {
	b := sinktest.NewBucket()
	l := openStore(t, &taken{Store: b})
	s := sinktest.Hours("one", 0, 6)
	tx, err := l.Begin(t.Context(), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	parts, a := put(t, tx, "x-00000")
	if _, err := tx.Commit(t.Context(), parts, a); fault.KindOf(err) != fault.InDoubt {
		t.Errorf("commit: %v: %v", fault.KindOf(err), err)
	}
	if r, err := l.Lookup(t.Context(), s); err != nil || r.Entry != 1 {
		t.Errorf("lookup: %+v, %v", r, err)
	}
	if !slices.Contains(b.Keys(), parts[0].Path) {
		t.Error("the part of a commit that stands was deleted")
	}
}

// TestPrefixMovedUp: what lies in the root of another sink is that one's. One that is the sink's own, of before its prefix was changed, would be
// written again.
func TestPrefixMovedUp(t *testing.T) {
	const part = "date=2026-11-01/20261101T000000.000Z-0123456789abcdef-00000.ndjson"
	inner := func(pipeline string) *sinktest.Bucket {
		b, o := sinktest.NewBucket(), owner()
		o.V, o.ID, o.Pipeline = 1, strings.Repeat("0a", 16), pipeline
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		for key, text := range map[string][]byte{"sub/deep/_sluice/owner.json": text, "sub/deep/" + part: nil, "sub/deep/" + part + ".zst": nil} {
			if err := b.PutAbsent(t.Context(), key, text); err != nil {
				t.Fatal(err)
			}
		}
		return b
	}
	b := inner("other")
	if _, err := commitlog.CheckStore(t.Context(), b, owner()); err != nil {
		t.Errorf("above another sink's: %v", err)
	}
	openStore(t, b)
	b = inner("prod")
	_, err := commitlog.CheckStore(t.Context(), b, owner())
	if !errors.Is(err, sinks.ErrOwned) || !strings.Contains(err.Error(), "/sub/deep before") || !strings.Contains(fault.HintOf(err), "set `prefix` back") {
		t.Errorf("above its own: %v", err)
	}
	if _, err := commitlog.OpenStore(t.Context(), commitlog.StoreOptions{Store: b, Owner: owner(), PieceSize: 1 << 20}); !errors.Is(err, sinks.ErrOwned) {
		t.Errorf("above its own: %v", err)
	}
	b = sinktest.NewBucket()
	for key, text := range map[string]string{"sub/_sluice/owner.json": "{", "sub/" + part: ""} {
		if err := b.PutAbsent(t.Context(), key, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := commitlog.CheckStore(t.Context(), b, owner()); err == nil || !strings.Contains(err.Error(), "sub/_sluice/owner.json") {
		t.Errorf("above a damaged one: %v", err)
	}
	b = inner("other")
	if err := b.PutAbsent(t.Context(), "sub/"+part, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := commitlog.CheckStore(t.Context(), b, owner()); !errors.Is(err, sinks.ErrOwned) || !strings.Contains(err.Error(), "holds data of Sluice (sub/"+part) {
		t.Errorf("beside data of nobody: %v", err)
	}
}
