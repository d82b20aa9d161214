package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

const sinkType = "postgres"

// settings are a postgres sink's keys in a config.
type settings struct {
	URL          string           `json:"url"`
	Host         string           `json:"host"`
	Port         uint16           `json:"port"`
	Database     string           `json:"database"`
	User         string           `json:"user"`
	Password     string           `json:"password"`
	TLS          secure.Settings  `json:"tls"`
	Table        string           `json:"table"`
	CreateTable  bool             `json:"create_table"`
	CommitSchema string           `json:"commit_schema"`
	Timeout      setting.Duration `json:"timeout"`

	table tableName
	tlsOn bool
	base  string
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "postgres sink",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "url": {
      "type": "string", "minLength": 1, "x-sluice-secret": true,
      "description": "postgres://USER:PASSWORD@HOST:PORT/DATABASE; in place of host, port, database, user and password. Of its parameters only sslmode=disable and sslmode=verify-full are known: see tls."
    },
    "host": {
      "type": "string", "minLength": 1,
      "description": "The server's name or address; one that begins with / is the folder of its Unix socket."
    },
    "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 5432, "description": "The server's port."},
    "database": {"type": "string", "minLength": 1, "description": "The database, which must be there."},
    "user": {"type": "string", "minLength": 1, "description": "The role that logs in."},
    "password": {"type": "string", "x-sluice-secret": true, "description": "Its password."},
    "tls": ` + secure.Schema + `,
    "table": {
      "type": "string", "minLength": 1, "default": "public.{stream}",
      "description": "SCHEMA.TABLE that records go to. {pipeline}, {source}, {stream}, {partition}, {partition_by}, {log_name}, {date}, {hour} (UTC, of a slice's begin) and {labels.NAME} are replaced. Names keep their case."
    },
    "create_table": {
      "type": "boolean", "default": true,
      "description": "Create schemas and tables that aren't there, and add columns that the stream has gained. Nothing is ever dropped or changed. With false, what is missing is an error that shows the SQL."
    },
    "commit_schema": {
      "type": "string", "minLength": 1, "default": "public",
      "description": "The schema of the tables sluice_commits and sluice_sinks, which say what is committed and by whom."
    },
    "timeout": {
      "type": "string", "default": "5m", "pattern": "` + setting.DurationPattern + `",
      "description": "How long one statement may take, with its wait for locks: the copying of a batch, or a commit."
    }
  }
}`

func defaults() settings {
	return settings{Port: 5432, Table: "public.{stream}", CreateTable: true, CommitSchema: "public", Timeout: setting.Duration(5 * time.Minute)}
}

// parse reads and validates settings and reports everything that is wrong with them.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return s, err
	}
	s.base = c.Base
	errs := []error{s.address()}
	var err error
	if s.table, err = parseTable(s.Table); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, target.Check(c, "table", s.table.whole))
	}
	if err := checkName("commit_schema", s.CommitSchema); err != nil {
		errs = append(errs, err)
	}
	if s.Timeout < setting.Duration(time.Second) {
		errs = append(errs, errors.New("timeout: less than a second is never enough"))
	}
	if s.TLS.On(s.tlsOn) {
		if _, err := s.TLS.Config(c.Base); err != nil {
			errs = append(errs, err)
		}
	} else if err := s.TLS.Validate(); err != nil {
		errs = append(errs, err)
	}
	for _, st := range c.Streams {
		if _, err := columnsOf(st.Schema); err != nil {
			errs = append(errs, fmt.Errorf("stream %s: %w", st.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return s, setting.Wrong(sinkType, err)
	}
	return s, nil
}

// address takes url apart into the other keys. What it says of the URL never quotes it.
func (s *settings) address() error {
	if s.URL == "" {
		var missing []string
		for key, value := range map[string]string{"host": s.Host, "database": s.Database, "user": s.User} {
			if value == "" {
				missing = append(missing, key)
			}
		}
		if len(missing) > 0 {
			return errors.New("give url, or host, database and user")
		}
		return nil
	}
	if s.Host != "" || s.Database != "" || s.User != "" || s.Password != "" {
		return errors.New("url stands in place of host, port, database, user and password: give either")
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.User == nil || u.User.Username() == "" || u.Fragment != "" {
		return errors.New("url: write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %XX for characters of the password that a URL can't hold")
	}
	s.Host, s.User, s.Database = u.Hostname(), u.User.Username(), strings.TrimPrefix(u.Path, "/")
	s.Password, _ = u.User.Password()
	if s.Host == "" || s.Database == "" {
		return errors.New("url: it has no host or no database")
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return errors.New("url: the port isn't one")
		}
		s.Port = uint16(n)
	}
	for key, values := range u.Query() {
		switch value := values[0]; {
		case key == "sslmode" && (value == "disable" || value == "verify-full"):
			if s.tlsOn = value == "verify-full"; s.TLS.On(s.tlsOn) != s.tlsOn {
				return fmt.Errorf("url: sslmode=%s is the contrary of what tls says", value)
			}
		default:
			return fmt.Errorf("url: the parameter %q with this value isn't known: use the keys timeout and tls", key)
		}
	}
	return nil
}

// applicationName is what the server's pg_stat_activity shows.
const applicationName = "sluice"

// connectTimeout bounds how long one try to log in may take.
const connectTimeout = 20 * time.Second

// poolConfig returns how to connect, from the settings alone: the environment and the files of other clients don't count.
func (s settings) poolConfig() (*pgxpool.Config, error) {
	const op = "connect to PostgreSQL"
	// A complete address, so that no default is taken from the environment.
	c, err := pgxpool.ParseConfig("host=127.0.0.1 port=1 user=none password=none database=none sslmode=disable")
	if err != nil {
		return nil, fault.New(fault.Config, op, "unset the environment's PG... variables, of which none is used", err)
	}
	cc := c.ConnConfig
	cc.Host, cc.Port, cc.User, cc.Password, cc.Database = s.Host, s.Port, s.User, s.Password, s.Database
	cc.Fallbacks, cc.TLSConfig, cc.ValidateConnect = nil, nil, nil
	cc.ConnectTimeout = connectTimeout
	cc.RuntimeParams = map[string]string{"application_name": applicationName}
	// Nothing stays prepared in a session: it may be a pooler's.
	cc.DefaultQueryExecMode = pgx.QueryExecModeExec
	if s.TLS.On(s.tlsOn) {
		if cc.TLSConfig, err = s.TLS.Config(s.base); err != nil {
			return nil, setting.Wrong(sinkType, err)
		}
		if cc.TLSConfig.ServerName == "" {
			cc.TLSConfig.ServerName = s.Host
		}
	}
	c.MaxConns = 1 << 10 // one for each open slice; the pipeline bounds those
	c.MinConns = 0
	c.MaxConnIdleTime = time.Minute
	c.AfterConnect = s.prepare
	return c, nil
}

// where names the server for messages.
func (s settings) where() string {
	if filepath.IsAbs(s.Host) {
		return fmt.Sprintf("%s in %s:%d", s.Database, s.Host, s.Port)
	}
	return fmt.Sprintf("%s at %s", s.Database, net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))))
}

// prepare makes a new session what the sink relies on.
func (s settings) prepare(ctx context.Context, c *pgx.Conn) error {
	timeout := strconv.FormatInt(time.Duration(s.Timeout).Milliseconds(), 10)
	// A slice's transaction rests while its source is waited for. A commit that the server forgets in a crash is none, so
	// synchronous_commit may be anything but off.
	_, err := c.Exec(ctx, `select set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false),
		set_config('idle_in_transaction_session_timeout', '0', false), set_config('default_transaction_isolation', 'read committed', false),
		set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on' else current_setting('synchronous_commit') end, false)`, timeout)
	if err != nil {
		return err
	}
	// The server finds out by these that a client's machine has gone, whose transaction would hold its locks. Not every server has
	// each of them, and none is needed for the result.
	for name, value := range map[string]string{
		"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4", "tcp_user_timeout": "40000", "client_connection_check_interval": "10000",
	} {
		if _, err := c.Exec(ctx, `select set_config($1, $2, false)`, name, value); err != nil && c.IsClosed() {
			return err
		}
	}
	return nil
}
