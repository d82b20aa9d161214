package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStatusOnATerminal gives status a terminal of its own.
func TestStatusOnATerminal(t *testing.T) {
	t.Parallel()
	r := accountRig(t)
	r.write()
	r.run(0, "run", "--to", seedStart.AddDate(0, 0, 1).Format(time.RFC3339))
	full, none := strings.Repeat("█", 12), strings.Repeat("·", 12)
	for _, tt := range []struct {
		name    string
		width   uint16
		env     []string
		want    string
		without string
	}{
		{"80 columns", 80, []string{"NO_COLOR=1"}, full + none + " 50.0 % behind", "\x1b"},
		{"colours", 80, nil, "\x1b[32m" + full + "\x1b[0m\x1b[33m" + none + "\x1b[0m 50.0 %", "records, "},
		{"dumb", 80, []string{"TERM=dumb"}, strings.Repeat("#", 12) + strings.Repeat(".", 12) + " 50.0 % behind", "\x1b"},
		{"no UTF-8", 80, []string{"NO_COLOR=", "LC_ALL=C"}, strings.Repeat("#", 12) + "\x1b[0m", "█"},
		{"200 columns", 200, []string{"NO_COLOR=1"}, strings.Repeat("█", 48) + strings.Repeat("·", 48) + " 50.0 % behind", "\x1b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := r.prepare(append([]string{"TERM=xterm", "LC_ALL=C.UTF-8"}, append(tt.env, "status")...)...)
			got := onTerminal(t, c, tt.width)
			if !strings.Contains(got, tt.want) || strings.Contains(got, tt.without) {
				t.Errorf("want %q and no %q in\n%s", tt.want, tt.without, got)
			}
			if !strings.Contains(got, "sink parquet (parquet, ") {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

// onTerminal runs a command whose standard output is a terminal of some columns, and returns what it prints there.
func onTerminal(t *testing.T, c *command, width uint16) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: width}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdout = slave
	c.start()
	_ = slave.Close()
	read := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // it ends with EIO when the last writer has gone
		read <- string(text)
	}()
	c.wait().mustExit(0)
	select {
	case text := <-read:
		return strings.ReplaceAll(text, "\r\n", "\n")
	case <-time.After(endTime):
		t.Fatal("the terminal stays open")
		return ""
	}
}
