package parts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/partfile"
)

var _ sinks.Auditor = (*Sink)(nil)

// Audit implements sinks.Auditor. Each part is read once for its SHA-256, by the way for its records; formats that are read at any
// place read theirs besides.
func (k *Sink) Audit(ctx context.Context, r sinks.Receipt, each func(flow.Sum) error) ([]sinks.Finding, error) {
	const op = "read a slice back"
	st, ok := k.place.streams[r.Slice.Stream]
	if !ok {
		return nil, fault.Errorf(fault.Config, op, "the sink wasn't opened for stream %q", r.Slice.Stream)
	}
	a := &audit{sink: k, receipt: r, each: each}
	for i := range r.Parts {
		if err := a.part(ctx, i, k.stored(st, r, i)); err != nil {
			return a.found, commitlog.Fault(op, k.log.Location(), fmt.Errorf("slice %s: %w", r.Slice, err))
		}
	}
	return a.end(st)
}

// audit reads one slice back.
type audit struct {
	sink    *Sink
	receipt sinks.Receipt
	each    func(flow.Sum) error

	sum     flow.Sum
	found   []sinks.Finding
	aborted error // of each
}

func (a *audit) add(kind sinks.FindingKind, p sinks.Part, hint, format string, args ...any) {
	a.found = append(a.found, sinks.Finding{Kind: kind, Path: p.Path, What: fmt.Sprintf(format, args...), Hint: hint})
}

// Hints of findings.
const (
	hintMissing = "restore the file; or, if it was removed on purpose, sluice forget makes its time a gap again"
	hintDamaged = "restore the file from a backup; or delete it, and sluice forget makes its time a gap that the next run fills"
)

// part reads one part. An error is of the reading, or of each.
func (a *audit) part(ctx context.Context, i int, of partfile.Stored) error {
	p := a.receipt.Parts[i]
	f, err := a.sink.log.OpenPart(ctx, a.receipt, i)
	if errors.Is(err, fs.ErrNotExist) {
		a.add(sinks.FindingMissing, p, hintMissing, "the file isn't there; it was committed with %d bytes and %d records", p.Bytes, p.Rows)
		return nil
	} else if errors.Is(err, commitlog.ErrNotRegular) {
		a.add(sinks.FindingChanged, p, hintDamaged, "%v; it was committed with %d bytes and %d records", commitlog.ErrNotRegular, p.Bytes, p.Rows)
		return nil
	} else if err != nil {
		return err
	}
	in := &hashing{ctx: ctx, PartFile: f, hash: sha256.New()}
	return errors.Join(a.read(in, p, of), f.Close())
}

func (a *audit) read(in *hashing, p sinks.Part, of partfile.Stored) error {
	before := a.sum.Rows
	var damage error
	// Damage lets readers of Arrow and Parquet ask for any amount of memory: they get proven bytes alone.
	whole := func() bool { return in.Size() == p.Bytes && in.sum() == p.SHA256 }
	if !a.sink.format.Typed() {
		damage = a.scan(in, of)
		if a.aborted == nil {
			in.rest()
		}
	} else if in.rest(); in.failed == nil && whole() {
		damage = a.scan(in, of)
	}
	if err := cmp.Or(a.aborted, in.failed); err != nil {
		return err
	}
	rows := a.sum.Rows - before
	const was = "; it was committed with"
	switch sum := in.sum(); {
	case in.Size() < p.Bytes:
		a.add(sinks.FindingTruncated, p, hintDamaged, "the file has %d bytes, %d fewer than the %d that were committed; %d of its %d records could be read",
			in.Size(), p.Bytes-in.Size(), p.Bytes, rows, p.Rows)
	case in.Size() > p.Bytes:
		a.add(sinks.FindingChanged, p, hintDamaged, "the file has %d bytes, %d more than the %d that were committed", in.Size(), in.Size()-p.Bytes, p.Bytes)
	case sum != p.SHA256 && damage != nil:
		a.add(sinks.FindingChanged, p, hintDamaged, "the file's SHA-256 is %s%s %s; %d of its %d records could be read: %v", sum, was, p.SHA256, rows, p.Rows, damage)
	case sum != p.SHA256:
		a.add(sinks.FindingChanged, p, hintDamaged, "the file's SHA-256 is %s%s %s", sum, was, p.SHA256)
	case damage != nil:
		a.add(sinks.FindingDiffers, p, "", "the file is as it was committed, byte by byte, and can't be read beyond record %d of %d: %v", rows, p.Rows, damage)
	}
	return nil
}

