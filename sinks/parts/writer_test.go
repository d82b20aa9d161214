package parts

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"testing"
	"testing/synctest"
	"time"
)

var errDisk = errors.New("the disk is gone")

// fakeFile is a part's file whose Write does as it is told.
type fakeFile struct{ write func(b []byte) (int, error) }

func (f fakeFile) Write(b []byte) (int, error) { return f.write(b) }
func (fakeFile) Sync() error                   { return nil }
func (fakeFile) Close() error                  { return nil }

// slowHash takes longer than any file.
type slowHash struct{ hash.Hash }

func (h slowHash) Write(b []byte) (int, error) {
	time.Sleep(time.Minute) // of a bubble
	return h.Hash.Write(b)
}

// TestBlocksAreHashed: whatever becomes of a write, its block is hashed when it returns, for the caller fills it anew then.
func TestBlocksAreHashed(t *testing.T) {
	for name, write := range map[string]func(b []byte) (int, error){
		"written": func(b []byte) (int, error) { return len(b), nil },
		"fails":   func([]byte) (int, error) { return 0, errDisk },
		"panics":  func([]byte) (int, error) { panic(errDisk) },
	} {
		for _, size := range []int{1, sideBySide - 1, sideBySide, 3 * sideBySide} {
			synctest.Test(t, func(t *testing.T) {
				p := &part{file: fakeFile{write}, hash: slowHash{sha256.New()}}
				b := bytes.Repeat([]byte("x"), size)
				want := sha256.Sum256(b)
				err := func() (err error) {
					defer recoverTo(&err, "write a part")
					_, err = p.Write(b)
					return err
				}()
				if got := p.hash.Sum(nil); !bytes.Equal(got, want[:]) {
					t.Errorf("a block of %d bytes that is %s has the hash %x, want %x", size, name, got, want)
				}
				if (err == nil) != (name == "written") {
					t.Errorf("a block that is %s: %v", name, err)
				}
			})
		}
	}
}
