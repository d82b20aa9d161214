package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"slices"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// ErrNoClock is returned by Now if the vendor tells no time: the pipeline needs "clock: host".
var ErrNoClock = errors.New("the vendor tells no time")

// ErrNotSupported is returned by Check and Discover if the plugin can't do it.
var ErrNotSupported = errors.New("the plugin doesn't support it")

// Bounds of what a plugin may list.
const (
	maxStreams    = 256
	maxPlanned    = 1 << 20
	maxDiscovered = 1 << 20
	maxSettle     = 366 * day
	maxBuffer     = 1 << 40 // bytes: no machine of today has more to hold
)

// frameTarget is the length in bytes at which a plugin sends a batch, unless it is told otherwise: longer ones wake fewer goroutines for each
// GB, shorter ones take less memory. Two of them fit into the smallest window.
const frameTarget = 2 << 20

const day = 24 * time.Hour

// Description is what a plugin says it is.
type Description struct {
	Name, Version string
	Protocol      uint32          // the version that both sides speak
	Features      []string        // that both sides know
	ConfigSchema  json.RawMessage // JSON Schema (2020-12) of the settings
	Streams       []Stream
	Limits        []Limit // the vendor's documented limits
}

// Stream returns the named stream; an empty name is the main one.
func (d Description) Stream(name string) (Stream, bool) {
	i := slices.IndexFunc(d.Streams, func(s Stream) bool { return s.Name == name || name == "" && s.Main })
	if i < 0 {
		return Stream{}, false
	}
	return d.Streams[i], true
}

// StreamKind is how a stream relates to time.
type StreamKind uint8

// The kinds of streams.
const (
	Time     StreamKind = iota + 1 // records of a range of time
	Snapshot                       // what is now
)

// Stream is one kind of record.
type Stream struct {
	Name          string
	Kind          StreamKind
	Schema        *arrow.Schema
	PartitionBy   string // what a partition key is; empty without partitions
	Main          bool
	Description   string
	DigestColumns []string // empty: the text body is hashed
	// Granularity is what slices begin and end at multiples of, since the Unix epoch; 0: a millisecond.
	Granularity time.Duration
	// Buffer is how many bytes a read may hold beside the messages that it has sent and one longest record.
	Buffer int64
}

// sum counts and hashes the records of a batch.
func (s Stream) sum(rec arrow.Record) (flow.Sum, error) {
	if len(s.DigestColumns) > 0 {
		return flow.SumColumns(rec, s.DigestColumns)
	}
	return flow.SumRecord(rec)
}

// Limit is what the vendor allows per key and namespace in a window. Zero Requests or Bytes mean not limited.
type Limit struct {
	Namespace       string
	Requests, Bytes uint64
	Window          time.Duration
}

// Config is what a plugin is configured with. It holds secrets: never log it.
type Config struct {
	Settings json.RawMessage // one JSON object, secrets resolved
	// Secrets are masked in whatever the plugin logs or answers, beside the settings that its schema marks as secret.
	Secrets  []string
	HTTP     HTTP
	Spool    string // a folder of this process's own for large intermediate files, emptied by the caller
	Slice    SliceTarget
	Limits   Limits
	LogLevel string // debug, info, warn or error; empty: info
	// Answer is how long the settings let the vendor be silent before the plugin gives its answer up; 0: a minute.
	Answer time.Duration
}

// HTTP is how this machine reaches the vendor: a plugin's environment tells it nothing.
type HTTP struct {
	Proxy     string // URL, may hold credentials; empty: direct
	NoProxy   string
	CAPEM     []byte // PEM certificates beside the system's
	UserAgent string // empty: sluice/VERSION
}

// SliceTarget is what a slice should weigh; both zero: automatic.
type SliceTarget struct {
	Duration time.Duration
	Bytes    uint64
}

