//go:build unix

package state

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// TryLock holds a file until it is closed; [ErrBusy] says that another process does.
func TryLock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrBusy
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK):
			return nil // a file system without locks: as before there were any
		}
		return err
	}
}
