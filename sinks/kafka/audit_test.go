package kafka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func audited(t *testing.T, k sinks.Sink, r sinks.Receipt) (sum flow.Sum, found []sinks.Finding, err error) {
	t.Helper()
	found, err = k.(sinks.Auditor).Audit(begun(t), r, func(s flow.Sum) error { sum = sum.Plus(s); return nil })
	return sum, found, err
}

// TestAuditValues reads slices of every kind of value back, of a stream whose digest hashes columns of every type.
func TestAuditValues(t *testing.T) {
	address := fake(t)
	rec := filetest.Record(memory.DefaultAllocator, rand.New(rand.NewPCG(3, 3)), filetest.Schema(), 50, 0.3)
	defer rec.Release()
	for _, value := range []string{valueJSON, valueAvro, valueArrow} {
		t.Run(value, func(t *testing.T) {
			st := sinks.Stream{Name: "types", Selection: flow.SelectionID{7}, Schema: rec.Schema()}
			for i, f := range rec.Schema().Fields() {
				if _, err := flow.SumColumns(rec, []string{f.Name}); err != nil || rec.Column(i).NullN() == 50 {
					continue
				}
				one := st
				one.DigestColumns = []string{f.Name}
				k := &Sink{core: &core{set: settings{Value: value}, conf: sinks.Config{Streams: []sinks.Stream{one}}}}
				dec, err := k.newDecoder(st.Name)
				if err != nil {
					t.Fatal(err)
				}
				if dec.lossy() == "" {
					st.DigestColumns = append(st.DigestColumns, f.Name)
				}
				dec.close()
			}
			if len(st.DigestColumns) < 20 {
				t.Fatalf("columns %v", st.DigestColumns)
			}
			r := newRig(address)
			c := r.config(map[string]any{"value": value})
			c.Streams = []sinks.Stream{st}
			k := opened(t, c)
			s := flow.NewSlice(flow.Partition{Selection: st.Selection, Stream: st.Name}, sinktest.Day, sinktest.Day.AddDate(0, 0, 1), 0)
			tx, err := k.Begin(begun(t), s, 0, rec.Schema())
			if err != nil {
				t.Fatal(err)
			}
			sum, err := flow.SumColumns(rec, st.DigestColumns)
			if err == nil {
				_, err = tx.Append(begun(t), flow.Batch{Slice: s.ID, Records: rec})
			}
			if err != nil {
				t.Fatal(err)
			}
			receipt, err := tx.Commit(begun(t), sinks.Account{Read: sum, Delivered: sum})
			if err != nil {
				t.Fatal(err)
			}
			got, found, err := audited(t, k, receipt)
			if got != sum || len(found) > 0 || err != nil {
				t.Errorf("%+v, %+v, %v, want %+v", got, found, err, sum)
			}
		})
	}
}

// TestAudit reads slices back that lie between others' messages and below a stranger's open transaction, and finds out what the
// topic has lost.
func TestAudit(t *testing.T) {
	t.Parallel()
	r := newRig(broker(t).Address)
	adm := admin(t, r.address)
	c := r.config(map[string]any{"value": valueRaw, "create_topics": map[string]any{"partitions": 1, "replication": 1}})
	k := opened(t, c)
	all := []flow.Slice{sinktest.Hours("one", 0, 1), sinktest.Hours("two", 0, 1), sinktest.Hours("three", 0, 1)}
	receipts := map[flow.SliceID]sinks.Receipt{}
	bodies := map[flow.SliceID][]string{}
	// Two side by side, batch by batch, so that their messages alternate, and one that is aborted.
	txns := make([]sinks.Txn, len(all))
	for i, s := range all {
		var err error
		if txns[i], err = k.Begin(begun(t), s, 0, sinktest.Schema); err != nil {
			t.Fatal(err)
		}
		bodies[s.ID] = sinktest.Bodies(s, 40)
	}
	for from := 0; from < 40; from += 10 {
		for i, s := range all {
			if err := sinktest.Append(begun(t), txns[i], s, bodies[s.ID][from:from+10]); err != nil {
				t.Fatal(err)
			}
			if err := txns[i].(*txn).writer.flush(begun(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := txns[2].Abort(); err != nil {
		t.Fatal(err)
	}
	for i, s := range all[:2] {
		var err error
		if receipts[s.ID], err = txns[i].Commit(begun(t), sinktest.Account(bodies[s.ID])); err != nil {
			t.Fatal(err)
		}
	}
	check := func(k sinks.Sink, want string) {
		t.Helper()
		for _, s := range all[:2] {
			sum, found, err := audited(t, k, receipts[s.ID])
			var got []string
			for _, f := range found {
				got = append(got, string(f.Kind)+" "+f.Path)
			}
			if err != nil || strings.Join(got, "|") != want {
				t.Errorf("%s: %v, %v, want %q", s, got, err, want)
			}
			if want == "" && sum != sinktest.Account(bodies[s.ID]).Delivered {
				t.Errorf("%s: %+v", s, sum)
			}
		}
	}
	check(k, "")

	// A stranger's transaction holds readers of committed messages back, and so the slice that is committed after it.
	c2, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.TransactionalID(r.topic), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	if err := c2.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := c2.ProduceSync(begun(t), &kgo.Record{Topic: r.topic, Value: []byte("stranger")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	late := sinktest.Hours("one", 1, 2)
	lateReceipt, err := sinktest.Write(begun(t), k, late, sinktest.Bodies(late, 30))
	if err != nil {
		t.Fatal(err)
	}
	c.ReadOnly = true
	look := opened(t, c)
	for range look.(sinks.Memory).Committed(begun(t), flow.Gap{Partition: late.Partition, From: sinktest.Day, To: sinktest.Day.AddDate(0, 0, 1)}, nil) {
	}
	if sum, found, err := audited(t, look, lateReceipt); err != nil || len(found) > 0 || sum != sinktest.Account(sinktest.Bodies(late, 30)).Delivered {
		t.Errorf("above an open transaction: %+v, %+v, %v", sum, found, err)
	}
	if err := c2.EndTransaction(begun(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}

	var to kadm.Offsets
	to.AddOffset(r.topic, 0, 30, -1)
	if _, err := adm.DeleteRecords(begun(t), to); err != nil {
		t.Fatal(err)
	}
	for _, s := range all[:2] {
		first := int64(map[flow.SliceID]int{all[0].ID: 0, all[1].ID: 10}[s.ID])
		_, found, err := audited(t, k, receipts[s.ID])
		want := []string{fmt.Sprintf("missing %s/0 offset %d", r.topic, first)}
		var got []string
		for _, f := range found {
			got = append(got, string(f.Kind)+" "+f.Path)
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
		}
	}
	if _, err := adm.DeleteTopics(begun(t), r.topic); err != nil {
		t.Fatal(err)
	}
	awaitTopic(t, adm, r.topic, false)
	k.(*Sink).patience = time.Second // the broker that leads a partition may answer for it for a moment more
	_, found, err := audited(t, k, receipts[all[0].ID])
	if err != nil || len(found) == 0 || found[len(found)-1].Kind != sinks.FindingMissing || !strings.Contains(found[len(found)-1].What, "the topic or its partition is") {
		t.Errorf("without its topic: %+v, %v", found, err)
	}
	if _, _, err := audited(t, k, sinks.Receipt{Slice: late, Entry: 9}); err == nil {
		t.Error("a receipt of nothing was audited")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.(sinks.Auditor).Audit(ctx, lateReceipt, func(flow.Sum) error { return nil }); err == nil {
		t.Error("an ended context is no reason to end")
	}
}