// Limits bound what the plugin sends, in bytes. Zero: 1 MiB, 4 MiB and 16 MiB.
type Limits struct{ FrameTarget, FrameMax, RecordMax int64 }

// Configured is what the plugin made of its Config.
type Configured struct {
	Warnings []string // for the operator, a sentence each
	// Partitions holds the keys of each stream that the settings name; a stream that isn't here has the one empty partition.
	Partitions map[string][]PartitionKey
	// Settle is how much longer than the lag a range of a stream must be over before it is read; not here: no longer.
	Settle map[string]time.Duration
}

// PartitionKey is a partition, with what people call it if that is known.
type PartitionKey struct{ Key, Name string }

// Found is one thing that the credentials can see. Kind is "log", "logset", "project" or "field".
type Found struct {
	Kind, ID, Name string
	Attributes     map[string]string
}

// stubs is go-plugin's idea of a plugin; only the connection is used.
type stubs struct{}

func (stubs) Server(*plugin.MuxBroker) (any, error) { return nil, errors.New("only gRPC is served") }

func (stubs) Client(*plugin.MuxBroker, *rpc.Client) (any, error) {
	return nil, errors.New("only gRPC is spoken")
}
func (stubs) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }
func (stubs) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// callError returns what a failed call means. A lost connection is told as the process's end.
func (p *Plugin) callError(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fault.New(fault.Transient, "plugin "+p.Name(), "", fmt.Errorf("%s: %w", op, context.DeadlineExceeded))
		}
		return fault.New(fault.Canceled, "plugin "+p.Name(), "", fmt.Errorf("%s: %w", op, context.Cause(ctx)))
	}
	if lostConnection(err) {
		return p.lost(err)
	}
	var e *fault.Error
	if err := wire.FromStatus(err); !errors.As(err, &e) {
		return fault.New(fault.Unknown, "plugin "+p.Name(), "", fmt.Errorf("%s: %w", op, err))
	}
	// What the plugin says of itself may hold what it was told in confidence.
	e.Op, e.Hint = p.redact.told(e.Op), p.redact.told(e.Hint)
	if e.Err != nil {
		text := e.Err.Error()
		if masked := p.redact.told(text); masked != text {
			e.Err = errors.New(masked)
		}
	}
	if e.Op == "" {
		e.Op = op
	}
	e.Op = "plugin " + p.Name() + ": " + e.Op
	return e
}

// lostConnection reports whether gRPC itself, not the plugin, says that the other end is gone.
func lostConnection(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	st, ok := status.FromError(err)
	if !ok || len(st.Details()) > 0 {
		return false
	}
	return st.Code() == codes.Unavailable || st.Code() == codes.Canceled
}

// call makes a call that asks nobody but the plugin: one that takes longer than Timeouts.Call hangs.
func (p *Plugin) call(ctx context.Context, op string, f func(context.Context) error) error {
	limit := p.sup.opts.Timeouts.Call
	// A timer, not a deadline: the plugin would be told a deadline, and could be the first to say that it has passed.
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var late atomic.Bool
	timer := time.AfterFunc(limit, func() { late.Store(true); cancel() })
	defer timer.Stop()
	err := f(callCtx)
	switch {
	case err == nil:
		return nil
	case late.Load() && ctx.Err() == nil:
		return p.fail(fmt.Sprintf("hangs: no answer to %s within %s", op, limit), "look at the plugin's log; if it happens again, tell the plugin's author")
	}
	return p.callError(ctx, op, err)
}

// Describe returns what the plugin said of itself at its start.
func (p *Plugin) Describe(context.Context) (Description, error) { return p.description, nil }

// describe asks the plugin what it is and checks the answer.
func (p *Plugin) describe(ctx context.Context) (Description, error) {
	m, err := v1.NewPluginServiceClient(p.conn).Describe(ctx, &v1.DescribeRequest{})
	if err != nil {
		if status.Code(err) == codes.Unimplemented {
			return Description{}, p.misfit("doesn't serve Sluice's plugin protocol: "+status.Convert(err).Message(), "give the path of a Sluice plugin")
		}
		if lostConnection(err) {
			return Description{}, err
		}
		return Description{}, wire.FromStatus(err)
	}
	return p.describeAnswer(m)
}

