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
	if err := control(file, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		return os.NewSyscallError("fcntl F_ADD_SEALS", err)
	}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
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

// Inherited maps the memory whose file this process was started with, as the number fd, and closes it. A file that is something else is left as
// it is: a wrapper may have kept the host's file from its child, whose own has the number now.
func Inherited(fd int) (*Memory, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	file := os.NewFile(uintptr(own), "memory shared with the host")
	m, err := Open(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	if err := unix.Close(fd); err != nil {
		return nil, errors.Join(os.NewSyscallError("close", err), m.Close())
	}
	return m, nil
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

// seals keep a file from changing its length: one that becomes shorter ends whoever looks at what is gone, by a signal.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// mapped maps a file that is sealed.
func mapped(file *os.File, size int) (data []byte, err error) {
	err = control(file, func(fd int) error {
		have, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrUnsupported, os.NewSyscallError("fcntl F_GET_SEALS", err))
		case have&seals != seals:
			return fmt.Errorf("%w: its length isn't sealed", ErrUnsupported)
		}
		data, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return os.NewSyscallError("mmap", err)
	})
	return data, err
}

func control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

func unmap(data []byte) error { return os.NewSyscallError("munmap", unix.Munmap(data)) }
