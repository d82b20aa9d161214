package object

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t testing.TB, settings map[string]any) sinks.Config {
	t.Helper()
	b, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return sinks.Config{
		Settings: b, Pipeline: "prod", Name: "lake", Source: "elsa",
		Streams: []sinks.Stream{sinktest.Stream()}, Sluice: "0.0.0-test",
	}
}

// inMemory opens a sink on a bucket in memory. Parts and pieces are small, so that slices have several.
func inMemory(t testing.TB, b *sinktest.Bucket, step sinktest.RemoteStep) (*parts.Sink, error) {
	t.Helper()
	return open(context.Background(), config(t, map[string]any{"bucket": "lake", "part_size": 4096}), seam{
		connect: func(context.Context, place, sinks.Config) (commitlog.Store, error) {
			return sinktest.Stepped(b, step), nil
		},
		piece: 1500,
	})
}

// lookInto opens a sink to read what inMemory writes.
func lookInto(t testing.TB, b *sinktest.Bucket) (sinks.Sink, error) {
	t.Helper()
	c := config(t, map[string]any{"bucket": "lake", "part_size": 4096})
	c.ReadOnly = true
	k, err := open(context.Background(), c, seam{
		connect: func(context.Context, place, sinks.Config) (commitlog.Store, error) { return b, nil },
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

func TestConformance(t *testing.T) {
	sinktest.RunRemote(t, func(t *testing.T) sinktest.Remote {
		b := sinktest.NewBucket()
		return sinktest.Remote{
			Open:    func(step sinktest.RemoteStep) (sinks.Sink, error) { return inMemory(t, b, step) },
			Look:    func() (sinks.Sink, error) { return lookInto(t, b) },
			Visible: func() ([]string, error) { return visible(b) },
		}
	})
}

// committed reads a log as a stranger would, from FORMAT.md alone, and returns the parts of the commits that stand.
func committed(s commitlog.Store) (all []sinks.Part, err error) {
	var standing []commitlog.Entry
	day := ""
	end := func() {
		for _, e := range standing {
			if e.Commit != nil {
				all = append(all, e.Commit.Parts...)
			}
		}
		standing = nil
	}
	for key, err := range s.List(context.Background(), "_sluice/commits/", "", false) {
		if err != nil {
			return nil, err
		}
		if dir := key[:strings.LastIndex(key, "/")]; dir != day {
			end()
			day = dir
		}
		b, err := s.Get(context.Background(), key)
		if err != nil {
			return nil, err
		}
		e, err := commitlog.ParseEntry(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		standing = append(standing, e)
		if want := fmt.Sprintf("%s/%06d.json", dir(key), len(standing)); key != want {
			return nil, fmt.Errorf("%s where %s should be", key, want)
		}
		if e.Forget != nil {
			for _, n := range e.Forget.Entries {
				standing[n-1] = commitlog.Entry{}
			}
		}
	}
	end()
	return all, nil
}

func dir(key string) string { return key[:strings.LastIndex(key, "/")] }

// visible returns the bodies of all committed parts.
func visible(s commitlog.Store) (bodies []string, err error) {
	all, err := committed(s)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		b, err := s.Get(context.Background(), p.Path)
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(b); int64(len(b)) != p.Bytes || hex.EncodeToString(sum[:]) != p.SHA256 {
			return nil, fmt.Errorf("%s isn't what its entry says", p.Path)
		}
		for dec := json.NewDecoder(bytes.NewReader(b)); ; {
			var rec struct{ Body *string }
			if err := dec.Decode(&rec); errors.Is(err, io.EOF) {
				break
			} else if err != nil || rec.Body == nil {
				return nil, fmt.Errorf("%s: record without body: %w", p.Path, err)
			}
			bodies = append(bodies, *rec.Body)
		}
	}
	return bodies, nil
}

// data returns the keys that a plain glob finds.
func data(b *sinktest.Bucket) []string {
	return slices.DeleteFunc(b.Keys(), func(key string) bool { return strings.HasPrefix(key, "_") })
}

// onBucket is a seam to a bucket in memory.
func onBucket(b *sinktest.Bucket) seam {
	return seam{connect: func(context.Context, place, sinks.Config) (commitlog.Store, error) { return b, nil }}
}
