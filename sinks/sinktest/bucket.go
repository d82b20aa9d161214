package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-io/sluice/sinks/commitlog"
)

// Bucket is an object store in memory, for unit tests of what is built on commitlog.Store. Its methods may be called concurrently.
type Bucket struct {
	// Replaces makes it a store that ignores the condition of a put.
	Replaces bool
	// Forgets makes it keep no pieces of uploads, for tests that measure who sends them.
	Forgets bool

	mu      sync.Mutex
	objects map[string][]byte
	uploads map[string]*bucketUpload
	last    int // upload's number
}

var _ commitlog.Store = (*Bucket)(nil)

// NewBucket returns an empty bucket.
func NewBucket() *Bucket {
	return &Bucket{objects: map[string][]byte{}, uploads: map[string]*bucketUpload{}}
}

// Location implements commitlog.Store.
func (*Bucket) Location() string { return "memory://bucket" }

// Get implements commitlog.Store.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o, ok := b.objects[key]; ok {
		return bytes.Clone(o), ctx.Err()
	}
	return nil, errors.Join(ctx.Err(), fmt.Errorf("get %s: %w", key, fs.ErrNotExist))
}

// GetRange implements commitlog.Store.
func (b *Bucket) GetRange(ctx context.Context, key string, off, n int64) ([]byte, int64, error) {
	o, err := b.Get(ctx, key)
	size := int64(len(o))
	off = min(off, size)
	return o[off:min(off+n, size)], size, err
}

// PutAbsent implements commitlog.Store.
func (b *Bucket) PutAbsent(ctx context.Context, key string, o []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.put(ctx, key, o)
}

func (b *Bucket) put(ctx context.Context, key string, o []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, taken := b.objects[key]; taken && !b.Replaces {
		return fmt.Errorf("put %s: %w", key, fs.ErrExist)
	}
	b.objects[key] = bytes.Clone(o)
	return nil
}

// Delete implements commitlog.Store.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
	return ctx.Err()
}

// Keys returns the keys of all objects, in order.
func (b *Bucket) Keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}

// Uploads returns the keys of uploads that are neither completed nor given up.
func (b *Bucket) Uploads() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, u := range b.uploads {
		out = append(out, u.key)
	}
	slices.Sort(out)
	return out
}

// List implements commitlog.Store.
func (b *Bucket) List(ctx context.Context, prefix, after string, folders bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last := ""
		for _, key := range b.Keys() {
			if !strings.HasPrefix(key, prefix) || key <= after {
				continue
			}
			if dir, _, deeper := strings.Cut(key[len(prefix):], "/"); folders && deeper {
				key = prefix + dir + "/"
			}
			if key == last {
				continue
			}
			if last = key; !yield(key, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield("", err)
		}
	}
}

// AbortUploads implements commitlog.Store.
func (b *Bucket) AbortUploads(ctx context.Context, prefix string, match func(string) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, u := range b.uploads {
		if strings.HasPrefix(u.key, prefix) && match(u.key) {
			delete(b.uploads, id)
		}
	}
	return ctx.Err()
}

type bucketUpload struct {
	bucket  *Bucket
	id, key string
	pieces  map[int][]byte
}

// NewUpload implements commitlog.Store.
func (b *Bucket) NewUpload(ctx context.Context, key string) (commitlog.Upload, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	u := &bucketUpload{bucket: b, id: fmt.Sprint(b.last), key: key, pieces: map[int][]byte{}}
	b.uploads[u.id] = u
	return u, ctx.Err()
}

// Put implements commitlog.Upload.
func (u *bucketUpload) Put(ctx context.Context, n int, b []byte) error {
	u.bucket.mu.Lock()
	defer u.bucket.mu.Unlock()
	if u.pieces[n] = nil; !u.bucket.Forgets {
		u.pieces[n] = bytes.Clone(b)
	}
	return ctx.Err()
}

// Complete implements commitlog.Upload.
func (u *bucketUpload) Complete(ctx context.Context) error {
	u.bucket.mu.Lock()
	defer u.bucket.mu.Unlock()
	if u.bucket.uploads[u.id] != u {
		return fmt.Errorf("complete %s: no such upload: %w", u.key, fs.ErrNotExist)
	}
	var whole []byte
	for n := 1; n <= len(u.pieces); n++ {
		whole = append(whole, u.pieces[n]...)
	}
	err := u.bucket.put(ctx, u.key, whole)
	if err == nil {
		delete(u.bucket.uploads, u.id)
	}
	return err
}

// Abort implements commitlog.Upload.
func (u *bucketUpload) Abort(ctx context.Context) error {
	u.bucket.mu.Lock()
	defer u.bucket.mu.Unlock()
	delete(u.bucket.uploads, u.id)
	return ctx.Err()
}

// Stepped returns a store that calls step around everything that changes something.
func Stepped(s commitlog.Store, step RemoteStep) commitlog.Store {
	if step == nil {
		return s
	}
	return stepped{s, step}
}

type stepped struct {
	commitlog.Store
	step RemoteStep
}

func (s stepped) PutAbsent(ctx context.Context, key string, b []byte) error {
	ctx = context.WithoutCancel(ctx) // a step may be held back, and a request that is on its way can't be recalled
	return s.step("put "+key, func() error { return s.Store.PutAbsent(ctx, key, b) })
}

func (s stepped) Delete(ctx context.Context, key string) error {
	return s.step("delete "+key, func() error { return s.Store.Delete(ctx, key) })
}

func (s stepped) AbortUploads(ctx context.Context, prefix string, match func(string) bool) error {
	return s.step("abort uploads of "+prefix, func() error { return s.Store.AbortUploads(ctx, prefix, match) })
}

func (s stepped) NewUpload(ctx context.Context, key string) (up commitlog.Upload, err error) {
	err = s.step("begin the upload of "+key, func() (err error) {
		up, err = s.Store.NewUpload(ctx, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return steppedUpload{up, s.step, key}, nil
}

type steppedUpload struct {
	commitlog.Upload
	step RemoteStep
	key  string
}

func (u steppedUpload) Put(ctx context.Context, n int, b []byte) error {
	return u.step(fmt.Sprintf("piece %d of %s", n, u.key), func() error { return u.Upload.Put(ctx, n, b) })
}

func (u steppedUpload) Complete(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	return u.step("complete "+u.key, func() error { return u.Upload.Complete(ctx) })
}

func (u steppedUpload) Abort(ctx context.Context) error {
	return u.step("give up "+u.key, func() error { return u.Upload.Abort(ctx) })
}
