package object

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart/s3"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// at returns the settings of a prefix on a server.
func at(s *s3.Server, prefix string, more ...any) map[string]any {
	m := map[string]any{
		"url": "s3://lake/" + prefix, "endpoint": s.Endpoint, "region": s3.Region,
		"credentials": map[string]any{"access_key": s3.AccessKey, "secret_key": s3.SecretKey}, "part_size": 4096,
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

// client returns the store that a config names.
func client(t testing.TB, c sinks.Config) commitlog.Store {
	t.Helper()
	p, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.connect(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disconnect(s); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestS3(t *testing.T) {
	server := s3.Start(t, "lake")
	var prefixes atomic.Int64
	t.Run("conformance", func(t *testing.T) {
		sinktest.RunRemote(t, func(t *testing.T) sinktest.Remote {
			c := config(t, at(server, fmt.Sprintf("p%d/x y", prefixes.Add(1))))
			s := client(t, c)
			return sinktest.Remote{
				Open: func(step sinktest.RemoteStep) (sinks.Sink, error) {
					return open(context.Background(), c, seam{connect: func(ctx context.Context, p place, c sinks.Config) (commitlog.Store, error) {
						s, err := p.connect(ctx, c)
						return closing(s, step), err
					}})
				},
				Look: func() (sinks.Sink, error) {
					c := c
					c.ReadOnly = true
					return Definition.Open(context.Background(), c)
				},
				Visible: func() ([]string, error) { return visible(s) },
				Stride:  3,
			}
		})
	})
	t.Run("store", func(t *testing.T) { sinktest.RunStore(t, client(t, config(t, at(server, "store")))) })
	t.Run("large object", func(t *testing.T) { largeObject(t, server) })
	t.Run("unfinished uploads", func(t *testing.T) { unfinishedUploads(t, server) })
	t.Run("wrong settings", func(t *testing.T) { wrongSettings(t, server) })
}

// largeObject has one part of several pieces, sent side by side.
func largeObject(t *testing.T, server *s3.Server) {
	c := config(t, at(server, "large", "part_size", "64MiB", "upload", map[string]any{"part_size": "5MiB", "concurrency": 3}))
	k, err := Definition.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	s := sinktest.Hours("one", 0, 6)
	tx, err := k.Begin(context.Background(), s, 3, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make([]string, 22)
	for i := range bodies {
		bodies[i] = strings.Repeat(string(rune('a'+i)), 1<<20)
	}
	if err := sinktest.Append(context.Background(), tx, s, bodies); err != nil {
		t.Fatal(err)
	}
	if err := commit(tx, bodies); err != nil {
		t.Fatal(err)
	}
	store := client(t, c)
	all, err := committed(store)
	if err != nil || len(all) != 1 || !strings.Contains(all[0].Path, "-00000-3-") {
		t.Fatalf("parts %+v, %v", all, err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, getObject(t, server, "large/"+all[0].Path))
	if err != nil || n != all[0].Bytes || n < 22<<20 || hex.EncodeToString(sum.Sum(nil)) != all[0].SHA256 {
		t.Errorf("the object has %d bytes (%v), its entry says %+v", n, err, all[0])
	}
}

// getObject reads an object with nothing of this package.
func getObject(t *testing.T, server *s3.Server, key string) io.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join(server.Data("lake"), filepath.FromSlash(key)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// unfinishedUploads are ended by the sweep, those of others and other attempts left alone.
func unfinishedUploads(t *testing.T, server *s3.Server) {
	ctx := context.Background()
	c := config(t, at(server, "stale"))
	store := client(t, c)
	for i := range 3 {
		up, err := store.NewUpload(ctx, fmt.Sprintf("data/x-%d.log", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := up.Put(ctx, 1, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			defer func() {
				if err := up.Complete(ctx); err != nil {
					t.Errorf("an upload that wasn't to be ended: %v", err)
				}
			}()
		} else {
			defer func() {
				if err := up.Complete(ctx); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("an upload that was ended completes: %v", err)
				}
			}()
		}
	}
	if err := store.AbortUploads(ctx, "data/x-", func(key string) bool { return key != "data/x-0.log" }); err != nil {
		t.Fatal(err)
	}
}

// wrongSettings are told apart, and the hint names what is to be changed. No secret is in it.
func wrongSettings(t *testing.T, server *s3.Server) {
	for name, tt := range map[string]struct {
		change func(m map[string]any)
		kind   fault.Kind
		hint   string
	}{
		"bucket": {func(m map[string]any) { m["url"] = "s3://sea" }, fault.Config, `no bucket "sea"`},
		"key": {func(m map[string]any) {
			m["credentials"] = map[string]any{"access_key": "someone", "secret_key": s3.SecretKey}
		}, fault.Auth, "access_key"},
		"secret": {func(m map[string]any) {
			m["credentials"] = map[string]any{"access_key": s3.AccessKey, "secret_key": "hush-hush-hush"}
		}, fault.Auth, "secret_key"},
		"region":   {func(m map[string]any) { m["region"] = "mars-1" }, fault.Config, "region"},
		"endpoint": {func(m map[string]any) { m["endpoint"] = "http://127.0.0.1:9" }, fault.Transient, "is the store running"},
		"tls":      {func(m map[string]any) { m["endpoint"] = strings.Replace(server.Endpoint, "http", "https", 1) }, fault.Config, "http://"},
	} {
		m := at(server, "wrong")
		tt.change(m)
		c := config(t, m)
		for call, do := range map[string]func() error{
			"online": func() error { _, err := Definition.Online(context.Background(), c); return err },
			"open":   func() error { _, err := Definition.Open(context.Background(), c); return err },
		} {
			t.Run(name+"/"+call, func(t *testing.T) {
				t.Parallel() // what isn't there is asked for more than once
				err := do()
				if fault.KindOf(err) != tt.kind || !strings.Contains(fault.HintOf(err), tt.hint) {
					t.Errorf("%v: %v (%s), want %v and %q", fault.KindOf(err), err, fault.HintOf(err), tt.kind, tt.hint)
				}
				if text := fmt.Sprint(err, fault.HintOf(err)); strings.Contains(text, "hush") || strings.Contains(text, s3.SecretKey) {
					t.Errorf("a secret is in %s", text)
				}
			})
		}
	}
}

// closing is a stepped store that is closed with its sink.
func closing(s commitlog.Store, step sinktest.RemoteStep) commitlog.Store {
	return struct {
		commitlog.Store
		closer
	}{sinktest.Stepped(s, step), closer{s}}
}

type closer struct{ s commitlog.Store }

func (c closer) Close() error { return disconnect(c.s) }
