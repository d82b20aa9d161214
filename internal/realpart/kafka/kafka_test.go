package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/internal/testsize"
)

// A broker keeps its data over SIGKILL, and its secured listeners let the test's user in.
func TestRestart(t *testing.T) {
	testsize.Whole(t, "tests of the sink start one too")
	b := Start(t, Options{Secure: true})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	plain, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.MetadataMinAge(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	adm := kadm.NewClient(plain)
	if _, err := adm.CreateTopic(ctx, 1, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	b.Kill()
	b.Restart(t)
	for { // a broker knows a topic a moment after it has said so
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if topics.Has("kept") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	secured, err := kgo.NewClient(b.ScramOptions(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer secured.Close()
	if err := secured.Ping(ctx); err != nil {
		t.Error(err)
	}
}
