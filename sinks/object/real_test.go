package object

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart/s3"
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
	s, err := p.connect(c)
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
					return open(context.Background(), c, seam{connect: func(p place, c sinks.Config) (commitlog.Store, error) {
						s, err := p.connect(c)
						return closing(s, step), err
					}})
				},
				Visible: func() ([]string, error) { return visible(s) },
				Stride:  3,
			}
		})
	})
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
