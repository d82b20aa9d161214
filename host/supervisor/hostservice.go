package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-io/sluice/host/budget"
	"github.com/sluice-io/sluice/proto/fault"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// Budget is what plugins ask for the vendors' budgets. Safe for concurrent use.
type Budget interface {
	// Acquire answers at once: granted, or when to ask again.
	Acquire(ctx context.Context, r budget.Request) (budget.Grant, error)
	Settle(ctx context.Context, s budget.Settlement) error
	// Abandon says that the owner of requests has ended: what it didn't settle is freed or counted.
	Abandon(ctx context.Context, owner string) error
}

// abandonTime bounds how long the budget may take to hear of a plugin's end.
const abandonTime = 10 * time.Second

// Bounds of what a plugin has of the host service: each connection is an open file of the host's, each call a goroutine.
const (
	maxConns    = 16 // at a time; the SDK makes one
	maxCalls    = 256
	maxQuestion = 64 << 10 // bytes of a message
)

// hostService serves the host's side to one plugin process, on a socket in that process's folder.
type hostService struct {
	v1.UnimplementedHostServiceServer
	plugin *Plugin
	budget Budget
	path   string
	server *grpc.Server
	served sync.WaitGroup

	mu   sync.Mutex
	made map[string]struct{} // the reservations of this process: it may settle no other's
}

// serveHost begins to serve. The plugin's end closes it.
func (p *Plugin) serveHost() (*hostService, error) {
	h := &hostService{plugin: p, budget: p.sup.opts.Budget, path: filepath.Join(p.proc.dir, "host"), made: make(map[string]struct{})}
	h.server = grpc.NewServer(grpc.MaxConcurrentStreams(maxCalls), grpc.MaxRecvMsgSize(maxQuestion))
	l, err := net.Listen("unix", h.path)
	if err == nil {
		if err = os.Chmod(h.path, socketMode); err != nil {
			_ = l.Close()
		}
	}
	if err != nil {
		return nil, fault.New(fault.Transient, "plugin "+p.Name(), "look at the folder's permissions and free space", fmt.Errorf("socket for the budget: %w", err))
	}
	v1.RegisterHostServiceServer(h.server, h)
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.proc.exited: // watch may have looked for the service before
		return nil, errors.Join(fault.Errorf(fault.Crash, "plugin "+p.Name(), "has ended"), l.Close())
	default:
	}
	p.host = h
	h.served.Go(func() {
		// It ends when close stops the server.
		_ = h.server.Serve(&peerListener{Listener: l, plugin: p})
	})
	return h, nil
}

// close ends the service and tells the budget that its owner is gone.
func (h *hostService) close() {
	h.server.Stop()
	h.served.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), abandonTime)
	defer cancel()
	if err := h.budget.Abandon(ctx, h.plugin.owner()); err != nil {
		h.plugin.sup.opts.Log.Error("the budget that an ended plugin held isn't settled", "plugin", h.plugin.Name(), "error", err)
	}
}

// peerListener lets in only the plugin's own processes, and only so many connections of theirs at a time.
type peerListener struct {
	net.Listener
	plugin *Plugin
	open   atomic.Int32
	told   bool // that there were too many; Accept has one caller
}

// Accept implements net.Listener.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if err = checkPeer(conn, l.plugin.proc.pid); err != nil {
			l.plugin.sup.opts.Log.Warn("a stranger at a plugin's socket was turned away", "plugin", l.plugin.Name(), "error", errors.Join(err, conn.Close()))
			continue
		}
		if l.open.Add(1) <= maxConns {
			return &countedConn{Conn: conn, open: &l.open}, nil
		}
		l.open.Add(-1)
		err = conn.Close()
		if !l.told {
			l.told = true
			l.plugin.sup.opts.Log.Warn("the plugin has too many connections to the host: more are turned away", "plugin", l.plugin.Name(), "most", maxConns, "error", err)
		}
	}
}

// countedConn counts until it is closed.
type countedConn struct {
	net.Conn
	open   *atomic.Int32
	closed sync.Once
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.closed.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func (h *hostService) isOurs(reservation string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.made[reservation]
	return ok
}

// AcquireBudget implements v1.HostServiceServer.
func (h *hostService) AcquireBudget(ctx context.Context, m *v1.AcquireBudgetRequest) (*v1.AcquireBudgetResponse, error) {
	vendorTime, err := wire.TimeFromProto(m.GetVendorTime())
	if err != nil {
		return nil, wire.ToStatus(fault.New(fault.Bug, "acquire budget", "", err))
	}
	if m.GetReservation() != "" && !h.isOurs(m.GetReservation()) {
		return nil, wire.ToStatus(fault.New(fault.Bug, "acquire budget", "", budget.ErrUnknownReservation))
	}
	g, err := h.budget.Acquire(ctx, budget.Request{
		Owner: h.plugin.owner(), Key: m.GetKey(), Namespace: m.GetNamespace(),
		LimitRequests: m.GetLimitRequests(), LimitBytes: m.GetLimitBytes(), Window: m.GetWindow().AsDuration(), Share: m.GetShare(),
		Requests: m.GetRequests(), Bytes: m.GetBytes(), Reservation: m.GetReservation(), VendorTime: vendorTime,
	})
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	h.plugin.signs.wait(g.RetryAfter)
	if g.Granted {
		h.mu.Lock()
		h.made[g.Reservation] = struct{}{}
		h.mu.Unlock()
	}
	return &v1.AcquireBudgetResponse{
		Granted: g.Granted, Reservation: g.Reservation, RetryAfter: durationpb.New(g.RetryAfter), Why: g.Why,
	}, nil
}

// SettleBudget implements v1.HostServiceServer.
func (h *hostService) SettleBudget(ctx context.Context, m *v1.SettleBudgetRequest) (*v1.SettleBudgetResponse, error) {
	vendorTime, err := wire.TimeFromProto(m.GetVendorTime())
	if err != nil {
		return nil, wire.ToStatus(fault.New(fault.Bug, "settle budget", "", err))
	}
	if !h.isOurs(m.GetReservation()) {
		return nil, wire.ToStatus(fault.New(fault.Bug, "settle budget", "", budget.ErrUnknownReservation))
	}
	s := budget.Settlement{
		Reservation: m.GetReservation(), Requests: m.GetRequests(), Bytes: m.GetBytes(), Done: m.GetDone(), VendorTime: vendorTime,
	}
	if v := m.GetVendor(); v != nil {
		s.Vendor = budget.Vendor{
			LimitRequests: v.LimitRequests, RemainingRequests: v.RemainingRequests,
			LimitBytes: v.LimitBytes, RemainingBytes: v.RemainingBytes,
			Reset: v.GetReset_().AsDuration(), RetryAfter: v.GetRetryAfter().AsDuration(),
		}
	}
	if err := h.budget.Settle(ctx, s); err != nil {
		return nil, wire.ToStatus(err)
	}
	if s.Done { // or a process that lives for months would hold all that it ever made
		h.mu.Lock()
		delete(h.made, s.Reservation)
		h.mu.Unlock()
	}
	return &v1.SettleBudgetResponse{}, nil
}
