package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

// classify gives an error of the server or of the connection its kind. Errors that have one keep it.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		kind, hint := ofServer(pg)
		return fault.New(kind, op, hint, err)
	}
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var name *net.DNSError
	switch {
	case errors.As(err, &verify), errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)):
		return fault.New(fault.Config, op, "the server's certificate isn't trusted: name its authority as tls.ca_file, or its name as tls.server_name", err)
	case errors.As(err, &record), strings.Contains(err.Error(), "server refused TLS connection"):
		return fault.New(fault.Config, op, "the server speaks no TLS on this port: set ssl = on in its postgresql.conf, or tls.enabled: false here", err)
	case errors.As(err, &name) && name.IsNotFound:
		return fault.New(fault.Transient, op, "check host: the name isn't known", err)
	}
	return fault.New(fault.Transient, op, "is the server up, and can it be reached from here?", err)
}

// ofServer decides by the SQLSTATE, which doesn't depend on the server's language.
func ofServer(e *pgconn.PgError) (fault.Kind, string) {
	switch e.Code {
	case "28P01", "28000":
		return fault.Auth, "check user and password, and the server's pg_hba.conf"
	case "3D000":
		return fault.Config, "create the database, or check the key database"
	case "42501":
		return fault.Config, "GRANT what is missing to the role; docs/sinks/postgres.md lists what it needs"
	case "57014":
		return fault.Transient, "the statement took longer than timeout: raise it, or find what holds the table's locks (pg_stat_activity)"
	case "55P03":
		return fault.Transient, "another session holds a lock for longer than timeout: find it in pg_stat_activity"
	case "25006":
		return fault.Transient, "the server is a standby: connect to the primary"
	case "53300":
		return fault.Transient, "the server has no connection left: raise max_connections, or lower flow.parallel"
	case "53100":
		return fault.Transient, "the server's disk is full"
	case "42P01", "3F000":
		return fault.Config, "create it, or set create_table: true"
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "22", "23", "42", "0A", "44":
		return fault.Config, "the table doesn't fit the stream: give the stream another table, or change this one"
	}
	return fault.Transient, ""
}

// rolledBack reports whether an error of COMMIT proves that nothing was committed: the server said so and the session lives on.
func rolledBack(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Severity == "ERROR" || pg.SeverityUnlocalized == "ERROR")
}

// inDoubt says that nobody knows whether a commit took place.
func inDoubt(s string, err error) error {
	return fault.New(fault.InDoubt, "commit", "the sink is asked once the server is up again", fmt.Errorf("slice %s: %w: %w", s, sinks.ErrInDoubt, err))
}
