package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-io/sluice/internal/pace"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/shm"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// Server serves one source over gRPC: what Serve runs in a plugin process, and what tests run in their own. Safe for
// concurrent use.
type Server struct {
	v1.UnimplementedPluginServiceServer
	v1.UnimplementedSourceServiceServer

	def     Definition
	streams map[string]Stream
	log     *slog.Logger
	level   *slog.LevelVar
	pace    pace.Pace
	reading sync.WaitGroup // receivers of Read streams
	shared  *shm.Memory    // what the host offers for frames, nil without; set before anything is served

	mu     sync.Mutex
	source Source // nil until configured
	limits Limits
	share  bool // the host takes frames from shared
	host   *grpc.ClientConn
}

// NewServer returns the server of a valid definition. Its log goes to log; level, which may be nil, is set to what the
// host asks for.
func NewServer(def Definition, log *slog.Logger, level *slog.LevelVar) (*Server, error) {
	if err := def.Validate(); err != nil {
		return nil, err
	}
	if level == nil {
		level = new(slog.LevelVar)
	}
	s := &Server{
		def: def, log: log, level: level, streams: map[string]Stream{}, pace: pace.Protocol(),
	}
	for _, st := range def.Streams {
		s.streams[st.Name] = st
	}
	return s, nil
}

// SetPace is for plugintest, whose checks of a source needn't wait as long as the protocol lets a plugin take. It must be called before anything is served.
func (s *Server) SetPace(p pace.Pace) { s.pace = p }

// Register adds the plugin's services to a gRPC server, which must be made with wire.ServerOptions.
func (s *Server) Register(to grpc.ServiceRegistrar) {
	v1.RegisterPluginServiceServer(to, s)
	v1.RegisterSourceServiceServer(to, s)
}

