package pipeline

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// lyingSource tells of each read another manifest than what it sent, as often as lies says.
type lyingSource struct {
	*fakeSource
	lies func(*flow.Manifest) bool
}

type lyingReader struct {
	Reader
	lies func(*flow.Manifest) bool
}

func (s *lyingSource) Read(ctx context.Context, slice flow.Slice, share int64, waiting func(time.Time, string)) (Reader, error) {
	r, err := s.fakeSource.Read(ctx, slice, share, waiting)
	if err != nil {
		return nil, err
	}
	return lyingReader{r, s.lies}, nil
}

func (r lyingReader) Manifest() flow.Manifest {
	m := r.Reader.Manifest()
	r.lies(&m)
	return m
}

// TestManifestMustFitWhatCame lets a source be wrong about its records, their bytes, their digest and their slice: nothing of it is
// committed until it tells the truth.
func TestManifestMustFitWhatCame(t *testing.T) {
	for name, lie := range map[string]func(*flow.Manifest){
		"records": func(m *flow.Manifest) { m.Rows++ },
		"bytes":   func(m *flow.Manifest) { m.Bytes-- },
		"digest":  func(m *flow.Manifest) { m.Digest.Hi++ },
		"slice":   func(m *flow.Manifest) { m.Slice.ID[3]++ },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1, 2)
			b.source.maxCut = 1000
			lies := 0
			b.edit = func(c *Config) {
				c.Start = func(context.Context) (Source, error) {
					return &lyingSource{b.source, func(m *flow.Manifest) bool {
						if lies++; lies > 2 {
							return false
						}
						lie(m)
						for _, k := range b.sinks {
							if len(k.store.bodies) > 0 {
								t.Error("something is committed that doesn't fit")
							}
						}
						return true
					}}, nil
				}
			}
			s, err := b.run(span(0, 20))
			if err != nil || !s.Complete() || lies != 3 {
				t.Fatalf("%+v, %v, %d manifests", s, err, lies)
			}
			again := b.kinds(Retry)
			if len(again) != 2 || fault.KindOf(again[0].Err) != fault.Bug || !strings.Contains(again[0].Message, "the manifest says") {
				t.Errorf("retries %+v", again)
			}
			for _, k := range b.sinks {
				k.store.wantExactly(t, span(0, 20))
			}
		})
	}
}

// lyingSink answers each first commit of a slice with a receipt of something else.
type lyingSink struct {
	*fakeSink
	lie  func(*sinks.Receipt)
	lied map[flow.SliceID]bool
}

type lyingTxn struct {
	sinks.Txn
	sink  *lyingSink
	slice flow.Slice
}

func (k *lyingSink) Begin(ctx context.Context, s flow.Slice, attempt uint32, schema *arrow.Schema) (sinks.Txn, error) {
	txn, err := k.fakeSink.Begin(ctx, s, attempt, schema)
	return lyingTxn{txn, k, s}, err
}

func (x lyingTxn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	r, err := x.Txn.Commit(ctx, a)
	if err == nil && !x.sink.lied[x.slice.ID] {
		x.sink.lied[x.slice.ID] = true
		x.sink.lie(&r)
	}
	return r, err
}

