package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bytesPerDay keeps a day's download below the vendor's limit of 20 million lines: 3 GB of lines of about 200 bytes.
const bytesPerDay = 3_000_000_000

// vendor is the simulator, a process of its own.
type vendor struct {
	offer
	cmd        *exec.Cmd
	start, end time.Time // whole days, closed ones
}

// startVendor starts this program as a vendor. The days of g are chosen by its size.
func startVendor(g goods, now time.Time) (*vendor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g.days = int((g.size + bytesPerDay - 1) / bytesPerDay)
	end := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
	g.start = end.AddDate(0, 0, -g.days)
	v := &vendor{start: g.start, end: end, cmd: exec.Command(self, g.args()...)}
	v.cmd.Stderr = os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the simulator: %w", err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &v.offer)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the simulator: %w", err), v.stop())
	}
	return v, nil
}

// stop ends the simulator.
func (v *vendor) stop() error {
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return v.cmd.Wait()
}

// cpu returns what the simulator has taken so far.
func (v *vendor) cpu() (time.Duration, error) {
	u, _, err := readProcess(v.cmd.Process.Pid)
	return u.cpu(), err
}

// json returns how many bytes of JSON the replayed answers held so far.
func (v *vendor) json(ctx context.Context) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.ReplayURL+servedPath, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// urls returns the downloads that a script would ask for, one a day.
func (v *vendor) urls(base string) []string {
	var out []string
	for day := v.start; day.Before(v.end); day = day.AddDate(0, 0, 1) {
		q := url.Values{
			"from":  {strconv.FormatInt(day.UnixMilli(), 10)},
			"to":    {strconv.FormatInt(day.AddDate(0, 0, 1).UnixMilli(), 10)},
			"query": {"where(/.*/)"},
			"limit": {"20000000"},
		}
		out = append(out, base+"/download/logs/"+v.Log+"?"+q.Encode())
	}
	return out
}
