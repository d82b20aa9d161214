// Package object is the sink that writes objects to S3, Google Cloud Storage and Azure Blob Storage, exactly once for each slice
// for readers that go by its commit log. Package parts has the transaction and the layout, package commitlog the log, package
// store the clients.
package object

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/object/store"
	"github.com/sluice-io/sluice/sinks/parts"
)

// Definition is the object sink's.
var Definition = sinks.Definition{
	Type:    sinkType,
	Promise: "exactly once per slice, read through its commit log",
	Config:  []byte(schema),
	Open: func(ctx context.Context, c sinks.Config) (sinks.Sink, error) {
		k, err := open(ctx, c, seam{})
		if err != nil {
			return nil, err
		}
		return k, nil
	},
	Check: func(_ context.Context, c sinks.Config) error {
		p, err := parse(c)
		if err != nil {
			return err
		}
		_, err = p.withLog(c, seam{}).Owner(c)
		return err
	},
	Online: online,
	Buffer: func(c sinks.Config) (int64, error) {
		p, err := parse(c)
		if err != nil {
			return 0, err
		}
		o := p.options()
		return o.Format.Buffer() + o.Buffer, nil
	},
	Files: func(c sinks.Config) (sinks.Files, error) {
		p, err := parse(c)
		if err != nil {
			return sinks.Files{}, err
		}
		f, err := parts.Files(c, p.withLog(c, seam{}))
		f.Place = map[string]sinks.Place{onS3: sinks.OnS3, onGCS: sinks.OnGCS, onAzure: sinks.OnAzure}[p.Provider]
		f.Root = strings.TrimSuffix(p.at.Bucket+"/"+p.at.Prefix, "/")
		f.Endpoint, f.Region, f.Unsettled = p.at.Endpoint, p.Region, true
		f.PathStyle = p.Endpoint != "" && p.PathStyle == nil || p.PathStyle != nil && *p.PathStyle
		return f, err
	},
}

// seam is where tests get between a sink and its store; the zero seam is none.
type seam struct {
	connect func(ctx context.Context, p place, c sinks.Config) (commitlog.Store, error)
	piece   int // smaller than settings allow
}

func open(ctx context.Context, c sinks.Config, m seam) (*parts.Sink, error) {
	p, err := parse(c)
	if err != nil {
		return nil, err
	}
	return parts.Open(ctx, c, p.withLog(c, m), nil)
}

// withLog returns the options with what opens the log.
func (p place) withLog(c sinks.Config, m seam) parts.Options {
	o := p.options()
	if m.connect == nil {
		m.connect = func(ctx context.Context, p place, c sinks.Config) (commitlog.Store, error) { return p.connect(ctx, c) }
	}
	if m.piece == 0 {
		m.piece = int(p.Upload.PartSize)
	}
	o.Log = func(ctx context.Context, owner commitlog.Owner) (parts.Log, error) {
		s, err := m.connect(ctx, p, c)
		if err != nil {
			return nil, err
		}
		l, err := commitlog.OpenStore(ctx, commitlog.StoreOptions{
			Store: s, Owner: owner, Sluice: c.Sluice, Now: time.Now, Log: c.Log,
			PieceSize: m.piece, Pieces: p.Upload.Concurrency, ReadOnly: c.ReadOnly,
		})
		if err != nil {
			return nil, errors.Join(err, disconnect(s))
		}
		return parts.OnStore(l), nil
	}
	return o
}

// connect returns the provider's client.
func (p place) connect(ctx context.Context, c sinks.Config) (commitlog.Store, error) {
	k := p.Credentials
	switch p.Provider {
	case onGCS:
		file := k.File
		if file != "" && !filepath.IsAbs(file) {
			file = filepath.Join(c.Base, file)
		}
		return checked(store.NewGCS(ctx, store.GCSOptions{Place: p.at, File: file}))
	case onAzure:
		return checked(store.NewAzure(store.AzureOptions{Place: p.at, Account: k.AccessKey, Key: k.SecretKey, SAS: k.SASToken}))
	}
	pathStyle := p.Endpoint != ""
	if p.PathStyle != nil {
		pathStyle = *p.PathStyle
	}
	return checked(store.NewS3(store.S3Options{
		Place: p.at, Region: p.Region, PathStyle: pathStyle,
		AccessKey: k.AccessKey, SecretKey: k.SecretKey, SessionToken: k.SessionToken,
	}))
}

// checked keeps a nil client from being a Store that isn't nil.
func checked[S commitlog.Store](s S, err error) (commitlog.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func disconnect(s commitlog.Store) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// online implements Definition.Online.
func online(ctx context.Context, c sinks.Config) (said string, err error) {
	p, err := parse(c)
	if err != nil {
		return "", err
	}
	owner, err := p.withLog(c, seam{}).Owner(c)
	if err != nil {
		return "", err
	}
	s, err := p.connect(ctx, c)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, disconnect(s)) }()
	said, err = commitlog.CheckStore(ctx, s, owner)
	if err == nil && p.Provider != onS3 {
		said += "; this provider was tried against emulators alone, not against the service itself"
	}
	return said, err
}