// scan hands the records of a part on and returns what ended it early, but not what each returned or reading failed with.
func (a *audit) scan(in *hashing, of partfile.Stored) (damage error) {
	defer func() { // readers panic on some damage
		if p := recover(); p != nil {
			damage = fmt.Errorf("damaged: %v", p)
		}
	}()
	return a.sink.format.Scan(in, of, func(s flow.Sum) error {
		a.sum = a.sum.Plus(s)
		a.aborted = a.each(s)
		return a.aborted
	})
}

// end compares what was read with the receipt.
func (a *audit) end(st stream) ([]sinks.Finding, error) {
	difference := a.receipt.Difference(a.sum)
	if len(a.found) > 0 || difference == "" {
		return a.found, nil
	}
	// The bytes of all parts are those that were committed.
	if why := a.inexact(st); why != "" {
		return nil, &sinks.InexactError{Why: why, Compared: "rows and the size and SHA-256 of each part"}
	}
	where := a.sink.log.Location()
	if len(a.receipt.Parts) > 0 {
		where = a.receipt.Parts[0].Path
	}
	return []sinks.Finding{{
		Kind: sinks.FindingDiffers, Path: where, What: "the files are as they were committed, byte by byte, but " + difference,
	}}, nil
}

// inexact says why the records don't add up although nothing is wrong; empty if that isn't so.
func (a *audit) inexact(st stream) string {
	want, got := a.receipt.Delivered, a.sum
	why := a.sink.format.Lossy(partfile.Stored{Schema: st.schema, Digest: st.digest})
	if a.sink.format.Name() == "raw" {
		// Each line end in a record is a row more and a byte less.
		if got.Rows > want.Rows && got.Rows+got.Bytes == want.Rows+want.Bytes {
			return why
		}
		return ""
	}
	if got.Rows != want.Rows {
		return ""
	}
	for i := range a.receipt.Parts {
		for name, value := range a.sink.stored(st, a.receipt, i).Told {
			if why == "" && value == "" && slices.Contains(st.digest, name) {
				why = fmt.Sprintf("column %q is told by the path, where a null and an empty text are alike", name)
			}
		}
	}
	return why
}

// stored is what is known of the records in a part. Which columns the path tells is seen by the path: parts of another selection may
// have another layout.
func (k *Sink) stored(st stream, r sinks.Receipt, i int) partfile.Stored {
	of := partfile.Stored{Path: r.Parts[i].Path, Schema: st.schema, Digest: st.digest}
	if !k.format.Typed() {
		return of
	}
	of.Told = map[string]string{}
	for folder := range strings.SplitSeq(of.Path, "/") {
		name, value, ok := strings.Cut(folder, "=")
		switch {
		case !ok || len(st.schema.FieldIndices(name)) == 0:
		case name == flow.ColLogName:
			of.Told[name] = commitlog.UnescapeValue(value)
		default:
			of.Told[name] = r.Slice.Key // no other column's name may be a folder's
		}
	}
	return of
}

// hashing is a part whose SHA-256 is taken while it is read from its beginning.
type hashing struct {
	ctx context.Context //nolint:containedctx // io.Reader takes none: it lives as long as the call of Audit
	commitlog.PartFile
	hash hash.Hash

	mu     sync.Mutex // ReadAt may be called concurrently
	failed error      // of a read
}

// Read implements io.Reader.
func (h *hashing) Read(b []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, h.fail(err)
	}
	n, err := h.PartFile.Read(b)
	h.hash.Write(b[:n])
	return n, h.fail(err)
}

// ReadAt implements io.ReaderAt.
func (h *hashing) ReadAt(b []byte, off int64) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, h.fail(err)
	}
	n, err := h.PartFile.ReadAt(b, off)
	return n, h.fail(err)
}

// fail remembers the first error of a read. The end of a part is none.
func (h *hashing) fail(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil && err != nil && !errors.Is(err, io.EOF) {
		h.failed = err
	}
	return err
}

// rest reads what nobody has read, so that the hash is of the whole part.
func (h *hashing) rest() {
	if h.failed == nil {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{h}, make([]byte, 256<<10)) // see failed
	}
}

func (h *hashing) sum() string { return hex.EncodeToString(h.hash.Sum(nil)) }
