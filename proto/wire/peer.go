package wire

import (
	"context"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// SameUser returns a server's transport credentials for unix sockets: a connection is taken only from a process of the
// same user, whatever the folder's permissions. Nothing is encrypted. Clients need no counterpart.
func SameUser() credentials.TransportCredentials {
	return sameUser{insecure.NewCredentials()}
}

type sameUser struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (c sameUser) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("connection over %s, want a unix socket", conn.LocalAddr().Network())
	}
	uid, err := peerUser(unixConn)
	if err != nil {
		return nil, nil, fmt.Errorf("ask who connects: %w", err)
	}
	if err := checkUser(uid, os.Geteuid()); err != nil {
		return nil, nil, err
	}
	return c.TransportCredentials.ServerHandshake(conn)
}

// ClientHandshake implements credentials.TransportCredentials.
func (c sameUser) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.TransportCredentials.ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (c sameUser) Clone() credentials.TransportCredentials {
	return sameUser{c.TransportCredentials.Clone()}
}

// checkUser lets in the server's own user, and root, who may do everything anyway.
func checkUser(uid, own int) error {
	if uid != own && uid != 0 {
		return fmt.Errorf("connection from user %d, want %d", uid, own)
	}
	return nil
}
