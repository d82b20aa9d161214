package verify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// twice finds time that a sink's own log says was committed more than once: folders that were merged, or an entry that someone copied.
// Only revision 0 makes coverage; of later ones no two are the same.
type twice struct{ all []spanned }

type spanned struct {
	slice flow.Slice
	entry uint64
	path  string
}

func (t *twice) add(r sinks.Receipt) { t.all = append(t.all, spanned{r.Slice, r.Entry, firstPath(r)}) }

// each hands on a finding for each entry whose time another has already.
func (t *twice) each(found func(Finding) error) error {
	slices.SortStableFunc(t.all, func(a, b spanned) int {
		return cmp.Or(cmp.Compare(a.slice.Rev, b.slice.Rev), a.slice.From.Compare(b.slice.From), cmp.Compare(a.entry, b.entry))
	})
	var last spanned // of the same revision, that reaches furthest
	for i, s := range t.all {
		if i > 0 && s.slice.Rev == last.slice.Rev && s.slice.Range().Meets(last.slice.Range()) && (s.slice.Rev == 0 || s.slice.ID == last.slice.ID) {
			err := found(Finding{sinks.Finding{
				Kind: sinks.FindingDoubled, Path: s.path,
				What: fmt.Sprintf("entry %d of its day commits time that entry %d, slice %s, has already", s.entry, last.entry, last.slice),
				Hint: "were folders merged, or was an entry copied? look which of the two is right; sluice forget withdraws both",
			}, s.slice})
			if err != nil {
				return err
			}
		}
		if i == 0 || s.slice.Rev != last.slice.Rev || s.slice.To.After(last.slice.To) {
			last = s
		}
	}
	return nil
}
