package otlp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sluice-io/sluice/proto/fault"
)

const exportMethod = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

type grpcClient struct {
	settings settings
	conn     *grpc.ClientConn
	metadata metadata.MD
	options  []grpc.CallOption
}

func newGRPC(s settings, secured *tls.Config, version string) (client, error) {
	c := &grpcClient{settings: s, metadata: metadata.MD{}, options: []grpc.CallOption{grpc.ForceCodec(plain{})}}
	for name, value := range s.Headers {
		c.metadata.Set(name, string(value))
	}
	if s.Compression == "gzip" {
		c.options = append(c.options, grpc.UseCompressor(gzip.Name))
	}
	transport := insecure.NewCredentials()
	if secured != nil {
		transport = credentials.NewTLS(secured)
	}
	var err error
	c.conn, err = grpc.NewClient(s.address, grpc.WithTransportCredentials(transport), grpc.WithUserAgent("sluice/"+version),
		// The pipeline has a backoff of its own; a longer one below it would let its tries fail unasked.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}))
	if err != nil {
		return nil, fault.New(fault.Config, "open the otlp sink", "endpoint is https://HOST:PORT", err)
	}
	return c, nil
}

func (c *grpcClient) close() { _ = c.conn.Close() }

// plain is the codec of messages that are bytes already.
type plain struct{}

// Name implements encoding.Codec: what the bytes are.
func (plain) Name() string { return "proto" }

// Marshal implements encoding.Codec.
func (plain) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

// Unmarshal implements encoding.Codec.
func (plain) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (c *grpcClient) export(ctx context.Context, request []byte) (answer, error) {
	op := "send logs to " + c.settings.address
	limited, cancel := context.WithTimeout(ctx, time.Duration(c.settings.Timeout))
	defer cancel()
	var body []byte
	err := c.conn.Invoke(metadata.NewOutgoingContext(limited, c.metadata), exportMethod, &request, &body, c.options...)
	if err != nil {
		if ctx.Err() != nil {
			return answer{}, ctx.Err()
		}
		return answer{}, rpcError(op, err)
	}
	a, err := parseAnswer(body)
	if err != nil {
		return answer{}, fault.New(fault.Transient, op, "", fmt.Errorf("the answer is no ExportLogsServiceResponse: %w", err))
	}
	return a, nil
}

// rpcError is what a status asks for, by the table of the OTLP specification.
func rpcError(op string, err error) error {
	st := status.Convert(err)
	said := fmt.Errorf("it answers %s: %q", st.Code(), st.Message())
	var after time.Duration
	timed := false
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			after, timed = max(0, r.GetRetryDelay().AsDuration()), true
		}
	}
	switch st.Code() {
	case codes.ResourceExhausted:
		switch {
		case timed:
			return fault.New(fault.Throttled, op, "", said).After(after)
		case strings.Contains(st.Message(), "larger than max"):
			return fault.New(fault.Config, op, "make batch_size smaller, or the receiver's limit larger", fmt.Errorf("%w: %w", errTooLarge, said))
		}
		return fault.New(fault.Throttled, op, "", said)
	case codes.Unavailable:
		if timed {
			return fault.New(fault.Throttled, op, "", said).After(after)
		}
		return connectError(op, errors.New(st.Message()))
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.DataLoss:
		return fault.New(fault.Transient, op, hintDown, said).After(after)
	case codes.Unauthenticated, codes.PermissionDenied:
		return fault.New(fault.Auth, op, hintAuth, said)
	case codes.Unimplemented:
		return fault.New(fault.Config, op, "does the endpoint lead to an OTLP receiver for logs?", said)
	case codes.InvalidArgument:
		return fault.New(fault.Corrupt, op, "", fmt.Errorf("%w: %w", errRefused, said))
	}
	return fault.New(fault.Transient, op, "", said)
}
