//go:build !unix

package state

import "os"

// TryLock does nothing: on this system a result is worked on by one process at a time.
func TryLock(*os.File) error { return nil }
