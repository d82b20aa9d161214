package plugins

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-io/sluice/proto/fault"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// hostBudget asks the host over its socket.
type hostBudget struct{ client v1.HostServiceClient }

// dialHost returns a connection to the host's socket; it connects when it is first used.
func dialHost(socket string) (*grpc.ClientConn, error) {
	opts := append(
		wire.DialOptions(nil),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}),
	)
	conn, err := grpc.NewClient("passthrough:///host", opts...)
	if err != nil {
		return nil, fmt.Errorf("host socket %s: %w", socket, err)
	}
	return conn, nil
}

// Acquire implements Budget.
func (b *hostBudget) Acquire(ctx context.Context, r BudgetRequest) (string, error) {
	answer, err := b.client.AcquireBudget(ctx, &v1.AcquireBudgetRequest{
		Key: r.Key, Namespace: r.Limit.Namespace,
		LimitRequests: r.Limit.Requests, LimitBytes: r.Limit.Bytes, Window: durationpb.New(r.Limit.Window),
		Share: r.Share, Requests: r.Requests, Bytes: r.Bytes, Reservation: r.Reservation,
		VendorTime: wire.TimeToProto(r.VendorTime),
	})
	if err != nil {
		return "", fmt.Errorf("acquire budget: %w", wire.FromStatus(err))
	}
	if !answer.GetGranted() {
		return "", fault.Errorf(fault.Throttled, "acquire budget", "%s spent", clip(answer.GetWhy(), maxReason)).
			After(answer.GetRetryAfter().AsDuration())
	}
	return answer.GetReservation(), nil
}

// Settle implements Budget.
func (b *hostBudget) Settle(ctx context.Context, s BudgetSettlement) error {
	req := &v1.SettleBudgetRequest{
		Reservation: s.Reservation, Requests: s.Requests, Bytes: s.Bytes, Done: s.Done,
		VendorTime: wire.TimeToProto(s.VendorTime),
		Vendor: &v1.VendorBudget{
			LimitRequests: s.Vendor.LimitRequests, RemainingRequests: s.Vendor.RemainingRequests,
			LimitBytes: s.Vendor.LimitBytes, RemainingBytes: s.Vendor.RemainingBytes,
		},
	}
	if s.Vendor.Reset > 0 {
		req.Vendor.Reset_ = durationpb.New(s.Vendor.Reset)
	}
	if s.Vendor.RetryAfter > 0 {
		req.Vendor.RetryAfter = durationpb.New(s.Vendor.RetryAfter)
	}
	if _, err := b.client.SettleBudget(ctx, req); err != nil {
		return fmt.Errorf("settle budget: %w", wire.FromStatus(err))
	}
	return nil
}

// openBudget grants everything: for hosts that keep no budget, such as tests.
type openBudget struct{ log *slog.Logger }

// Acquire implements Budget.
func (b openBudget) Acquire(ctx context.Context, r BudgetRequest) (string, error) {
	b.log.DebugContext(ctx, "the host keeps no budget", "namespace", r.Limit.Namespace)
	return r.Reservation, ctx.Err()
}

// Settle implements Budget.
func (openBudget) Settle(context.Context, BudgetSettlement) error { return nil }
