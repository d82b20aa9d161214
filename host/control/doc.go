// Package control is the local socket on which a running host tells what it is doing, and the client that `status` asks with.
//
// It speaks JSON over HTTP on a unix socket in a 0700 folder, and only to the same user. The socket is never in the state folder
// (paths of sockets are short); a small file there, control.json, names it.
//
// What it deliberately does not do: it reads no ledger. All that it changes in the host is when things are tried again.
//
//	s, err := control.Serve(stateDir, control.Host{Snapshot: snapshot})
//	defer s.Close()
//
//	snap, err := control.Query(ctx, stateDir)
//	if errors.Is(err, control.ErrNotRunning) { ... }
package control
