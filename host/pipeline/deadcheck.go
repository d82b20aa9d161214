package pipeline

import (
	"bufio"
	"context"
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
	const hint = "restore the file: the records in it are nowhere else; was the pipeline renamed? dead_letter.path is ./dead/PIPELINE unless it is set"
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
	folder, err := stagedFolder(root, r)
	if err != nil {
		return nil, err
	}
	return os.Open(filepath.Join(folder, stagedRecords))
}

// stagedFolder finds where the dead letters that a receipt names are staged; fs.ErrNotExist if they aren't.
func stagedFolder(root string, r sinks.Receipt) (string, error) {
	staged, err := os.ReadDir(filepath.Join(root, stagingFolder))
	if err != nil {
		return "", err
	}
	for _, entry := range staged {
		folder := filepath.Join(root, stagingFolder, entry.Name())
		if owner, err := readOwner(folder); err == nil && owner.Name == r.DeadLetters && owner.Slice.ID == r.Slice.ID {
			return folder, nil
		}
	}
	return "", fs.ErrNotExist
}

// sumDead adds up the records of a file of dead letters. A record may be as large as a disk: those in base64, as all large ones are,
// are never held whole.
func sumDead(ctx context.Context, r io.Reader) (sum flow.Sum, err error) {
	in := bufio.NewReaderSize(r, 256<<10)
	for ctx.Err() == nil {
		one, err := nextLetter(in)
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
		sum = sum.Plus(one)
	}
	return sum, ctx.Err()
}
