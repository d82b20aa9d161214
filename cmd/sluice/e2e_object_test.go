package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart/s3"
	"github.com/sluice-io/sluice/internal/realpart/toxiproxy"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// objectSink adds an object sink and returns where the server keeps its objects as files.
func (r *rig) objectSink(s *s3.Server, prefix, format string) string {
	r.sinks = append(r.sinks, obj{"name": prefix, "type": "object", "config": obj{
		"url": "s3://lake/" + prefix, "endpoint": s.Endpoint, "region": s3.Region, "format": format,
		"credentials": obj{"access_key": s3.AccessKey, "secret_key": "${env:E2E_S3_SECRET}"},
	}})
	r.env = append(r.env, "E2E_S3_SECRET="+s3.SecretKey)
	return filepath.Join(s.Data("lake"), prefix)
}

// objectPrey are object sinks in a store that is reached through a proxy.
type objectPrey struct {
	t      *testing.T // the server ends with it
	server *s3.Server
	proxy  *toxiproxy.Proxy
	rounds int
}

func startObjectPrey(t *testing.T, proxies *toxiproxy.Server) prey {
	t.Helper()
	p := &objectPrey{t: t, server: s3.Start(t, "lake")}
	p.proxy = proxies.Proxy(t, strings.TrimPrefix(p.server.Endpoint, "http://"))
	return p
}

func (p *objectPrey) sinks(g *game, r *rig) func() {
	p.rounds++
	through := *p.server
	through.Endpoint = "http://" + p.proxy.Address
	raw := r.objectSink(&through, fmt.Sprint("raw", p.rounds), "raw")
	packed := r.objectSink(&through, fmt.Sprint("packed", p.rounds), "ndjson")
	return func() {
		r.mustHold(raw, "raw", r.from, r.to)
		r.mustHold(packed, "ndjson", r.from, r.to)
	}
}

func (p *objectPrey) blows() []blow {
	return serverBlows(p.proxy, p.server.Kill, func() error { return p.server.Again(p.t) })
}

// TestObjectLedgerLost rebuilds the ledger from the bucket, and asks the vendor for nothing again.
func TestObjectLedgerLost(t *testing.T) {
	t.Parallel()
	server := s3.Start(t, "lake")
	r := seededRig(t, vendorsim.Options{}, 500)
	root := r.objectSink(server, "raw", "raw")
	r.write()
	proved := func(want string) {
		t.Helper()
		if out := r.run(0, "check", "--online").stdout.String(); !strings.Contains(out, want) {
			t.Errorf("check --online didn't say %q:\n%s", want, out)
		}
	}
	proved("s3://lake/raw can be listed, read, written and deleted from")
	r.run(0, "run")
	proved("refuses to replace an object")
	mustRemove(t, filepath.Join(r.dir, "state"))
	r.run(0, "ledger", "rebuild")
	r.run(0, "run").mustSay("nothing to do")
	r.mustHold(root, "raw", seedStart, seedEnd)
}
