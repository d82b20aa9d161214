package commitlog

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Owner is owner.json: whose a root is. What a sink opens it with must fit what the first one wrote.
type Owner struct {
	V        int                    `json:"v"`
	ID       string                 `json:"id"` // 32 hex digits, made once; the sink's identity
	Type     string                 `json:"type"`
	Format   string                 `json:"format"`
	Streams  map[string]OwnedStream `json:"streams"`
	Pipeline string                 `json:"pipeline"` // informs only, as do the rest
	Sink     string                 `json:"sink"`
	At       time.Time              `json:"at"`
	// NewSelection lets the selections of who opens the root in beside those that are there. It is no part of owner.json.
	NewSelection bool `json:"-"`
}

// OwnedStream is what must stay the same of a stream.
type OwnedStream struct {
	Selection flow.SelectionID `json:"selection"`
	Layout    string           `json:"layout"`
	// Others are selections that were let in later, by their 32 hex digits.
	Others map[string]OtherSelection `json:"others,omitempty"`
}

// errNoOwner says that a root has no owner yet.
var errNoOwner = errors.New("the root has no owner.json")

// ReadOwner reads the owner of a root; fs.ErrNotExist if it has none and never had.
func ReadOwner(fsys FS, root string) (Owner, error) {
	name := filepath.Join(root, metaDir, ownerName)
	b, err := fsys.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if entries, derr := fsys.ReadDir(filepath.Join(root, metaDir, commitsDir)); derr == nil && len(entries) > 0 {
			return Owner{}, damagedOwner(name, errors.New("it is gone, but there is a commit log"))
		}
		return Owner{}, fmt.Errorf("%s: %w: %w", root, errNoOwner, fs.ErrNotExist)
	} else if err != nil {
		return Owner{}, Fault("read the sink's owner", root, err)
	}
	return parseOwner(name, b)
}

// parseOwner reads owner.json strictly.
func parseOwner(name string, b []byte) (Owner, error) {
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return Owner{}, damagedOwner(name, err)
	}
	if head.V > ownerVersion {
		return Owner{}, fault.New(fault.Config, "read the sink's owner", "use a newer sluice",
			fmt.Errorf("%s: format %d is newer than this program understands (%d)", name, head.V, ownerVersion))
	}
	var o Owner
	if err := strict(b, &o); err != nil {
		return Owner{}, damagedOwner(name, err)
	}
	if id, err := hex.DecodeString(o.ID); err != nil || len(id) != 16 || o.V < 1 {
		return Owner{}, damagedOwner(name, errors.New("it has no valid id or version"))
	}
	if err := o.checkOthers(); err != nil {
		return Owner{}, damagedOwner(name, err)
	}
	return o, nil
}

// Fits returns ErrOwned with a hint if want may not write where o is the owner. Streams that o doesn't know are welcome.
func (o Owner) Fits(want Owner, root string) error {
	why := "one root has one pipeline:"
	if o.Pipeline == want.Pipeline {
		why = "a root keeps its format, layout and selection: set back what was changed, or"
	}
	return o.fits(want, root, fmt.Sprintf("%s give this one `path: %s`", why, below(root, want.Pipeline)))
}

// below proposes a root for a pipeline whose own choice is taken. Walks over the outer one leave it out: see isRoot.
func below(root, pipeline string) string {
	if pipeline == "" {
		pipeline = "NAME"
	}
	return filepath.Join(root, EscapeName(pipeline))
}

func (o Owner) fits(want Owner, root, hint string) error {
	who := fmt.Sprintf("%s belongs to pipeline %q, which writes", root, o.Pipeline)
	if o.Pipeline == want.Pipeline {
		who = fmt.Sprintf("%s belongs to pipeline %q as it was, which wrote", root, o.Pipeline)
	}
	if o.Type != want.Type || o.Format != want.Format {
		return owned(hint, "%s %s as %s, not %s as %s", who, o.Type, o.Format, want.Type, want.Format)
	}
	for _, s := range slices.Sorted(maps.Keys(want.Streams)) {
		first, known := o.Streams[s]
		mine := want.Streams[s]
		switch {
		case !known:
		case first.Selection != mine.Selection:
			if err := o.fitsOther(who, s, mine, want.NewSelection, hint); err != nil {
				return err
			}
		case first.Layout != mine.Layout:
			return owned(hint, "%s stream %s in layout %s, not %s", who, s, first.Layout, mine.Layout)
		}
	}
	return nil
}

// own reads the root's owner, or makes want the owner, and adds want's new streams. The lock is held.
func (l *Log) own(want Owner) error {
	o, err := ReadOwner(l.fs, l.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		var id [16]byte
		_, _ = rand.Read(id[:])
		want.V, want.ID, want.At = version, hex.EncodeToString(id[:]), l.now().UTC().Truncate(time.Millisecond)
		l.owner = want
		return l.writeOwner(true)
	case err != nil:
		return err
	}
	if err := o.Fits(want, l.root); err != nil {
		return err
	}
	if o.Streams == nil {
		o.Streams = map[string]OwnedStream{}
	}
	streams, others := o.news(want)
	for _, name := range streams {
		o.Streams[name] = want.Streams[name]
	}
	for _, name := range others {
		o.let(name, want.Streams[name].Selection, OtherSelection{want.Streams[name].Layout})
	}
	l.owner = o
	if len(streams)+len(others) > 0 {
		l.owner.V = l.owner.version()
		return l.writeOwner(false)
	}
	return nil
}

