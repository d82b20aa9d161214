package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-io/sluice/proto/credit"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// cutTime is how long an unreadable message waits for the process's end, which may have cut it.
const cutTime = 100 * time.Millisecond

// firstShare is the credit in bytes that a read begins with, if its share isn't less: some frames.
const firstShare = 4 * frameTarget

// maxCounters bounds what a Read may count.
const maxCounters = 64

// Bounds of what waits for Next beside the bytes that credit counts: a message of a few bytes becomes an item, with an array for each column.
const (
	mostQueued  = 4096
	leastQueued = 16 // whatever the schema
	queueMemory = 64 << 20
	itemMemory  = 1 << 10
	arrayMemory = 512
)

// queueOf returns how many items of a schema may wait for Next.
func queueOf(s *arrow.Schema) int {
	return min(max(queueMemory/(itemMemory+arrayMemory*arrays(s.Fields())), leastQueued), mostQueued)
}

// arrays counts fields and those within them.
func arrays(fields []arrow.Field) int {
	n := len(fields)
	for _, f := range fields {
		if nested, ok := f.Type.(arrow.NestedType); ok {
			n += arrays(nested.Fields())
		}
	}
	return n
}

// ReadOptions says how a slice is read.
type ReadOptions struct {
	// Share is the most credit in bytes that the read has: it holds at most that and one message. It begins with a few frames, and gets more
	// where that keeps both sides at work.
	Share int64
	// Waiting hears why nothing moves; until is zero if that isn't known. It is called by one goroutine, which receives
	// nothing meanwhile: it must not block, nor call the Read's methods. Nil: nobody listens.
	Waiting func(until time.Time, why string)
}

// Read is one slice being read. It implements flow.Reader. Its batches are validated and its manifest is proved by the
// host's own count and digest before Next returns io.EOF. A plugin that breaks the protocol in a Read is killed.
type Read struct {
	plugin *Plugin
	slice  flow.Slice
	stream grpc.ClientStream
	cancel context.CancelFunc
	window *credit.Window
	wait   func(until time.Time, why string)

	sending sync.Mutex    // a stream takes one sender at a time
	silent  bool          // nothing may be sent any more; guarded by sending
	alive   atomic.Uint64 // messages received
	opened  chan struct{} // closed by Opened or by the end
	ended   chan struct{} // closed when the receive loop has ended
	arrived chan struct{} // has room for one: something changed for Next
	room    chan struct{} // has room for one: something changed for a receive loop that waits for room in the queue
	full    atomic.Bool   // it waits
	most    int           // items in the queue

	longest, longestOne int // bytes of a frame, and of one that holds one record

	declared   Stream
	vendorTime time.Time // written by the receive loop before opened is closed, as what follows
	constants  []int
	oneRow     []byte

	mu       sync.Mutex
	queue    []queued
	held     map[any]queued // by the pointer in the item: what Next gave and nobody released
	begun    bool           // the first grant is sent
	closed   bool
	err      error // final
	manifest flow.Manifest
	counters map[string]uint64
	stopping *time.Timer
}

var _ flow.Reader = (*Read)(nil)

// queued is an item with what it holds.
type queued struct {
	item flow.Item
	size int64           // of its message: the credit to give back
	in   *wire.InMessage // of a dead-letter piece, whose bytes are the message's
}

func (q queued) key() any {
	if q.item.Batch != nil {
		return q.item.Batch
	}
	return q.item.Dead
}

func (q queued) free() {
	if q.item.Batch != nil {
		q.item.Batch.Records.Release()
	}
	if q.in != nil {
		q.in.Release()
	}
}

