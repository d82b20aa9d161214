//go:build unix && !linux

package ledger

// networkFileSystem can't tell here: it always answers "".
func networkFileSystem(string) (string, error) { return "", nil }
