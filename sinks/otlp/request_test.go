package otlp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/recordid"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// fake answers requests by a function; it is a receiver for both protocols. It stands for what no real one can be made to do.
type fake struct {
	collogs.UnimplementedLogsServiceServer
	http, grpc string

	mu       sync.Mutex
	requests int
	seen     []*collogs.ExportLogsServiceRequest
	headers  []string // of x-token
	answer   func(n int, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error)
}

func newFake(t *testing.T, answer func(n int, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error)) *fake {
	t.Helper()
	f := &fake{answer: answer}
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(server.Close)
	f.http = server.URL
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.grpc = "http://" + l.Addr().String()
	g := grpc.NewServer()
	collogs.RegisterLogsServiceServer(g, f)
	var serving sync.WaitGroup
	serving.Go(func() { _ = g.Serve(l) })
	t.Cleanup(func() { g.Stop(); serving.Wait() })
	return f
}

func (f *fake) Export(ctx context.Context, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	md, _ := metadata.FromIncomingContext(ctx)
	return f.take(r, strings.Join(md.Get("x-token"), ","))
}

func (f *fake) take(r *collogs.ExportLogsServiceRequest, token string) (*collogs.ExportLogsServiceResponse, error) {
	f.requests++
	f.seen, f.headers = append(f.seen, r), append(f.headers, token)
	return f.answer(f.requests, r)
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	var request collogs.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	resp, err := f.take(&request, r.Header.Get("x-token"))
	if err != nil {
		st := status.Convert(err)
		for _, d := range st.Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok {
				w.Header().Set("Retry-After", fmt.Sprint(int(info.GetRetryDelay().AsDuration().Seconds())))
			}
		}
		w.WriteHeader(map[codes.Code]int{
			codes.InvalidArgument: 400, codes.Unavailable: 503, codes.ResourceExhausted: 429, codes.Unauthenticated: 401, codes.Unimplemented: 404, codes.Internal: 500,
		}[st.Code()])
		b, _ := proto.Marshal(st.Proto())
		_, _ = w.Write(b)
		return
	}
	b, _ := proto.Marshal(resp)
	_, _ = w.Write(b)
}

func (f *fake) config(protocol, more string) sinks.Config {
	endpoint := f.http
	if protocol == "grpc" {
		endpoint = f.grpc
	}
	return config(`{"endpoint": %q, "protocol": %q, "compression": "none"%s}`, endpoint, protocol, more)
}

// bodies are those of a request.
func bodies(r *collogs.ExportLogsServiceRequest) (out []string) {
	for _, l := range r.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords() {
		out = append(out, text(l.GetBody()))
	}
	return out
}

func partial(refused int, message string) *collogs.ExportLogsServiceResponse {
	return &collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: int64(refused), ErrorMessage: message}}
}

