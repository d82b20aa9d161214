package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/internal/realpart/postgres"
	"github.com/sluice-io/sluice/internal/realpart/toxiproxy"
)

// postgresPrey is a postgres sink in a server that is reached through a proxy.
type postgresPrey struct {
	server *postgres.Server
	proxy  *toxiproxy.Proxy
}

func startPostgresPrey(t *testing.T, proxies *toxiproxy.Server) prey {
	t.Helper()
	p := &postgresPrey{server: postgres.Start(t)}
	p.proxy = proxies.Proxy(t, fmt.Sprintf("127.0.0.1:%d", p.server.Port))
	return p
}

func (p *postgresPrey) sinks(g *game, r *rig) func() {
	database := p.server.Database(g.t)
	_, port, err := net.SplitHostPort(p.proxy.Address)
	if err != nil {
		g.t.Fatal(err)
	}
	r.env = append(r.env, "E2E_DB="+postgres.Password)
	r.sinks = append(r.sinks, obj{"name": "db", "type": "postgres", "config": obj{
		"host": "127.0.0.1", "port": json.Number(port), "database": database, "user": postgres.User, "password": "${env:E2E_DB}", "timeout": "30s",
	}})
	return func() {
		r.mustHoldTable(p.server, database)
		if found := contains(g.t, r.dir, []byte(postgres.Password)); len(found) > 0 {
			g.t.Errorf("the password is in %v", found)
		}
	}
}

func (p *postgresPrey) blows() []blow {
	return serverBlows(p.proxy, p.server.Kill, p.server.Again)
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
		return eachRow(ctx, c, func(id string, line []byte) {
			counts.add(append([]byte(id+" "), line...), -1)
			found++
		})
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

// eachRow calls f for each row of the table of log events.
func eachRow(ctx context.Context, c *pgx.Conn, f func(id string, line []byte)) error {
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
		f(id, line)
	}
	return rows.Err()
}