// Read opens a slice and returns when the plugin has: when budget is held and the vendor's first good answer has begun. No
// credit is granted before the first Next. ctx bounds the whole read, not only its opening. A Read that is returned must be
// closed. The error may be *flow.Truncated.
func (p *Plugin) Read(ctx context.Context, s flow.Slice, o ReadOptions) (*Read, error) {
	op := "plugin " + p.Name() + ": read"
	declared, ok := p.description.Stream(s.Stream)
	switch {
	case !ok || s.Stream == "":
		return nil, fault.New(fault.Config, op, "see `sluice plugin describe` for its streams", fmt.Errorf("it has no stream %q", s.Stream))
	case o.Share < 1:
		return nil, fault.Errorf(fault.Bug, op, "a share of %d bytes", o.Share)
	}
	if err := s.Validate(); err != nil {
		return nil, fault.New(fault.Bug, op, "", err)
	}
	streamCtx, cancel := context.WithCancel(ctx)
	r := &Read{
		plugin: p, slice: s, cancel: cancel, wait: o.Waiting, declared: declared,
		opened: make(chan struct{}), ended: make(chan struct{}), arrived: make(chan struct{}, 1),
		room: make(chan struct{}, 1), most: queueOf(declared.Schema), held: make(map[any]queued),
	}
	r.longest, r.longestOne = p.frameBounds()
	r.window = credit.NewWindow(o.Share, r.grant)
	r.window.Begin(firstShare)
	stream, err := v1.NewSourceServiceClient(p.conn).Read(streamCtx)
	if err == nil {
		err = stream.Send(&v1.ReadRequest{Message: &v1.ReadRequest_Open{Open: &v1.Open{Slice: wire.SliceToProto(s)}}})
		if errors.Is(err, io.EOF) {
			err = nil // the receive loop hears why
		}
	}
	if err != nil {
		err = p.callError(streamCtx, "read", err)
		cancel()
		return nil, err
	}
	r.stream = stream
	p.mu.Lock()
	refused := p.stopping.Load()
	if !refused {
		p.reads[r] = struct{}{}
	}
	p.mu.Unlock()
	if refused {
		cancel()
		return nil, fault.New(fault.Canceled, op, "", errors.New("the plugin is being stopped"))
	}
	var watching sync.WaitGroup
	watching.Go(func() { r.watchSilence(streamCtx) })
	go func() {
		defer close(r.ended)
		r.finish(r.receive(streamCtx))
		cancel()
		watching.Wait()
	}()
	<-r.opened
	r.mu.Lock()
	err = r.err
	r.mu.Unlock()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Schema returns the full schema of the batches.
func (r *Read) Schema() *arrow.Schema { return r.declared.Schema }

// VendorTime returns the vendor's clock in the answer that was opened, zero if it told none.
func (r *Read) VendorTime() time.Time { return r.vendorTime }

// Constants returns the columns with one value in the slice, ascending, and the message of their one row, as the plugin told them
// when it opened.
func (r *Read) Constants() (columns []int, oneRow []byte) { return r.constants, r.oneRow }

// Slice returns what is being read.
func (r *Read) Slice() flow.Slice { return r.slice }

// Next implements flow.Reader. The first call sends the first grant. An error other than io.EOF comes before what is still
// queued: the read has failed.
func (r *Read) Next(ctx context.Context) (flow.Item, error) {
	r.mu.Lock()
	first := !r.begun
	r.begun = true
	r.mu.Unlock()
	if first {
		// Its error is the stream's end, which the receive loop tells.
		_ = r.window.Open()
	}
	for {
		item, ok, err := r.next()
		if ok || err != nil {
			return item, err
		}
		select {
		case <-r.arrived:
		case <-ctx.Done():
			r.cancel()
			return flow.Item{}, fault.New(fault.Canceled, "plugin "+r.plugin.Name()+": read", "", context.Cause(ctx))
		}
	}
}

func (r *Read) next() (item flow.Item, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return item, false, fault.Errorf(fault.Canceled, "plugin "+r.plugin.Name()+": read", "closed")
	case r.err != nil && !errors.Is(r.err, io.EOF):
		return item, false, r.err
	case len(r.queue) > 0:
		q := r.queue[0]
		r.queue[0] = queued{}
		r.queue = r.queue[1:]
		if len(r.queue) == r.most/2 {
			wake(r.room)
		}
		r.held[q.key()] = q
		return q.item, true, nil
	}
	return item, false, r.err
}

