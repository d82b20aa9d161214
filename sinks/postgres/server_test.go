package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/internal/realpart/postgres"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a real server with what tests want of it.
type rig struct{ *postgres.Server }

// config returns the config of a sink in a database, with further settings.
func (r rig) config(database string, more map[string]any) sinks.Config {
	set := map[string]any{"host": "127.0.0.1", "port": r.Port, "database": database, "user": postgres.User, "password": postgres.Password, "timeout": "60s"}
	for k, v := range more {
		if v == nil {
			delete(set, k)
		} else {
			set[k] = v
		}
	}
	b, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return sinks.Config{Settings: b, Pipeline: "prod", Source: "sinktest", Name: "db", Streams: []sinks.Stream{sinktest.Stream()}, Sluice: "0.0.0-test"}
}

func (r rig) open(t testing.TB, c sinks.Config) *Sink {
	t.Helper()
	k, err := open(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// bodies returns the exact bodies in a table.
func (r rig) bodies(database, table string) ([]string, error) {
	hex, err := r.Texts(database, `select encode(coalesce(body_raw, convert_to(body, 'UTF8')), 'hex') from `+table)
	if err != nil {
		return nil, err
	}
	for i, h := range hex {
		var b []byte
		if _, err := fmt.Sscanf(h, "%x", &b); err != nil && h != "" {
			return nil, err
		}
		hex[i] = string(b)
	}
	return hex, nil
}

// TestServer runs all that needs a real server, on one.
func TestServer(t *testing.T) {
	r := rig{postgres.Start(t)}
	t.Run("conformance", r.testConformance)
	t.Run("types", r.testTypes)
	t.Run("audit", r.testAudit)
	t.Run("audit types", r.testAuditTypes)
	t.Run("dead letters", r.testDeadLetters)
	t.Run("schema", r.testSchema)
	t.Run("targets", r.testTargets)
	t.Run("owner", r.testOwner)
	t.Run("rights", r.testRights)
	t.Run("forget", r.testForget)
	t.Run("waits for a commit", r.testLookupWaits)
	t.Run("damage", r.testDamage)
	t.Run("panic", r.testPanic)
	t.Run("rolled back", r.testRolledBack)
	t.Run("trigger", r.testTrigger)
	t.Run("two hosts", r.testTwoHosts)
	t.Run("session", r.testSession)
	t.Run("connection lost", r.testConnectionLost)
	t.Run("tls", r.testTLS) // after rights, whose server takes none
	t.Run("killed", r.testKilled)
}

func (r rig) testConformance(t *testing.T) {
	database := r.Database(t)
	var made int
	sinktest.RunRemote(t, func(t *testing.T) sinktest.Remote {
		made++ // a schema is made faster than a database
		name := fmt.Sprint("target", made)
		c := r.config(database, map[string]any{"table": name + ".{stream}", "commit_schema": name})
		return sinktest.Remote{
			Open: func(s sinktest.RemoteStep) (sinks.Sink, error) {
				k, err := open(context.Background(), c, step(s))
				if err != nil {
					return nil, err
				}
				return k, nil
			},
			Look: func() (sinks.Sink, error) {
				c := c
				c.ReadOnly = true
				return Definition.Open(context.Background(), c)
			},
			Visible: func() ([]string, error) {
				there, err := r.Texts(database, `select relname::text from pg_class where oid = to_regclass($1)`, name+".events")
				if err != nil || len(there) == 0 {
					return nil, err
				}
				return r.bodies(database, name+".events")
			},
		}
	})
}

// testTwoHosts has two sinks commit cuts that all meet at noon, at once: one wins. Neighbours all win, with dense numbers.
func (r rig) testTwoHosts(t *testing.T) {
	c := r.config(r.Database(t), nil)
	hosts := []*Sink{r.open(t, c), r.open(t, c)}
	if hosts[0].Identity() != hosts[1].Identity() {
		t.Fatal("two hosts have two identities of one target")
	}
	type result struct {
		slice flow.Slice
		err   error
	}
	atOnce := func(all []flow.Slice) (won int) {
		results := make(chan result, len(all))
		start := make(chan struct{})
		for i, s := range all {
			go func() {
				<-start
				_, err := sinktest.Write(t.Context(), hosts[i%2], s, sinktest.Bodies(s, 10))
				results <- result{s, err}
			}()
		}
		close(start)
		for range all {
			res := <-results
			if res.err == nil {
				won++
			} else if !errors.Is(res.err, sinks.ErrOverlap) || errors.Is(res.err, sinks.ErrInDoubt) {
				t.Errorf("%s: %v, want ErrOverlap", res.slice, res.err)
			}
		}
		return won
	}
	var meeting, apart []flow.Slice
	for i := range 8 {
		meeting = append(meeting, sinktest.Hours("one", i, 13+i))
	}
	for h := range 16 {
		apart = append(apart, sinktest.Hours("two", h, h+1))
	}
	if won := atOnce(meeting); won != 1 {
		t.Errorf("%d of the slices that meet were committed, want 1", won)
	}
	if won := atOnce(apart); won != len(apart) {
		t.Errorf("%d of %d neighbours were committed", won, len(apart))
	}
	var number uint64
	for rec, err := range hosts[0].Committed(t.Context(), flow.Gap{Partition: sinktest.Partition("two"), From: sinktest.Day, To: sinktest.Day.AddDate(0, 0, 1)}, nil) {
		if number++; err != nil || rec.Entry != number {
			t.Fatalf("entry %d, %v, want %d", rec.Entry, err, number)
		}
	}
	if number != uint64(len(apart)) {
		t.Errorf("%d entries", number)
	}
}

// testLookupWaits shows that Lookup doesn't answer while a transaction that is about to commit the slice is open at the server.
func (r rig) testLookupWaits(t *testing.T) {
	for _, commits := range []bool{true, false} {
		c := r.config(r.Database(t), nil)
		s := sinktest.Hours("one", 0, 1)
		reached, goOn := make(chan struct{}), make(chan struct{})
		k, err := open(t.Context(), c, func(name string, do func() error) error {
			if name != "commit" {
				return do()
			}
			close(reached)
			<-goOn
			if commits {
				return errors.Join(sinktest.ErrLost, do())
			}
			return sinktest.ErrCrash
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = k.Close() })
		other := r.open(t, c)
		done := make(chan error, 1)
		go func() {
			_, err := sinktest.Write(context.Background(), k, s, sinktest.Bodies(s, 5))
			done <- err
		}()
		<-reached
		answer := make(chan error, 1)
		go func() {
			_, err := other.Lookup(context.Background(), s)
			answer <- err
		}()
		// It has asked for the lock and waits.
		r.await(t, "a session that waits for the lock", func() bool {
			n, err := r.Texts("postgres", `select pid::text from pg_locks where locktype = 'advisory' and not granted`)
			return err == nil && len(n) == 1
		})
		select {
		case err := <-answer:
			t.Fatalf("lookup answered %v while the commit's transaction was open", err)
		default:
		}
		close(goOn)
		if err := <-done; !errors.Is(err, sinks.ErrInDoubt) || fault.KindOf(err) != fault.InDoubt {
			t.Fatalf("commit: %v, want ErrInDoubt", err)
		}
		if err := <-answer; commits && err != nil || !commits && !errors.Is(err, sinks.ErrNotCommitted) {
			t.Errorf("committed %v: lookup says %v", commits, err)
		}
	}
}

func (r rig) await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within a minute", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// testKilled ends the server with SIGKILL before and after each step of a commit, and in the middle of a COPY; what Lookup says then is
// what a reader sees, and all can be completed to one copy.
func (r rig) testKilled(t *testing.T) {
	for _, at := range testsize.Of([]string{"table", "copy", "marker", "commit"}, []string{"marker", "commit"}) {
		for _, after := range []bool{false, true} {
			name := at + " before"
			if after {
				name = at + " after"
			}
			t.Run(name, func(t *testing.T) { r.killAt(t, at, after) })
		}
	}
}

func (r rig) killAt(t *testing.T, at string, after bool) {
	database := r.Database(t)
	c := r.config(database, nil)
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 60)
	var n atomic.Int64
	k, err := open(t.Context(), c, func(name string, do func() error) error {
		hit := name == at && (name != "copy" || n.Add(1) == 3)
		if hit && !after {
			r.Kill()
		}
		err := do()
		if hit && after {
			r.Kill()
			return sinktest.ErrLost
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	_, err = sinktest.Write(t.Context(), k, s, bodies)
	if err == nil {
		t.Fatal("committed without a server")
	}
	if doubt := errors.Is(err, sinks.ErrInDoubt); doubt != (at == "commit") {
		t.Errorf("%v: in doubt %v", err, doubt)
	}
	if kind := fault.KindOf(err); at == "marker" && !after && kind != fault.Transient {
		t.Errorf("%v is %s, want transient", err, kind)
	}
	if _, err := k.Lookup(t.Context(), s); err == nil || errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("lookup without a server: %v", err)
	}
	r.Restart(t)
	_, err = k.Lookup(t.Context(), s)
	committed := err == nil
	if committed != (at == "commit" && after) || !committed && !errors.Is(err, sinks.ErrNotCommitted) {
		t.Fatalf("lookup: %v", err)
	}
	if !committed {
		if _, err := sinktest.Write(t.Context(), r.open(t, c), s, bodies); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.bodies(database, "public.events")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sorted(bodies), sorted(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// testDamage changes the markers by hand: the sink stops rather than guess.
func (r rig) testDamage(t *testing.T) {
	for name, sql := range map[string]string{
		"missing":      `delete from sluice_commits where number = 1`,
		"unknown kind": `update sluice_commits set kind = 'merge' where number = 2`,
		"newer format": `update sluice_commits set entry = jsonb_set(entry, '{v}', '9') where number = 2`,
		"unknown key":  `update sluice_commits set entry = jsonb_set(entry, '{more}', '9') where number = 2`,
		"other slice":  `update sluice_commits set entry = jsonb_set(entry, '{slice,rev}', '9') where number = 2`,
	} {
		database := r.Database(t)
		k := r.open(t, r.config(database, nil))
		for h := range 2 {
			if _, err := sinktest.Write(t.Context(), k, sinktest.Hours("one", h, h+1), nil); err != nil {
				t.Fatal(err)
			}
		}
		r.Exec(t, database, sql)
		if _, err := k.Lookup(t.Context(), sinktest.Hours("one", 0, 1)); fault.KindOf(err) != fault.Config {
			t.Errorf("%s: lookup: %v", name, err)
		}
		if _, err := sinktest.Write(t.Context(), k, sinktest.Hours("one", 2, 3), nil); err == nil || errors.Is(err, sinks.ErrOverlap) {
			t.Errorf("%s: write: %v", name, err)
		}
		var last error
		for _, err := range k.Committed(t.Context(), flow.Gap{Partition: sinktest.Partition("one"), From: sinktest.Day, To: sinktest.Day.Add(time.Hour)}, nil) {
			last = err
		}
		if fault.KindOf(last) != fault.Config {
			t.Errorf("%s: committed: %v", name, last)
		}
	}
}

func (r rig) testOwner(t *testing.T) {
	database := r.Database(t)
	c := r.config(database, nil)
	first := r.open(t, c)
	other := c
	other.Streams = []sinks.Stream{sinktest.Stream()}
	other.Streams[0].Selection[0]++
	other.Pipeline = "other"
	_, err := open(t.Context(), other, nil)
	if !errors.Is(err, sinks.ErrOwned) || !strings.Contains(err.Error(), `"prod"`) {
		t.Errorf("another selection: %v, want ErrOwned that names the owner", err)
	}
	apart := other
	apart.Settings = r.config(database, map[string]any{"table": "{pipeline}.{stream}"}).Settings
	second := r.open(t, apart)
	if second.Identity() == first.Identity() {
		t.Error("two targets have one identity")
	}
	s := sinktest.Hours("one", 0, 1)
	for _, k := range []*Sink{first, second} {
		if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
			t.Error(err)
		}
	}
	if again := r.open(t, c); again.Identity() != first.Identity() {
		t.Error("the identity has changed")
	}
	// The cluster is part of it: a copy of the database elsewhere is another sink.
	if system, err := r.Texts(database, `select lpad(to_hex(system_identifier), 16, '0') from pg_control_system()`); err != nil || !strings.HasPrefix(first.Identity(), system[0]+"-") {
		t.Errorf("identity %s of system %v, %v", first.Identity(), system, err)
	}
}

func (r rig) testRights(t *testing.T) {
	database := r.Database(t)
	r.Exec(t, "postgres", "drop role if exists writer", "create role writer login password 'w'")
	writer := map[string]any{"user": "writer", "password": "w"}
	for _, tt := range []struct {
		name string
		more map[string]any
		kind fault.Kind
		say  string
	}{
		{"password", map[string]any{"password": "hidden-wrong"}, fault.Auth, "pg_hba.conf"},
		{"user", map[string]any{"user": "nobody-here"}, fault.Auth, "check user"},
		{"database", map[string]any{"database": "nowhere"}, fault.Config, "create the database"},
		{"port", map[string]any{"port": 1}, fault.Transient, "is the server up"},
		{"tls", map[string]any{"tls": map[string]any{"enabled": true}}, fault.Config, "no TLS"},
		{"rights", writer, fault.Config, "GRANT"},
		{"create_table", map[string]any{"create_table": false}, fault.Config, "create table"},
	} {
		c := r.config(database, tt.more)
		_, oerr := open(t.Context(), c, nil)
		_, cerr := online(t.Context(), c)
		for what, err := range map[string]error{"open": oerr, "online": cerr} {
			text := fmt.Sprint(err, " ", hint(err))
			if fault.KindOf(err) != tt.kind || !strings.Contains(text, tt.say) {
				t.Errorf("%s: %s: %s: %s, want %s and %q", tt.name, what, fault.KindOf(err), text, tt.kind, tt.say)
			}
			if strings.Contains(text, "hidden") || strings.Contains(text, postgres.Password) {
				t.Errorf("%s: %s tells the password: %s", tt.name, what, text)
			}
		}
	}

	// Online changes nothing, and what it has tried works.
	said, err := online(t.Context(), r.config(database, nil))
	if err != nil || !strings.Contains(said, `"public"."events"`) || !strings.Contains(said, "rolled back") {
		t.Fatalf("%q, %v", said, err)
	}
	if names, err := r.Texts(database, `select relname::text from pg_class where relname ~ '^(sluice|events)'`); err != nil || len(names) > 0 {
		t.Fatalf("online has left %v, %v", names, err)
	}

	// A role that may only write into tables that are there.
	k := r.open(t, r.config(database, nil))
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
		t.Fatal(err)
	}
	r.Exec(t, database, "grant select, insert on sluice_commits to writer", "grant select, insert, update on sluice_sinks to writer")
	c := r.config(database, writer)
	if _, err := online(t.Context(), c); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), `"public"."events"`) {
		t.Errorf("without a right on the table: %v", err)
	}
	r.Exec(t, database, "grant insert on events to writer")
	if _, err := online(t.Context(), c); err != nil {
		t.Error(err)
	}
	c.Settings = r.config(database, map[string]any{"user": "writer", "password": "w", "create_table": false}).Settings
	next := sinktest.Hours("one", 1, 2)
	if _, err := sinktest.Write(t.Context(), r.open(t, c), next, sinktest.Bodies(next, 3)); err != nil {
		t.Error(err)
	}
	// With a target that only a slice tells, Online says so.
	c.Settings = r.config(database, map[string]any{"table": "events_{date}"}).Settings
	if said, err := online(t.Context(), c); err != nil || !strings.Contains(said, "first slice") {
		t.Errorf("%q, %v", said, err)
	}
}

// hint is the innermost hint too: errors are wrapped by where they happened.
func hint(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Hint
	}
	return ""
}

func (r rig) testTargets(t *testing.T) {
	database := r.Database(t)
	c := r.config(database, map[string]any{"table": `{labels.tenant}.{partition}"{date}`, "commit_schema": "Control"})
	c.Labels = map[string]string{"tenant": "Ac.me; drop"}
	k := r.open(t, c)
	var want []string
	for h, key := range []string{"one", "two", "o'n.e"} {
		s := sinktest.Hours(key, h, h+1)
		if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 2)); err != nil {
			t.Fatal(err)
		}
		want = append(want, "Ac.me; drop/"+key+`"2026-11-01`)
	}
	got, err := r.Texts(database, `select nspname || '/' || relname from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'Ac.me; drop' order by relname desc`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	s := sinktest.Hours(strings.Repeat("long", 20), 0, 1)
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 2)); err == nil || !strings.Contains(err.Error(), "63") {
		t.Errorf("a name that PostgreSQL would cut: %v", err)
	}
}

