package main

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/internal/realpart/postgres"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestPostgresKilled ends host, plugin and server with SIGKILL at random moments of a run into a real server, again and again, then
// lets it finish: every line is there once.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	s := postgres.Start(t)
	rounds := chaosRounds(t)
	r := seededRig(t, vendorsim.Options{}, 6_000*rounds)
	r.source["limit"] = 300
	r.env = append(r.env, "E2E_DB="+postgres.Password)
	database := s.Database(t)
	r.sinks = append(r.sinks, obj{"name": "db", "type": "postgres", "config": obj{
		"host": "127.0.0.1", "port": s.Port, "database": database, "user": postgres.User, "password": "${env:E2E_DB}", "timeout": "30s",
	}})
	r.write()
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(seed), 1))
	t.Logf("seed %d", seed)
	commits := func() string {
		n, err := s.Texts(database, `select count(*)::text from sluice_commits`)
		if err != nil { // there is no table yet
			return "0"
		}
		return n[0]
	}
	for round, victim := range victims(rnd, rounds, "host", "server", "plugin") {
		c := r.prepare("run").start()
		before := commits()
		c.awaitOrEnd("a commit", func() bool { return commits() != before })
		if c.endsWithin(time.Duration(rnd.IntN(200)) * time.Millisecond) {
			if round < 3 {
				t.Fatalf("round %d: the run ended with %d before anything was killed: too little work\n%s", round, c.code, tail(c.stderr.String()))
			}
			break // a fast machine: each part has been killed
		}
		switch victim {
		case "plugin":
			for _, pid := range c.plugins() {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended since
			}
		case "server":
			s.Kill()
			s.Restart(t)
		}
		before = commits()
		c.awaitOrEnd("a commit after that", func() bool { return victim == "host" || commits() != before })
		c.kill()
		if strings.Contains(c.stdout.String()+c.stderr.String(), postgres.Password) {
			t.Errorf("round %d: the password was printed", round)
		}
	}
	r.run(0, "run")
	r.run(0, "run").mustSay("nothing to do")
	r.mustHoldTable(s, database)
	r.mustProve()
	r.mustKeepBudget()
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(postgres.Password)) {
			t.Errorf("%s holds the password", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mustHoldTable requires that the table has the lines of every log, each once.
func (r *rig) mustHoldTable(s *postgres.Server, database string) {
	r.t.Helper()
	counts, served, found := lineCounts{}, 0, 0
	for _, id := range r.logs {
		for line := range r.sim.Lines(id, r.from, r.to) {
			counts.add(append([]byte(id+" "), line...), 1)
			served++
		}
	}
	err := s.Do(database, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, `select log_id, coalesce(body_raw, convert_to(body, 'UTF8')) from events`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var line []byte
			if err := rows.Scan(&id, &line); err != nil {
				return err
			}
			counts.add(append([]byte(id+" "), line...), -1)
			found++
		}
		return rows.Err()
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(counts) > 0 {
		r.t.Fatalf("%d lines served, %d in the table, %d differ", served, found, len(counts))
	}
	if served == 0 {
		r.t.Fatal("nothing was served")
	}
}