// misfit is the error of a plugin that runs and isn't one that this host can use: no second try helps.
func (p *Plugin) misfit(what, hint string) error {
	return fault.New(fault.Config, "plugin "+p.spec.String(), hint, errors.New(what))
}

func (p *Plugin) describeAnswer(m *v1.DescribeResponse) (Description, error) {
	const hint = "update the plugin; if that doesn't help, tell its author"
	d := Description{Name: m.GetName(), Version: m.GetVersion(), Protocol: wire.ProtocolVersion, ConfigSchema: m.GetConfigSchema()}
	if p.spec.Name != "" && d.Name != p.spec.Name {
		return d, p.misfit(fmt.Sprintf("%s calls itself %s", p.proc.cmd.Path, quote([]byte(d.Name))), "correct the source's type or the plugin's path")
	}
	if d.Name == "" {
		return d, p.misfit("has no name", hint)
	}
	if versions := m.GetProtocolVersions(); !slices.Contains(versions, uint32(wire.ProtocolVersion)) {
		return d, p.misfit(fmt.Sprintf("version %s speaks versions %v of the plugin protocol, this Sluice version %d", quote([]byte(d.Version)), versions, wire.ProtocolVersion), hint)
	}
	if m.GetKind() != v1.PluginKind_PLUGIN_KIND_SOURCE {
		return d, p.misfit(fmt.Sprintf("is no source (%s)", m.GetKind()), "give the path of a source")
	}
	for _, f := range wire.Features(p.shared) {
		if slices.Contains(m.GetFeatures(), f) {
			d.Features = append(d.Features, f)
		}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(d.ConfigSchema, &object); err != nil {
		return d, p.misfit(fmt.Sprintf("has a config schema that isn't a JSON object: %v", err), hint)
	}
	if n := len(m.GetStreams()); n == 0 || n > maxStreams {
		return d, p.misfit(fmt.Sprintf("has %d streams, want 1 to %d", n, maxStreams), hint)
	}
	for _, sm := range m.GetStreams() {
		s, err := describedStream(sm)
		if err != nil {
			return d, p.misfit(fmt.Sprintf("stream %s: %v", quote([]byte(sm.GetName())), err), hint)
		}
		if slices.ContainsFunc(d.Streams, func(o Stream) bool { return o.Name == s.Name || o.Main && s.Main }) {
			return d, p.misfit(fmt.Sprintf("stream %s: another one has the same name or is the main one too", quote([]byte(s.Name))), hint)
		}
		d.Streams = append(d.Streams, s)
	}
	if len(d.Streams) == 1 {
		d.Streams[0].Main = true
	}
	for _, l := range m.GetLimits() {
		if err := l.GetWindow().CheckValid(); err != nil || l.GetWindow().AsDuration() <= 0 {
			return d, p.misfit(fmt.Sprintf("limit %s has no window", quote([]byte(l.GetNamespace()))), hint)
		}
		d.Limits = append(d.Limits, Limit{Namespace: l.GetNamespace(), Requests: l.GetRequests(), Bytes: l.GetBytes(), Window: l.GetWindow().AsDuration()})
	}
	return d, nil
}

func describedStream(m *v1.StreamDescription) (Stream, error) {
	s := Stream{
		Name: m.GetName(), PartitionBy: m.GetPartitionBy(), Main: m.GetMain(),
		Description: m.GetDescription(), DigestColumns: m.GetDigestColumns(),
	}
	if s.Name == "" {
		return s, errors.New("no name")
	}
	switch m.GetKind() {
	case v1.StreamKind_STREAM_KIND_TIME:
		s.Kind = Time
	case v1.StreamKind_STREAM_KIND_SNAPSHOT:
		s.Kind = Snapshot
	default:
		return s, fmt.Errorf("kind %s isn't known", m.GetKind())
	}
	if g := m.GetGranularity(); g != nil {
		s.Granularity = g.AsDuration()
		if g.CheckValid() != nil || s.Granularity < 0 || s.Granularity%time.Millisecond != 0 || s.Granularity > 0 && day%s.Granularity != 0 {
			return s, fmt.Errorf("granularity %s doesn't divide a day in whole milliseconds", s.Granularity)
		}
	}
	if m.GetBuffer() > maxBuffer {
		return s, fmt.Errorf("a buffer of %d bytes, more than %d", m.GetBuffer(), uint64(maxBuffer))
	}
	s.Buffer = int64(m.GetBuffer())
	var err error
	if s.Schema, err = wire.DecodeSchema(m.GetSchema()); err != nil {
		return s, fmt.Errorf("schema: %w", err)
	}
	for _, c := range s.DigestColumns {
		if !s.Schema.HasField(c) {
			return s, fmt.Errorf("digest column %s isn't in the schema", quote([]byte(c)))
		}
	}
	if _, _, isLog := flow.BodyColumns(s.Schema); !isLog && len(s.DigestColumns) == 0 {
		return s, errors.New("no digest columns, and no text body to hash instead")
	}
	return s, nil
}

// Configure hands over settings, secrets, proxy and CA, folders and limits. It is called once, before any other call but
// Describe.
func (p *Plugin) Configure(ctx context.Context, c Config) (Configured, error) {
	limits := Limits{
		FrameTarget: orDefault(c.Limits.FrameTarget, frameTarget),
		FrameMax:    orDefault(c.Limits.FrameMax, 4<<20),
		RecordMax:   orDefault(c.Limits.RecordMax, 16<<20),
	}
	p.mu.Lock()
	again := p.configured
	if !again {
		p.configured, p.limits = true, limits
	}
	p.mu.Unlock()
	if again {
		return Configured{}, fault.Errorf(fault.Bug, "plugin "+p.Name(), "configured twice")
	}
	if c.Answer <= 0 {
		c.Answer = answerTime
	}
	p.answerTime.Store(int64(c.Answer))
	secrets := slices.Concat(c.Secrets, schemaSecrets(p.description.ConfigSchema, c.Settings), urlSecrets(c.HTTP.Proxy))
	p.redact.set(secrets)
	req := &v1.ConfigureRequest{
		ProtocolVersion: p.description.Protocol,
		Features:        p.description.Features,
		Config:          c.Settings,
		Http:            &v1.HttpSettings{Proxy: c.HTTP.Proxy, NoProxy: c.HTTP.NoProxy, CaPem: c.HTTP.CAPEM, UserAgent: c.HTTP.UserAgent},
		SpoolFolder:     c.Spool,
		Limits: &v1.PluginLimits{
			FrameTarget: uint64(limits.FrameTarget), FrameMax: uint64(limits.FrameMax), RecordMax: uint64(limits.RecordMax),
		},
		Slice:    &v1.SliceTarget{Bytes: c.Slice.Bytes},
		LogLevel: c.LogLevel,
	}
	if req.LogLevel == "" {
		req.LogLevel = "info"
	}
	if req.Http.UserAgent == "" {
		req.Http.UserAgent = "sluice/" + p.sup.opts.Version
	}
	if c.Slice.Duration > 0 {
		req.Slice.Duration = durationpb.New(c.Slice.Duration)
	}
	if p.sup.opts.Budget != nil {
		h, err := p.serveHost()
		if err != nil {
			return Configured{}, err
		}
		req.HostSocket = h.path
	}
	var m *v1.ConfigureResponse
	err := p.call(ctx, "configure", func(ctx context.Context) (err error) {
		m, err = v1.NewPluginServiceClient(p.conn).Configure(ctx, req)
		return err
	})
	if err != nil {
		return Configured{}, err
	}
	out := Configured{Partitions: make(map[string][]PartitionKey), Settle: make(map[string]time.Duration)}
	for _, w := range m.GetWarnings() {
		out.Warnings = append(out.Warnings, p.redact.shown(w, maxLogAttr))
	}
	for _, sp := range m.GetPartitions() {
		stream, ok := p.description.Stream(sp.GetStream())
		if !ok || sp.GetStream() == "" {
			return Configured{}, p.violation("names partitions of the stream %s, which it doesn't have", quote([]byte(sp.GetStream())))
		}
		if t := sp.GetSettle(); t != nil {
			if d := t.AsDuration(); t.CheckValid() != nil || d < 0 || d > maxSettle {
				return Configured{}, p.violation("says that the stream %s settles in %s", quote([]byte(stream.Name)), d)
			}
			out.Settle[stream.Name] = t.AsDuration()
		}
		seen := make(map[string]bool)
		for _, k := range sp.GetKeys() {
			if seen[k.GetKey()] {
				return Configured{}, p.violation("names the partition %s of the stream %s twice", quote([]byte(k.GetKey())), quote([]byte(stream.Name)))
			}
			seen[k.GetKey()] = true
			out.Partitions[stream.Name] = append(out.Partitions[stream.Name], PartitionKey{Key: k.GetKey(), Name: k.GetName()})
		}
	}
	return out, nil
}

func orDefault(n, otherwise int64) int64 {
	if n <= 0 {
		return otherwise
	}
	return n
}

// Plan has the source cut a gap into slices. They begin at g.From and follow each other without hole or overlap within the
// gap; they may stop before g.To: the caller asks again for the rest.
func (p *Plugin) Plan(ctx context.Context, g flow.Gap) ([]flow.Slice, error) {
	if g.Range().Empty() {
		return nil, nil
	}
	var planned []flow.Slice
	var broken error
	described, _ := p.description.Stream(g.Stream)
	err := p.call(ctx, "plan "+g.Partition.String(), func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := v1.NewSourceServiceClient(p.conn).Plan(ctx, wire.GapToProto(g))
		if err != nil {
			return err
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			s, err := wire.SliceFromProto(m.GetSlice())
			if err == nil {
				err = follows(g, planned, s, described.Granularity)
			}
			if err != nil {
				broken = err
				return nil
			}
			planned = append(planned, s)
		}
	})
	switch {
	case err != nil:
		return nil, err
	case broken != nil:
		return nil, p.violation("its plan of %s %s doesn't cover it exactly: %v", g.Partition, g.Range(), broken)
	case len(planned) == 0:
		return nil, p.violation("its plan of %s %s is empty", g.Partition, g.Range())
	}
	return planned, nil
}

