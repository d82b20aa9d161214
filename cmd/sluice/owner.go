package main

import (
	"errors"

	"github.com/sluice-io/sluice/sinks/commitlog"
)

// sinkOwner returns the ID of the sink that owns a folder.
func sinkOwner(location string) (identity string, ok bool) {
	owner, err := commitlog.ReadOwner(commitlog.OS{}, location)
	return owner.ID, err == nil
}

// isHeld reports whether another process holds the sink's lock.
func isHeld(err error) bool {
	var held *commitlog.HeldError
	return errors.As(err, &held)
}
