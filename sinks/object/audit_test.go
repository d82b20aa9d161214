package object

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestAudit reads objects of every format back, whole and damaged.
func TestAudit(t *testing.T) {
	for _, format := range []string{"raw", "ndjson", "csv", formatParquet, formatArrow, formatArrowStream} {
		t.Run(format, func(t *testing.T) {
			ctx := context.Background()
			b := sinktest.NewBucket()
			k, err := open(ctx, config(t, map[string]any{"bucket": "lake", "format": format, "part_size": 4096}), onBucket(b))
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			s := sinktest.Hours("one", 0, 1)
			bodies := sinktest.Bodies(s, 100)
			r, err := sinktest.Write(ctx, k, s, bodies)
			if err != nil {
				t.Fatal(err)
			}
			audit := func() (sum flow.Sum, found []sinks.Finding) {
				t.Helper()
				found, err := k.Audit(ctx, r, func(s flow.Sum) error { sum = sum.Plus(s); return nil })
				if err != nil {
					t.Fatal(err)
				}
				return sum, found
			}
			if sum, found := audit(); sum != sinktest.Account(bodies).Delivered || len(found) > 0 {
				t.Errorf("%+v, %+v", sum, found)
			}
			key := r.Parts[0].Path
			whole, err := b.Get(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			flipped := bytes.Clone(whole)
			flipped[len(flipped)/2] ^= 4
			for _, tt := range []struct {
				kind sinks.FindingKind
				now  []byte // nil: the object goes
			}{
				{sinks.FindingMissing, nil},
				{sinks.FindingTruncated, []byte{}},
				{sinks.FindingTruncated, whole[:len(whole)-1]},
				{sinks.FindingChanged, flipped},
				{sinks.FindingChanged, append(bytes.Clone(whole), whole...)},
			} {
				if err := b.Delete(ctx, key); err != nil {
					t.Fatal(err)
				}
				if tt.now != nil {
					if err := b.PutAbsent(ctx, key, tt.now); err != nil {
						t.Fatal(err)
					}
				}
				if _, found := audit(); len(found) != 1 || found[0].Kind != tt.kind || found[0].Path != key {
					t.Errorf("%d bytes of %d: %+v, want %s", len(tt.now), len(whole), found, tt.kind)
				}
			}
		})
	}
}

// TestStraysBesideAnAttempt names what was copied, not what an attempt that runs has put.
func TestStraysBesideAnAttempt(t *testing.T) {
	ctx := context.Background()
	b := sinktest.NewBucket()
	k, err := inMemory(t, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	done := sinktest.Hours("one", 0, 1)
	r, err := sinktest.Write(ctx, k, done, sinktest.Bodies(done, 50))
	if err != nil {
		t.Fatal(err)
	}
	part, err := b.Get(ctx, r.Parts[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	copied := "copy/" + r.Parts[0].Path
	if err := b.PutAbsent(ctx, copied, part); err != nil {
		t.Fatal(err)
	}
	next := sinktest.Hours("one", 1, 2)
	tx, err := k.Begin(ctx, next, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := sinktest.Append(ctx, tx, next, sinktest.Bodies(next, 500)); err != nil {
		t.Fatal(err)
	}
	// The last part is put by Commit; others are there by then.
	look, err := lookInto(t, b)
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	mine := func(key string) bool {
		return strings.Contains(key, next.ID.String()[:16]) && !strings.HasPrefix(key, "_")
	}
	for deadline := time.After(time.Minute); !slices.ContainsFunc(b.Keys(), mine); {
		select {
		case <-deadline:
			t.Fatalf("no part of the attempt within a minute: %q", b.Keys())
		case <-time.After(time.Millisecond):
		}
	}
	var got []string
	for key, err := range look.(sinks.Lister).Strays(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, key)
	}
	if len(got) != 1 || got[0] != copied {
		t.Errorf("strays %q, want %q", got, copied)
	}
	if err := tx.Abort(); err != nil {
		t.Fatal(err)
	}
}
