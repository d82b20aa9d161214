package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart/toxiproxy"
	"github.com/sluice-io/sluice/proto/flow"
)

// filesPrey are the sinks of files, side by side on a disk of their own where the machine lets a test have one.
type filesPrey struct{ disk string } // of the round in work; empty: none can be had

func startFilesPrey(*testing.T, *toxiproxy.Server) prey { return &filesPrey{} }

func (p *filesPrey) sinks(g *game, r *rig) func() {
	p.disk = filepath.Join(r.dir, "disk")
	root := func(name string) string { return filepath.Join(p.disk, name) }
	if err := os.Mkdir(p.disk, 0o700); err != nil {
		g.t.Fatal(err)
	}
	r.config["state"] = root("state")
	r.sinks = append(
		r.sinks,
		obj{"name": "raw", "type": "file", "config": obj{"path": root("raw"), "format": "raw"}},
		obj{"name": "parquet", "type": "parquet", "config": obj{"path": root("parquet")}},
		obj{"name": "arrow", "type": "arrow", "config": obj{"path": root("arrow")}},
	)
	disk := p.disk
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		g.t.Logf("no mounts here (%v): no disk is filled, but files are kept from growing", err)
		p.disk = ""
	} else {
		g.t.Cleanup(func() {
			if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
				g.t.Error(err)
			}
		})
	}
	return func() {
		r.mustHold(root("raw"), "raw", r.from, r.to)
		want := delivered(g.t, root("raw"))
		for _, name := range []string{"parquet", "arrow"} {
			if got := delivered(g.t, root(name)); got != want {
				g.t.Errorf("%s holds %+v, want %+v", name, got, want)
			}
			if text := amiss(g.t, root(name)); text != "" {
				g.t.Errorf("%s:%s", name, text)
			}
			r.mustCover(root(name), r.from, r.to)
			r.mustHaveNothingStaged(root(name))
		}
	}
}

func (p *filesPrey) blows() []blow {
	if p.disk == "" {
		return nil
	}
	return []blow{{name: "disk full", strike: p.fill, ends: []int{exitFailed}}}
}

// fill leaves no room on the disk, the ledger's neither.
func (p *filesPrey) fill(g *game) func() {
	ballast := filepath.Join(p.disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	for page := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
		g.t.Fatal(err)
	}
	return func() { mustRemove(g.t, ballast) }
}

// delivered is the sum of what the commits of a root say.
func delivered(t *testing.T, root string) (sum flow.Sum) {
	t.Helper()
	for _, c := range commits(t, root) {
		sum = sum.Plus(c.Delivered)
	}
	return sum
}
