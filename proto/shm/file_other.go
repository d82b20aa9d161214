//go:build !linux

package shm

import "os"

// Create returns ErrUnsupported: only Linux has files in memory whose length can be sealed.
func Create() (*Memory, *os.File, error) { return nil, nil, ErrUnsupported }

// Open returns ErrUnsupported.
func Open(*os.File) (*Memory, error) { return nil, ErrUnsupported }

// Inherited returns ErrUnsupported.
func Inherited(int) (*Memory, error) { return nil, ErrUnsupported }

func unmap([]byte) error { return nil }
