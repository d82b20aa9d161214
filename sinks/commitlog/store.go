package commitlog

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
)

// MaxObject is the most bytes that a store reads in one piece: entries name parts, and even ten thousand of them need less.
const MaxObject = 16 << 20

// Store is what a StoreLog and its parts need of an object store: objects that are there whole or not at all, a put that fails if
// the key is taken, and reads and lists that see every put that was answered. Keys are relative to the store's own root, with
// slashes. All methods may be called concurrently.
//
// An error that is fs.ErrExist or fs.ErrNotExist, or whose fault.Kind is Config, Auth, NotFound or Oversize, says that the request
// surely changed nothing. After any other nobody knows.
type Store interface {
	// Location names bucket and prefix, as in s3://bucket/prefix.
	Location() string
	// Get reads a small object, of at most MaxObject bytes; fs.ErrNotExist without one.
	Get(ctx context.Context, key string) ([]byte, error)
	// GetRange reads up to n bytes of an object, n at most 8 MiB, from the place off on, fewer at its end and none beyond it, and returns
	// how large the whole object is; fs.ErrNotExist without one.
	GetRange(ctx context.Context, key string, off, n int64) (b []byte, size int64, err error)
	// PutAbsent makes an object; fs.ErrExist if the key is taken. b is the store's as in Upload.Put.
	PutAbsent(ctx context.Context, key string, b []byte) error
	// Delete deletes an object; it is no error if there is none.
	Delete(ctx context.Context, key string) error
	// List yields keys that begin with prefix and come after the key after, in the order of their bytes. With folders, and then in any
	// order, those that have a further slash behind the prefix are yielded once for all up to that slash, and with it. An error ends
	// the sequence.
	List(ctx context.Context, prefix, after string, folders bool) iter.Seq2[string, error]
	// NewUpload begins an object that is sent in pieces and isn't visible before Complete.
	NewUpload(ctx context.Context, key string) (Upload, error)
	// AbortUploads ends unfinished uploads of keys that begin with prefix and that match accepts: none of them completes any more.
	// Stores that end them by themselves after some days and let them be completed until then do nothing here.
	AbortUploads(ctx context.Context, prefix string, match func(key string) bool) error
}

// Upload is an object on its way. Put may be called concurrently, Complete and Abort after all Puts have returned.
type Upload interface {
	// Put sends piece number n, counted from 1. b is the upload's until Put returns, and for good if it fails: a client may be sending
	// it still. All pieces but the last have one size.
	Put(ctx context.Context, n int, b []byte) error
	// Complete makes the object visible if its key isn't taken: fs.ErrExist.
	Complete(ctx context.Context) error
	// Abort gives up what was sent.
	Abort(ctx context.Context) error
}

// objects lists the keys that begin with prefix and come after the key after, in order. A key that ends in a slash is left out: consoles
// and tools that show a bucket as a file system put empty objects of such names there, to have folders, and neither a part nor anything
// of the log has one.
func objects(ctx context.Context, s Store, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key, err := range s.List(ctx, prefix, after, false) {
			if err == nil && (key == "" || strings.HasSuffix(key, "/")) {
				continue
			}
			if !yield(key, err) {
				return
			}
		}
	}
}

// denied reports whether a store surely didn't do what it answered with err.
func denied(err error) bool {
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return true
	}
	switch fault.KindOf(err) {
	case fault.Config, fault.Auth, fault.NotFound, fault.Oversize:
		return true
	}
	return false
}
