package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Create makes and maps memory, and returns the file by which the other side maps it. The caller closes both. ErrUnsupported: use none.
func Create() (*Memory, *os.File, error) {
	fd, err := unix.MemfdCreate("sluice-frames", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnsupported, os.NewSyscallError("memfd_create", err))
	}
	file := os.NewFile(uintptr(fd), "memfd:sluice-frames")
	m, err := create(file)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return m, file, nil
}

func create(file *os.File) (*Memory, error) {
	if err := file.Truncate(Size); err != nil {
		return nil, err
	}
	data, err := mapped(file, Size)
	if err != nil {
		return nil, err
	}
	format(data)
	m, err := newMemory(data)
	if err != nil {
		return nil, errors.Join(err, unmap(data))
	}
	return m, nil
}

// format writes the first page of a new file.
func format(data []byte) {
	copy(data, magic)
	binary.LittleEndian.PutUint32(data[8:], Slots)
	binary.LittleEndian.PutUint64(data[16:], slotSize)
}

// Open maps the memory that a host made. The file may be closed after it.
func Open(file *os.File) (*Memory, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if size := info.Size(); size < page || size > 1<<30 {
		return nil, fmt.Errorf("shared memory of %d bytes", size)
	}
	data, err := mapped(file, int(info.Size()))
	if err != nil {
		return nil, err
	}
	m, err := newMemory(data)
	if err != nil {
		return nil, errors.Join(err, unmap(data))
	}
	return m, nil
}

// mapped maps a file whose length can't change any more: a file that becomes shorter ends whoever looks at what is gone, by a signal.
func mapped(file *os.File, size int) ([]byte, error) {
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var data []byte
	var failed error
	err = conn.Control(func(fd uintptr) {
		// The other side sealed it already: it can't be done twice, and needn't.
		_, _ = unix.FcntlInt(fd, unix.F_ADD_SEALS, seals)
		have, err := unix.FcntlInt(fd, unix.F_GET_SEALS, 0)
		switch {
		case err != nil:
			failed = fmt.Errorf("%w: %w", ErrUnsupported, os.NewSyscallError("fcntl F_GET_SEALS", err))
		case have&seals != seals:
			failed = fmt.Errorf("%w: its length isn't sealed", ErrUnsupported)
		default:
			data, err = unix.Mmap(int(fd), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			failed = os.NewSyscallError("mmap", err)
		}
	})
	return data, errors.Join(err, failed)
}

func unmap(data []byte) error { return os.NewSyscallError("munmap", unix.Munmap(data)) }
