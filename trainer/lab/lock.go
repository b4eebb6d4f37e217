package lab

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/warmserve/warmserve/loader/disk"
)

// lock waits until no other process, also on another machine where the file system
// knows of it, holds the file, and holds it until unlock is called or the process
// ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		switch err := disk.TryLock(f); {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, disk.ErrLocked):
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
