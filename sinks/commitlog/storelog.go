package commitlog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// streamsDir holds, on stores, what owner.json can't: streams that came later. Objects are never written twice.
const streamsDir = "streams"

// StoreOptions are what a StoreLog is opened with.
type StoreOptions struct {
	Store  Store
	Owner  Owner  // what the sink is: V, ID and At are filled in
	Sluice string // version, for the entries
	Now    func() time.Time
	Log    *slog.Logger
	// PieceSize and Pieces are how large the pieces of an upload are and how many are sent at once.
	PieceSize, Pieces int
	// ReadOnly opens the log of a root that is there and changes nothing of it: Begin and Forget fail.
	ReadOnly bool
}

// StoreLog is the commit log on an object store. There is no lock: several processes may have it open, and none can commit what
// another has covered. Its methods may be called concurrently.
type StoreLog struct {
	store  Store
	root   string // for messages
	owner  Owner
	sluice string
	now    func() time.Time
	log    *slog.Logger
	pieces pieces
	days   days
	look   bool // read only

	mu     sync.Mutex
	open   map[*StoreStaging]struct{}
	doubts map[nonce]*StoreStaging // whose commits' outcome isn't known yet
	closed bool
}

// OpenStore opens the log of a store's root: it proves that the store refuses a put of a taken key, checks or becomes its owner,
// and sweeps attempts whose process has ended. Those of a living process are swept too: it reads their slices again. ErrOwned if
// the root is someone else's.
func OpenStore(ctx context.Context, o StoreOptions) (*StoreLog, error) {
	l := &StoreLog{
		store: o.Store, root: o.Store.Location(), sluice: o.Sluice, now: o.Now, log: o.Log, look: o.ReadOnly,
		pieces: pieces{size: max(o.PieceSize, 1), atOnce: max(o.Pieces, 1)},
		open:   map[*StoreStaging]struct{}{}, doubts: map[nonce]*StoreStaging{},
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if l.look {
		err = l.visit(ctx, o.Owner)
	} else if err = l.own(ctx, o.Owner); err == nil {
		err = l.sweep(ctx)
	}
	if err != nil {
		return nil, Fault("open the sink", l.root, err)
	}
	return l, nil
}

// meta returns a key below _sluice.
func meta(elem ...string) string { return path.Join(metaDir, path.Join(elem...)) }

func partitionKey(p flow.Partition) string {
	return meta(commitsDir, p.Selection.String(), logName(p.Stream), logName(p.Key))
}

func (l *StoreLog) day(p flow.Partition, at time.Time) *day {
	return l.days.get(p, at, path.Join(partitionKey(p), dayName(at)))
}

// ReadStoreOwner reads the owner of a store's root, with the streams that came later; fs.ErrNotExist if it has none.
func ReadStoreOwner(ctx context.Context, s Store) (Owner, error) {
	o, _, err := readStoreOwner(ctx, s)
	return o, err
}

func readStoreOwner(ctx context.Context, s Store) (o Owner, first []byte, err error) {
	name := meta(ownerName)
	first, err = s.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil, fmt.Errorf("%s: %w: %w", s.Location(), errNoOwner, fs.ErrNotExist)
	} else if err != nil {
		return o, nil, err
	}
	if o, err = parseOwner(name, first); err != nil {
		return o, nil, err
	}
	if o.Streams == nil {
		o.Streams = map[string]OwnedStream{}
	}
	dir := meta(streamsDir) + "/"
	for key, err := range objects(ctx, s, dir, "") {
		if err != nil {
			return o, nil, err
		}
		stream, err := parseLogName(strings.TrimSuffix(strings.TrimPrefix(key, dir), ".json"))
		if err != nil {
			return o, nil, damaged(key, err)
		}
		b, err := s.Get(ctx, key)
		if err != nil {
			return o, nil, err
		}
		var owned OwnedStream
		if err := strict(b, &owned); err != nil {
			return o, nil, damaged(key, err)
		}
		o.Streams[stream] = owned
	}
	return o, first, readOthers(ctx, s, &o)
}

// FitsStore returns ErrOwned with a hint if want may not write where o is the owner of a store's root.
func (o Owner) FitsStore(want Owner, location string) error {
	return o.fits(want, location, "one prefix has one pipeline: give this one another `prefix`, such as its name")
}