// Close closes the source and the connection to the host. The gRPC server must have stopped. Idempotent.
func (s *Server) Close() error {
	s.reading.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if c, ok := s.source.(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	if s.host != nil {
		errs = append(errs, s.host.Close())
	}
	if s.shared != nil {
		errs = append(errs, s.shared.Close())
	}
	s.source, s.host = nil, nil
	return errors.Join(errs...)
}

// Describe implements the PluginService.
func (s *Server) Describe(context.Context, *v1.DescribeRequest) (*v1.DescribeResponse, error) {
	out := &v1.DescribeResponse{
		Name: s.def.Name, Version: s.def.Version,
		ProtocolVersions: []uint32{wire.ProtocolVersion}, Features: wire.Features(s.shared),
		Kind: v1.PluginKind_PLUGIN_KIND_SOURCE, ConfigSchema: s.def.Config,
	}
	for _, st := range s.def.Streams {
		schema, err := wire.EncodeSchema(st.Schema)
		if err != nil {
			return nil, wire.ToStatus(fault.New(fault.Bug, "describe", "", err))
		}
		kind := v1.StreamKind_STREAM_KIND_TIME
		if st.Kind == Snapshot {
			kind = v1.StreamKind_STREAM_KIND_SNAPSHOT
		}
		described := &v1.StreamDescription{
			Name: st.Name, Kind: kind, Schema: schema, PartitionBy: st.PartitionBy, Main: st.Main,
			Description: st.Description, DigestColumns: st.DigestColumns, Buffer: uint64(st.Buffer),
		}
		if st.Granularity > 0 {
			described.Granularity = durationpb.New(st.Granularity)
		}
		out.Streams = append(out.Streams, described)
	}
	for _, l := range s.def.Limits {
		out.Limits = append(out.Limits, &v1.Limit{
			Namespace: l.Namespace, Requests: l.Requests, Bytes: l.Bytes, Window: durationpb.New(l.Window),
		})
	}
	return out, nil
}

// Configure implements the PluginService. A failed one leaves the plugin unconfigured.
func (s *Server) Configure(ctx context.Context, req *v1.ConfigureRequest) (_ *v1.ConfigureResponse, err error) {
	defer s.recovered("configure", &err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source != nil {
		return nil, wire.ToStatus(fault.Errorf(fault.Bug, "configure", "the plugin is configured already: once a process"))
	}
	if v := req.GetProtocolVersion(); v != wire.ProtocolVersion {
		return nil, wire.ToStatus(fault.Errorf(fault.Config, "configure", "protocol version %d, this plugin speaks %d", v, wire.ProtocolVersion).
			WithHint("use a plugin and a host of matching versions"))
	}
	cfg, host, err := s.config(req)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	source, err := s.def.Open(ctx, cfg)
	if err == nil && source == nil {
		err = fault.Errorf(fault.Bug, "configure", "the source opened nothing")
	}
	var out *v1.ConfigureResponse
	if err == nil {
		if out, err = s.partitions(ctx, source); err != nil {
			if c, ok := source.(io.Closer); ok {
				err = errors.Join(err, c.Close())
			}
		}
	}
	if err != nil {
		if host != nil {
			err = errors.Join(err, host.Close())
		}
		return nil, wire.ToStatus(err)
	}
	s.source, s.limits, s.host = source, cfg.Limits, host
	s.share = s.shared != nil && slices.Contains(req.GetFeatures(), wire.FeatureSharedMemory)
	return out, nil
}

// config returns what the source is opened with, and the connection to the host if it named a socket.
func (s *Server) config(req *v1.ConfigureRequest) (Config, *grpc.ClientConn, error) {
	settings := req.GetConfig()
	if len(settings) == 0 {
		settings = []byte("{}")
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(settings, &object) != nil || object == nil { // the decoder's text could quote a secret
		return Config{}, nil, fault.Errorf(fault.Config, "configure", "the settings aren't one JSON object")
	}
	if name := req.GetLogLevel(); name != "" {
		s.level.Set(parseLevel(name))
	}
	http, limits := req.GetHttp(), req.GetLimits()
	cfg := Config{
		Settings: settings,
		HTTP: HTTP{
			Proxy: http.GetProxy(), NoProxy: http.GetNoProxy(), CAPEM: http.GetCaPem(), UserAgent: http.GetUserAgent(),
		},
		Spool: req.GetSpoolFolder(),
		Slice: SliceTarget{Duration: req.GetSlice().GetDuration().AsDuration(), Bytes: req.GetSlice().GetBytes()},
		Limits: Limits{
			FrameTarget: bytesOf(limits.GetFrameTarget()), FrameMax: bytesOf(limits.GetFrameMax()),
			RecordMax: bytesOf(limits.GetRecordMax()),
		}.withDefaults(),
		Budget: openBudget{s.log},
		Log:    s.log,
	}
	if req.GetHostSocket() == "" {
		return cfg, nil, nil
	}
	conn, err := dialHost(req.GetHostSocket())
	if err != nil {
		return Config{}, nil, fault.New(fault.Bug, "configure", "", err)
	}
	cfg.Budget = &hostBudget{v1.NewHostServiceClient(conn)}
	return cfg, conn, nil
}

// bytesOf returns a length of the protocol, at most what a message may hold.
func bytesOf(n uint64) int64 { return int64(min(n, wire.MaxMessage)) }

// partitions asks the source for the partition keys that the settings name, and for how long its streams settle.
func (s *Server) partitions(ctx context.Context, source Source) (*v1.ConfigureResponse, error) {
	out := &v1.ConfigureResponse{}
	for _, st := range s.def.Streams {
		entry := &v1.StreamPartitions{Stream: st.Name}
		if t, ok := source.(Settler); ok {
			switch d := t.Settle(st.Name); {
			case d < 0:
				return nil, fault.Errorf(fault.Config, "configure", "stream %q settles in %s", st.Name, d)
			case d > 0:
				entry.Settle = durationpb.New(d)
			}
		}
		if st.PartitionBy != "" {
			keys, err := partitionKeys(ctx, source, st.Name)
			if err != nil {
				return nil, err
			}
			entry.Keys = keys
		}
		if st.PartitionBy != "" || entry.Settle != nil {
			out.Partitions = append(out.Partitions, entry)
		}
	}
	return out, nil
}

func partitionKeys(ctx context.Context, source Source, stream string) ([]*v1.PartitionKey, error) {
	p, ok := source.(Partitioner)
	if !ok {
		return nil, fault.Errorf(fault.Bug, "configure", "stream %q has partitions, but the source isn't a Partitioner", stream)
	}
	keys, err := p.Partitions(ctx, stream)
	if err != nil {
		return nil, err
	}
	var out []*v1.PartitionKey
	for _, k := range keys {
		if slices.ContainsFunc(out, func(o *v1.PartitionKey) bool { return o.GetKey() == k.Key }) {
			return nil, fault.Errorf(fault.Config, "configure", "stream %q: partition %q is named twice", stream, k.Key)
		}
		out = append(out, &v1.PartitionKey{Key: k.Key, Name: k.Name})
	}
	return out, nil
}

// sender returns who puts a read's frames into shared memory, nil if they are sent.
func (s *Server) sender() *shm.Sender {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.share {
		return nil
	}
	return s.shared.NewSender()
}

// configured returns the source, or the status of a call that came before Configure.
func (s *Server) configured() (Source, Limits, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source == nil {
		return nil, Limits{}, wire.ToStatus(fault.Errorf(fault.Bug, "call", "the plugin isn't configured"))
	}
	return s.source, s.limits, nil
}

// Check implements the PluginService.
func (s *Server) Check(ctx context.Context, _ *v1.CheckRequest) (_ *v1.CheckResponse, err error) {
	defer s.recovered("check", &err)
	source, _, err := s.configured()
	if err != nil {
		return nil, err
	}
	c, ok := source.(Checker)
	if !ok {
		return nil, status.Error(codes.FailedPrecondition, "the source has no check")
	}
	summary, err := c.Check(ctx)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &v1.CheckResponse{Summary: clip(summary, maxReason)}, nil
}

// Discover implements the PluginService.
func (s *Server) Discover(_ *v1.DiscoverRequest, stream grpc.ServerStreamingServer[v1.DiscoverResponse]) (err error) {
	defer s.recovered("discover", &err)
	source, _, err := s.configured()
	if err != nil {
		return err
	}
	d, ok := source.(Discoverer)
	if !ok {
		return status.Error(codes.Unimplemented, "the source can't discover")
	}
	return wire.ToStatus(d.Discover(stream.Context(), func(f Found) error {
		return stream.Send(&v1.DiscoverResponse{Kind: f.Kind, Id: f.ID, Name: f.Name, Attributes: f.Attributes})
	}))
}

// Plan implements the SourceService.
func (s *Server) Plan(req *v1.PlanRequest, stream grpc.ServerStreamingServer[v1.PlanResponse]) (err error) {
	defer s.recovered("plan", &err)
	source, _, err := s.configured()
	if err != nil {
		return err
	}
	g, err := wire.GapFromProto(req)
	if err != nil {
		return wire.ToStatus(fault.New(fault.Bug, "plan", "", err))
	}
	if _, ok := s.streams[g.Stream]; !ok {
		return wire.ToStatus(s.unknownStream("plan", g.Stream))
	}
	planned, err := source.Plan(stream.Context(), g)
	if err != nil {
		return wire.ToStatus(err)
	}
	for _, p := range planned {
		if err := stream.Send(&v1.PlanResponse{Slice: wire.SliceToProto(p)}); err != nil {
			return err
		}
	}
	return nil
}

// Now implements the SourceService.
func (s *Server) Now(ctx context.Context, _ *v1.NowRequest) (_ *v1.NowResponse, err error) {
	defer s.recovered("now", &err)
	source, _, err := s.configured()
	if err != nil {
		return nil, err
	}
	c, ok := source.(Clock)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the vendor tells no time")
	}
	now, err := c.Now(ctx)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &v1.NowResponse{Time: wire.TimeToProto(now)}, nil
}

// Measure implements the SourceService.
func (s *Server) Measure(ctx context.Context, req *v1.MeasureRequest) (_ *v1.MeasureResponse, err error) {
	defer s.recovered("measure", &err)
	source, _, err := s.configured()
	if err != nil {
		return nil, err
	}
	m, ok := source.(Meter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the source can't tell how much a range holds")
	}
	p, r, err := wire.MeasureRequestFromProto(req)
	if err != nil {
		return nil, wire.ToStatus(fault.New(fault.Bug, "measure", "", err))
	}
	if _, ok := s.streams[p.Stream]; !ok {
		return nil, wire.ToStatus(s.unknownStream("measure", p.Stream))
	}
	measures, err := m.Measure(ctx, p, r)
	if err == nil {
		if wrong := flow.CheckMeasures(r, measures); wrong != nil {
			err = fault.New(fault.Bug, "measure", "", wrong)
		}
	}
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &v1.MeasureResponse{Measures: wire.MeasuresToProto(measures)}, nil
}

func (s *Server) unknownStream(op, name string) error {
	var known []string
	for _, st := range s.def.Streams {
		known = append(known, st.Name)
	}
	return fault.New(fault.Config, op, fmt.Sprintf("the source's streams are %q", known), fmt.Errorf("unknown stream %q", name))
}

var (
	_ v1.PluginServiceServer = (*Server)(nil)
	_ v1.SourceServiceServer = (*Server)(nil)
)
