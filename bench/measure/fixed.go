package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// What a run costs however little it carries: the start until the first byte is asked for, and each slice.
const (
	fixedRounds = 5
	fixedBytes  = 2 << 20 // of lines in all: nothing beside what is measured
	daySlices   = 96      // of fixedSlice in a day
	fixedSlice  = "15m"

	startGoal = 150 * time.Millisecond
	sliceGoal = 20 * time.Millisecond
)

// fixedCosts is what was measured.
type fixedCosts struct {
	first    []float64 // milliseconds from the start of the process to the first request for lines
	whole    []float64 // milliseconds of a run of one slice
	slice    []float64 // milliseconds of each slice more, one at a time
	sliceCPU []float64
	syncs    float64 // fsyncs of each slice more; negative: strace isn't there
	runSyncs float64 // of a run of one slice
}

// measureFixed measures in a folder on a memory file system.
func measureFixed(ctx context.Context, sluice, parent string) (f fixedCosts, err error) {
	folder, err := os.MkdirTemp(parent, "sluice-bench-")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	v, err := startVendor(sluice, fixedBytes, time.Now())
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	w, err := watchFirst(v.base)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	direct := v.base
	b := &bench{sluice: sluice, folder: folder, vendor: v}
	once := func(base, slice string) (run, error) {
		v.base = base
		defer func() { v.base = direct }()
		at := filepath.Join(folder, "case")
		if err := os.Mkdir(at, 0o700); err != nil {
			return run{}, err
		}
		r, err := runSluice(ctx, b, at, "raw", "slice: "+slice+", parallel: 1")
		return r, errors.Join(err, os.RemoveAll(at))
	}
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	for range fixedRounds {
		begin := time.Now()
		w.first.Store(0)
		if _, err := once(w.base, "24h"); err != nil {
			return f, err
		}
		f.first = append(f.first, milliseconds(time.Duration(w.first.Load()-begin.UnixNano())))
		one, err := once(direct, "24h")
		if err != nil {
			return f, err
		}
		many, err := once(direct, fixedSlice)
		if err != nil {
			return f, err
		}
		f.whole = append(f.whole, milliseconds(one.Wall))
		f.slice = append(f.slice, milliseconds(many.Wall-one.Wall)/(daySlices-1))
		f.sliceCPU = append(f.sliceCPU, milliseconds(many.cpu()-one.cpu())/(daySlices-1))
	}
	return f, f.countSyncs(ctx, b)
}

// countSyncs runs both once more below strace, where time means nothing.
func (f *fixedCosts) countSyncs(ctx context.Context, b *bench) error {
	f.syncs = -1
	strace, missing := exec.LookPath("strace")
	if missing != nil {
		return nil //nolint:nilerr // told in the table
	}
	var counts [2]float64
	for i, slice := range []string{"24h", fixedSlice} {
		at := filepath.Join(b.folder, "traced")
		if err := os.Mkdir(at, 0o700); err != nil {
			return err
		}
		list := filepath.Join(at, "calls")
		traced := *b
		traced.under = []string{strace, "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", list}
		_, runErr := runSluice(ctx, &traced, at, "raw", "slice: "+slice+", parallel: 1")
		text, err := os.ReadFile(list)
		if err := errors.Join(runErr, err, os.RemoveAll(at)); err != nil {
			return err
		}
		if counts[i], err = countCalls(text); err != nil {
			return err
		}
	}
	f.runSyncs, f.syncs = counts[0], (counts[1]-counts[0])/(daySlices-1)
	return nil
}

var callRow = regexp.MustCompile(`(?m)^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(?:fsync|fdatasync)$`)

// countCalls adds the calls of strace's table.
func countCalls(table []byte) (sum float64, err error) {
	for _, m := range callRow.FindAllSubmatch(table, -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			return 0, err
		}
		sum += float64(n)
	}
	if sum == 0 {
		return 0, fmt.Errorf("strace counted no fsync:\n%s", table)
	}
	return sum, nil
}

// firstWatch stands before the simulator and notes when lines are first asked for.
type firstWatch struct {
	base   string
	first  atomic.Int64 // nanoseconds since the Unix epoch
	server *http.Server
	ended  chan error
}

func watchFirst(target string) (*firstWatch, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &firstWatch{base: "http://" + l.Addr().String(), ended: make(chan error, 1)}
	proxy := httputil.NewSingleHostReverseProxy(to)
	w.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/download/") {
			w.first.CompareAndSwap(0, time.Now().UnixNano())
		}
		proxy.ServeHTTP(rw, r)
	})}
	go func() { w.ended <- w.server.Serve(l) }()
	return w, nil
}

func (w *firstWatch) close() error {
	err := w.server.Close()
	if end := <-w.ended; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// write writes the figures as a section of Markdown.
func (f fixedCosts) write(w *bytes.Buffer) {
	w.WriteString("## Fixed costs, memory file system\n\n")
	fmt.Fprintf(w, "%d rounds, one slice at a time: median (least-most).\n\n| what | figure | goal |\n|---|---|---|\n", fixedRounds)
	fmt.Fprintf(w, "| start of the process to the first request for lines, ms | %s | %d |\n", newSpread(f.first).format("%.0f"), startGoal.Milliseconds())
	fmt.Fprintf(w, "| a whole run of one slice of 2 MiB, ms | %s | |\n", newSpread(f.whole).format("%.0f"))
	fmt.Fprintf(w, "| each slice more, ms | %s | %d |\n", newSpread(f.slice).format("%.1f"), sliceGoal.Milliseconds())
	fmt.Fprintf(w, "| each slice more, ms of CPU | %s | |\n", newSpread(f.sliceCPU).format("%.1f"))
	if f.syncs < 0 {
		w.WriteString("| fsyncs of each slice more | not counted: strace isn't installed | |\n")
		return
	}
	fmt.Fprintf(w, "| fsyncs of each slice more | %.1f | |\n", f.syncs)
	fmt.Fprintf(w, "| fsyncs of a whole run of one slice into a new target | %.0f | |\n", f.runSyncs)
}