// Release implements flow.Reader: it frees the item's memory and gives its credit back. An item that this Read didn't give,
// or that was released before, is left alone and told in the log: it is a mistake of the caller's.
func (r *Read) Release(it flow.Item) {
	key := queued{item: it}.key()
	r.mu.Lock()
	q, ok := r.held[key]
	delete(r.held, key)
	r.mu.Unlock()
	if !ok {
		r.plugin.sup.opts.Log.Error("an item was released twice", "plugin", r.plugin.Name(), "slice", r.slice.String(), "stack", string(debug.Stack()))
		return
	}
	q.free()
	// Its error is the stream's end, which the receive loop tells.
	_ = r.window.Release(q.size)
}

// Manifest implements flow.Reader.
func (r *Read) Manifest() flow.Manifest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.manifest
}

// Counters returns what the source counted and found worth telling; valid after io.EOF.
func (r *Read) Counters() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counters
}

// Stop asks the plugin to finish or fail; if the read hasn't ended after Timeouts.Stop, the plugin is killed. Next tells how
// it ended. Idempotent.
func (r *Read) Stop(why string) {
	r.mu.Lock()
	again := r.stopping != nil || r.err != nil
	if !again {
		limit := r.plugin.sup.opts.Timeouts.Stop
		r.stopping = time.AfterFunc(limit, func() {
			_ = r.plugin.fail(fmt.Sprintf("hangs: a read didn't end within %s after it was asked to stop", limit), "the plugin ignores the request to stop: tell its author")
		})
	}
	r.mu.Unlock()
	if !again {
		wake(r.room)
		r.send(&v1.ReadRequest{Message: &v1.ReadRequest_Stop{Stop: &v1.Stop{Why: why}}})
	}
}

// Close implements flow.Reader: it cancels the stream, waits for the receive loop and frees what is queued. Items that were
// given by Next stay valid until they are released.
func (r *Read) Close() error {
	r.cancel()
	<-r.ended
	r.mu.Lock()
	queue := r.queue
	r.queue, r.closed = nil, true
	r.mu.Unlock()
	r.window.Close()
	for _, q := range queue {
		q.free()
	}
	wake(r.arrived)
	return nil
}

func (r *Read) grant(n int64) error {
	r.send(&v1.ReadRequest{Message: &v1.ReadRequest_Grant{Grant: &v1.Grant{Bytes: uint64(n)}}})
	return nil
}

// send sends without an error: a stream that takes nothing has ended, and the receive loop hears why.
func (r *Read) send(m *v1.ReadRequest) {
	r.sending.Lock()
	defer r.sending.Unlock()
	if !r.silent { // a grant may come late, and would turn a good end into an error
		_ = r.stream.SendMsg(m)
	}
}

// closeSend says that nothing more is sent.
func (r *Read) closeSend() error {
	r.sending.Lock()
	defer r.sending.Unlock()
	r.silent = true
	return r.stream.CloseSend()
}

// wake leaves word in a channel with room for one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// finish sets the read's end. io.EOF means that it is proved complete.
func (r *Read) finish(err error) {
	p := r.plugin
	var truncated *flow.Truncated
	if errors.Is(err, io.EOF) || errors.As(err, &truncated) {
		p.worked.Store(true)
		p.sup.loops.worked(p.spec)
	}
	p.mu.Lock()
	delete(p.reads, r)
	if fault.KindOf(err) == fault.Crash {
		if p.ended == nil {
			p.ended = map[flow.SliceID]struct{}{}
		}
		p.ended[r.slice.ID] = struct{}{}
	}
	p.mu.Unlock()
	r.mu.Lock()
	r.err = err
	if r.stopping != nil {
		r.stopping.Stop()
	}
	r.mu.Unlock()
	select {
	case <-r.opened:
	default:
		close(r.opened)
	}
	wake(r.arrived)
}

