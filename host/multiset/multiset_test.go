package multiset

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// digestOf makes a digest of few bits, so that digests collide in their places, and order by the high half decides rarely.
func digestOf(n uint64) flow.Digest { return flow.Digest{Hi: n / 7, Lo: n % 7 * 1024} }

// TestSetLikeMap compares a Set with a plain map, within memory and far beyond it.
func TestSetLikeMap(t *testing.T) {
	for _, tc := range []struct {
		name     string
		distinct uint64
		adds     int
		hashed   bool
		spills   bool
	}{
		{"empty", 1, 0, false, false},
		{"one", 1, 1, false, false},
		{"few", 50, 1000, false, false},
		{"many of one place", 1500, 6000, false, false},
		{"beyond", 20_000, 60_000, true, true},
		{"far beyond", 90_000, 100_000, true, true},
		{"few distinct, many times", 1000, 200_000, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			folder := t.TempDir()
			rng := rand.New(rand.NewPCG(1, uint64(tc.adds)))
			digest := func() flow.Digest {
				n := rng.Uint64N(tc.distinct)
				if tc.hashed {
					return flow.DigestOf([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
				}
				return digestOf(n)
			}
			set := New(Options{Memory: MinMemory, Folder: folder})
			defer set.Close()
			want := map[flow.Digest]int{}
			for range tc.adds {
				d := digest()
				if err := set.Add(d); err != nil {
					t.Fatal(err)
				}
				want[d]++
			}
			if err := set.Seal(); err != nil {
				t.Fatal(err)
			}
			if set.Spilled() != tc.spills {
				t.Errorf("spilled: %v, want %v", set.Spilled(), tc.spills)
			}
			if got := set.Left(); got != uint64(tc.adds) {
				t.Fatalf("left %d of %d before anything was taken", got, tc.adds)
			}
			left := uint64(tc.adds)
			for range 2 * tc.adds {
				d := digest()
				got, err := set.Take(d)
				if err != nil {
					t.Fatal(err)
				}
				if got != (want[d] > 0) {
					t.Fatalf("took %s: %v, and it is there %d times", d, got, want[d])
				}
				if got {
					want[d]--
					left--
				}
			}
			if set.Left() != left {
				t.Errorf("left %d, want %d", set.Left(), left)
			}
			for d, n := range want { // what is left is all there, and no more
				for range n {
					if got, err := set.Take(d); !got || err != nil {
						t.Fatalf("took %s: %v, %v", d, got, err)
					}
				}
				if got, err := set.Take(d); got || err != nil {
					t.Fatalf("took %s once too often: %v, %v", d, got, err)
				}
			}
			if set.Left() != 0 {
				t.Errorf("left %d, want none", set.Left())
			}
			if names, err := filepath.Glob(filepath.Join(folder, "*")); err != nil || len(names) > 0 {
				t.Errorf("files with a name: %v, %v", names, err)
			}
			if err := errors.Join(set.Close(), set.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSetKeepsWithinMemory counts what a table may take at most, the one that it grows out of included.
func TestSetKeepsWithinMemory(t *testing.T) {
	for _, memory := range []int64{0, MinMemory, 100_000, 1 << 20, 64 << 20} {
		set := New(Options{Memory: memory})
		if took := int64(set.most) * entryBytes * 3 / 2; took > max(memory, MinMemory) || took < max(memory, MinMemory)/3 {
			t.Errorf("of %d bytes the table takes %d", memory, took)
		}
	}
}

// TestSetWrongOrder refuses what makes no sense.
func TestSetWrongOrder(t *testing.T) {
	set := New(Options{})
	if _, err := set.Take(flow.Digest{}); err == nil {
		t.Error("Take before Seal")
	}
	if err := set.Seal(); err != nil {
		t.Fatal(err)
	}
	if set.Add(flow.Digest{}) == nil || set.Seal() == nil {
		t.Error("Add or Seal after Seal")
	}
}

// TestSetTooMany counts up to its limit and says so instead of beginning anew.
func TestSetTooMany(t *testing.T) {
	set := New(Options{})
	defer set.Close()
	d := flow.DigestOf([]byte("again"))
	if err := set.add(d, 1<<32-2); err != nil {
		t.Fatal(err)
	}
	if err := set.Add(d); fault.KindOf(err) != fault.Oversize {
		t.Fatalf("one too many: %v", err)
	}
}

// TestSetWithoutFolder says where the disk is that it needs.
func TestSetWithoutFolder(t *testing.T) {
	set := New(Options{Folder: filepath.Join(t.TempDir(), "gone")})
	defer set.Close()
	var err error
	for i := uint64(0); err == nil && i < 1<<16; i++ {
		err = set.Add(digestOf(i))
	}
	if !errors.Is(err, os.ErrNotExist) || fault.HintOf(err) == "" {
		t.Fatalf("a spill without a folder: %v, hint %q", err, fault.HintOf(err))
	}
}