// own reads the root's owner, or makes want the owner, and adds want's new streams. It ends with the proof that the store refuses a
// key that is taken: all that follows is built on it.
func (l *StoreLog) own(ctx context.Context, want Owner) error {
	o, first, err := readStoreOwner(ctx, l.store)
	if errors.Is(err, fs.ErrNotExist) {
		if err := l.found(ctx, want); err != nil {
			return err
		}
		o, first, err = readStoreOwner(ctx, l.store) // someone else may have been first
	}
	if err != nil {
		return err
	}
	if err := o.FitsStore(want, l.root); err != nil {
		return err
	}
	// The very bytes that are there: a store that ignores the condition loses nothing by it.
	if err := refuses(ctx, l.store, first); err != nil {
		return err
	}
	l.owner = o
	streams, others := o.news(want)
	for _, name := range streams {
		if err := l.addStream(ctx, name, want.Streams[name]); err != nil {
			return err
		}
		o.Streams[name] = want.Streams[name] // the map is l.owner's too
	}
	for _, name := range others {
		if err := l.addSelection(ctx, name, want.Streams[name]); err != nil {
			return err
		}
	}
	return nil
}

// refuses proves that a store refuses a put of a key that is taken: owner.json's, which holds first.
func refuses(ctx context.Context, s Store, first []byte) error {
	err := s.PutAbsent(ctx, meta(ownerName), first)
	if err == nil {
		return fault.New(fault.Config, "open the sink",
			"exactly once needs conditional writes (If-None-Match: * on S3): use a store or a release of it that has them",
			fmt.Errorf("%s: the store took a put of owner.json that it had to refuse, because the key is taken", s.Location()))
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// found writes owner.json where there is none.
func (l *StoreLog) found(ctx context.Context, want Owner) error {
	for key, err := range objects(ctx, l.store, meta(commitsDir)+"/", "") {
		if err != nil {
			return err
		}
		return damagedOwner(meta(ownerName), fmt.Errorf("it is gone, but there is a commit log (%s)", key))
	}
	if err := checkEmpty(ctx, l.store, want); err != nil {
		return err
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	want.V, want.ID, want.At = version, hex.EncodeToString(id[:]), l.now().UTC().Truncate(time.Millisecond)
	b, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		return err
	}
	if err := l.store.PutAbsent(ctx, meta(ownerName), append(b, '\n')); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// addStream makes a stream the owner's. Two processes may add it at once: what is there first counts.
func (l *StoreLog) addStream(ctx context.Context, name string, s OwnedStream) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	key := meta(streamsDir, logName(name)+".json")
	err = l.store.PutAbsent(ctx, key, append(b, '\n'))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	b, err = l.store.Get(ctx, key)
	if err != nil {
		return err
	}
	var there OwnedStream
	if err := strict(b, &there); err != nil {
		return damaged(key, err)
	}
	first := l.owner
	first.Streams = map[string]OwnedStream{name: there}
	mine := first
	mine.Streams = map[string]OwnedStream{name: s}
	return first.FitsStore(mine, l.root)
}

// selectionsDir holds, on stores, the further selections of streams.
const selectionsDir = "selections"

// addSelection lets a further selection of a stream in. Two processes may do so at once: what is there first counts.
func (l *StoreLog) addSelection(ctx context.Context, name string, s OwnedStream) error {
	other := OtherSelection{Layout: s.Layout}
	b, err := json.MarshalIndent(other, "", "  ")
	if err != nil {
		return err
	}
	key := meta(selectionsDir, logName(name), s.Selection.String()+".json")
	if err := l.store.PutAbsent(ctx, key, append(b, '\n')); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if b, err = l.store.Get(ctx, key); err != nil {
		return err
	}
	if err := strict(b, &other); err != nil {
		return damaged(key, err)
	}
	l.owner.let(name, s.Selection, other)
	want := l.owner
	want.Streams = map[string]OwnedStream{name: s}
	return l.owner.FitsStore(want, l.root)
}

// readOthers adds the further selections of streams.
func readOthers(ctx context.Context, s Store, o *Owner) error {
	dir := meta(selectionsDir) + "/"
	for key, err := range objects(ctx, s, dir, "") {
		if err != nil {
			return err
		}
		name, id, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(key, dir), ".json"), "/")
		stream, err := parseLogName(name)
		if err != nil {
			return damaged(key, err)
		}
		var selection flow.SelectionID
		if err := selection.UnmarshalText([]byte(id)); err != nil {
			return damaged(key, err)
		}
		b, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		var other OtherSelection
		if err := strict(b, &other); err != nil {
			return damaged(key, err)
		}
		o.let(stream, selection, other)
	}
	return o.checkOthers()
}

