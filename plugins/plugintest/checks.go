package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// Times of the protocol, with room for a busy machine: a plugin that doesn't stop at all is what is looked for.
const (
	lifeSign  = 10 * time.Second
	stopTime  = 5*time.Second + 10*time.Second
	abandoned = "ignores the end of its context"
)

const mostBuffer = 1 << 40 // bytes

func checkDescribe(_ context.Context, s *subject) error {
	d := s.description
	var errs []error
	if d.GetName() == "" || d.GetVersion() == "" {
		errs = append(errs, fmt.Errorf("name %q, version %q: neither may be empty", d.GetName(), d.GetVersion()))
	}
	if !slices.Contains(d.GetProtocolVersions(), wire.ProtocolVersion) {
		errs = append(errs, fmt.Errorf("protocol versions %v, want %d among them", d.GetProtocolVersions(), wire.ProtocolVersion))
	}
	if d.GetKind() != v1.PluginKind_PLUGIN_KIND_SOURCE {
		errs = append(errs, fmt.Errorf("kind %v, want a source", d.GetKind()))
	}
	var schema map[string]any
	if err := json.Unmarshal(d.GetConfigSchema(), &schema); err != nil {
		errs = append(errs, fmt.Errorf("config schema isn't a JSON object: %w", err))
	}
	mains := 0
	for _, st := range d.GetStreams() {
		if st.GetMain() {
			mains++
		}
		arrowSchema, err := wire.DecodeSchema(st.GetSchema())
		if err != nil {
			errs = append(errs, fmt.Errorf("stream %q: %w", st.GetName(), err))
			continue
		}
		if st.GetBuffer() > mostBuffer {
			errs = append(errs, fmt.Errorf("stream %q: a buffer of %d bytes, more than the host believes", st.GetName(), st.GetBuffer()))
		}
		if _, _, isLog := flow.BodyColumns(arrowSchema); !isLog && len(st.GetDigestColumns()) == 0 {
			errs = append(errs, fmt.Errorf("stream %q: neither a text body nor digest columns", st.GetName()))
		}
	}
	if mains != 1 {
		errs = append(errs, fmt.Errorf("%d main streams, want one", mains))
	}
	return errors.Join(errs...)
}

// plan asks until the gap is covered and checks each answer.
func (s *subject) plan(ctx context.Context, g flow.Gap) ([]flow.Slice, error) {
	var all []flow.Slice
	for rest := g; ; {
		planned, err := s.planOnce(ctx, rest)
		if err != nil {
			return nil, err
		}
		if len(planned) == 0 {
			return nil, fmt.Errorf("gap %s %s: no slices", g.Partition, rest.Range())
		}
		end := planned[len(planned)-1].To
		if err := coverExactly(g.Partition, flow.Range{From: rest.From, To: end}, planned); err != nil {
			return nil, err
		}
		all = append(all, planned...)
		switch {
		case end.Equal(g.To):
			return all, nil
		case end.After(g.To):
			return nil, fmt.Errorf("gap %s %s: planned to %s, beyond its end", g.Partition, g.Range(), end)
		}
		rest.From = end
	}
}

func (s *subject) planOnce(ctx context.Context, g flow.Gap) ([]flow.Slice, error) {
	stream, err := s.source.Plan(ctx, wire.GapToProto(g))
	if err != nil {
		return nil, s.note(err)
	}
	var out []flow.Slice
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, s.note(err)
		}
		slice, err := wire.SliceFromProto(m.GetSlice())
		if err != nil {
			return nil, err
		}
		out = append(out, slice)
	}
}

// coverExactly checks that slices cover a range of a partition without hole or overlap, none across a day.
func coverExactly(p flow.Partition, r flow.Range, parts []flow.Slice) error {
	at := r.From
	for _, s := range parts {
		if err := s.Validate(); err != nil {
			return err
		}
		if s.Partition != p {
			return fmt.Errorf("slice %s isn't of partition %s", s, p)
		}
		if !s.From.Equal(at) {
			return fmt.Errorf("slice %s begins at %s, want %s: a hole or an overlap", s, s.From, at)
		}
		at = s.To
	}
	if !at.Equal(r.To) {
		return fmt.Errorf("slices of %s end at %s, want %s", p, at, r.To)
	}
	return nil
}

