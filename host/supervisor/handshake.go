package supervisor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	plugin "github.com/hashicorp/go-plugin"
)

// maxHandshake bounds the first line of a plugin's standard output, in bytes.
const maxHandshake = 4 << 10

// handshakeReader takes the first line of a plugin's standard output and gives it to go-plugin; what follows is thrown away
// and told once, so that a plugin that prints never blocks.
type handshakeReader struct {
	log   *logReader
	first chan struct{} // closed when line is valid
	line  string        // without the newline
	cut   bool          // the line was longer than maxHandshake
	done  bool          // first is closed; only run and end touch it
	rest  io.Reader     // what go-plugin has not read yet
}

func newHandshakeReader(log *logReader) *handshakeReader {
	return &handshakeReader{log: log, first: make(chan struct{})}
}

// run reads the plugin's standard output to its end.
func (h *handshakeReader) run(r io.Reader) {
	defer h.end()
	br := bufio.NewReaderSize(r, maxHandshake)
	line, err := br.ReadSlice('\n')
	h.line = strings.TrimSpace(string(line))
	h.cut = errors.Is(err, bufio.ErrBufferFull)
	h.end()
	if err != nil && !h.cut {
		return
	}
	more, err := br.ReadSlice('\n')
	if len(more) > 0 {
		h.log.stray("standard output", more)
	}
	if err == nil || errors.Is(err, bufio.ErrBufferFull) {
		_, _ = io.Copy(io.Discard, br)
	}
}

func (h *handshakeReader) end() {
	if !h.done {
		h.done = true
		close(h.first)
	}
}

// Read implements io.Reader for go-plugin: the first line, once it has come, then io.EOF.
func (h *handshakeReader) Read(b []byte) (int, error) {
	<-h.first
	if h.rest == nil {
		h.rest = strings.NewReader("")
		if h.line != "" {
			h.rest = strings.NewReader(h.line + "\n")
		}
	}
	return h.rest.Read(b)
}

// handshakeProblem is what is wrong with a plugin's first line, and what to do about it.
type handshakeProblem struct{ what, hint string }

// check judges the handshake "1|VERSION|unix|PATH|grpc|". A plugin that printed nothing has ended: how is told elsewhere.
func (h *handshakeReader) check(versions []int, dir string) *handshakeProblem {
	select {
	case <-h.first:
	default:
		return nil
	}
	if h.line == "" {
		return nil
	}
	const notPlugin = "it isn't a Sluice plugin, or prints before plugins.Serve is called: a plugin's standard output belongs to the handshake"
	parts := strings.Split(h.line, "|")
	if h.cut || len(parts) < 5 {
		return &handshakeProblem{fmt.Sprintf("wrote %s to standard output instead of the handshake", quote([]byte(h.line))), notPlugin}
	}
	core, err := strconv.Atoi(parts[0])
	if err != nil {
		return &handshakeProblem{fmt.Sprintf("wrote %s to standard output instead of the handshake", quote([]byte(h.line))), notPlugin}
	}
	if core != plugin.CoreProtocolVersion {
		return &handshakeProblem{
			fmt.Sprintf("speaks version %d of the handshake, this Sluice version %d", core, plugin.CoreProtocolVersion),
			"build the plugin again with this Sluice's SDK",
		}
	}
	theirs, err := strconv.Atoi(parts[1])
	if err != nil {
		return &handshakeProblem{fmt.Sprintf("names no protocol version in its handshake %s", quote([]byte(h.line))), notPlugin}
	}
	highest, known := 0, false
	for _, v := range versions {
		highest, known = max(highest, v), known || v == theirs
	}
	if !known {
		hint := "update the plugin"
		if theirs > highest {
			hint = "update Sluice, or use an older release of the plugin"
		}
		return &handshakeProblem{fmt.Sprintf("speaks version %d of the plugin protocol, this Sluice version %s", theirs, list(versions)), hint}
	}
	if parts[4] != string(plugin.ProtocolGRPC) {
		return &handshakeProblem{fmt.Sprintf("offers the transport %s, not gRPC", quote([]byte(parts[4]))), notPlugin}
	}
	if parts[2] != "unix" {
		return &handshakeProblem{
			fmt.Sprintf("listens on %s %s, not on a unix socket", quote([]byte(parts[2])), quote([]byte(parts[3]))),
			"local plugins are reached only over a unix socket in the folder PLUGIN_UNIX_SOCKET_DIR",
		}
	}
	if filepath.Dir(filepath.Clean(parts[3])) != filepath.Clean(dir) {
		return &handshakeProblem{
			fmt.Sprintf("listens on %s, outside of its own folder", quote([]byte(parts[3]))),
			"a plugin makes its socket in the folder PLUGIN_UNIX_SOCKET_DIR",
		}
	}
	return nil
}

func list(versions []int) string {
	words := make([]string, len(versions))
	for i, v := range versions {
		words[i] = strconv.Itoa(v)
	}
	return strings.Join(words, " or ")
}

// quote shows foreign bytes safely and shortly.
func quote(b []byte) string {
	const most = 120
	b = bytes.TrimRight(b, "\r\n")
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "..."
	}
	return strconv.Quote(string(b))
}
