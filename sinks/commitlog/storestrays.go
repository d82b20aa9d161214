package commitlog

import (
	"context"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// Partitions returns every partition that the log has entries of, in the order of the keys.
func (l *StoreLog) Partitions(ctx context.Context) ([]flow.Partition, error) {
	var out []flow.Partition
	err := l.each(ctx, meta(commitsDir), func(dir, selection string) error {
		var id flow.SelectionID
		if err := id.UnmarshalText([]byte(selection)); err != nil {
			return damaged(dir, err)
		}
		return l.each(ctx, dir, func(dir, streamName string) error {
			stream, err := parseLogName(streamName)
			if err != nil {
				return damaged(dir, err)
			}
			return l.each(ctx, dir, func(dir, keyName string) error {
				key, err := parseLogName(keyName)
				if err != nil {
					return damaged(dir, err)
				}
				out = append(out, flow.Partition{Selection: id, Stream: stream, Key: key})
				return nil
			})
		})
	})
	return out, Fault("list the partitions", l.root, err)
}

// each calls do for each folder in a folder.
func (l *StoreLog) each(ctx context.Context, dir string, do func(dir, name string) error) error {
	var names []string
	for key, err := range l.store.List(ctx, dir+"/", "", true) {
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(key, dir+"/"), "/") // empty: the object that makes a folder of dir, see objects
		if name != "" && name[0] != '.' {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if err := do(path.Join(dir, name), name); err != nil {
			return err
		}
	}
	return nil
}

// Strays yields the keys, relative to the root, of objects that readers would take for data by the end of their keys and that no commit which stands
// names. It holds 16 bytes for each part of the log meanwhile. What belongs to an attempt that runs, or whose process has ended and
// which the next start sweeps, is left out: its intent is there. An error ends the sequence.
func (l *StoreLog) Strays(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := l.strays(ctx, func(key string) bool { return yield(key, nil) })
		if err != nil {
			yield("", Fault("look for objects that no commit names", l.root, err))
		}
	}
}

func (l *StoreLog) strays(ctx context.Context, yield func(string) bool) error {
	named := map[flow.Digest]struct{}{}
	partitions, err := l.Partitions(ctx)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		if err := l.addParts(ctx, p, named); err != nil {
			return err
		}
	}
	var found []string
	inner := map[string]bool{} // prefixes of other sinks' roots, which know what is theirs
	for key, err := range objects(ctx, l.store, "", "") {
		if err != nil {
			return err
		}
		if root, rest, ok := strings.Cut(key, "/"+metaDir+"/"); ok && rest == ownerName {
			inner[root+"/"] = true
		}
		if hidden(key) || !dataName.MatchString(path.Base(key)) {
			continue
		}
		if _, ok := named[flow.DigestOf([]byte(key))]; !ok {
			found = append(found, key)
		}
	}
	found = slices.DeleteFunc(found, func(key string) bool {
		for i := range len(key) {
			if key[i] == '/' && inner[key[:i+1]] {
				return true
			}
		}
		return false
	})
	if len(found) == 0 {
		return nil
	}
	// An intent is there before its attempt's first part, so the intents are listed last.
	intents, err := l.intents(ctx)
	if err != nil {
		return err
	}
	for _, key := range found {
		if n, ok := nonceIn(key); ok && intents[n] {
			continue
		}
		if !yield(key) {
			return nil
		}
	}
	return nil
}

// intents returns the attempts that have neither been committed and tidied up nor been swept.
func (l *StoreLog) intents(ctx context.Context) (map[nonce]bool, error) {
	dir := meta(stagingDir) + "/"
	out := map[nonce]bool{}
	for key, err := range objects(ctx, l.store, dir, "") {
		if err != nil {
			return nil, err
		}
		if n, err := parseNonce(strings.TrimSuffix(strings.TrimPrefix(key, dir), ".json")); err == nil {
			out[n] = true
		}
	}
	return out, nil
}

// nonceIn returns the attempt that a part's key names.
func nonceIn(key string) (nonce, bool) {
	base := path.Base(key)
	if !partName.MatchString(base) {
		return nonce{}, false
	}
	base, _, _ = strings.Cut(base[strings.LastIndexByte(base, '-')+1:], ".")
	n, err := parseNonce(base)
	return n, err == nil
}

// hidden reports whether a key isn't data: one of its names begins with _ or a point.
func hidden(key string) bool {
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || name[0] == '_' || name[0] == '.' {
			return true
		}
	}
	return false
}

// always is a gap that meets every day.
func always(p flow.Partition) flow.Gap {
	return flow.Gap{Partition: p, From: time.Unix(0, 0).UTC(), To: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
}

// addParts adds digests of the keys of a partition's parts.
func (l *StoreLog) addParts(ctx context.Context, p flow.Partition, named map[flow.Digest]struct{}) error {
	parts := map[uint64][]flow.Digest{} // by entry, of one day
	var of time.Time
	keep := func() {
		for _, all := range parts {
			for _, d := range all {
				named[d] = struct{}{}
			}
		}
		clear(parts)
	}
	for r, err := range l.Committed(ctx, always(p), nil) {
		if err != nil {
			return err
		}
		if day := r.Slice.Day(); !day.Equal(of) {
			keep()
			of = day
		}
		for _, n := range r.Forgets {
			delete(parts, n)
		}
		for _, part := range r.Parts {
			parts[r.Entry] = append(parts[r.Entry], flow.DigestOf([]byte(part.Path)))
		}
	}
	keep()
	return nil
}