// follows checks that s is the next slice of a plan of g.
func follows(g flow.Gap, planned []flow.Slice, s flow.Slice, granularity time.Duration) error {
	if len(planned) >= maxPlanned {
		return fmt.Errorf("more than %d slices", maxPlanned)
	}
	want := g.From
	if n := len(planned); n > 0 {
		want = planned[n-1].To
	}
	switch {
	case s.Partition != g.Partition:
		return fmt.Errorf("slice %s is of another partition or selection", s)
	case s.Rev != 0:
		return fmt.Errorf("slice %s is a revision", s)
	case s.From.After(want):
		return fmt.Errorf("slice %s leaves a hole from %s on", s, want.Format(flow.Layout))
	case s.From.Before(want):
		return fmt.Errorf("slice %s overlaps what ends at %s", s, want.Format(flow.Layout))
	case s.To.After(g.To):
		return fmt.Errorf("slice %s goes beyond %s", s, g.To.Format(flow.Layout))
	case granularity > 0 && s.To.UnixMilli()%granularity.Milliseconds() != 0 && s.To.Before(g.To):
		return fmt.Errorf("slice %s ends between two multiples of the stream's granularity %s", s, granularity)
	}
	return nil
}

// Now returns the vendor's clock, asked without key or budget, or ErrNoClock. A plugin that takes longer than Timeouts.Silence beside the
// vendor's answer hangs.
func (p *Plugin) Now(ctx context.Context) (time.Time, error) {
	var m *v1.NowResponse
	untold := false
	// No sign counts, for the budget is asked by reads that run meanwhile.
	err := p.ask(ctx, "ask the vendor's clock", p.sup.opts.Timeouts.Silence+p.answer(), new(signs), func(ctx context.Context) (err error) {
		m, err = v1.NewSourceServiceClient(p.conn).Now(ctx, &v1.NowRequest{})
		if untold = status.Code(err) == codes.Unimplemented; untold {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return time.Time{}, err
	case untold:
		return time.Time{}, fault.New(fault.Config, "plugin "+p.Name(), `set "clock: host" on the pipeline`, ErrNoClock)
	}
	t, err := wire.TimeFromProto(m.GetTime())
	if err != nil || t.IsZero() {
		return time.Time{}, p.violation("answers the question for the vendor's clock without a valid time")
	}
	return t, nil
}

// Check proves the credentials by the vendor's cheapest call and returns a line that says what was proved. It waits for the budget; a plugin
// that neither asks for that nor answers for Timeouts.Ask beside the vendor's answer hangs.
func (p *Plugin) Check(ctx context.Context) (string, error) {
	var m *v1.CheckResponse
	unable := false
	err := p.ask(ctx, "check", p.sup.opts.Timeouts.Ask+p.answer(), &p.signs, func(ctx context.Context) (err error) {
		m, err = v1.NewPluginServiceClient(p.conn).Check(ctx, &v1.CheckRequest{})
		code := status.Code(err)
		if unable = code == codes.Unimplemented || code == codes.FailedPrecondition && len(status.Convert(err).Details()) == 0; unable {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case unable:
		return "", fault.New(fault.Config, "plugin "+p.Name(), "", fmt.Errorf("check: %w", ErrNotSupported))
	}
	return p.redact.shown(m.GetSummary(), maxLogAttr), nil
}

// Discover calls yield for each thing that the credentials can see until yield returns an error, which Discover returns. It may take as long
// as it takes; a plugin that finds nothing more for as long as Check may take hangs.
func (p *Plugin) Discover(ctx context.Context, yield func(Found) error) error {
	unable, tooMany := false, false
	var refused error // by yield
	err := p.ask(ctx, "discover", p.sup.opts.Timeouts.Ask+p.answer(), &p.signs, func(ctx context.Context) error {
		stream, err := v1.NewPluginServiceClient(p.conn).Discover(ctx, &v1.DiscoverRequest{})
		for n := 0; err == nil; n++ {
			var m *v1.DiscoverResponse
			if m, err = stream.Recv(); err != nil {
				continue
			}
			if tooMany = n >= maxDiscovered; tooMany {
				return nil
			}
			refused = yield(Found{Kind: m.GetKind(), ID: m.GetId(), Name: m.GetName(), Attributes: m.GetAttributes()})
			if refused != nil {
				return nil //nolint:nilerr // it is the caller's own error, and no failure of the call
			}
			p.signs.give()
		}
		if unable = status.Code(err) == codes.Unimplemented; unable || errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case tooMany:
		return p.violation("discovers more than %d things", maxDiscovered)
	case unable:
		return fault.New(fault.Config, "plugin "+p.Name(), "", fmt.Errorf("discover: %w", ErrNotSupported))
	}
	return refused
}

// answer is how long the vendor may be silent before the plugin gives up its answer.
func (p *Plugin) answer() time.Duration { return time.Duration(p.answerTime.Load()) }
