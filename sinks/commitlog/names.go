package commitlog

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// Names below a root; FORMAT.md draws the tree.
const (
	metaDir    = "_sluice"
	ownerName  = "owner.json"
	lockName   = "lock"
	commitsDir = "commits"
	stagingDir = "staging"
	entryName  = "entry.json" // in a staging folder: what gets its number by a link
	sliceName  = "slice.json" // in a staging folder: whose it is
	sweptMark  = ".swept"     // ends the name of a staging folder that a sweep has taken
	emptyName  = "_"          // stands for an empty partition key in the log's folders
	dayLayout  = "2006-01-02"
)

// EscapeValue escapes a value for a folder name as Hive does: control characters and "#%'*/:=?\{[]^ become % and two
// upper-case hex digits. The empty value is Hive's default name.
func EscapeValue(v string) string {
	if v == "" {
		return "__HIVE_DEFAULT_PARTITION__"
	}
	return escape(v)
}

// EscapeName escapes a value that is a folder's whole name: as EscapeValue does, and a first "_" or "." too, so that
// data never looks like what is not data and no name is "." or "..".
func EscapeName(v string) string {
	if v == "" {
		return EscapeValue("")
	}
	e := escape(v)
	switch e[0] {
	case '_':
		return "%5F" + e[1:]
	case '.':
		return "%2E" + e[1:]
	}
	return e
}

func escape(v string) string {
	var b strings.Builder
	for i := range len(v) {
		c := v[i]
		if c < ' ' || c == 0x7f || strings.IndexByte(`"#%'*/:=?\{[]^`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// UnescapeValue returns the value that EscapeValue or EscapeName has made a folder's name of; of Hive's default name the empty one.
func UnescapeValue(name string) string {
	if name == EscapeValue("") {
		return ""
	}
	v, err := unescape(name)
	if err != nil {
		return name
	}
	return v
}

// logName is a stream's or partition's folder in the log. Unlike in data folders the empty key has the name "_", which
// no other key gets.
func logName(v string) string {
	if v == "" {
		return emptyName
	}
	return EscapeName(v)
}

// parseLogName is the inverse of logName; it refuses what logName doesn't make.
func parseLogName(name string) (string, error) {
	if name == emptyName {
		return "", nil
	}
	v, err := unescape(name)
	if err == nil && v != "" && logName(v) == name {
		return v, nil
	}
	if err != nil {
		return "", err
	}
	return "", fmt.Errorf("name %q isn't one that Sluice makes", name)
}

func unescape(name string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			b.WriteByte(name[i])
			continue
		}
		if i+2 >= len(name) {
			return "", fmt.Errorf("name %q ends within an escape", name)
		}
		c, err := strconv.ParseUint(name[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("name %q has a bad escape", name)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), nil
}

func dayName(day time.Time) string { return day.UTC().Format(dayLayout) }

func parseDay(name string) (time.Time, error) { return time.ParseInLocation(dayLayout, name, time.UTC) }

// entryFile is an entry's name in its day's folder.
func entryFile(number uint64) string { return fmt.Sprintf("%06d.json", number) }

// parseEntryFile is the inverse of entryFile.
func parseEntryFile(name string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, ".json"), 10, 64)
	return n, err == nil && n > 0 && entryFile(n) == name
}

func partFile(i int) string { return fmt.Sprintf("%05d.part", i) }

// nonce names one attempt at one slice.
type nonce [16]byte

func newNonce() nonce {
	var n nonce
	_, _ = rand.Read(n[:]) // never fails: it ends the process instead
	return n
}

func (n nonce) String() string { return hex.EncodeToString(n[:]) }

func parseNonce(s string) (nonce, error) {
	var n nonce
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(n) || s != strings.ToLower(s) {
		return n, fmt.Errorf("nonce %q isn't 32 lower-case hex digits", s)
	}
	copy(n[:], b)
	return n, nil
}

func (l *Log) meta(elem ...string) string {
	return filepath.Join(append([]string{l.root, metaDir}, elem...)...)
}

func (l *Log) partitionDir(p flow.Partition) string {
	return l.meta(commitsDir, p.Selection.String(), logName(p.Stream), logName(p.Key))
}

func (l *Log) dayDir(p flow.Partition, day time.Time) string {
	return filepath.Join(l.partitionDir(p), dayName(day))
}

// final returns where a part lies.
func (l *Log) final(part string) string { return filepath.Join(l.root, filepath.FromSlash(part)) }

// checkPartPath refuses paths that lead out of the root or into what is not data.
func checkPartPath(p string) error {
	if p == "" || path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
		return fmt.Errorf("part path %q isn't a clean relative path", p)
	}
	for elem := range strings.SplitSeq(p, "/") {
		if elem == ".." || elem[0] == '_' || elem[0] == '.' {
			return errors.New("part path " + strconv.Quote(p) + " leads out of the data: a name begins with _ or .")
		}
	}
	return nil
}
