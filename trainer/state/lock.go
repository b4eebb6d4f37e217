package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader/disk"
)

// ErrBusy is returned when another process works on the same result.
var ErrBusy = disk.ErrLocked

// Lock makes the directory of a run's state and holds it until release is called or the
// process ends, so that two runs of the same command do not write over each other.
func Lock(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := disk.TryLock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), f.Close())
	}
	return func() { f.Close() }, nil // nothing is written to it
}