func checkPlan(ctx context.Context, s *subject) error {
	if len(s.opts.Gaps) == 0 {
		return errors.New("Options.Gaps is empty")
	}
	for _, g := range s.opts.Gaps {
		if _, err := s.plan(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func checkPure(ctx context.Context, s *subject) error {
	for _, g := range s.opts.Gaps {
		one, err := s.plan(ctx, g)
		if err != nil {
			return err
		}
		two, err := s.plan(ctx, g)
		if err != nil {
			return err
		}
		if !slices.Equal(one, two) {
			return fmt.Errorf("gap %s %s: two plans differ", g.Partition, g.Range())
		}
	}
	return nil
}

// chosen returns the slices to read: the first few of each gap.
func (s *subject) chosen(ctx context.Context) ([]flow.Slice, error) {
	n := s.opts.Reads
	if n <= 0 {
		n = 2
	}
	var out []flow.Slice
	for _, g := range s.opts.Gaps {
		planned, err := s.plan(ctx, g)
		if err != nil {
			return nil, err
		}
		out = append(out, planned[:min(n, len(planned))]...)
	}
	return out, nil
}

func checkManifest(ctx context.Context, s *subject) error {
	chosen, err := s.chosen(ctx)
	if err != nil {
		return err
	}
	var rows uint64
	for _, slice := range chosen {
		r, err := s.readAll(ctx, slice)
		if err != nil {
			return err
		}
		if r.done != nil && *r.done != r.sum {
			return fmt.Errorf("slice %s: the manifest says %+v, what came is %+v", slice, *r.done, r.sum)
		}
		rows += r.sum.Rows
	}
	if rows == 0 {
		return errors.New("no slice that was read holds a record: choose other gaps")
	}
	return nil
}

func checkSameManifest(ctx context.Context, s *subject) error {
	chosen, err := s.chosen(ctx)
	if err != nil {
		return err
	}
	for _, slice := range chosen {
		var sums []flow.Sum
		for range 2 {
			r, err := s.readAll(ctx, slice)
			if err != nil {
				return err
			}
			if r.done != nil {
				sums = append(sums, *r.done)
			}
		}
		if len(sums) == 1 {
			return fmt.Errorf("slice %s: complete once, truncated once", slice)
		}
		if len(sums) == 2 && sums[0] != sums[1] {
			return fmt.Errorf("slice %s: first %+v, then %+v", slice, sums[0], sums[1])
		}
	}
	return nil
}

// full returns a slice that holds records.
func (s *subject) full(ctx context.Context) (flow.Slice, error) {
	chosen, err := s.chosen(ctx)
	if err != nil {
		return flow.Slice{}, err
	}
	for _, slice := range chosen {
		r, err := s.readAll(ctx, slice)
		if err != nil {
			return flow.Slice{}, err
		}
		if r.sum.Rows > 0 {
			return slice, nil
		}
	}
	return flow.Slice{}, errors.New("no slice that was read holds a record: choose other gaps")
}

// held begins a read of a slice with records and returns when it is opened, without a grant.
func (s *subject) held(ctx context.Context, window int64) (*reading, error) {
	slice, err := s.full(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.open(ctx, slice, window)
	if err != nil {
		return nil, err
	}
	for {
		k, err := r.next()
		if err == nil && k != kindWaiting && k != kindOpened {
			err = fmt.Errorf("%s came before Opened", k)
		}
		if err != nil {
			r.close()
			return nil, err
		}
		if k == kindOpened {
			return r, nil
		}
	}
}

// checkCredit holds a read back. That it lives must show within 10 s, and until then nothing that costs credit may come; a
// grant of one byte lets one message through; then the read ends as any other.
func checkCredit(ctx context.Context, s *subject) error {
	r, err := s.held(ctx, 1)
	if err != nil {
		return err
	}
	defer r.close()
	start := time.Now()
	k, err := r.next() // an unexpected batch fails here: the window has given no credit
	switch {
	case err != nil:
		return fmt.Errorf("without credit: %w", err)
	case k != kindWaiting:
		return fmt.Errorf("without credit: %s came", k)
	case time.Since(start) > lifeSign:
		return fmt.Errorf("no sign of life for %s", time.Since(start))
	}
	// With a window of one byte every message exhausts the credit, and the next may come only after its release: Receive
	// refuses it otherwise.
	if err := r.window.Open(); err != nil {
		return err
	}
	for {
		if _, err := r.next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if r.done != nil && *r.done != r.sum {
		return fmt.Errorf("one message at a time: the manifest says %+v, what came is %+v", *r.done, r.sum)
	}
	return nil
}

func checkStop(ctx context.Context, s *subject) error {
	r, err := s.held(ctx, 1)
	if err != nil {
		return err
	}
	defer r.close()
	start := time.Now()
	if err := r.stream.Send(&v1.ReadRequest{Message: &v1.ReadRequest_Stop{Stop: &v1.Stop{Why: "test"}}}); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := r.next(); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		if took := time.Since(start); took > stopTime {
			return fmt.Errorf("ended %s after Stop", took)
		}
		if !errors.Is(err, io.EOF) && fault.KindOf(wire.FromStatus(err)) != fault.Canceled {
			return fmt.Errorf("ended after Stop with %w, want Done or CANCELLED", err)
		}
		return nil
	case <-time.After(stopTime):
		r.end()
		<-ended //nolint:errcheck // too late to be news
		return fmt.Errorf("no end %s after Stop", stopTime)
	}
}

func checkCancel(ctx context.Context, s *subject) error {
	r, err := s.held(ctx, 1)
	if err != nil {
		return err
	}
	r.close()
	// The other side's end can't be seen from here. A plugin of this SDK says so on stderr when its source doesn't end in
	// time, and in process a goroutine that stays is found at the end.
	select {
	case <-time.After(1500 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	if strings.Contains(s.stderr.String(), abandoned) {
		return errors.New("the source ignores the end of its context")
	}
	if _, err := s.plugin.Describe(ctx, &v1.DescribeRequest{}); err != nil {
		return fmt.Errorf("after a canceled read: %w", err)
	}
	return nil
}

func checkErrors(ctx context.Context, s *subject) error {
	g := s.opts.Gaps[0]
	g.Stream = "no-such-stream"
	if _, err := s.planOnce(ctx, g); err == nil {
		return errors.New("a gap of an unknown stream was planned")
	} else if err := hasKind(err); err != nil {
		return fmt.Errorf("plan of an unknown stream: %w", err)
	}
	r, err := s.open(ctx, flow.NewSlice(g.Partition, g.From, g.From.Add(time.Millisecond), 0), 1)
	if err != nil {
		return err
	}
	defer r.close()
	if k, err := r.next(); err == nil {
		return fmt.Errorf("a slice of an unknown stream was answered with %s", k)
	} else if err := hasKind(err); err != nil {
		return fmt.Errorf("read of an unknown stream: %w", err)
	}
	return nil
}

// hasKind checks that an error is a status with our ErrorInfo and a kind that says something.
func hasKind(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("not a status: %w", err)
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "sluice" {
			if fault.ParseKind(info.GetReason()) == fault.Unknown {
				return fmt.Errorf("kind %q says nothing: %w", info.GetReason(), err)
			}
			return nil
		}
	}
	return fmt.Errorf("a status without ErrorInfo: %w", err)
}

func checkConfigureOnce(ctx context.Context, s *subject) error {
	_, err := s.plugin.Configure(ctx, s.configure)
	if s.note(err) == nil {
		return errors.New("it was accepted")
	}
	return hasKind(err)
}

func checkSecrets(_ context.Context, s *subject) error {
	s.mu.Lock()
	text := strings.Join(s.errors, "\n")
	s.mu.Unlock()
	logged := s.stderr.String()
	for i, secret := range s.opts.Secrets {
		switch {
		case secret == "":
			return fmt.Errorf("secret %d is empty", i)
		case strings.Contains(logged, secret):
			return fmt.Errorf("secret %d stands on stderr", i)
		case strings.Contains(text, secret):
			return fmt.Errorf("secret %d stands in an error", i)
		}
	}
	return nil
}
