// Package syslog is the sink that sends records as syslog messages (RFC 5424) over TCP or TLS. It is at least once: the protocol has no
// acknowledgement, so a slice counts as delivered when the receiver has read every byte of its connection and closed its own end; what the
// receiver then holds in memory alone is out of reach. A slice that fails half way is sent again from its beginning, and every message
// carries the same ID each time.
package syslog

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/attempt"
	"github.com/sluice-io/sluice/sinks/columns"
)

// Definition is the syslog sink's.
var Definition = sinks.Definition{
	Type:      "syslog",
	Promise:   "at least once up to the receiver's socket",
	NeedsTime: true,
	Config:    []byte(schema),
	Open: func(_ context.Context, c sinks.Config) (sinks.Sink, error) {
		return Open(c)
	},
	Check: func(_ context.Context, c sinks.Config) error {
		_, err := parse(c)
		return err
	},
	Online: online,
	Buffer: func(c sinks.Config) (int64, error) {
		s, err := parse(c)
		return s.buffer(), err
	},
}

// blockSize is how much is encoded before it is sent.
const blockSize = 256 << 10

// buffer is the most that a transaction holds: a block, the message that goes beyond it, room to grow, and the IDs' counters.
func (s settings) buffer() int64 { return 2*blockSize + 4*int64(s.MaxMessage) + attempt.Memory }

// Sink sends.
type Sink struct {
	config   sinks.Config
	settings settings
	tls      *tls.Config // nil: plain TCP

	mu     sync.Mutex
	links  map[*link]struct{}
	closed atomic.Bool // set under mu, so that no link is kept after it
}

var (
	_ sinks.Sink  = (*Sink)(nil)
	_ sinks.Sizer = (*Sink)(nil)
)

// Open returns a sink; it connects when records come.
func Open(c sinks.Config) (*Sink, error) {
	s, err := parse(c)
	if err != nil {
		return nil, err
	}
	k := &Sink{config: c, settings: s, links: map[*link]struct{}{}}
	if k.tls, err = s.secured(c.Base); err != nil {
		return nil, err
	}
	return k, nil
}

// secured returns what TLS connects with, nil for plain TCP.
func (s settings) secured(base string) (*tls.Config, error) {
	if !s.TLS.On(false) {
		return nil, nil
	}
	return s.TLS.Config(base)
}

// online connects and shakes hands, and sends nothing.
func online(ctx context.Context, c sinks.Config) (string, error) {
	k, err := Open(c)
	if err != nil {
		return "", err
	}
	l, err := dial(ctx, k.settings.Address, time.Duration(k.settings.Timeout), k.tls)
	if err != nil {
		return "", err
	}
	defer l.close()
	if t, ok := l.conn.(*tls.Conn); ok {
		return fmt.Sprintf("%s takes connections with %s; syslog has no login and no answer, so that it keeps messages can't be proved",
			k.settings.Address, tls.VersionName(t.ConnectionState().Version)), nil
	}
	return k.settings.Address + " takes connections over plain TCP; syslog has no login and no answer, so that it keeps messages can't be proved", nil
}

// Identity implements sinks.Sink: the receiver's address.
func (k *Sink) Identity() string { return attempt.Identity("syslog", k.settings.Address) }

// Buffer implements sinks.Sizer.
func (k *Sink) Buffer() int64 { return k.settings.buffer() }

// Close implements sinks.Sink: the connections of open transactions end.
func (k *Sink) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed.Store(true)
	for l := range k.links {
		l.close()
	}
	clear(k.links)
	return nil
}

// Begin implements sinks.Sink. The connection is made with the first record.
func (k *Sink) Begin(_ context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	try, err := attempt.New(k.config, s, &k.closed)
	if err != nil {
		return nil, err
	}
	reader, err := columns.New(schema)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	enc, err := newEncoder(&k.settings, k.config, s)
	if err != nil {
		return nil, err
	}
	return &txn{sink: k, try: try, reader: reader, enc: enc}, nil
}

type txn struct {
	sink      *Sink
	try       *attempt.Attempt
	reader    *columns.Reader
	enc       *encoder
	link      *link
	block     []byte
	message   []byte
	confirmed bool
}

// Append implements sinks.Txn: the batch is handed to the system when it returns.
func (t *txn) Append(ctx context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	return t.try.Append(ctx, b, func(ids []string) ([]sinks.Rejected, error) { return t.append(ctx, b, ids) })
}

func (t *txn) append(ctx context.Context, b flow.Batch, ids []string) ([]sinks.Rejected, error) {
	rows, err := t.reader.Bind(b.Records)
	if err != nil {
		return nil, err
	}
	var rejected []sinks.Rejected
	for row, id := range ids {
		if t.message, err = t.enc.append(t.message[:0], rows, row, id); err != nil {
			return nil, err
		}
		if reason := t.sink.settings.refuse(t.message); reason != "" {
			rejected = append(rejected, sinks.Rejected{Row: row, Reason: reason})
			if int64(cap(t.message)) > int64(t.sink.settings.MaxMessage) {
				t.message = nil // one large record must not be remembered by its buffer
			}
			continue
		}
		t.block = t.sink.settings.frame(t.block, t.message)
		if len(t.block) >= blockSize {
			if err := t.send(ctx); err != nil {
				return nil, err
			}
		}
	}
	return rejected, t.send(ctx)
}

// refuse returns why a message can't be sent, empty if it can.
func (s *settings) refuse(message []byte) string {
	if int64(len(message)) > int64(s.MaxMessage) {
		return fmt.Sprintf("the syslog message has %d bytes, max_message is %d", len(message), s.MaxMessage)
	}
	if s.Framing == "lf" && bytes.IndexByte(message, '\n') >= 0 {
		return "the record holds a line feed, which ends a message when framing is lf"
	}
	return ""
}

// frame appends a message with what tells it from the next.
func (s *settings) frame(dst, message []byte) []byte {
	if s.Framing == "lf" {
		return append(append(dst, message...), '\n')
	}
	dst = append(strconv.AppendInt(dst, int64(len(message)), 10), ' ')
	return append(dst, message...)
}

// send sends the block.
func (t *txn) send(ctx context.Context) error {
	if len(t.block) == 0 {
		return nil
	}
	k := t.sink
	if t.link == nil {
		l, err := dial(ctx, k.settings.Address, time.Duration(k.settings.Timeout), k.tls)
		if err != nil {
			return err
		}
		if !k.keep(l) {
			l.abort()
			return sinks.ErrDead
		}
		t.link = l
	}
	err := t.link.write(ctx, t.block)
	t.block = t.block[:0]
	return err
}

// keep notes an open link for Close; false: the sink is closed.
func (k *Sink) keep(l *link) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed.Load() {
		return false
	}
	k.links[l] = struct{}{}
	return true
}

// Commit implements sinks.Txn. It ends the connection and waits until the receiver has read everything, as far as that can be known.
func (t *txn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	defer t.end()
	return t.try.Commit(ctx, a, func() error {
		if t.link == nil {
			return nil
		}
		err := t.link.finish(ctx, t.sink.settings.Confirm == "close")
		t.confirmed = err == nil
		return err
	})
}

// Abort implements sinks.Txn. What was sent stays sent.
func (t *txn) Abort() error {
	t.end()
	return nil
}

// end ends the transaction and its connection.
func (t *txn) end() {
	t.try.End()
	if t.link == nil {
		return
	}
	if t.confirmed {
		t.link.close()
	} else {
		t.link.abort()
	}
	t.sink.mu.Lock()
	delete(t.sink.links, t.link)
	t.sink.mu.Unlock()
	t.link = nil
}
