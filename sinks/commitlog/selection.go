package commitlog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-io/sluice/proto/flow"
)

// A root is begun by one selection of each stream. Others are let in only when someone says so: what they hold lies apart from the first's,
// in a folder that readers see as a column.

// OtherSelection is what must stay the same of a further selection of a stream.
type OtherSelection struct {
	Layout string `json:"layout"`
}

// SelectionFolder is the folder that the data of a selection lies in; empty for the first of its stream, whose data lies at the root.
func (o Owner) SelectionFolder(stream string, id flow.SelectionID) string {
	if s, ok := o.Streams[stream]; !ok || s.Selection == id {
		return ""
	}
	return selectionFolder(id.String())
}

// OtherFolders are the folders that the selections of a stream lie in that were let in after its first, in their order by name.
func (o Owner) OtherFolders(stream string) []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(o.Streams[stream].Others)) {
		out = append(out, selectionFolder(id))
	}
	return out
}

// selectionFolder names the folder of a selection by the first of its 32 hex digits.
func selectionFolder(id string) string { return "selection=" + id[:8] }

// version is that of owner.json: programs that know of no further selections must not take them for the first.
func (o Owner) version() int {
	for _, s := range o.Streams {
		if len(s.Others) > 0 {
			return ownerVersion
		}
	}
	return version
}

// ownerVersion is the newest format of owner.json.
const ownerVersion = 2

// fitsOther says whether a selection of a stream that isn't its first may write.
func (o Owner) fitsOther(who, stream string, mine OwnedStream, add bool, hint string) error {
	first := o.Streams[stream]
	other, known := first.Others[mine.Selection.String()]
	switch {
	case known && other.Layout != mine.Layout:
		return owned(hint, "%s stream %s with selection %s in layout %s, not %s", who, stream, mine.Selection.Short(), other.Layout, mine.Layout)
	case known:
		return nil
	case !add:
		return owned(hint+"; or let both into one: `sluice run --new-selection` puts this one under selection="+mine.Selection.Short()+"/",
			"%s stream %s with selection %s, not %s: source, account, query or fields differ", who, stream, first.Selection.Short(), mine.Selection.Short())
	}
	for id := range first.Others {
		if id[:8] == mine.Selection.Short() {
			return owned(hint, "%s stream %s with selection %s, whose folder would be that of %s", who, stream, id, mine.Selection)
		}
	}
	if first.Selection.Short() == mine.Selection.Short() {
		return owned(hint, "%s stream %s with selection %s, whose name would be that of %s", who, stream, first.Selection, mine.Selection)
	}
	return nil
}

// news returns what of want o doesn't have: streams, and further selections by stream.
func (o Owner) news(want Owner) (streams, others []string) {
	for _, name := range slices.Sorted(maps.Keys(want.Streams)) {
		first, known := o.Streams[name]
		mine := want.Streams[name]
		switch {
		case !known:
			streams = append(streams, name)
		case first.Selection == mine.Selection:
		default:
			if _, known := first.Others[mine.Selection.String()]; !known {
				others = append(others, name)
			}
		}
	}
	return streams, others
}

// let adds a stream's further selection.
func (o *Owner) let(stream string, id flow.SelectionID, other OtherSelection) {
	s := o.Streams[stream]
	s.Others = maps.Clone(s.Others)
	if s.Others == nil {
		s.Others = map[string]OtherSelection{}
	}
	s.Others[id.String()] = other
	o.Streams[stream] = s
}

// checkOthers refuses an owner whose further selections aren't any.
func (o Owner) checkOthers() error {
	for name, s := range o.Streams {
		for text := range s.Others {
			var id flow.SelectionID
			if err := id.UnmarshalText([]byte(text)); err != nil {
				return err
			}
			if id == s.Selection {
				return fmt.Errorf("stream %s: selection %s is the first and a further one", name, id.Short())
			}
		}
	}
	return nil
}

// holds reports whether a partition is of a stream and selection that the root has.
func (o Owner) holds(p flow.Partition) bool {
	s, ok := o.Streams[p.Stream]
	if !ok || s.Selection == p.Selection {
		return ok
	}
	_, ok = s.Others[p.Selection.String()]
	return ok
}
