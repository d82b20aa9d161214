package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// sampleEvery is how often a running tree of processes is looked at. What a child uses after the last look is counted
	// to its parent.
	sampleEvery = 20 * time.Millisecond
	// clockTick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux that Go runs on.
	clockTick = time.Second / 100
)

// usage is what one process took.
type usage struct {
	Name         string
	User, System time.Duration
	PeakRSS      int64 // bytes
}

func (u usage) cpu() time.Duration { return u.User + u.System }

// run is one or several commands that were run after each other as one case, with all their descendants.
type run struct {
	Wall      time.Duration
	Own       time.Duration // what a tool says of itself that it took, without its start; 0: nothing
	Bytes     int64         // what the throughput is of; 0: the log's lines
	Processes []usage       // by name; processes of one name are one entry: the sum of their CPU, the highest of their peaks
}

func (r run) cpu() (sum time.Duration) {
	for _, p := range r.Processes {
		sum += p.cpu()
	}
	return sum
}

// add counts a process.
func (r *run) add(u usage) {
	i := slices.IndexFunc(r.Processes, func(p usage) bool { return p.Name == u.Name })
	if i < 0 {
		r.Processes = append(r.Processes, u)
		return
	}
	p := &r.Processes[i]
	p.User += u.User
	p.System += u.System
	p.PeakRSS = max(p.PeakRSS, u.PeakRSS)
}

// execute runs a command to its end. CPU times are those of the kernel's account at the end (wait4, which includes all
// descendants that were waited for), split between the processes by what /proc last said of each descendant.
func (r *run) execute(cmd *exec.Cmd, name string) error {
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	seen := newTree(cmd.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			seen.sample()
			continue
		case err := <-ended:
			r.Wall += time.Since(begin)
			if err != nil {
				return err
			}
		}
		break
	}
	root := usage{Name: name, User: cmd.ProcessState.UserTime(), System: cmd.ProcessState.SystemTime()}
	for _, pid := range slices.Sorted(maps.Keys(seen.last)) {
		u := seen.last[pid]
		if pid == cmd.Process.Pid {
			root.PeakRSS = u.PeakRSS
			continue
		}
		root.User -= u.User
		root.System -= u.System
		r.add(u)
	}
	if root.User < 0 || root.System < 0 {
		return fmt.Errorf("%s: its children took more CPU than it waited for: one was left behind", name)
	}
	r.add(root)
	slices.SortFunc(r.Processes, func(a, b usage) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// tree follows a process and its descendants.
type tree struct {
	root    int
	command string        // of the root
	last    map[int]usage // what was last seen of each, ended ones included
}

func newTree(root int) *tree { return &tree{root: root, last: map[int]usage{}} }

// sample looks at each living process once.
func (t *tree) sample() {
	for pending := []int{t.root}; len(pending) > 0; pending = pending[1:] {
		pid := pending[0]
		u, command, err := readProcess(pid)
		if err != nil {
			continue // it has ended
		}
		if pid == t.root {
			t.command = command
		} else if command == t.command {
			continue // forked, not yet a program of its own: what it takes is its parent's
		}
		t.last[pid] = u
		pending = append(pending, children(pid)...)
	}
}

// children returns the processes that any thread of a process has started.
func children(pid int) []int {
	var out []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well formed
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// readProcess reads what a living process has taken so far, and its command line.
func readProcess(pid int) (u usage, command string, err error) {
	var texts [3][]byte
	for i, name := range []string{"cmdline", "stat", "status"} {
		if texts[i], err = os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name)); err != nil {
			return u, "", err
		}
	}
	command = string(texts[0])
	u.Name = processName(command)
	if u.User, u.System, err = parseStat(texts[1]); err != nil {
		return u, "", err
	}
	u.PeakRSS, err = parsePeak(texts[2]) // a zombie has none
	return u, command, err
}

// processName tells sluice's roles apart; any other process is named by its program.
func processName(cmdline string) string {
	words := strings.Split(strings.TrimRight(cmdline, "\x00"), "\x00")
	if len(words) > 2 && words[1] == "plugin" && words[2] == "serve" {
		return "plugin"
	}
	return filepath.Base(words[0])
}

// parseStat reads user and system time, the 14th and 15th field. The second, the name, may hold anything.
func parseStat(stat []byte) (user, system time.Duration, err error) {
	at := bytes.LastIndexByte(stat, ')')
	if at < 0 {
		return 0, 0, errors.New("stat without a name")
	}
	words := strings.Fields(string(stat[at+1:]))
	if len(words) < 13 {
		return 0, 0, fmt.Errorf("stat of %d fields", len(words)+2)
	}
	var ticks [2]int64
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(words[11+i], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("stat: %w", err)
		}
	}
	return time.Duration(ticks[0]) * clockTick, time.Duration(ticks[1]) * clockTick, nil
}

// parsePeak reads the peak resident set in bytes.
func parsePeak(status []byte) (int64, error) {
	for line := range strings.Lines(string(status)) {
		rest, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		number := strings.TrimSuffix(strings.TrimSpace(rest), " kB")
		kib, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("VmHWM: %w", err)
		}
		return kib << 10, nil
	}
	return 0, errors.New("status without VmHWM")
}
