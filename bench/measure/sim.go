package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// bytesPerDay keeps a day's download below the vendor's limit of 20 million lines: 3 GB of lines of about 200 bytes.
const bytesPerDay = 3_000_000_000

// vendor is the simulator, a process of its own that serves one log of lines without times.
type vendor struct {
	cmd        *exec.Cmd
	base, key  string
	log        string
	start, end time.Time // whole days, closed ones
}

// startVendor starts `sluice sim` with size bytes of lines.
func startVendor(sluice string, size int64, now time.Time) (*vendor, error) {
	days := int((size + bytesPerDay - 1) / bytesPerDay)
	end := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
	v := &vendor{start: end.AddDate(0, 0, -days), end: end}
	v.cmd = exec.Command(sluice, "sim", "--json", "--bulk", strconv.FormatInt(size, 10)+"B", "--days", strconv.Itoa(days),
		"--start", v.start.Format(time.DateOnly), "--requests", "1000000000", "--bytes", "1000000GB")
	v.cmd.Stderr = os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the simulator: %w", err)
	}
	var started struct {
		BaseURL string `json:"base_url"`
		APIKey  string `json:"api_key"`
		Logs    []struct {
			ID string `json:"id"`
		} `json:"logs"`
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &started)
	}
	if err == nil && len(started.Logs) != 1 {
		err = fmt.Errorf("it serves %d logs", len(started.Logs))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the simulator: %w", err), v.stop())
	}
	v.base, v.key, v.log = started.BaseURL, started.APIKey, started.Logs[0].ID
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

// urls returns the downloads that a script would ask for, one a day.
func (v *vendor) urls() []string {
	var out []string
	for day := v.start; day.Before(v.end); day = day.AddDate(0, 0, 1) {
		q := url.Values{
			"from":  {strconv.FormatInt(day.UnixMilli(), 10)},
			"to":    {strconv.FormatInt(day.AddDate(0, 0, 1).UnixMilli(), 10)},
			"query": {"where(/.*/)"},
			"limit": {"20000000"},
		}
		out = append(out, v.base+"/download/logs/"+v.log+"?"+q.Encode())
	}
	return out
}
