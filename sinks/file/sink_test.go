package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	stdcsv "encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/sinktest"
	"github.com/sluice-io/sluice/sinks/textfile"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

var visible = sinktest.Visible(decode)

// driver writes small parts, so that slices have several.
func driver(f encode.Format, c textfile.Compression) sinktest.Driver {
	settings := fmt.Sprintf(`"format": %q, "compression": %q, "part_size": 4096`, f, c)
	return sinktest.Driver{
		Open: sinktest.OpenFolder(folder.Open, settings, false), Look: sinktest.OpenFolder(folder.Open, settings, true), Visible: visible,
	}
}

func TestConformance(t *testing.T) {
	for _, f := range encode.Formats() {
		for _, c := range textfile.Compressions() {
			t.Run(string(f)+"_"+string(c), func(t *testing.T) {
				t.Parallel()
				sinktest.Run(t, func(*testing.T) sinktest.Driver {
					d := driver(f, c)
					if f != encode.NDJSON || c != textfile.Plain { // they differ in the bytes of parts alone
						d.Stride = 23
					}
					return d
				})
			})
		}
	}
}

// TestHashesOfParts: what the log says of a part holds of the file, however large the blocks that it was written in.
func TestHashesOfParts(t *testing.T) {
	root := t.TempDir()
	k := openWithdrawable(t, root)
	for hour, size := range []int{100, 64 << 10, 3 << 20} {
		s := sinktest.Hours("one", hour, hour+1)
		r, err := sinktest.Write(t.Context(), k, s, []string{strings.Repeat("x", size), "y"})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Parts {
			b, err := os.ReadFile(filepath.Join(root, p.Path))
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != p.SHA256 || int64(len(b)) != p.Bytes {
				t.Errorf("%d bytes with the hash %x, the log says %d and %s", len(b), sum, p.Bytes, p.SHA256)
			}
		}
	}
}

func decode(name string, b []byte) (bodies []string, err error) {
	format, c, ok := textfile.KindOf(name)
	if !ok {
		return nil, errors.New("not a name of ours")
	}
	switch c {
	case textfile.Gzip:
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		if b, err = io.ReadAll(r); err != nil {
			return nil, err
		}
	case textfile.Zstd:
		r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		if b, err = r.DecodeAll(b, nil); err != nil {
			return nil, err
		}
	}
	switch format {
	case encode.Raw:
		text, ended := strings.CutSuffix(string(b), "\n")
		if !ended {
			return nil, errors.New("no newline at the end")
		}
		return strings.Split(text, "\n"), nil
	case encode.NDJSON:
		for dec := json.NewDecoder(bytes.NewReader(b)); ; {
			var rec struct{ Body *string }
			if err := dec.Decode(&rec); errors.Is(err, io.EOF) {
				return bodies, nil
			} else if err != nil || rec.Body == nil {
				return nil, fmt.Errorf("record without body: %w", err)
			}
			bodies = append(bodies, *rec.Body)
		}
	}
	rows, err := stdcsv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		return nil, err
	}
	for _, row := range rows[1:] {
		bodies = append(bodies, row[1])
	}
	return bodies, nil
}

// TestWriteThatHangs: Append ends with its context, and Abort only with the write, so that a slice isn't begun again over it.
func TestWriteThatHangs(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		var hangs atomic.Bool
		f := &sinktest.Faults{FS: commitlog.OS{}}
		f.At = func(s sinktest.Step, do func() error) error {
			if s.Op == "write" && strings.HasSuffix(s.Name, ".part") && hangs.CompareAndSwap(false, true) {
				<-hold
			}
			return do()
		}
		k, err := driver(encode.NDJSON, textfile.Plain).Open(f, root)
		if err != nil {
			t.Fatal(err)
		}
		s := sinktest.Hours("a", 0, 1)
		tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for n := 0; err == nil && n < 10_000; n++ {
			err = sinktest.Append(ctx, tx, s, sinktest.Bodies(s, 1000))
		}
		if ctx.Err() == nil || err == nil {
			t.Fatalf("Append: %v", err)
		}
		aborted := make(chan error, 1)
		go func() { aborted <- tx.Abort() }() // received below
		select {
		case err := <-aborted:
			t.Errorf("Abort is back before the write: %v", err)
		case <-time.After(time.Hour):
		}
		close(hold)
		if err := <-aborted; err != nil {
			t.Errorf("Abort: %v", err)
		}
		if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 10)); err != nil {
			t.Error(err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}
