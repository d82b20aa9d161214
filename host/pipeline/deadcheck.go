package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// CheckDead compares the dead letters of a committed slice, in the folder of its pipeline, with the receipt: the file that it names
// must be there and hold records that add up to its sum. nil: nothing is wrong. A file that was delivered again is looked for where
// it was moved to, one that a run hasn't published yet where it was staged.
func CheckDead(ctx context.Context, root string, r sinks.Receipt) (*sinks.Finding, error) {
	finding := func(kind sinks.FindingKind, hint, format string, args ...any) (*sinks.Finding, error) {
		return &sinks.Finding{Kind: kind, Path: filepath.Join(root, filepath.FromSlash(r.DeadLetters)), What: fmt.Sprintf(format, args...), Hint: hint}, nil
	}
	if r.DeadLetters == "" {
		return finding(sinks.FindingMissing, "", "%d dead letters were committed without naming their file", r.Dead.Rows)
	}
	const hint = "restore the file: the records in it are nowhere else"
	f, err := openDead(root, r)
	if errors.Is(err, fs.ErrNotExist) {
		return finding(sinks.FindingMissing, hint, "the file of %d dead letters isn't there", r.Dead.Rows)
	} else if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	defer f.Close()
	sum, err := sumDead(ctx, f)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dead := sinks.Receipt{Delivered: r.Dead}
	switch what := dead.Difference(sum); {
	case err != nil:
		return finding(sinks.FindingChanged, hint, "the dead letters can't be read beyond the first %d of %d: %v", sum.Rows, r.Dead.Rows, err)
	case what != "":
		return finding(sinks.FindingDiffers, hint, "of the dead letters %s", what)
	}
	return nil, nil
}

// openDead opens the file that a receipt names, whole.
func openDead(root string, r sinks.Receipt) (*os.File, error) {
	name := filepath.FromSlash(r.DeadLetters)
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("the commit of slice %s names %q, which isn't below the folder", r.Slice, r.DeadLetters)
	}
	// A file moves from staging to its name, and from there when it is delivered again: the last place is looked at first, so that
	// what moves meanwhile is found at one of them.
	for range 2 {
		for _, path := range []string{filepath.Join(root, deliveredFolder, name), filepath.Join(root, name)} {
			if f, err := os.Open(path); !errors.Is(err, fs.ErrNotExist) {
				return f, err
			}
		}
		f, err := openStagedDead(root, r)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, fs.ErrNotExist
}

func openStagedDead(root string, r sinks.Receipt) (*os.File, error) {
	staged, err := os.ReadDir(filepath.Join(root, stagingFolder))
	if err != nil {
		return nil, err
	}
	for _, entry := range staged {
		folder := filepath.Join(root, stagingFolder, entry.Name())
		var owner stagedOwner
		text, err := os.ReadFile(filepath.Join(folder, stagedSlice))
		if err == nil && json.Unmarshal(text, &owner) == nil && owner.Name == r.DeadLetters && owner.Slice.ID == r.Slice.ID {
			return os.Open(filepath.Join(folder, stagedRecords))
		}
	}
	return nil, fs.ErrNotExist
}

// Keys of a letter's line before its record. Inside of a JSON string their quotes would be escaped.
var (
	deadText   = []byte(`,"record":`)
	deadBase64 = []byte(`,"record_base64":"`)
)

// maxDeadHead is far more than what stands in a line before its record.
const maxDeadHead = 1 << 20

// sumDead adds up the records of a file of dead letters. A record may be as large as a disk: those in base64, as all large ones are,
// are never held whole.
func sumDead(ctx context.Context, r io.Reader) (sum flow.Sum, err error) {
	in := bufio.NewReaderSize(r, maxDeadHead)
	hasher := flow.NewHasher()
	for ctx.Err() == nil {
		if _, err := in.Peek(1); errors.Is(err, io.EOF) {
			return sum, nil
		} else if err != nil {
			return sum, err
		}
		head, _ := in.Peek(in.Buffered())
		if bytes.IndexByte(head, '\n') < 0 { // the buffer may end before the record
			if head, err = in.Peek(maxDeadHead); err != nil && !errors.Is(err, io.EOF) {
				return sum, err
			}
		}
		at := bytes.Index(head, deadBase64)
		if end := bytes.IndexByte(head, '\n'); at < 0 || end >= 0 && end < at {
			one, err := sumDeadText(in)
			if err != nil {
				return sum, err
			}
			sum = sum.Plus(one)
			continue
		}
		if _, err := in.Discard(at + len(deadBase64)); err != nil {
			return sum, err
		}
		if _, err := io.Copy(hasher, base64.NewDecoder(base64.StdEncoding, &untilQuote{r: in})); err != nil {
			return sum, err
		}
		sum = sum.Plus(hasher.Sum())
		if _, tooLong, err := readLine(in, maxLetter); err != nil || tooLong {
			return sum, errors.Join(err, errors.New("the line of a record doesn't end"))
		}
	}
	return sum, ctx.Err()
}

// sumDeadText reads a line whose record is text.
func sumDeadText(in *bufio.Reader) (flow.Sum, error) {
	line, tooLong, err := readLine(in, 4*maxLetter)
	if err != nil {
		return flow.Sum{}, err
	}
	if tooLong || !bytes.Contains(line, deadText) && !bytes.Contains(line, deadBase64) {
		return flow.Sum{}, errors.New("a line without a record")
	}
	var l letter
	if err := json.Unmarshal(line, &l); err != nil {
		return flow.Sum{}, err
	}
	return flow.SumOf(l.body()), nil
}

// untilQuote ends before the next quote, which it takes.
type untilQuote struct {
	r    *bufio.Reader
	done bool
}

// Read implements io.Reader.
func (u *untilQuote) Read(b []byte) (int, error) {
	if u.done {
		return 0, io.EOF
	}
	if _, err := u.r.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	have, _ := u.r.Peek(min(len(b), u.r.Buffered()))
	if end := bytes.IndexByte(have, '"'); end >= 0 {
		u.done = true
		n := copy(b, have[:end])
		_, err := u.r.Discard(end + 1)
		return n, err
	}
	n := copy(b, have)
	_, err := u.r.Discard(n)
	return n, err
}