// TestPartialSuccess has receivers that refuse some records, by a count or by refusing the whole request: each refused record is found.
func TestPartialSuccess(t *testing.T) {
	all := make([]string, 20)
	for i := range all {
		all[i] = fmt.Sprintf("line %d", i)
	}
	isBad := func(b string) bool { return strings.HasSuffix(b, "3") || b == "line 7" } // rows 3, 7, 13
	count := func(r *collogs.ExportLogsServiceRequest) (n int) {
		for _, b := range bodies(r) {
			if isBad(b) {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		name   string
		answer func(int, *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error)
		want   []int
		kind   fault.Kind
	}{
		{"count", func(_ int, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
			return partial(count(r), "too old"), nil
		}, []int{3, 7, 13}, 0},
		{"a warning alone", func(int, *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
			return partial(0, "soon too old"), nil
		}, nil, 0},
		{"the whole", func(_ int, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
			if count(r) > 0 {
				return nil, status.Error(codes.InvalidArgument, "bad line")
			}
			return &collogs.ExportLogsServiceResponse{}, nil
		}, []int{3, 7, 13}, 0},
		{"all, one by one", func(_ int, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
			return partial(len(bodies(r)), "too old"), nil
		}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, 0},
		{"all, always", func(int, *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
			return nil, status.Error(codes.InvalidArgument, "no logs please")
		}, nil, fault.Config},
	} {
		for _, protocol := range protocols {
			f := newFake(t, tt.answer)
			k := open(t, f.config(protocol, ""))
			s := sinktest.Hours("one", 0, 1)
			tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
			if err != nil {
				t.Fatal(err)
			}
			b := sinktest.Batch(memory.DefaultAllocator, s, 0, all)
			rejected, err := tx.Append(t.Context(), b)
			b.Records.Release()
			if fault.KindOf(err) != tt.kind || f.requests > 2*len(all) {
				t.Errorf("%s, %s: %v after %d requests", tt.name, protocol, err, f.requests)
			}
			var rows []int
			for _, r := range rejected {
				rows = append(rows, r.Row)
				if !strings.Contains(r.Reason, "too old") && !strings.Contains(r.Reason, "bad line") {
					t.Errorf("%s, %s: reason %q", tt.name, protocol, r.Reason)
				}
			}
			if !slices.Equal(rows, tt.want) {
				t.Errorf("%s, %s: refused are %v, want %v", tt.name, protocol, rows, tt.want)
			}
		}
	}
}

// TestAnswers holds what each status makes of a slice, and that a receiver's time is kept.
func TestAnswers(t *testing.T) {
	t.Parallel()
	again, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	later, err := status.New(codes.Unavailable, "in an hour").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	const token = "t0ken-of-the-test"
	for _, tt := range []struct {
		name     string
		err      error
		kind     fault.Kind
		requests int
		after    time.Duration
	}{
		{"once more", again.Err(), 0, 2, 0},
		{"later", later.Err(), fault.Throttled, 1, time.Hour},
		{"auth", status.Error(codes.Unauthenticated, "who are you?"), fault.Auth, 1, 0},
		{"not for logs", status.Error(codes.Unimplemented, "unknown service"), fault.Config, 1, 0},
		{"broken", status.Error(codes.Internal, "oh"), fault.Transient, 1, 0},
		{"no time", status.Error(codes.ResourceExhausted, "full"), 0, 2, 0},
	} {
		for _, protocol := range protocols {
			f := newFake(t, func(n int, _ *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
				if n == 1 {
					return nil, tt.err
				}
				return &collogs.ExportLogsServiceResponse{}, nil
			})
			k := open(t, f.config(protocol, `, "headers": {"X-Token": "`+token+`"}`))
			s := sinktest.Hours("one", 0, 1)
			_, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3))
			if (err == nil) != (tt.kind == 0) || fault.KindOf(err) != tt.kind || f.requests != tt.requests || fault.RetryAfterOf(err) != tt.after {
				t.Errorf("%s, %s: %v (kind %s, after %s), %d requests", tt.name, protocol, err, fault.KindOf(err), fault.RetryAfterOf(err), f.requests)
			}
			if err != nil && strings.Contains(err.Error()+fault.HintOf(err), token) {
				t.Errorf("%s, %s: the error holds the token: %v", tt.name, protocol, err)
			}
			if !slices.Contains(f.headers, token) {
				t.Errorf("%s, %s: tokens %q", tt.name, protocol, f.headers)
			}
		}
	}
}

