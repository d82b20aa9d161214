package main

import (
	"bufio"
	"debug/elf"
	"io"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// share is a kind of work, known by the functions that do it.
type share struct {
	name string
	is   *regexp.Regexp
}

// shares are looked for in each frame of a stack from its leaf on; the first frame that one of them knows decides. Only where none is known
// count lastShares, which everybody calls or is called by.
var shares = []share{
	{"SHA-256 of the parts", regexp.MustCompile(`crypto/.*sha256`)},
	{"compression and its inverse", regexp.MustCompile(`klauspost/(compress|pgzip)|compress/(flate|gzip)|pierrec/lz4|parquetfile\..*[cC]ompress`)},
	{"digest of each record, in both processes", regexp.MustCompile(`zeebo/xxh3|proto/flow\.Sum|hash/crc32`)},
	{"garbage collection and allocation", regexp.MustCompile(`^runtime\.(gcBgMarkWorker|bgsweep|bgscavenge|gcAssist|gcStart|gcMark|gcDrain|mallocgc|newobject|makeslice|growslice|scanobject|scanObject|memclrNoHeapPointersChunked)`)},
	{"writing files", regexp.MustCompile(`^os\.\(\*File\)\.(Write|Sync|ReadFrom)|unix\.Fsync|fdatasync|syscall\.Fsync`)},
	{"the vendor's socket", regexp.MustCompile(`^net/http\.|plugins/rest\.`)},
	{"the boundary: gRPC, frames", regexp.MustCompile(`google\.golang\.org/(grpc|protobuf)|proto/(wire|arena)\b`)},
	{"the broker's socket and Kafka's client", regexp.MustCompile(`twmb/franz-go`)},
	{"lines: cutting, UTF-8, columns", regexp.MustCompile(`plugins/rapid7download\.`)},
	{"reading JSON, sorting", regexp.MustCompile(`plugins/(elsa|logentries)\.`)},
	{"encoding", regexp.MustCompile(`sinks/(encode|parquetfile|ipcfile|textfile|recordid|kafka|columns)\b|arrow-go/v18/parquet|arrow/go/v15/`)},
	{"the rest of the sink", regexp.MustCompile(`sluice/sinks/`)},
	{"the rest of the plugin's side", regexp.MustCompile(`sluice/plugins\b`)},
	{"the ledger (SQLite)", regexp.MustCompile(`modernc\.org/|host/ledger`)},
	{"the rest of the host", regexp.MustCompile(`sluice/host/`)},
}

var lastShares = []share{
	{"starting", regexp.MustCompile(`^runtime\.(doInit|schedinit|main$)|cmd/sluice|^main\.`)},
	{"the scheduler, waiting and waking", regexp.MustCompile(`^runtime\.`)},
}

// elsewhere is what no share knows.
const elsewhere = "elsewhere"

// shareOf returns the share of a stack, leaf first.
func shareOf(stack []string) string {
	for _, known := range [][]share{shares, lastShares} {
		for _, frame := range stack {
			for _, s := range known {
				if s.is.MatchString(frame) {
					return s.name
				}
			}
		}
	}
	return elsewhere
}

// profile is what the samples of one run say.
type profile struct {
	total  int
	shares map[string]int
	leaves map[string]map[string]int // of each process: of the host, of the plugin
}

// readProfile reads what `perf script -F comm,pid,ip,sym --no-inline` prints. Of two processes the one that was seen first is the host.
func readProfile(r io.Reader, symbols []elf.Symbol, base uint64) (profile, error) {
	p := profile{shares: map[string]int{}, leaves: map[string]map[string]int{}}
	var stack []string
	host, process := "", ""
	end := func() {
		if len(stack) == 0 {
			return
		}
		p.total++
		p.shares[shareOf(stack)]++
		if p.leaves[process] == nil {
			p.leaves[process] = map[string]int{}
		}
		p.leaves[process][stack[0]]++
		stack = nil
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			end()
		case line[0] != ' ' && line[0] != '\t': // a new sample: program and process
			end()
			pid := words[len(words)-1]
			if host == "" {
				host = pid
			}
			if process = "plugin"; pid == host {
				process = "host"
			}
		default:
			stack = append(stack, resolve(words, symbols, base))
		}
	}
	end()
	return p, lines.Err()
}

// resolve names a frame of address and symbol. perf knows no symbol of some functions in assembly.
func resolve(words []string, symbols []elf.Symbol, base uint64) string {
	name := strings.Join(words[1:], " ")
	if name != "[unknown]" {
		return name
	}
	at, err := strconv.ParseUint(words[0], 16, 64)
	if err != nil {
		return name
	}
	if at += base; len(symbols) == 0 || at < symbols[0].Value || at > symbols[len(symbols)-1].Value+1<<20 {
		return name
	}
	return symbols[sort.Search(len(symbols), func(i int) bool { return symbols[i].Value > at })-1].Name
}

// functions returns a binary's functions by address, and the address that its first byte is loaded at.
func functions(binary string) ([]elf.Symbol, uint64, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return nil, 0, err
	}
	all = slices.DeleteFunc(all, func(s elf.Symbol) bool { return elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Value == 0 })
	slices.SortFunc(all, func(a, b elf.Symbol) int {
		switch {
		case a.Value < b.Value:
			return -1
		case a.Value > b.Value:
			return 1
		}
		return 0
	})
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			return all, p.Vaddr - p.Off, nil
		}
	}
	return all, 0, nil
}