// writeOwner puts owner.json in place in one step.
func (l *Log) writeOwner(first bool) error {
	b, err := json.MarshalIndent(l.owner, "", "  ")
	if err != nil {
		return err
	}
	tmp, name := l.meta(".owner-"+newNonce().String()), l.meta(ownerName)
	if err := l.writeFile(tmp, append(b, '\n')); err != nil {
		return err
	}
	if first {
		err = l.fs.PutAbsent(tmp, name)
		if rerr := l.fs.Remove(tmp); err == nil && rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = rerr
		}
	} else {
		err = l.fs.Rename(tmp, name)
	}
	if err != nil {
		return err
	}
	return l.fs.SyncDir(l.meta())
}

// writeFile writes a small file and makes its content durable; its name isn't yet.
func (l *Log) writeFile(name string, b []byte) error {
	f, err := l.fs.Create(name, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// partName is the form of the names that file-like sinks give their parts.
var partName = regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{16}-\d{5,}(-\d+-[0-9a-f]{32})?\.(log|ndjson|csv|parquet|arrows?)(\.gz|\.zst)?$`)

// dataName is the form of names that readers of a root take for data of a file-like sink, whoever gave them.
var dataName = regexp.MustCompile(`\.(log|ndjson|csv|parquet|arrows?)(\.gz|\.zst)?$`)

// adoptLimit bounds how many names are looked at before a folder without owner is taken over: a data lake that is
// someone else's may have millions.
const adoptLimit = 10_000

// checkAdoptable refuses a root that holds data files of Sluice but no _sluice folder: they would be written again. What lies in the root of
// another sink below it is that one's; in one of want's own, from before its path was changed, it would be written again, too.
func checkAdoptable(fsys FS, root string, want Owner) error {
	left := adoptLimit
	dirs := []string{root}
	for len(dirs) > 0 && left > 0 {
		dir := dirs[0]
		dirs = dirs[1:]
		entries, err := fsys.ReadDir(dir)
		if err != nil {
			if dir == root {
				return err
			}
			continue // a folder that isn't ours to read can't hold our data
		}
		if dir != root && isRoot(entries) {
			o, err := ReadOwner(fsys, dir)
			switch {
			case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission): // being made, or not ours to read
			case err != nil:
				return err
			case o.sameSink(want):
				return ownedBefore("path", root, dir)
			}
			continue
		}
		for _, e := range entries {
			left--
			switch {
			case e.Name()[0] == '.' || e.Name()[0] == '_':
			case e.IsDir():
				dirs = append(dirs, filepath.Join(dir, e.Name()))
			case partName.MatchString(e.Name()):
				return owned("bring the _sluice folder back from where the data came from, or choose an empty path; without it nobody knows what is covered, and lines would be there twice",
					"%s holds data of Sluice (%s) but no %s folder", root, filepath.Join(dir, e.Name()), metaDir)
			}
		}
	}
	return nil
}

// sameSink says whether a root is want's own, from before its path was changed: who reads the new one would have each record twice.
func (o Owner) sameSink(want Owner) bool {
	if o.Pipeline != want.Pipeline || o.Sink != want.Sink {
		return false
	}
	for name, s := range want.Streams {
		there, ok := o.Streams[name]
		_, let := there.Others[s.Selection.String()]
		if ok && (let || there.Selection == s.Selection) {
			return true
		}
	}
	return false
}

// ownedBefore is the error of a root above one of the same sink; key is the setting that names it.
func ownedBefore(key, root, before string) error {
	return owned("set `"+key+"` back to that, or choose one that isn't above it; to move the data, move the whole of it, with its _sluice, before the next run",
		"%s would hold the records of this sink twice: it wrote them into %s before", root, before)
}

// isRoot says of a folder inside of a root that it is the root of another sink: it has an account of its own, which knows what is in there.
func isRoot(entries []fs.DirEntry) bool {
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == metaDir && e.IsDir() })
}

// CheckRoot says whether Open could take root for want, without changing anything. The lock isn't asked: a running
// pipeline may hold it.
func CheckRoot(fsys FS, root string, want Owner) error {
	for dir := root; ; dir = filepath.Dir(dir) {
		info, err := fsys.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			continue
		}
		if err != nil {
			return Fault("check the sink's path", root, err)
		}
		if info.Mode()&fs.ModeSymlink == 0 && !info.IsDir() {
			return Fault("check the sink's path", root, &fs.PathError{Op: "open", Path: dir, Err: errNotDir})
		}
		if w, ok := fsys.(interface{ Writable(name string) error }); ok {
			if err := w.Writable(dir); err != nil {
				return Fault("check the sink's path", root, err)
			}
		}
		break
	}
	o, err := ReadOwner(fsys, root)
	switch {
	case err == nil:
		return o.Fits(want, root)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := fsys.Lstat(filepath.Join(root, metaDir)); err == nil {
		return nil
	}
	if err := checkAdoptable(fsys, root, want); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Fault("check the sink's path", root, err)
	}
	return nil
}

func lockNote(pipeline string) string {
	return fmt.Sprintf("process %d (pipeline %s)", os.Getpid(), pipeline)
}