func TestStopsWhileWaiting(t *testing.T) {
	again, err := status.New(codes.Unavailable, "slow down").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(20 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f := newFake(t, func(int, *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
		cancel()
		return nil, again.Err()
	})
	k := open(t, f.config("grpc", ""))
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(ctx, k, s, sinktest.Bodies(s, 3)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

var full = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColObservedTimestamp, Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColSeverityText, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColSeverityNumber, Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
	{Name: flow.ColSource, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColLogID, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColAttributes, Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	{Name: "sequence", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "share", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "ok", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "labels", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
}, nil)

const rows = `[
  {"timestamp": "2026-11-01T10:20:30.123456789Z", "observed_timestamp": "2026-11-02T00:00:00.000Z", "severity_text": "ERROR", "severity_number": 17,
   "body": "größer", "source": "elsa", "log_id": "1", "log_name": "web",
   "attributes": [{"key": "host", "value": "web-1"}, {"key": "ok", "value": "maybe"}], "sequence": -7, "share": 0.5, "ok": true, "labels": ["x", "y"]},
  {"body": "\ufffd", "body_raw": "/w==", "source": "elsa", "log_id": "1", "log_name": "web", "timestamp": "1960-01-01T00:00:00Z"},
  {"body": null, "source": "elsa", "log_id": "2"}
]`

// TestRequest reads requests by the protocol's own types.
func TestRequest(t *testing.T) {
	alloc := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer alloc.AssertSize(t, 0)
	rec, _, err := array.RecordFromJSON(alloc, full, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	f := newFake(t, func(int, *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
		return &collogs.ExportLogsServiceResponse{}, nil
	})
	c := f.config("http", `, "resource": {"service.name": "{log_name}", "tenant": "{labels.tenant}"}`)
	c.Labels = map[string]string{"tenant": "acme"}
	k := open(t, c)
	s := sinktest.Hours("1", 10, 11)
	tx, err := k.Begin(t.Context(), s, 0, full)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Append(t.Context(), flow.Batch{Slice: s.ID, Records: rec}); err != nil {
		t.Fatal(err)
	}
	ids, err := recordid.New(s, nil).Append(nil, rec)
	if err != nil {
		t.Fatal(err)
	}
	attribute := func(key, kind, value string) string {
		return fmt.Sprintf(`attributes {key: %q value {%s_value: %s}} `, key, kind, value)
	}
	want := []string{
		`resource_logs {resource {` + attribute("service.name", "string", `"web"`) + attribute("tenant", "string", `"acme"`) +
			attribute("sluice.stream", "string", `"events"`) + attribute("sluice.source", "string", `"elsa"`) + attribute("sluice.log_id", "string", `"1"`) +
			attribute("sluice.log_name", "string", `"web"`) + `} scope_logs {scope {name: "sluice" version: "1.2.3"}
			log_records {time_unix_nano: 1793528430123456789 observed_time_unix_nano: 1793577600000000000 severity_number: SEVERITY_NUMBER_ERROR severity_text: "ERROR"
			body {string_value: "größer"} ` + attribute("log.record.uid", "string", fmt.Sprintf("%q", ids[0])) + attribute("host", "string", `"web-1"`) +
			attribute("ok", "string", `"maybe"`) + attribute("sequence", "int", "-7") + attribute("share", "double", "0.5") +
			attribute("sluice.column.ok", "bool", "true") + attribute("labels", "string", `"[\"x\",\"y\"]"`) + `}
			log_records {body {bytes_value: "\377"} ` + attribute("log.record.uid", "string", fmt.Sprintf("%q", ids[1])) +
			attribute("timestamp", "string", `"1960-01-01T00:00:00.000000000Z"`) + `}}}`,
		`resource_logs {resource {` + attribute("tenant", "string", `"acme"`) + attribute("sluice.stream", "string", `"events"`) +
			attribute("sluice.source", "string", `"elsa"`) + attribute("sluice.log_id", "string", `"2"`) + `} scope_logs {scope {name: "sluice" version: "1.2.3"}
			log_records {body {string_value: ""} ` + attribute("log.record.uid", "string", fmt.Sprintf("%q", ids[2])) + `}}}`,
	}
	if len(f.seen) != len(want) {
		t.Fatalf("%d requests, want %d", len(f.seen), len(want))
	}
	for i, textual := range want {
		var w collogs.ExportLogsServiceRequest
		if err := prototext.Unmarshal([]byte(textual), &w); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&w, f.seen[i], protocmp.Transform()); diff != "" {
			t.Errorf("request %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestSettings(t *testing.T) {
	for settings, want := range map[string]string{
		`{"endpoint": "localhost"}`:                                      "",
		`{"endpoint": "https://localhost:1/x/logs", "protocol": "http"}`: "",
		`{}`:                               "endpoint",
		`{"endpoint": "ftp://x"}`:          "neither http",
		`{"endpoint": "http://u:p@x"}`:     "no user",
		`{"endpoint": "http://x/v1/logs"}`: "is the protocol http",
		`{"endpoint": "http://x", "tls": {"enabled": true}}`:        "write https",
		`{"endpoint": "https://x", "tls": {"enabled": false}}`:      "tls.enabled is false",
		`{"endpoint": "x", "protocol": "udp"}`:                      "protocol",
		`{"endpoint": "x", "compression": "zstd"}`:                  "compression",
		`{"endpoint": "x", "batch_size": 1}`:                        "batch_size",
		`{"endpoint": "x", "timeout": "0s"}`:                        "timeout",
		`{"endpoint": "x", "headers": {"te": "x"}}`:                 "headers",
		`{"endpoint": "x", "headers": {"x-token": "very\nsecret"}}`: "can't stand in a header",
		`{"endpoint": "x", "resource": {"a": "{nothing}"}}`:         "resource.a",
		`{"endpoint": "x", "resource": {"sluice.stream": "x"}}`:     "set by the sink",
		`{"endpoint": "x", "tls": {"cert_file": "x"}}`:              "go together",
		`{"endpoint": "x", "end": "y"}`:                             "end",
	} {
		err := Definition.Check(t.Context(), config("%s", settings))
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Config || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
}