// checkEmpty refuses a root that holds data files of Sluice but no owner: they would be written again. What lies in the root of another
// sink below it is that one's; in one of want's own, from before its path was changed, it would be written again, too.
func checkEmpty(ctx context.Context, s Store, want Owner) error {
	left := adoptLimit
	inner := "" // the root of another sink that the last keys lay in
	for key, err := range objects(ctx, s, "", "") {
		if err != nil {
			return err
		}
		if left--; left <= 0 {
			break
		}
		if hidden(key) || !partName.MatchString(path.Base(key)) || inner != "" && strings.HasPrefix(key, inner) {
			continue
		}
		root, o, err := innerRoot(ctx, s, key)
		switch {
		case err != nil:
			return err
		case root == "":
			return owned("bring the objects below _sluice/ back from where the data came from, or choose an empty prefix; without them nobody knows what is covered, and lines would be there twice",
				"%s holds data of Sluice (%s) but no %s/%s", s.Location(), key, metaDir, ownerName)
		case o.sameSink(want):
			return ownedBefore("prefix", s.Location(), s.Location()+"/"+root)
		}
		inner = root + "/"
	}
	return nil
}

// innerRoot returns the root below the store's that an object lies in, and its owner; none: "".
func innerRoot(ctx context.Context, s Store, key string) (string, Owner, error) {
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		name := dir + "/" + meta(ownerName)
		b, err := s.Get(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", Owner{}, err
		}
		o, err := parseOwner(name, b)
		return dir, o, err
	}
	return "", Owner{}, nil
}

// CheckStore proves that a root can be read, listed, written and deleted from, and that OpenStore could take it for want, without
// making an object. It says what was proved.
func CheckStore(ctx context.Context, s Store, want Owner) (string, error) {
	o, first, err := readStoreOwner(ctx, s)
	conditional := false
	switch {
	case err == nil:
		if err := o.FitsStore(want, s.Location()); err != nil {
			return "", err
		}
		if err := refuses(ctx, s, first); err != nil {
			return "", err
		}
		conditional = true
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	default:
		if err := checkEmpty(ctx, s, want); err != nil {
			return "", err
		}
	}
	probe := meta(stagingDir, newNonce().String()+".probe")
	up, err := s.NewUpload(ctx, probe)
	if err != nil {
		return "", err
	}
	if err := errors.Join(up.Put(ctx, 1, []byte{0}), up.Abort(ctx)); err != nil {
		return "", err
	}
	if err := s.Delete(ctx, probe); err != nil {
		return "", err
	}
	done := s.Location() + " can be listed, read, written and deleted from"
	if conditional {
		return done + ", and refuses to replace an object", nil
	}
	return done + "; that it refuses to replace an object shows when the sink is opened first", nil
}

// Identity returns the ID in owner.json.
func (l *StoreLog) Identity() string { return l.owner.ID }

// Owner returns the root's owner as this process found or made it. It must not be changed.
func (l *StoreLog) Owner() Owner { return l.owner }

// Location returns the store's root, such as s3://bucket/prefix.
func (l *StoreLog) Location() string { return l.root }

// Buffer is the most bytes that the parts of one attempt hold.
func (l *StoreLog) Buffer() int64 { return int64(l.pieces.size) * int64(l.pieces.atOnce+1) }

// Close gives up open transactions and closes a store that is an io.Closer. Idempotent.
func (l *StoreLog) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	open := slices.Collect(maps.Keys(l.open))
	l.mu.Unlock()
	var errs []error
	for _, s := range open {
		errs = append(errs, s.Abort())
	}
	if c, ok := l.store.(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (l *StoreLog) checkOpen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fault.New(fault.Bug, "use the sink", "", errors.New("it is closed"))
	}
	return nil
}

// Lookup returns the receipt of a committed slice, or sinks.ErrNotCommitted. After the latter no earlier attempt of this
// process at the slice can become visible any more.
func (l *StoreLog) Lookup(ctx context.Context, s flow.Slice) (sinks.Receipt, error) {
	const op = "look up a slice"
	if err := errors.Join(l.checkOpen(), s.Validate()); err != nil {
		return sinks.Receipt{}, err
	}
	d := l.day(s.Partition, s.Day())
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := l.refresh(ctx, d); err != nil {
		return sinks.Receipt{}, Fault(op, l.root, err)
	}
	if err := l.settleDoubts(ctx, d, s); err != nil {
		return sinks.Receipt{}, Fault(op, l.root, err)
	}
	for _, c := range d.commits {
		if c.id == s.ID && !c.forgotten {
			e, err := l.readEntry(ctx, d, c.number)
			if err != nil {
				return sinks.Receipt{}, Fault(op, l.root, err)
			}
			return e.receipt(c.number), nil
		}
	}
	return sinks.Receipt{}, fmt.Errorf("slice %s: %w", s, sinks.ErrNotCommitted)
}
