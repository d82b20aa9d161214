// Package multiset counts records by their 128-bit hash within a bounded memory: what goes beyond lies in a sorted file.
//
//	set := multiset.New(multiset.Options{Memory: 64 << 20, Folder: spool})
//	defer set.Close()
//	err := set.Add(digest)      // any number of times, then
//	err = set.Seal()            // once, then
//	held, err := set.Take(digest)
//	left := set.Left()
//
// It deliberately knows no record, only digests: two records with the same bytes are the same, and counted.
package multiset