// watchSilence kills a plugin from which nothing comes. It counts ticks, not time: a host that was itself stopped or starved
// doesn't blame the plugin.
func (r *Read) watchSilence(ctx context.Context) {
	const ticks = 10
	limit := r.plugin.sup.opts.Timeouts.Silence
	ticker := time.NewTicker(max(limit/ticks, time.Millisecond))
	defer ticker.Stop()
	seen, silent := r.alive.Load(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if n := r.alive.Load(); n != seen || r.full.Load() { // while the queue is full nobody listens
			seen, silent = n, 0
			continue
		}
		if silent++; silent > ticks {
			_ = r.plugin.fail(fmt.Sprintf("hangs: no message in a read for %s", limit),
				"look at the plugin's log and at the network to the vendor; if it happens again, tell the plugin's author")
			return
		}
	}
}

// receive takes messages until the stream ends. It waits for whoever calls Next only while the queue is full.
func (r *Read) receive(ctx context.Context) (err error) {
	c := collector{read: r}
	defer func() {
		if v := recover(); v != nil {
			// What was received is at fault: the host goes on.
			r.plugin.sup.opts.Log.Error("what a plugin sent made its reader panic", "plugin", r.plugin.Name(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = r.plugin.violation("what it sent can't be read: %v", v)
		}
		if c.layout != nil {
			c.layout.Release()
		}
	}()
	for {
		in := new(wire.InMessage)
		if err := r.stream.RecvMsg(in); err != nil {
			return r.streamError(ctx, err, c.end)
		}
		r.alive.Add(1)
		if in.Gone {
			return r.gone(ctx)
		}
		q, err := c.take(in)
		if q.in == nil {
			in.Release()
		}
		if err != nil {
			return err
		}
		if q.item != (flow.Item{}) {
			r.mu.Lock()
			r.queue = append(r.queue, q)
			full := len(r.queue) >= r.most
			r.mu.Unlock()
			wake(r.arrived)
			if full {
				if err := r.awaitRoom(ctx); err != nil {
					return err
				}
			}
		}
		if c.end != nil {
			if err := r.closeSend(); err != nil {
				return r.streamError(ctx, err, nil)
			}
		}
	}
}

// awaitRoom waits until half of a full queue is taken, or the read is to end. The stream's own window bounds what comes meanwhile, and other
// reads go on. An error is that of ctx: what has come until then isn't worth to be read.
func (r *Read) awaitRoom(ctx context.Context) error {
	r.full.Store(true)
	defer r.full.Store(false)
	for {
		r.mu.Lock()
		full := len(r.queue) > r.most/2 && r.stopping == nil
		r.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-r.room:
		case <-ctx.Done():
			return r.plugin.callError(ctx, "read", ctx.Err())
		}
	}
}

// gone says why a frame isn't in the shared memory any more: its plugin takes it back only from a stream that has ended.
func (r *Read) gone(ctx context.Context) error {
	p := r.plugin
	timer := time.NewTimer(cutTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return p.callError(ctx, "read", ctx.Err())
	case <-p.proc.exited:
		return p.lost(io.ErrUnexpectedEOF)
	case <-timer.C:
	}
	return p.violation("it took a frame back from the shared memory before it was read")
}

// streamError says why no message comes any more. end is what the last message said, nil if none was a last one.
func (r *Read) streamError(ctx context.Context, err, end error) error {
	p := r.plugin
	if errors.Is(err, io.EOF) {
		if end != nil {
			return end
		}
		return p.violation("a read ended without Done or Truncated")
	}
	if st, ok := status.FromError(err); ok && ctx.Err() == nil && len(st.Details()) == 0 {
		switch st.Code() {
		case codes.Internal, codes.ResourceExhausted:
			if p.exitedWithin(cutTime) {
				return p.lost(err) // cut within a message
			}
			return p.violation("a message can't be read: %s", st.Message())
		}
	}
	return p.callError(ctx, "read", err)
}
