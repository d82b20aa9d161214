package ledger

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// childEnv makes the test binary a child: "DIR" writes receipts there until it is killed.
const childEnv = "LEDGER_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child records minutes one after the other and prints the number of each once it is acknowledged, until standard input ends.
func child(dir string) error {
	ctx := context.Background()
	l, err := Open(ctx, dir, Options{Version: "v1"})
	if err != nil {
		return err
	}
	if err := l.RegisterSink(ctx, SinkInfo{Identity: "A", Name: "lake", Pipeline: "p"}, nil); err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for i := 0; ; i++ {
		s := minutes(i, i+1)
		if err := l.Begin(ctx, []string{"A"}, s, 0); err != nil {
			return err
		}
		if err := l.Record(ctx, "A", receipt(s, 0)); err != nil {
			return err
		}
		fmt.Fprintln(out, i)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

var (
	testPartition = flow.Partition{Selection: flow.SelectionID{1, 2}, Stream: "events", Key: "log-1"}
	day0          = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
)

// minutes is the slice of testPartition between two minutes after day0, which must be of one day.
func minutes(from, to int) flow.Slice {
	return flow.NewSlice(testPartition, day0.Add(time.Duration(from)*time.Minute), day0.Add(time.Duration(to)*time.Minute), 0)
}

func receipt(s flow.Slice, entry uint64) sinks.Receipt {
	return sinks.Receipt{
		Slice: s, Entry: entry, Delivered: flow.Sum{Rows: 10, Bytes: 1000, Digest: flow.DigestOf(s.ID[:])},
		Parts: []sinks.Part{{Path: "a/" + s.ID.String() + ".log", Bytes: 1000, SHA256: "00", Rows: 10}}, At: s.To.Add(time.Hour),
	}
}

// open opens a ledger in dir with the sinks A and B.
func open(t testing.TB, dir string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), dir, Options{Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, id := range []string{"A", "B"} {
		info := SinkInfo{Identity: id, Pipeline: "prod", Name: "sink " + id, Type: "file", Location: "/data/" + id, Memory: true}
		if err := l.RegisterSink(t.Context(), info, nil); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func receipts(of ...flow.Slice) []sinks.Receipt {
	all := make([]sinks.Receipt, len(of))
	for i, s := range of {
		all[i] = receipt(s, uint64(i+1))
	}
	return all
}
