package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
)

// A marker topic that has lost what was read of it, or what was to be read, says nothing of what is covered.
func TestMarkersThatWereLost(t *testing.T) {
	address := fake(t)
	ctx := t.Context()
	connect := func() *kgo.Client {
		t.Helper()
		c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DisableClientMetrics())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	client := connect()
	adm := kadm.NewClient(client)
	write := func(n int) {
		t.Helper()
		writer := connect() // which has heard of no topic of that name before
		for range n {
			if err := writer.ProduceSync(ctx, &kgo.Record{Topic: "markers", Value: []byte("{}")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	create := func() {
		t.Helper()
		if _, err := adm.CreateTopic(ctx, 1, 1, nil, "markers"); err != nil {
			t.Fatal(err)
		}
	}
	tp := &tape{cluster: &cluster{Client: client, adm: adm}, topic: "markers", step: func(_ string, do func() error) error { return do() }, next: map[int32]int64{}}
	read := 0
	readAll := func() error { return tp.read(ctx, 0, func(*kgo.Record) error { read++; return nil }) }
	create()
	write(3)
	if err := readAll(); err != nil || read != 3 {
		t.Fatalf("%d messages, %v", read, err)
	}
	write(2)
	upTo := kadm.Offsets{}
	upTo.AddOffset("markers", 0, 4, -1)
	if _, err := adm.DeleteRecords(ctx, upTo); err != nil {
		t.Fatal(err)
	}
	err := readAll()
	if fault.KindOf(err) != fault.Config {
		t.Errorf("its next message was deleted: %s: %v", fault.KindOf(err), err)
	}
	contains(t, err, "begins at 4", "read up to 3")
	if _, err := adm.DeleteTopic(ctx, "markers"); err != nil {
		t.Fatal(err)
	}
	create()
	write(1)
	err = readAll()
	if fault.KindOf(err) != fault.Config {
		t.Errorf("it was made anew: %s: %v", fault.KindOf(err), err)
	}
	contains(t, err, "ends at 1", "3 was read")
}
