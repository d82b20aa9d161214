package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/internal/realpart/kafka"
	"github.com/sluice-io/sluice/internal/realpart/postgres"
	"github.com/sluice-io/sluice/internal/realpart/s3"
	"github.com/sluice-io/sluice/internal/testsize"
)

// lateTarget is a sink of a rig, and what a reader of its target gets.
type lateTarget struct {
	sink obj
	// each calls back with every record that a reader of what is committed sees: the log's ID and the line.
	each    func(f func(id string, line []byte)) error
	widen   func() // makes the target take what it rejected before; nil: it takes everything
	forgets bool   // what it holds can be deleted
}

// differs counts what a target lacks of what the simulator serves of the rig's range by now, and what it has beyond that.
func (r *rig) differs(k lateTarget) (served, missing, extra int) {
	r.t.Helper()
	counts := lineCounts{}
	for _, id := range r.logs {
		for line := range r.sim.Served(id, r.from, r.to) {
			counts.add(append([]byte(id+" "), line...), 1)
			served++
		}
	}
	if err := k.each(func(id string, line []byte) { counts.add(append([]byte(id+" "), line...), -1) }); err != nil {
		r.t.Fatal(err)
	}
	for _, n := range counts {
		missing, extra = missing+max(n, 0), extra+max(-n, 0)
	}
	return served, missing, extra
}

// mustHoldServed requires that a target has what is served by now, each record as often, but for dead letters.
func (r *rig) mustHoldServed(when string, k lateTarget, dead int) {
	r.t.Helper()
	if served, missing, extra := r.differs(k); missing != dead || extra > 0 || served == 0 || dead != len(r.deadLetters()) {
		r.t.Fatalf("%s: of %d records served %d are missing, and %d too many; %d are dead letters, want %d",
			when, served, missing, extra, len(r.deadLetters()), dead)
	}
}

// lastSummary is the summary of a run into a file, with what it says of late records.
func (r *rig) lastSummary() (sum runSummary, late lateSummary) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "summary.json"))
	if err == nil {
		err = json.Unmarshal(text, &sum)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if sum.Late != nil {
		late = *sum.Late
	}
	return sum, late
}

// recheckInto reads a day of two logs again an hour and a day after its end, through kills, into a sink of a real server.
func recheckInto(t *testing.T, start func(*rig) lateTarget) {
	t.Helper()
	r, clock := lateRig(t)
	r.logs = []string{r.logs[0], r.logs[2]} // of which the second has a line of 64 KiB
	r.to = seedStart.AddDate(0, 0, 1)
	target := start(r)
	dead := 0
	if target.widen != nil {
		dead = 1
	}
	p, _ := r.pipelineOf("main", "rapid7-download", "raw", obj{"logs": r.logs, "budget": r.source["budget"]})
	p["sinks"], p["recheck"], p["flow"] = []any{target.sink}, []string{"1h", "24h"}, obj{"slice": "1d"}
	p["dead_letter"] = obj{"max": 10}
	r.only(p)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 12))

	clock.Freeze(r.to.Add(10 * time.Minute))
	r.run(0, "run")
	r.mustHoldServed("at first", target, dead)
	found := uint64(0)
	for _, after := range []time.Duration{2 * time.Hour, 26 * time.Hour} { // two revisions of the same range
		clock.Freeze(r.to.Add(after))
		_, late, extra := r.differs(target)
		late -= dead
		if late == 0 || extra > 0 {
			t.Fatalf("after %s: %d records are late, and %d too many", after, late, extra)
		}
		found += uint64(late)
		r.killedRuns(rnd, 1)
		r.mustHoldServed("after "+after.String(), target, dead)
		if after == 2*time.Hour && target.forgets { // the next revision has the ID of one that was withdrawn
			r.run(0, "forget", "main", "--from", r.from.Format(time.RFC3339), "--to", r.to.Format(time.RFC3339), "--delete", "--yes")
			r.run(0, "run")
			r.mustHoldServed("after it was forgotten and read anew", target, dead)
			found = 0
		}
	}
	if s := r.statusLate(); s.Rows != found || s.Gone != 0 || s.Due != 0 {
		t.Errorf("%d records were late, and status says %+v", found, s)
	}
	r.run(0, "verify")
	if target.widen != nil {
		target.widen()
		r.run(0, "retry", "--dead-letters")
		r.mustHoldServed("after the dead letters were sent again", target, 0)
	}

	r.run(0, "run", "--recheck", "--summary", "summary.json")
	if sum, late := r.lastSummary(); sum.Slices != 0 || late.Windows == 0 || late.Found != 0 || late.Refused != 0 || late.Gone != 0 {
		t.Errorf("a second recheck committed %d slices: %+v", sum.Slices, late)
	}
	r.mustHoldServed("after the second recheck", target, 0)
	r.run(0, "verify")
}

func TestRecheckKafka(t *testing.T) {
	t.Parallel()
	if !testsize.Full() {
		t.Skip("a broker for one test: make unit; the sink's own tests have theirs, and other sinks are rechecked beside this")
	}
	recheckInto(t, func(r *rig) lateTarget {
		broker := kafka.Start(r.t, kafka.Options{})
		c, err := kgo.NewClient(kgo.SeedBrokers(broker.Address))
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(c.Close)
		adm, narrow := kadm.NewClient(c), "20000"
		if _, err := adm.CreateTopic(r.t.Context(), 2, 1, map[string]*string{"max.message.bytes": &narrow}, "logs"); err != nil {
			r.t.Fatal(err)
		}
		return lateTarget{
			obj{"name": "bus", "type": "kafka", "config": obj{"brokers": []string{broker.Address}, "topic": "logs", "value": "raw", "compression": "snappy", "create_topics": obj{"partitions": 2}}},
			func(f func(string, []byte)) error {
				return r.eachMessage(broker.Address, "logs", func(key, value []byte) { f(string(key), value) })
			},
			func() {
				wide := "200000"
				if _, err := adm.AlterTopicConfigs(r.t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &wide}}, "logs"); err != nil {
					r.t.Fatal(err)
				}
			},
			false,
		}
	})
}

func TestRecheckPostgres(t *testing.T) {
	t.Parallel()
	recheckInto(t, func(r *rig) lateTarget {
		server := postgres.Start(r.t)
		database := server.Database(r.t)
		r.env = append(r.env, "E2E_DB="+postgres.Password)
		return lateTarget{
			obj{"name": "db", "type": "postgres", "config": obj{
				"host": "127.0.0.1", "port": server.Port, "database": database, "user": postgres.User, "password": "${env:E2E_DB}", "timeout": "30s",
			}},
			func(f func(string, []byte)) error {
				return server.Do(database, func(ctx context.Context, c *pgx.Conn) error { return eachRow(ctx, c, f) })
			},
			nil, true,
		}
	})
}

func TestRecheckObject(t *testing.T) {
	t.Parallel()
	recheckInto(t, func(r *rig) lateTarget {
		server := s3.Start(r.t, "lake")
		root := r.objectSink(server, "packed", "ndjson")
		return lateTarget{r.sinks[0], func(f func(string, []byte)) error {
			for _, id := range r.logs {
				if err := eachLine(filepath.Join(root, "stream=events", "log_id="+id), "ndjson", func(line []byte) { f(id, line) }); err != nil {
					return err
				}
			}
			return nil
		}, nil, true}
	})
}
