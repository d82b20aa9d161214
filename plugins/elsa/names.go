package elsa

import (
	"bytes"
	"hash/maphash"
)

// nameSet finds attributes by their names without an allocation for each: it is a table of their places in a list.
type nameSet struct {
	seed   maphash.Seed
	places []int32 // of attributes, from 1; 0 is free. Its length is a power of two
	known  int     // attributes of the list that are in the table
}

const firstNames = 64 // places of a new table

// reset empties the set.
func (s *nameSet) reset() {
	if s.known == 0 {
		return
	}
	if len(s.places) > 16*max(s.known, firstNames) { // one record had many, and those that follow needn't pay for it
		s.places = nil
	}
	clear(s.places)
	s.known = 0
}

// add takes the attributes that are new in the list. The ones before are as they were.
func (s *nameSet) add(all []attribute) {
	if 2*len(all) > len(s.places) {
		if s.places == nil {
			s.seed = maphash.MakeSeed()
		}
		size := max(firstNames, len(s.places))
		for 2*len(all) > size {
			size *= 2
		}
		s.places, s.known = make([]int32, size), 0
	}
	for ; s.known < len(all); s.known++ {
		at := s.first(all[s.known].name)
		for s.places[at] != 0 {
			at = (at + 1) & (len(s.places) - 1)
		}
		s.places[at] = int32(s.known + 1)
	}
}

// has says whether an attribute of the list, all of which were added, has a name.
func (s *nameSet) has(all []attribute, name []byte) bool {
	for at := s.first(name); s.places[at] != 0; at = (at + 1) & (len(s.places) - 1) {
		if bytes.Equal(all[s.places[at]-1].name, name) {
			return true
		}
	}
	return false
}

// first is where a name's search begins. The seed is ours alone, so that no vendor can choose names that meet in one place.
func (s *nameSet) first(name []byte) int {
	return int(maphash.Bytes(s.seed, name) & uint64(len(s.places)-1))
}