// testSession has a database whose own settings would end transactions that rest, and let commits be forgotten.
func (r rig) testSession(t *testing.T) {
	database := r.Database(t)
	r.Exec(t, "postgres", "alter database "+database+" set synchronous_commit = off", "alter database "+database+" set idle_in_transaction_session_timeout = '1s'",
		"alter database "+database+" set default_transaction_isolation = 'serializable'")
	k := r.open(t, r.config(database, nil))
	for name, want := range map[string]string{
		"synchronous_commit": "on", "idle_in_transaction_session_timeout": "0", "statement_timeout": "1min", "default_transaction_isolation": "read committed",
		"application_name": "sluice",
	} {
		var got string
		if err := k.pool.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
	r.Exec(t, "postgres", "alter database "+database+" set synchronous_commit = remote_write")
	var got string
	if err := r.open(t, r.config(database, nil)).pool.QueryRow(t.Context(), "show synchronous_commit").Scan(&got); err != nil || got != "remote_write" {
		t.Errorf("synchronous_commit is %q, %v, want what the database has", got, err)
	}
}

func (r rig) testTLS(t *testing.T) {
	database := r.Database(t)
	ca := r.Secure(t)
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgres.User, postgres.Password), Host: fmt.Sprint("127.0.0.1:", r.Port), Path: database, RawQuery: "sslmode=verify-full",
	}
	none := map[string]any{"host": nil, "port": nil, "database": nil, "user": nil, "password": nil, "url": address.String(), "tls": map[string]any{"ca_file": ca}}
	for _, tt := range []struct {
		name string
		more map[string]any
		want string
	}{
		{"authority", map[string]any{"tls": map[string]any{"ca_file": ca}}, ""},
		{"url", none, ""},
		{"plain", nil, ""},
		{"unknown authority", map[string]any{"tls": map[string]any{"enabled": true}}, "isn't trusted"},
		{"another name", map[string]any{"tls": map[string]any{"ca_file": ca, "server_name": "db.example.com"}}, "tls.server_name"},
	} {
		k, err := open(t.Context(), r.config(database, tt.more), nil)
		if tt.want != "" {
			if fault.KindOf(err) != fault.Config || !strings.Contains(hint(err), tt.want) {
				t.Errorf("%s: %v (%s), want %q", tt.name, err, hint(err), tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var secured bool
		if err := k.pool.QueryRow(t.Context(), "select ssl from pg_stat_ssl where pid = pg_backend_pid()").Scan(&secured); err != nil || secured == (tt.name == "plain") {
			t.Errorf("%s: TLS %v, %v", tt.name, secured, err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}