// TestReceiptMustFitTheAccount lets a sink answer a commit with a receipt of something else: that is told, and what the ledger holds in the
// end is what the sink's memory says, with its dead letters.
func TestReceiptMustFitTheAccount(t *testing.T) {
	for name, lie := range map[string]func(*sinks.Receipt){
		"records": func(r *sinks.Receipt) { r.Delivered.Rows-- },
		"digest":  func(r *sinks.Receipt) { r.Delivered.Digest.Lo++ },
		"dead":    func(r *sinks.Receipt) { r.Dead = flow.Sum{} },
		"slice":   func(r *sinks.Receipt) { r.Slice.ID[0]++ },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1, 1)
			b.source.maxCut = 1000
			dead := at(7).UnixMilli()
			b.source.dead = func(ms int64) bool { return ms == dead }
			b.edit = func(c *Config) {
				c.Parallel, c.DeadMax = 1, 1
				c.Sinks[0].Sink = &lyingSink{b.sinks[0], lie, map[flow.SliceID]bool{}}
			}
			s, err := b.run(span(0, 20))
			if err != nil || !s.Complete() || s.Failed() {
				t.Fatalf("%+v, %v", s, err)
			}
			again := b.kinds(Retry)
			if len(again) != 1 || fault.KindOf(again[0].Err) != fault.Bug || !strings.Contains(again[0].Message, "the receipt of") || len(b.kinds(Found)) != 1 {
				t.Errorf("retries %+v, found %d", again, len(b.kinds(Found)))
			}
			l, err := ledger.Open(t.Context(), filepath.Join(b.dir, "state"), ledger.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			all, err := l.Committed(t.Context(), "sink0", logA.Partition)
			if err != nil || len(all) != 1 || all[0].Delivered != b.sinks[0].store.receipts[0].Delivered || all[0].Dead.Rows != 1 {
				t.Errorf("the ledger holds %+v, %v", all, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := b.run(span(0, 20)); err != nil { // which publishes what a commit names
				t.Fatal(err)
			}
			if files, _ := filepath.Glob(filepath.Join(b.dir, "dead", "s0", "*.ndjson")); len(files) != 1 {
				t.Errorf("dead letters %v", files)
			}
		})
	}
}

// commitCounter counts commits.
type commitCounter struct {
	sinks.Txn
	n int
}

func (c *commitCounter) Commit(_ context.Context, a sinks.Account) (sinks.Receipt, error) {
	c.n++
	return sinks.Receipt{Delivered: a.Delivered, Dead: a.Dead}, nil
}

// TestOnlyABalancedAccountIsCommitted loses, doubles and changes a record between the read and one of two sinks.
func TestOnlyABalancedAccountIsCommitted(t *testing.T) {
	sum := func(bodies ...string) (s flow.Sum) {
		for _, b := range bodies {
			s.Add([]byte(b))
		}
		return s
	}
	read := sum("a", "b", "c")
	for _, tt := range []struct {
		name            string
		delivered, dead flow.Sum
		balanced        bool
	}{
		{"all delivered", sum("a", "b", "c"), flow.Sum{}, true},
		{"one dead", sum("a", "c"), sum("b"), true},
		{"one lost", sum("a", "c"), flow.Sum{}, false},
		{"one twice", sum("a", "b", "c"), sum("b"), false},
		{"one changed, as long as it was", sum("a", "b", "x"), flow.Sum{}, false},
		{"one for another", sum("a", "a", "c"), flow.Sum{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 1, 2)
			l, err := ledger.Open(t.Context(), filepath.Join(b.dir, "state"), ledger.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			r := newRun(b.config(l, span(0, 20)))
			defer r.close()
			w := &work{slice: flow.NewSlice(logA.Partition, at(0), at(20), 0)}
			for i := range 2 { // each sink for itself: the other one's account is sound
				txn := &commitCounter{}
				leg := &leg{index: i, sink: r.cfg.Sinks[i], txn: txn, delivered: read}
				wantCommits := 1
				if i == 1 {
					leg.delivered, leg.deadSum = tt.delivered, tt.dead
					if !tt.balanced {
						wantCommits = 0
					}
				}
				_, err := r.commitLeg(t.Context(), w, leg, flow.Manifest{Slice: w.slice, Sum: read})
				// The counter's receipt names no slice, which is found out after the commit.
				if txn.n != wantCommits || fault.KindOf(err) != fault.Bug || strings.Contains(err.Error(), "add up") != (wantCommits == 0) {
					t.Errorf("sink %d: %d commits, want %d: %v", i, txn.n, wantCommits, err)
				}
			}
		})
	}
}
