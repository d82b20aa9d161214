package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/sluice-io/sluice/proto/credit"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// errStopped is the cause of a read's end that the host asked for.
var errStopped = fault.New(fault.Canceled, "read", "", errors.New("the host asked to stop"))

// errReturned is what an abandoned source sees when it emits after its read was given up.
var errReturned = fault.New(fault.Canceled, "read", "", errors.New("the read was given up"))

type readStream = grpc.BidiStreamingServer[v1.ReadRequest, v1.ReadResponse]

// Read implements the SourceService. The source reads in a goroutine of its own, so that a source which ignores its
// context's end can be left behind.
func (s *Server) Read(stream readStream) error {
	source, limits, err := s.configured()
	if err != nil {
		return err
	}
	slice, st, err := s.openRead(stream)
	if err != nil {
		return wire.ToStatus(err)
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	gate := credit.NewGate()
	e := newEmitter(slice, st, limits, gate, stream.SendMsg)
	e.shared = s.sender()

	through := make(chan struct{})                                    // closed when the host has nothing more to say
	s.reading.Go(func() { s.receive(stream, gate, cancel, through) }) // ends when this handler has returned

	var beating sync.WaitGroup
	beatCtx, endBeat := context.WithCancel(ctx)
	beating.Go(func() { e.beat(beatCtx, s.pace.Silence) })
	defer beating.Wait()
	defer endBeat()

	result := make(chan error, 1)
	go func() { result <- s.readSource(ctx, source, slice, e) }()

	select {
	case err = <-result:
	case <-ctx.Done():
		gate.Close(context.Cause(ctx))
		grace := time.NewTimer(s.pace.Cancel)
		defer grace.Stop()
		select {
		case err = <-result:
		case <-grace.C:
			e.close(errReturned)
			e.endSharing(stream.Context(), through)
			s.log.Error("the source ignores the end of its context: its goroutine is left behind",
				"slice", slice.String(), "cause", context.Cause(ctx).Error())
			return wire.ToStatus(context.Cause(ctx))
		}
	}
	endBeat()
	if err == nil || errors.As(err, new(*flow.Truncated)) {
		err = e.finish(err)
	} else if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = context.Cause(ctx) // why it was canceled says more
	}
	e.close(errReturned)
	e.endSharing(stream.Context(), through)
	return wire.ToStatus(err)
}

// endSharing waits until the host has copied every frame of a read out of the shared memory, or has given the stream up: only then may their
// slots hold others. The emitter is closed.
func (e *emitter) endSharing(stream context.Context, through <-chan struct{}) {
	if e.shared == nil {
		return
	}
	defer e.shared.Close()
	const first, most = 200 * time.Microsecond, 20 * time.Millisecond
	for pause := first; e.shared.InUse(); pause = min(2*pause, most) {
		timer := time.NewTimer(pause)
		select {
		case <-stream.Done():
			timer.Stop()
			return
		case <-through: // it has read the last message, which comes behind them all
			timer.Stop()
			through = nil
		case <-timer.C:
		}
	}
}

// openRead takes the stream's first message.
func (s *Server) openRead(stream readStream) (flow.Slice, Stream, error) {
	first, err := stream.Recv()
	if err != nil {
		return flow.Slice{}, Stream{}, err
	}
	open := first.GetOpen()
	if open == nil {
		return flow.Slice{}, Stream{}, fault.Errorf(fault.Bug, "read", "the first message isn't Open")
	}
	slice, err := wire.SliceFromProto(open.GetSlice())
	if err != nil {
		return flow.Slice{}, Stream{}, fault.New(fault.Bug, "read", "", err)
	}
	st, ok := s.streams[slice.Stream]
	if !ok {
		return flow.Slice{}, Stream{}, s.unknownStream("read", slice.Stream)
	}
	return slice, st, nil
}

// receive takes the host's messages until the stream ends. Stop gives the source some time to finish before its context
// ends.
func (s *Server) receive(stream readStream, gate *credit.Gate, cancel context.CancelCauseFunc, through chan<- struct{}) {
	var stopping *time.Timer
	defer func() {
		if stopping != nil {
			stopping.Stop()
		}
	}()
	for {
		req, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			// The host has nothing more to say; what it granted stands. The stream's own context ends the wait for the
			// rest.
			close(through)
			<-stream.Context().Done()
			return
		case err != nil:
			cancel(fault.New(fault.Canceled, "read", "", fmt.Errorf("the host ended the read: %w", err)))
			return
		}
		switch m := req.GetMessage().(type) {
		case *v1.ReadRequest_Grant:
			n := m.Grant.GetBytes()
			if n > math.MaxInt64 {
				err = fmt.Errorf("grant of %d bytes", n)
			} else {
				err = gate.Grant(int64(n))
			}
		case *v1.ReadRequest_Stop:
			if stopping == nil {
				stopping = time.AfterFunc(s.pace.Stop, func() { cancel(errStopped) })
			}
		default:
			err = fmt.Errorf("unexpected message %T", m)
		}
		if err != nil {
			cancel(fault.New(fault.Bug, "read", "", fmt.Errorf("the host broke the protocol: %w", err)))
		}
	}
}

// readSource runs the source and turns a panic into an error.
func (s *Server) readSource(ctx context.Context, source Source, slice flow.Slice, e *emitter) (err error) {
	defer s.recovered("read "+slice.String(), &err)
	return source.Read(ctx, slice, e)
}

// recovered turns a panic of the source into an error of kind Bug; the process goes on for other reads. It must be
// deferred.
func (s *Server) recovered(op string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	s.log.Error("the source panicked", "op", op, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	*err = wire.ToStatus(fault.New(fault.Bug, op, "the plugin's log holds the stack", fmt.Errorf("the source panicked: %v", p)))
}
