package loader

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange swaps two directories in one step, or in three where the file system cannot do that.
func exchange(fresh, old string) error {
	err := unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, old, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return exchangeByRenames(fresh, old)
	}
	return err
}
